//! The errors of the engine.

use crate::draft::DraftRefusal;

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, damaged or incomplete.
    #[error(transparent)]
    Gguf(#[from] lilims_gguf::Error),
    /// The model uses something that is not supported: an unknown family, tensor type or tokenizer.
    #[error("{what}")]
    Unsupported {
        /// What is not supported.
        what: String,
    },
    /// The file is inconsistent, such as a tensor of the wrong shape.
    #[error("damaged model: {what}")]
    Damaged {
        /// What is inconsistent.
        what: String,
    },
    /// A tensor's blocks could not be decoded.
    #[error(transparent)]
    Decode(#[from] crate::quant::DecodeError),
    /// The tokenizer could not be built, or failed on a text.
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
    /// A model cannot draft for another one.
    #[error("`{draft}` cannot draft for `{model}`: {why}")]
    Draft {
        /// The name of the draft model.
        draft: String,
        /// The name of the model.
        model: String,
        /// Why not.
        why: DraftRefusal,
    },
    /// A JSON schema cannot be used, or an answer cannot follow it.
    #[error("JSON schema: {what}")]
    Schema {
        /// What is wrong with it.
        what: String,
    },
    /// There are more tokens than the context can hold.
    #[error("the text needs {needed} tokens, the context holds {context}")]
    ContextFull {
        /// Tokens needed.
        needed: usize,
        /// Tokens that the context can hold.
        context: usize,
    },
    /// The token is not in the vocabulary.
    #[error("token {id} is not in the vocabulary of {n_vocab}")]
    UnknownToken {
        /// The token.
        id: u32,
        /// The size of the vocabulary.
        n_vocab: usize,
    },
    /// The file is one part of a split model.
    #[error(
        "this is part {} of {} of a split model, which Lilims cannot load: join the parts into one \
         file, as llama.cpp's `llama-gguf-split --merge` does", .0.part, .0.count
    )]
    Split(lilims_gguf::Split),
    /// The model computed values that are NaN or infinite.
    #[error(
        "`{model}` computes values that are not finite at token {position}: its file is damaged, or \
         values grow beyond what their types hold"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// The token of the conversation at which this happened, counted from 1.
        position: usize,
    },
    /// A session would need more memory than is available.
    #[error(
        "a context of {context} tokens needs {} of memory, {} is available: choose a smaller context",
        size(*needed_bytes), size(*available_bytes)
    )]
    TooLarge {
        /// Tokens of the context.
        context: usize,
        /// Bytes of its cache and buffers.
        needed_bytes: u64,
        /// Bytes that are available.
        available_bytes: u64,
    },
    /// An allocation failed.
    #[error("out of memory: cannot allocate {}, choose a smaller context", size(*bytes))]
    OutOfMemory {
        /// Bytes requested.
        bytes: u64,
    },
    /// A saved session cannot be used.
    #[error("saved session: {what}")]
    Saved {
        /// What is inconsistent.
        what: String,
    },
    /// A saved session could not be written or read.
    #[error("saved session")]
    SavedIo(#[source] std::io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// More worker threads were requested than this machine can use.
    #[error("{requested} worker threads are too many: this machine allows at most {max}")]
    TooManyThreads {
        /// Threads requested.
        requested: usize,
        /// The limit, [`max_threads`](crate::max_threads).
        max: usize,
    },
    /// A worker panicked, by a bug in Lilims.
    #[error("internal error during computation: load the model again")]
    Panicked,
    /// Worker threads could not be started.
    #[error("cannot start worker threads")]
    Threads(#[from] std::io::Error),
    /// `LILIMS_ISA` names an instruction set that this processor does not have.
    #[error(transparent)]
    Isa(#[from] crate::quant::IsaError),
    /// The candle backend failed.
    #[error("candle backend")]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Whether the file of the model changed since it was loaded: it has to be loaded again.
    pub fn is_changed_file(&self) -> bool {
        matches!(self, Self::Gguf(lilims_gguf::Error::Changed { .. }))
    }
}

/// A size for error messages, such as `4.1 GB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
