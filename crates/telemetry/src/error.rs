//! Why telemetry was not switched, recorded, read or sent.

use std::io;
use std::path::{Path, PathBuf};

use sentry::types::ParseDsnError;

/// Why telemetry was not switched, recorded, read or sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This build names no server for telemetry.
    #[error("this build has no address for telemetry")]
    NoDsn,
    /// The server's address cannot be read.
    #[error("the address for telemetry is invalid")]
    InvalidDsn(#[source] ParseDsnError),
    /// The server is on another machine and without encryption.
    #[error("the address for telemetry is not encrypted")]
    UnencryptedDsn,
    /// A file of telemetry cannot be read or written.
    #[error(transparent)]
    File(#[from] lilims_files::Error),
    /// A folder of telemetry cannot be created or emptied.
    #[error("cannot change the folder of telemetry {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// An event cannot be written as an envelope.
    #[error("cannot write an event as an envelope")]
    Serialise(#[source] io::Error),
    /// An envelope is larger than the queue takes.
    #[error("an envelope has {size_bytes} bytes, more than {limit_bytes}")]
    TooLarge {
        /// The size of the envelope.
        size_bytes: usize,
        /// The largest that is queued.
        limit_bytes: usize,
    },
    /// Another thread kept the queue for too long.
    #[error("the queue of telemetry is in use")]
    Busy,
    /// Telemetry was switched off, here or by another process.
    #[error("telemetry is off")]
    Off,
}

impl Error {
    /// Makes [`Error::Folder`] from a cause.
    pub(crate) fn folder(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Folder { path, source }
    }
}
