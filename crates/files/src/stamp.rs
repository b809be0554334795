//! Detects that a file was modified or replaced, without reading its content.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// A file's length, modification time and, on Unix, device and inode: differs if the file was
/// written to or replaced.
///
/// Writes through another program's memory map may update the modification time late, or never if
/// that program resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size_bytes: u64,
    modified: Option<SystemTime>,
    identity: (u64, u64),
}

impl Stamp {
    /// The stamp of an open file, even if its path now refers to another one.
    ///
    /// # Errors
    /// When the file's metadata cannot be read.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::of_metadata(&metadata))
    }

    /// The stamp of the file that is now at `path`.
    ///
    /// # Errors
    /// When the file's metadata cannot be read, for example because it was removed.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of_metadata(&metadata))
    }

    /// The file's length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
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
