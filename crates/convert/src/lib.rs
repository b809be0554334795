//! Converts models to GGUF: from a checkpoint of transformers, or from a GGUF file of another type.
//!
//! [`convert`] reads a folder with `config.json`, weights and a tokenizer, or a GGUF file, and
//! writes one GGUF file, with tokenizer and chat template inside, and a [`Manifest`] beside it. The
//! chosen [`Mix`] decides the type of each tensor. Tensors are streamed in chunks. A [`Job`] adds
//! calibration before the conversion and evaluation after it. Nothing here downloads or prints.

mod buffer;
mod calibrate;
mod config;
mod config_reader;
mod encode;
mod error;
mod family;
mod field_docs;
mod field_tables;
mod fields;
mod file_hash;
mod input_file;
mod job;
mod manifest;
mod metadata;
mod notes;
mod output;
mod pickle;
mod pipeline;
mod plan;
mod pre;
#[cfg(test)]
mod published_tests;
mod quantised;
mod quote;
mod rotation;
mod run;
mod sentencepiece;
mod source;
mod source_tensor;
mod special_tokens;
mod token;
mod tokenizer_check;
mod tokenizer_files;
mod types;
mod vocabulary;

pub use error::Error;
pub use field_docs::field_tables;
pub use file_hash::FileHash;
pub use job::{Job, Stage, Text};
pub use manifest::{
    Calibration, Conversion, Evaluation, FORMAT_VERSION, Manifest, Source, TensorEntry,
};
pub use run::{Options, Progress, convert, expected_bytes, expected_sizes};
pub use types::{Mix, Override};
