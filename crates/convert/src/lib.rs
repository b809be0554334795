//! Converts models: a checkpoint of transformers or a GGUF file in, a GGUF file of another type out.
//!
//! [`convert`] reads a folder with `config.json`, weights and a tokenizer, or a GGUF file, gives each
//! tensor the type that the chosen [`Mix`] has for it, and writes one GGUF file with the tokenizer and
//! the chat template inside, and a [`Manifest`] beside it. Tensors go through in pieces. A [`Job`] is
//! a conversion for which the source was run on a text first, to learn which columns matter, or whose
//! result is compared with its source at the end. Nothing here downloads or prints.

mod calibrate;
mod config;
mod encode;
mod error;
mod family;
mod field_tables;
mod fields;
mod input_file;
mod job;
mod manifest;
mod metadata;
mod output;
mod pickle;
mod pipeline;
mod pre;
mod prove;
mod quantised;
mod rotation;
mod run;
mod sentencepiece;
mod source;
mod special_tokens;
mod tokenizer_files;
mod types;
mod vocabulary;

pub use error::Error;
pub use fields::field_tables;
pub use job::{Job, Stage, Text};
pub use manifest::{
    Calibration, Conversion, Evaluation, FORMAT_VERSION, FileHash, Manifest, Source, TensorEntry,
};
pub use run::{Options, Progress, convert, expected_bytes, expected_sizes};
pub use types::{Mix, Override};
