//! Runs language models from GGUF files: text to tokens, tokens to logits, logits to text.
//!
//! [`Model`] loads a file; [`Session`] holds the cache of a conversation and generates. The
//! architecture of a model is data ([`ModelSpec`]), run by one generic forward pass over a backend:
//! our own CPU kernels, or candle tensors. Nothing here is async, downloads, or prints.

mod backend;
pub mod constraint;
pub mod conversation;
mod draft;
mod error;
pub mod estimate;
mod fingerprint;
mod forward;
pub mod generate;
pub mod importance;
mod kv_type;
mod load_options;
mod message;
pub mod model;
mod observe;
pub mod prompt;
mod prompt_lookup;
pub mod reasoning;
pub use lilims_quant as quant;
mod recommended;
mod rope;
pub mod sampler;
pub mod saved;
pub mod session;
pub mod spec;
pub mod text;
mod weights;
mod window;

pub use backend::cpu::max_threads;
pub use conversation::Conversation;
pub use draft::DraftRefusal;
pub use error::Error;
pub use estimate::{Fit, MemoryBudget, MemoryEstimate};
pub use generate::{Answer, Finish, GenerateOptions, OnText, Progress};
pub use importance::ImportanceMatrix;
pub use kv_type::KvType;
pub use load_options::{BackendKind, LoadOptions};
pub use message::{Message, Role};
pub use model::Model;
pub use prompt::{ChatFormat, Prompt};
pub use recommended::RecommendedSampling;
pub use sampler::Sampling;
pub use session::{ContextUse, Counters, Overflow, Session};
pub use spec::ModelSpec;
pub use text::{ChatTemplate, ContentSpan, DecodeStream, Rendering, Tokenizer};
