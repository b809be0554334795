//! Whether a file is still the one that was opened.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// What changes when a file is written to, or when another takes its name: its length, when it was
/// last written to, and on Unix which file it is.
///
/// A program that writes through a memory map of its own may set the time late or, where it asks
/// for it, never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size_bytes: u64,
    modified: Option<SystemTime>,
    identity: (u64, u64),
}

impl Stamp {
    /// The stamp of an open file, whatever its name leads to by now.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of_metadata(&metadata))
    }

    /// The stamp of what `path` leads to now.
    ///
    /// # Errors
    /// When the system does not tell, such as for a name that is gone.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of_metadata(&metadata))
    }

    fn of_metadata(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        Self { size_bytes: metadata.len(), modified: metadata.modified().ok(), identity }
    }
}
