//! Verifies a model's hash, and repairs a damaged model by a download.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::CHUNK_BYTES;
use super::chunks::Chunks;
use super::hasher::{DIGEST_BYTES, hex};
use crate::library::{DownloadProgress, Entry, Source};
use crate::{Error, Library};

/// Size of one read.
const READ_BYTES: usize = 1 << 20;

/// The result of verifying a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It has its stored hash, or it had none.
    Good {
        /// Its SHA-256.
        sha256: String,
    },
    /// It is damaged, and a download of the damaged parts is in the queue.
    Repairing {
        /// The ID of the download.
        download: i64,
    },
    /// It is damaged and cannot be repaired: its source is unknown, or another program owns it.
    Damaged {
        /// Its stored hash.
        expected: String,
        /// Its current hash.
        got: String,
    },
}

impl Library {
    /// Hashes a model's file and compares the hash with that of its source or of an earlier call. For a
    /// damaged model from a repository, adds a download of the damaged chunks to the queue, which
    /// replaces the model when complete. Checks `cancel` and calls `report` (bytes so far) once per MiB.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Io`], [`Error::Database`]; [`Error::InUse`] if a
    /// damaged model is loaded; [`Error::Stopped`].
    pub fn verify(
        &self,
        name: &str,
        cancel: &AtomicBool,
        report: &mut dyn FnMut(u64),
    ) -> Result<Verified, Error> {
        let entry = self.entry(name)?;
        let (sha256, digests) = hash(&entry.path, cancel, report)?;
        let expected = entry.sha256.clone().unwrap_or_else(|| sha256.clone());
        if expected == sha256 {
            self.store_hash(name, &sha256, &digests)?;
            return Ok(Verified::Good { sha256 });
        }
        self.mark_damaged(name)?;
        match (&entry.owner, &entry.repository, &entry.file) {
            (None, Some(repository), Some(file)) => {
                let source = Source {
                    repository: repository.clone(),
                    file: file.clone(),
                    revision: entry.revision.clone().unwrap_or_else(|| "main".to_owned()),
                    sha256: Some(expected),
                };
                Ok(Verified::Repairing { download: self.repair(&entry, &source, &digests)? })
            }
            _ => Ok(Verified::Damaged { expected, got: sha256 }),
        }
    }

    /// Enqueues a download that takes the good chunks from the damaged model.
    fn repair(&self, entry: &Entry, source: &Source, digests: &[u8]) -> Result<i64, Error> {
        let mut chunks = Chunks::new(entry.size_bytes);
        // The hasher finds the damaged ones by the stored digests.
        let knows_digests = entry.digests.len() == chunks.len() * DIGEST_BYTES;
        let has_same_length = digests.len() == entry.digests.len();
        if knows_digests && has_same_length {
            (0..chunks.len()).for_each(|idx| chunks.set_received(idx));
        }
        let progress = DownloadProgress {
            etag: source.sha256.clone().unwrap_or_default(),
            sha256: source.sha256.clone(),
            total_bytes: entry.size_bytes,
            licence: entry.licence.clone(),
            ..DownloadProgress::default()
        };
        let _lock = self.lock_exclusively(&entry.name)?;
        self.enqueue_repair(entry, source, &progress, &chunks.to_bits())
    }
}

/// Computes the SHA-256 of a file and the digests after each of its chunks.
fn hash(
    path: &Path,
    cancel: &AtomicBool,
    report: &mut dyn FnMut(u64),
) -> Result<(String, Vec<u8>), Error> {
    let io = |source| Error::io(path)(source);
    let mut file = lilims_files::open(path).map_err(Error::file(path))?;
    let (mut sha, mut digests, mut done) = (Sha256::new(), Vec::new(), 0u64);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let n = read_full(&mut file, &mut buffer).map_err(io)?;
        sha.update(&buffer[..n]);
        done += n as u64;
        let is_end = n < buffer.len();
        if n > 0 && (is_end || done.is_multiple_of(CHUNK_BYTES)) {
            digests.extend_from_slice(&sha.clone().finalize());
        }
        report(done);
        if is_end {
            return Ok((hex(&sha.finalize()), digests));
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}
