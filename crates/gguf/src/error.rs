//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// Why a GGUF file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened, mapped or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
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
        /// The version the file states.
        version: u32,
    },
    /// The file ends before something that it announces.
    #[error("damaged or incomplete: {what} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// How many bytes it needs.
        needed: u64,
        /// How many bytes the file still has there.
        left: u64,
    },
    /// Only the first bytes of the file are there, and its header goes on after them.
    #[error("the header goes on after what is there of the file: {needed_bytes} bytes or more")]
    PrefixTooShort {
        /// The header ends after so many bytes of the file, or later.
        needed_bytes: u64,
    },
    /// Only the file's header is there.
    #[error("the data of tensor `{name}` is not there: only the file's header was read")]
    HeaderOnly {
        /// The tensor's name.
        name: String,
    },
    /// A field has a value that the format does not allow.
    #[error("damaged: {what} at byte {offset}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// Where it stands.
        offset: u64,
    },
    /// A metadata key is missing.
    #[error("metadata key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value has another type or range than needed.
    #[error("metadata key `{key}` is not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What was needed.
        expected: &'static str,
    },
    /// No tensor of that name.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor's name.
        name: String,
    },
    /// The tensor's type is unknown, so that its data cannot be used.
    #[error("tensor `{name}` has type {type_id}, which Lilims does not know")]
    UnknownTensorType {
        /// The tensor's name.
        name: String,
        /// The type's number in the file.
        type_id: u32,
    },
}
