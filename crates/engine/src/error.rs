//! What can go wrong between a file and an answer.

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, damaged or lacks something.
    #[error(transparent)]
    Gguf(#[from] lilims_gguf::Error),
    /// Lilims cannot run this model: an unknown family, tensor type or tokenizer.
    #[error("{what}")]
    Unsupported {
        /// What is not supported, and what is.
        what: String,
    },
    /// The file contradicts itself, such as a tensor of the wrong shape.
    #[error("damaged model: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// A tensor's blocks could not be decoded.
    #[error(transparent)]
    Decode(#[from] crate::quant::DecodeError),
    /// The tokenizer could not be built or failed on a text.
    #[error("tokenizer: {what}")]
    Tokenizer {
        /// What failed.
        what: String,
    },
    /// The chat template failed to parse or to render.
    #[error("chat template: {what}")]
    Template {
        /// What failed.
        what: String,
    },
    /// More tokens than the context holds.
    #[error("the text needs {needed} tokens, the context holds {context}")]
    ContextFull {
        /// Tokens needed.
        needed: usize,
        /// Tokens that the context holds.
        context: usize,
    },
    /// The token is not in the vocabulary.
    #[error("token {id} is not in the vocabulary of {n_vocab}")]
    UnknownToken {
        /// The token.
        id: u32,
        /// The vocabulary's size.
        n_vocab: usize,
    },
    /// The file is one part of a model, whose other parts are in other files.
    #[error(
        "this is part {} of {} of a split model, which Lilims cannot load: join the parts into one \
         file, as llama.cpp's `llama-gguf-split --merge` does", .0.part, .0.count
    )]
    Split(lilims_gguf::Split),
    /// What the model computed is no number, or infinite.
    #[error(
        "`{model}` computes numbers that are not finite at token {position}: its file is damaged, or \
         values grow beyond what their types hold"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// The token of the conversation after which that is so, counted from 1.
        position: usize,
    },
    /// A session would take more memory than there is.
    #[error(
        "a context of {context} tokens needs {} of memory, {} are there: choose a smaller context",
        size(*needed_bytes), size(*available_bytes)
    )]
    TooLarge {
        /// Tokens of the context.
        context: usize,
        /// Bytes of its cache and buffers.
        needed_bytes: u64,
        /// Bytes that may be taken.
        available_bytes: u64,
    },
    /// The system gives no memory.
    #[error("the system gives no memory for {}: choose a smaller context", size(*bytes))]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// A saved session that cannot be used.
    #[error("saved session: {what}")]
    Saved {
        /// What does not fit.
        what: String,
    },
    /// A saved session could not be written or read.
    #[error("saved session")]
    SavedIo(#[source] std::io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// More worker threads than this machine has a use for.
    #[error("{asked} worker threads are too many: this machine takes at most {most}")]
    TooManyThreads {
        /// Threads that were asked for.
        asked: usize,
        /// What [`max_threads`](crate::max_threads) allows.
        most: usize,
    },
    /// A computation did not end as it should, by a fault in Lilims.
    #[error("a computation failed inside Lilims: load the model again")]
    Panicked,
    /// The system gave no worker threads.
    #[error("cannot start worker threads")]
    Threads(#[from] std::io::Error),
    /// `LILIMS_ISA` names no instruction set that this processor has.
    #[error(transparent)]
    Isa(#[from] crate::quant::IsaError),
    /// The candle backend failed.
    #[error("candle backend")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Whether the model's file is no longer what was loaded: it has to be loaded again.
    pub fn is_changed_file(&self) -> bool {
        matches!(self, Self::Gguf(lilims_gguf::Error::Changed { .. }))
    }
}

/// A size as messages tell it: `4.1 GB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
