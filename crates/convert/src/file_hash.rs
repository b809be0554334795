//! The name, size and SHA-256 of a file, as manifests state them.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, input_file};

/// A file's name, size and hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// The file's name without its folder.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

impl FileHash {
    /// Reads and hashes the file at `path` until `keep_going` returns false.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Cancelled`].
    pub(crate) fn of_file(path: &Path, keep_going: &impl Fn() -> bool) -> Result<Self, Error> {
        let mut file = input_file::open(path)?;
        let (mut hash, mut size_bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            if !keep_going() {
                return Err(Error::Cancelled);
            }
            let n = file.read(&mut buffer).map_err(Error::io(path))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            size_bytes += n as u64;
        }
        Ok(Self::new(path, size_bytes, hash))
    }

    pub(crate) fn new(path: &Path, size_bytes: u64, hash: Sha256) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, size_bytes, sha256: hex(hash.finalize()) }
    }
}

/// Formats bytes in hexadecimal.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
