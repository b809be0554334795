//! The thread that writes received blocks and hashes them in file order.
//!
//! Each worker sends the bytes of a chunk in order and without gaps, and no two workers send the same
//! chunk. So a chunk is complete when its last byte has been written, and the bytes that are hashed on
//! arrival are those on disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lilims_files::BackgroundFlush;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::CHUNK_BYTES;
use super::chunks::Chunks;
use super::hasher::{ChunkCheck, Hasher};
use crate::Error;

/// Size of one read when hashing from the file.
const READ_BYTES: usize = 1 << 20;
/// Bytes between two flushes to the disk.
const FLUSH_BYTES: u64 = 64 << 20;

/// Received bytes of the file.
pub(crate) struct Block {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// State that the sink, the workers and the progress reports share.
pub(crate) struct Shared {
    pub(crate) total_bytes: u64,
    chunks: Mutex<Chunks>,
    digests: Mutex<Vec<u8>>,
    received_bytes: AtomicU64,
    /// Wakes idle workers: when a chunk must be downloaded again, and at the end.
    pub(crate) status: watch::Sender<Status>,
}

/// The sink's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Number of chunks that were found damaged.
    damaged: usize,
    /// Whether the whole file has been written and hashed.
    pub(crate) is_complete: bool,
}

impl Shared {
    pub(crate) fn new(total_bytes: u64, chunks: Chunks) -> Self {
        Self {
            total_bytes,
            received_bytes: AtomicU64::new(chunks.received_bytes()),
            chunks: Mutex::new(chunks),
            digests: Mutex::default(),
            status: watch::Sender::default(),
        }
    }

    pub(crate) fn chunks(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock()
    }

    /// The number of received bytes, including those of incomplete chunks.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed).min(self.total_bytes)
    }

    /// The chunks and digests to store, as in [`DownloadRow`](crate::DownloadRow).
    pub(crate) fn snapshot(&self) -> (Vec<u8>, Vec<u8>) {
        let digests = self.digests.lock().clone();
        (self.chunks().to_bits(), digests)
    }

    fn set_digests(&self, hasher: &Hasher) {
        let mut digests = self.digests.lock();
        hasher.digests().clone_into(&mut digests);
    }
}

/// Writes the received blocks to the file at `path` until the channel is closed. Returns the hash if
/// the file is complete then.
pub(crate) fn run(
    path: &Path,
    shared: &Shared,
    digests: Vec<u8>,
    blocks: Receiver<Block>,
) -> Result<Option<Hashed>, Error> {
    let io = |source| Error::io(path)(source);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let reader = lilims_files::open(path).map_err(Error::file(path))?;
    let flush = BackgroundFlush::start(&file).map_err(io)?;
    let hasher = Hasher::new(digests);
    shared.set_digests(&hasher);
    let sink = Sink {
        path: path.to_owned(),
        file,
        position: 0,
        reader,
        hasher,
        shared,
        buffer: vec![],
        unflushed_bytes: 0,
        flush: &flush,
    };
    let hashed = sink.receive(blocks);
    flush.finish().map_err(io)?;
    hashed
}

/// The hashes of a complete file.
pub(crate) struct Hashed {
    pub(crate) sha256: String,
    /// As in [`DownloadRow`](crate::DownloadRow).
    pub(crate) digests: Vec<u8>,
}

struct Sink<'a> {
    path: PathBuf,
    file: File,
    /// The position of `file`.
    position: u64,
    reader: File,
    hasher: Hasher,
    shared: &'a Shared,
    buffer: Vec<u8>,
    unflushed_bytes: u64,
    flush: &'a BackgroundFlush,
}

impl Sink<'_> {
    /// Writes and hashes blocks until the channel is closed.
    fn receive(mut self, mut blocks: Receiver<Block>) -> Result<Option<Hashed>, Error> {
        // An empty file is complete at once.
        self.notify_if_complete();
        loop {
            let block = if self.can_advance() {
                // After the channel is closed, the rest is still hashed.
                blocks.try_recv().ok()
            } else {
                match blocks.blocking_recv() {
                    Some(block) => Some(block),
                    None => return self.end(),
                }
            };
            match block {
                Some(block) => self.write(&block)?,
                None => self.advance()?,
            }
        }
    }

    fn write(&mut self, block: &Block) -> Result<(), Error> {
        let (mut offset, mut bytes) = (block.offset, &block.bytes[..]);
        while !bytes.is_empty() {
            let left = CHUNK_BYTES - offset % CHUNK_BYTES;
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.write_part(offset, &bytes[..n]).map_err(Error::io(&self.path))?;
            bytes = &bytes[n..];
            offset += n as u64;
        }
        self.notify_if_complete();
        Ok(())
    }

    /// Writes bytes that lie in one chunk.
    fn write_part(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let idx = usize::try_from(offset / CHUNK_BYTES).expect("files fit the address space");
        if self.shared.chunks().is_received(idx) {
            // A restarted attempt may send chunks that an earlier one has completed.
            return Ok(());
        }
        if self.position != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        self.file.write_all(bytes)?;
        let end = offset + bytes.len() as u64;
        self.position = end;
        self.unflushed_bytes += bytes.len() as u64;
        if self.unflushed_bytes >= FLUSH_BYTES {
            self.flush.request();
            self.unflushed_bytes = 0;
        }
        self.shared.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let chunk = self.shared.chunks().range(idx);
        if offset == chunk.start && self.hasher.chunk() == idx && self.hasher.offset() != offset {
            // Another attempt starts the chunk again.
            self.hasher.restart_chunk();
        }
        let is_hashed = self.hasher.offset() == offset;
        if is_hashed {
            self.hasher.update(bytes);
        }
        if end == chunk.end {
            self.shared.chunks().set_received(idx);
            if is_hashed {
                self.end_chunk(idx);
            }
        }
        Ok(())
    }

    /// Whether the next chunk to hash has been received.
    fn can_advance(&self) -> bool {
        let idx = self.hasher.chunk();
        self.hasher.offset() < self.shared.total_bytes && self.shared.chunks().is_received(idx)
    }

    /// Hashes the rest of the next chunk from the file.
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
        self.notify_if_complete();
        Ok(())
    }

    fn end_chunk(&mut self, idx: usize) {
        if self.hasher.end_chunk(idx) == ChunkCheck::Damaged {
            let mut chunks = self.shared.chunks();
            let range = chunks.range(idx);
            chunks.set_missing(idx);
            self.shared.received_bytes.fetch_sub(range.end - range.start, Ordering::Relaxed);
            self.shared.status.send_modify(|status| status.damaged += 1);
        } else {
            self.shared.set_digests(&self.hasher);
        }
    }

    fn is_complete(&self) -> bool {
        self.hasher.offset() == self.shared.total_bytes && self.shared.chunks().all_received()
    }

    fn notify_if_complete(&self) {
        if self.is_complete() {
            self.shared.status.send_modify(|status| status.is_complete = true);
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
