//! The thread that writes what arrives, and hashes it in the file's order.
//!
//! Each worker brings its chunks from their beginnings on and without gaps, and no two workers
//! bring the same chunk. So a chunk is here when its last byte is, and bytes that are hashed as they
//! arrive are those that lie on the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::CHUNK_BYTES;
use super::chunks::Chunks;
use super::hasher::{Ended, Hasher};
use crate::Error;

/// Bytes that are read at once to be hashed.
const READ_BYTES: usize = 1 << 20;
/// Bytes that are written before the disk is asked to have them.
const FLUSH_BYTES: u64 = 64 << 20;

/// Bytes of the file.
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// State of the writing thread, the workers and the progress reports.
pub(crate) struct Shared {
    pub(crate) total_bytes: u64,
    chunks: Mutex<Chunks>,
    digests: Mutex<Vec<u8>>,
    here_bytes: AtomicU64,
    /// Counts what may concern a worker that waits: a chunk to fetch again, the end.
    pub(crate) news: watch::Sender<Progress>,
}

/// How far the thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Chunks that were found damaged.
    damaged: usize,
    /// Whether all is here and hashed.
    pub(crate) is_complete: bool,
}

impl Shared {
    pub(crate) fn new(total_bytes: u64, chunks: Chunks) -> Self {
        Self {
            total_bytes,
            here_bytes: AtomicU64::new(chunks.here_bytes()),
            chunks: Mutex::new(chunks),
            digests: Mutex::default(),
            news: watch::Sender::default(),
        }
    }

    pub(crate) fn chunks(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that are here, those of unfinished chunks included.
    pub(crate) fn here_bytes(&self) -> u64 {
        self.here_bytes.load(Ordering::Relaxed).min(self.total_bytes)
    }

    /// What of the chunks and digests is worth keeping over a crash.
    pub(crate) fn snapshot(&self) -> (Vec<u8>, Vec<u8>) {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.chunks().to_bits(), digests)
    }

    fn keep_digests(&self, hasher: &Hasher) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.digests().clone_into(&mut digests);
    }
}

/// Writes what comes through `pieces` into the file at `path`, until that closes. Returns the file
/// with its hash if all is here then.
pub(crate) fn run(
    path: &Path,
    shared: &Shared,
    digests: Vec<u8>,
    pieces: Receiver<Piece>,
) -> Result<Option<Hashed>, Error> {
    let io = |source| Error::io(path)(source);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let reader = lilims_files::open(path).map_err(|error| io(error.into()))?;
    let flushed = file.try_clone().map_err(io)?;
    let hasher = Hasher::new(digests);
    shared.keep_digests(&hasher);
    std::thread::scope(|scope| {
        let (flush, flushes) = std::sync::mpsc::sync_channel(1);
        let sink = Sink {
            path: path.to_owned(),
            file,
            position: 0,
            reader,
            hasher,
            shared,
            buffer: vec![],
            unflushed_bytes: 0,
            flush,
        };
        scope.spawn(move || {
            while let Ok(()) = flushes.recv() {
                // What fails here fails at the end as well, and is said there.
                let _ = flushed.sync_data();
            }
        });
        sink.take(pieces)
    })
}

/// A file that is whole, and its hash.
pub(crate) struct Hashed {
    pub(crate) sha256: String,
    pub(crate) digests: Vec<u8>,
}

struct Sink<'a> {
    path: PathBuf,
    file: File,
    /// Where `file` stands.
    position: u64,
    reader: File,
    hasher: Hasher,
    shared: &'a Shared,
    buffer: Vec<u8>,
    unflushed_bytes: u64,
    /// Asks a thread to bring to the disk what is written so far, so that the end has little to
    /// wait for.
    flush: SyncSender<()>,
}

impl Sink<'_> {
    /// Writes and hashes what comes, until nothing does any more.
    fn take(mut self, mut pieces: Receiver<Piece>) -> Result<Option<Hashed>, Error> {
        // An empty file is.
        self.tell_if_complete();
        loop {
            let piece = if self.can_advance() {
                // Where the channel is closed, what is here is hashed still.
                pieces.try_recv().ok()
            } else {
                match pieces.blocking_recv() {
                    Some(piece) => Some(piece),
                    None => return self.end(),
                }
            };
            match piece {
                Some(piece) => self.write(&piece)?,
                None => self.advance()?,
            }
        }
    }

    fn write(&mut self, piece: &Piece) -> Result<(), Error> {
        let (mut offset, mut bytes) = (piece.offset, &piece.bytes[..]);
        while !bytes.is_empty() {
            let left = CHUNK_BYTES - offset % CHUNK_BYTES;
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.write_part(offset, &bytes[..n]).map_err(Error::io(&self.path))?;
            bytes = &bytes[n..];
            offset += n as u64;
        }
        self.tell_if_complete();
        Ok(())
    }

    /// Writes bytes of one chunk.
    fn write_part(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let idx = usize::try_from(offset / CHUNK_BYTES).expect("files fit the address space");
        if self.shared.chunks().is_here(idx) {
            // A restarted attempt brings bytes again that an earlier one has brought.
            return Ok(());
        }
        if self.position != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        self.file.write_all(bytes)?;
        let end = offset + bytes.len() as u64;
        self.position = end;
        self.unflushed_bytes += bytes.len() as u64;
        if self.unflushed_bytes >= FLUSH_BYTES && self.flush.try_send(()).is_ok() {
            self.unflushed_bytes = 0;
        }
        self.shared.here_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let chunk = self.shared.chunks().range(idx);
        if offset == chunk.start && self.hasher.chunk() == idx && self.hasher.offset() != offset {
            // The chunk comes once more, from another attempt.
            self.hasher.restart_chunk();
        }
        let is_hashed = self.hasher.offset() == offset;
        if is_hashed {
            self.hasher.update(bytes);
        }
        if end == chunk.end {
            self.shared.chunks().set_here(idx);
            if is_hashed {
                self.end_chunk(idx);
            }
        }
        Ok(())
    }

    /// Whether a chunk is here that is not hashed.
    fn can_advance(&self) -> bool {
        let idx = self.hasher.chunk();
        self.hasher.offset() < self.shared.total_bytes && self.shared.chunks().is_here(idx)
    }

    /// Hashes what is not hashed of the next chunk.
    fn advance(&mut self) -> Result<(), Error> {
        let idx = self.hasher.chunk();
        let end = self.shared.chunks().range(idx).end;
        let offset = self.hasher.offset();
        self.buffer.resize(READ_BYTES, 0);
        let io = |source| Error::io(&self.path)(source);
        self.reader.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut left = usize::try_from(end - offset).expect("a chunk is small");
        while left > 0 {
            let part = &mut self.buffer[..left.min(READ_BYTES)];
            self.reader.read_exact(part).map_err(io)?;
            self.hasher.update(part);
            left -= part.len();
        }
        self.end_chunk(idx);
        self.tell_if_complete();
        Ok(())
    }

    fn end_chunk(&mut self, idx: usize) {
        if self.hasher.end_chunk(idx) == Ended::Damaged {
            let mut chunks = self.shared.chunks();
            let range = chunks.range(idx);
            chunks.set_missing(idx);
            self.shared.here_bytes.fetch_sub(range.end - range.start, Ordering::Relaxed);
            self.shared.news.send_modify(|news| news.damaged += 1);
        } else {
            self.shared.keep_digests(&self.hasher);
        }
    }

    fn is_complete(&self) -> bool {
        self.hasher.offset() == self.shared.total_bytes && self.shared.chunks().all_here()
    }

    fn tell_if_complete(&self) {
        if self.is_complete() {
            self.shared.news.send_modify(|news| news.is_complete = true);
        }
    }

    fn end(self) -> Result<Option<Hashed>, Error> {
        if !self.is_complete() {
            return Ok(None);
        }
        self.file.sync_all().map_err(Error::io(&self.path))?;
        let digests = self.hasher.digests().to_vec();
        Ok(Some(Hashed { sha256: self.hasher.hash(), digests }))
    }
}
