//! Why the store did not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::{ConversationId, FolderId, MessageId};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read or written.
    #[error("the database cannot be used")]
    Database(#[source] rusqlite::Error),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The database turned out to be damaged while it was in use. The next [`crate::Store::open`]
    /// repairs it.
    #[error("the database is damaged: {detail}")]
    Damaged {
        /// What SQLite said.
        detail: String,
    },
    /// The database is damaged, and another process has it open, so it cannot be exchanged.
    #[error("the database is damaged and another process uses it")]
    DamagedInUse,
    /// The database was written by a later version of Lilims. Nothing was changed.
    #[error("the database has version {found}, this version of Lilims reads up to {known}")]
    NewerVersion {
        /// The version that the file states.
        found: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// Other processes have the database for themselves for too long.
    #[error("other processes use the database")]
    Busy,
    /// There is no model of this name.
    #[error("there is no model called `{name}`")]
    NoSuchModel {
        /// The name asked for.
        name: String,
    },
    /// There is no such conversation.
    #[error("there is no conversation {id}")]
    NoSuchConversation {
        /// The conversation asked for.
        id: ConversationId,
    },
    /// There is no such message, or it belongs to another conversation.
    #[error("there is no message {id} in this conversation")]
    NoSuchMessage {
        /// The message asked for.
        id: MessageId,
    },
    /// There is no such folder of conversations.
    #[error("there is no folder {id} of conversations")]
    NoSuchFolder {
        /// The folder asked for.
        id: FolderId,
    },
    /// The message is not being written, so nothing can be appended to it.
    #[error("the message {id} is not being written")]
    NotWriting {
        /// The message.
        id: MessageId,
    },
    /// The message is being written and cannot be edited before that ends.
    #[error("the message {id} is being written")]
    StillWriting {
        /// The message.
        id: MessageId,
    },
    /// What is stored under a key is not what the caller reads there. It is left as it is.
    #[error("the setting `{key}` is stored in another form")]
    Setting {
        /// The key.
        key: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A value cannot be written as JSON.
    #[error("a value cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// A path cannot be stored on this system, since it is not text.
    #[error("{} cannot be stored", path.display())]
    PathNotText {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    /// Makes an [`Error::Io`] of what the system said about `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io { path, source },
        }
    }

    /// As [`Error::io`], for errors of `lilims_files`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(lilims_files::Error) -> Self {
        let path = path.to_owned();
        |error| Self::io(path)(error.into())
    }

    /// Whether the database is damaged or not a database of ours.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::DamagedInUse)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { detail: error.to_string() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}
