//! Reads, validates and writes GGUF files, versions 2 and 3, little endian.
//!
//! A [`File`] is a memory map with an index: metadata values and tensor offsets are checked
//! once against the file's length, and tensor data is borrowed from the map, never copied. This
//! crate does no tensor arithmetic; `lilims-quant` decodes the blocks.
//!
//! Specification: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod error;
mod guard;
mod header;
mod metadata;
mod quoted;
mod reader;
mod split;
mod tensor_type;
mod writer;

pub use error::Error;
pub use header::{FIRST_HEADER_BYTES, MAX_HEADER_BYTES, next_header_bytes};
pub use metadata::{Array, Metadata, Value};
pub use quoted::quoted;
pub use reader::{File, TensorInfo};
pub use split::Split;
pub use tensor_type::TensorType;
pub use writer::{TensorHeader, Writer};
