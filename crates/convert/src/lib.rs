//! Converts models: a checkpoint of transformers or a GGUF file in, a GGUF file of another type out.
//!
//! [`convert`] reads a folder with `config.json`, weights and a tokenizer, or a GGUF file, gives each
//! tensor the type that the chosen [`Mix`] has for it, and writes one GGUF file with the tokenizer and
//! the chat template inside, and a [`Manifest`] beside it. Tensors go through in pieces. Nothing
//! here downloads, prints or runs models; the result is opened once, to be sure that the engine takes it.

mod config;
mod encode;
mod error;
mod family;
mod manifest;
mod metadata;
mod output;
mod pickle;
mod pipeline;
mod pre;
mod run;
mod sentencepiece;
mod source;
mod types;
mod vocabulary;

pub use error::Error;
pub use manifest::{
    Conversion, Evaluation, FORMAT_VERSION, FileHash, Manifest, Source, TensorEntry,
};
pub use run::{Options, Progress, convert};
pub use types::{Mix, Override};
