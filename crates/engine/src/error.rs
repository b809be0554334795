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
    /// The system gives no memory for the cache.
    #[error("no memory for a cache of {bytes} bytes: take a smaller context")]
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
