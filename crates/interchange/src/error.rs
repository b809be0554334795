//! Why a file was not read.

use std::io;

/// Why a file was not read as conversations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or read.
    #[error(transparent)]
    File(#[from] lilims_files::Error),
    /// Reading failed.
    #[error("cannot read the file")]
    Io(#[source] io::Error),
    /// The file has no conversations in a format that is known.
    #[error("the file is not an export in a known format")]
    UnknownFormat,
    /// The file has more JSON than is read.
    #[error("the file has more than {limit_bytes} bytes of JSON")]
    TooLarge {
        /// The most that is read.
        limit_bytes: u64,
    },
    /// One text of the file is longer than any that is read.
    #[error("a text of the file has more than {limit_bytes} bytes")]
    TextTooLong {
        /// The longest that is read.
        limit_bytes: u64,
    },
    /// The file is not valid JSON, and nothing before the fault was a conversation.
    #[error("the file is damaged at line {line}, column {column}")]
    Damaged {
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault, from 1.
        column: usize,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The file is an archive that cannot be unpacked.
    #[error("the file is an archive that cannot be unpacked")]
    Archive(#[source] zip::result::ZipError),
    /// The archive has too many entries.
    #[error("the archive has {found} entries, more than {limit}")]
    TooManyEntries {
        /// Entries of the archive.
        found: usize,
        /// The most that are looked at.
        limit: usize,
    },
    /// A later version of Lilims wrote the file.
    #[error("the file has version {found} of the format, this program reads up to {known}")]
    NewerVersion {
        /// The version that the file states.
        found: u64,
        /// The newest version that is known.
        known: u64,
    },
}

/// A limit that a reader enforces, as it travels through `serde_json` inside of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Limit {
    #[error("more than {0} bytes")]
    Bytes(u64),
    #[error("a text of more than {0} bytes")]
    Text(u64),
}

impl From<Limit> for io::Error {
    fn from(limit: Limit) -> Self {
        Self::new(io::ErrorKind::FileTooLarge, limit)
    }
}

/// The error for a failed read, which may be one of our own limits.
pub(crate) fn from_io(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Limit>()) {
        Some(Limit::Bytes(limit_bytes)) => Error::TooLarge { limit_bytes: *limit_bytes },
        Some(Limit::Text(limit_bytes)) => Error::TextTooLong { limit_bytes: *limit_bytes },
        None => Error::Io(error),
    }
}

/// The error for JSON that cannot be parsed.
pub(crate) fn from_json(error: serde_json::Error) -> Error {
    if error.is_io() {
        return from_io(error.into());
    }
    Error::Damaged { line: error.line(), column: error.column(), source: error }
}
