//! The name, size and SHA-256 of a file, as manifests state them.
//!
//! A large file that is read anyway is hashed from the buffers it is read to, by another thread.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::buffer::Buffer;
use crate::{Error, input_file};

/// The capacity of the queue of parts to hash.
const QUEUE_LEN: usize = 8;
/// The most that the hashing thread reads in front of a part, in bytes: a header or a tensor that
/// is left out. While it reads, conversion waits.
const MAX_GAP_BYTES: u64 = 64 << 20;
/// What is read at a time, in bytes: few enough to be hashed from the processor's cache.
const READ_BYTES: u64 = 1 << 18;

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
    /// Hashes the file at `path` until `keep_going` returns false. Only what is not in `parts` is
    /// read here.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Cancelled`].
    pub(crate) fn of_file(
        path: &Path,
        parts: impl IntoIterator<Item = Part>,
        keep_going: &impl Fn() -> bool,
    ) -> Result<Self, Error> {
        let mut hasher = Hasher::open(path)?;
        for part in parts {
            hasher.read_to(part.offset, keep_going)?;
            hasher.update(&part.bytes);
        }
        hasher.read_to(u64::MAX, keep_going)?;
        Ok(Self::new(path, hasher.position, hasher.hash))
    }

    pub(crate) fn new(path: &Path, size_bytes: u64, hash: Sha256) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, size_bytes, sha256: hex(hash.finalize()) }
    }
}

/// Part of a file.
pub(crate) struct Part {
    offset: u64,
    bytes: Arc<Buffer>,
}

/// Passes on the parts of a file that are read, as long as they are in order.
pub(crate) struct PartSender {
    /// `None` once a part was out of order.
    parts: Option<SyncSender<Part>>,
    /// Where the last part ended.
    end: u64,
}

impl PartSender {
    /// Passes on what was read at `offset`; does nothing without an offset.
    pub(crate) fn send(&mut self, offset: Option<u64>, bytes: &Arc<Buffer>) {
        let (Some(parts), Some(offset)) = (&self.parts, offset) else { return };
        let gap = offset.checked_sub(self.end);
        self.end = offset + bytes.len() as u64;
        let part = Part { offset, bytes: Arc::clone(bytes) };
        // Sending fails where hashing has ended with an error.
        if gap.is_none_or(|gap| gap > MAX_GAP_BYTES) || parts.send(part).is_err() {
            self.parts = None;
        }
    }
}

/// Returns both ends of a queue of parts.
pub(crate) fn parts() -> (PartSender, Receiver<Part>) {
    let (sender, receiver) = sync_channel(QUEUE_LEN);
    (PartSender { parts: Some(sender), end: 0 }, receiver)
}

/// A file that is hashed up to a position.
struct Hasher<'a> {
    path: &'a Path,
    file: File,
    hash: Sha256,
    position: u64,
    buffer: Vec<u8>,
}

impl<'a> Hasher<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        let file = input_file::open(path)?;
        let buffer = vec![0; READ_BYTES as usize];
        Ok(Self { path, file, hash: Sha256::new(), position: 0, buffer })
    }

    /// Reads and hashes up to the offset `end` or the end of the file.
    fn read_to(&mut self, end: u64, keep_going: &impl Fn() -> bool) -> Result<(), Error> {
        if self.position < end {
            self.file.seek(SeekFrom::Start(self.position)).map_err(Error::io(self.path))?;
        }
        while self.position < end {
            if !keep_going() {
                return Err(Error::Cancelled);
            }
            let n_bytes = READ_BYTES.min(end - self.position);
            let buffer = &mut self.buffer[..n_bytes as usize];
            let n = self.file.read(buffer).map_err(Error::io(self.path))?;
            if n == 0 {
                break;
            }
            self.hash.update(&buffer[..n]);
            self.position += n as u64;
        }
        Ok(())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
    }
}

/// Formats bytes in hexadecimal.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// The hash of `bytes` in a file of which these ranges were read before.
    fn hash_with(bytes: &[u8], ranges: &[Range<usize>]) -> FileHash {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        std::fs::write(&path, bytes).unwrap();
        let (mut sender, receiver) = parts();
        for range in ranges {
            let part = Arc::new(Buffer::from(bytes[range.clone()].to_vec()));
            sender.send(Some(range.start as u64), &part);
        }
        drop(sender);
        FileHash::of_file(&path, receiver, &|| true).unwrap()
    }

    #[test]
    fn parts_in_any_order_give_the_hash_of_the_whole_file() {
        let bytes: Vec<u8> = (0..3000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let expected = hex(Sha256::digest(&bytes));
        let whole = 0..3000;
        for ranges in [
            vec![],
            vec![whole],
            vec![0..1000, 1000..3000],
            vec![100..1000, 1000..1001, 1500..2900],
            vec![1000..2000, 0..1000, 2000..3000],
            vec![100..1000, 500..1500, 1500..3000],
        ] {
            let hash = hash_with(&bytes, &ranges);
            assert_eq!((hash.size_bytes, &hash.sha256), (3000, &expected), "{ranges:?}");
        }
    }
}
