//! Runs language models from GGUF files: text to tokens, tokens to logits, logits to text.
//!
//! [`Model`] opens a file; [`Session`] holds a conversation's cache and generates. A model's
//! architecture is data ([`ModelSpec`]), run by one generic forward pass over a backend: our own
//! CPU kernels, or candle tensors. Nothing here is async, downloads, or prints.

mod backend;
pub mod conversation;
mod error;
pub mod estimate;
mod forward;
pub mod generate;
mod lookup;
pub mod model;
pub mod observe;
pub mod prompt;
pub mod reasoning;
pub use lilims_quant as quant;
mod rope;
pub mod sampler;
pub mod saved;
pub mod session;
pub mod spec;
pub mod text;
mod weights;
mod window;

pub use backend::cpu::max_threads;
pub use conversation::{Conversation, Message, Role};
pub use error::Error;
pub use estimate::{Fit, MemoryBudget, MemoryEstimate};
pub use generate::{Answer, Finish, GenerateOptions, OnText, Progress};
pub use model::{BackendKind, KvType, LoadOptions, Model};
pub use observe::InputSquares;
pub use prompt::{ChatFormat, Prompt};
pub use sampler::Sampling;
pub use session::{ContextUse, Counters, Overflow, Session};
pub use spec::ModelSpec;
pub use text::{ChatTemplate, ContentSpan, Rendering, Tokenizer};
