//! Hashes a model again, and has what is damaged fetched once more.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::CHUNK_BYTES;
use super::chunks::Chunks;
use super::hasher::{DIGEST_BYTES, hex};
use crate::library::{Entry, Journal, Source};
use crate::{Error, Library};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// What hashing a model again has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It is what it was, or it has its first hash now.
    Good {
        /// Its SHA-256.
        sha256: String,
    },
    /// It is damaged, and the damaged part is being fetched by this download.
    Repairing {
        /// The download's number.
        download: i64,
    },
    /// It is damaged, and Lilims cannot repair it: its source is unknown, or it is not
    /// ours.
    Damaged {
        /// The hash that it had.
        expected: String,
        /// The hash that it has.
        got: String,
    },
}

impl Library {
    /// Hashes a model's file and compares with what its source or an earlier time said. One that is
    /// damaged and came from a repository stays, and gets a download that takes its place once it is
    /// whole, and fetches only the chunks that changed. `cancel` and `tell` (bytes so far) are looked at and called
    /// once per MiB.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Io`], [`Error::Index`]; [`Error::InUse`] where one that
    /// has to be repaired is loaded; [`Error::Stopped`].
    pub fn verify(
        &self,
        name: &str,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Verified, Error> {
        let entry = self.entry(name)?;
        let (sha256, digests) = hash(&entry.path, cancel, tell)?;
        let expected = entry.sha256.clone().unwrap_or_else(|| sha256.clone());
        if expected == sha256 {
            self.note_hash(name, &sha256, &digests)?;
            return Ok(Verified::Good { sha256 });
        }
        self.note_damage(name)?;
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

    /// Makes a download of a damaged model, of which the good chunks are in the model.
    fn repair(&self, entry: &Entry, source: &Source, digests: &[u8]) -> Result<i64, Error> {
        let mut chunks = Chunks::new(entry.size_bytes);
        // Where no digests are known, or from the first damaged chunk on, the hasher decides.
        let knows_digests = entry.digests.len() == chunks.len() * DIGEST_BYTES;
        let has_same_length = digests.len() == entry.digests.len();
        if knows_digests && has_same_length {
            (0..chunks.len()).for_each(|idx| chunks.set_here(idx));
        }
        let journal = Journal {
            etag: source.sha256.clone().unwrap_or_default(),
            sha256: source.sha256.clone(),
            total_bytes: entry.size_bytes,
            licence: entry.licence.clone(),
            ..Journal::default()
        };
        let _held = self.use_exclusively(&entry.name)?;
        let id = self.note_repair(entry, source, &journal, &chunks.to_bits())?;
        Ok(id)
    }
}

/// The SHA-256 of a file and the digests after each of its chunks.
fn hash(
    path: &Path,
    cancel: &AtomicBool,
    tell: &mut dyn FnMut(u64),
) -> Result<(String, Vec<u8>), Error> {
    let io = |source| Error::io(path)(source);
    let mut file = lilims_files::open(path).map_err(|error| io(error.into()))?;
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
        tell(done);
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
