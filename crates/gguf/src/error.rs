//! The errors of reading and writing GGUF files.

use std::path::PathBuf;

/// Why a GGUF file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened, mapped or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file was modified or truncated after it was opened.
    #[error("{} was changed or cut short while it was in use", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file does not start with `GGUF`.
    #[error("not a GGUF file: it starts with {found:02x?}")]
    Magic {
        /// The first bytes of the file, up to four.
        found: Vec<u8>,
    },
    /// The version is not 2 or 3.
    #[error("GGUF version {version} is not supported (2 and 3 are)")]
    Version {
        /// The version in the file.
        version: u32,
    },
    /// The file ends before a field or tensor that its header declares.
    #[error("damaged or incomplete: {what} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// How many bytes it needs.
        needed: u64,
        /// How many bytes the file has from that offset on.
        left: u64,
    },
    /// Only a prefix of the file is available, and the header is longer than it.
    #[error("the header is longer than the available prefix: at least {needed_bytes} bytes")]
    PrefixTooShort {
        /// The header takes at least this many bytes of the file.
        needed_bytes: u64,
    },
    /// Tensor data was requested of a file of which only the header was read.
    #[error("the data of tensor `{name}` is not available: only the file's header was read")]
    HeaderOnly {
        /// The tensor's name.
        name: String,
    },
    /// A field has a value that the format does not allow.
    #[error("damaged: {what} at byte {offset}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// Its offset in the file, in bytes.
        offset: u64,
    },
    /// A metadata key is missing.
    #[error("metadata key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value does not have the expected type or range.
    #[error("metadata key `{key}` is not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The expected type or range.
        expected: &'static str,
    },
    /// The file has no tensor of that name.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor's name.
        name: String,
    },
    /// The tensor's type is not supported, so its data cannot be read.
    #[error("tensor `{name}` has type {type_id}, which is not supported")]
    UnknownTensorType {
        /// The tensor's name.
        name: String,
        /// The type's number in the file.
        type_id: u32,
    },
}
