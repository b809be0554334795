//! The bytes of a served file: in memory, generated or on disk. They are served in large pieces, so
//! that the server does not limit a download. Requests are handled in `files.rs`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::hex;
use super::rng::SeededRng;

/// Generated content repeats one block of this size, and files are read in pieces of it.
const BLOCK_BYTES: u64 = 1 << 20;
/// Each generated block starts with a mark of this size, which contains the block's number.
const MARK_BYTES: u64 = 16;

/// The content of a file. Clones share the data.
#[derive(Clone, Debug)]
pub struct Content {
    source: Source,
    len_bytes: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Held(Bytes),
    Generated { head: Bytes, seed: u64, block: Bytes },
    OnDisk(PathBuf),
}

impl Content {
    /// Content in memory.
    pub fn held(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { len_bytes: bytes.len() as u64, source: Source::Held(bytes) }
    }

    /// Generates `len_bytes` bytes from `seed`: a random block of 1 MiB repeated, each copy
    /// starting with its number, so that misplaced pieces are detected. Takes 1 MiB of memory.
    pub fn generated(seed: u64, len_bytes: u64) -> Self {
        let mut rng = SeededRng::new(seed);
        let block: Vec<u8> =
            (0..BLOCK_BYTES / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        let source = Source::Generated { head: Bytes::new(), seed, block: block.into() };
        Self { source, len_bytes }
    }

    /// Generated content whose first bytes are replaced by `head`.
    #[must_use]
    pub fn with_head(mut self, bytes: impl Into<Bytes>) -> Self {
        if let Source::Generated { head, .. } = &mut self.source {
            *head = bytes.into();
        }
        self
    }

    /// Content of a file on disk, read for each request.
    ///
    /// # Errors
    /// If the file's metadata cannot be read.
    pub fn on_disk(path: &Path) -> io::Result<Self> {
        let len_bytes = path.metadata()?.len();
        Ok(Self { source: Source::OnDisk(path.to_owned()), len_bytes })
    }

    /// The length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The SHA-256 of the whole content in lower-case hexadecimal.
    ///
    /// # Errors
    /// If the file on disk cannot be read.
    pub fn sha256(&self) -> io::Result<String> {
        let mut hasher = Sha256::new();
        self.each_piece(0..self.len_bytes, |piece| hasher.update(piece))?;
        Ok(hex(&hasher.finalize()))
    }

    /// Reads a range into memory.
    ///
    /// # Errors
    /// If the file on disk cannot be read.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        self.each_piece(range, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    fn each_piece(&self, mut range: Range<u64>, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
        if let Source::OnDisk(path) = &self.source {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut piece = vec![0; BLOCK_BYTES as usize];
            while !range.is_empty() {
                let len_bytes = BLOCK_BYTES.min(range.end - range.start);
                file.read_exact(&mut piece[..len_bytes as usize])?;
                visit(&piece[..len_bytes as usize]);
                range.start += len_bytes;
            }
            return Ok(());
        }
        while !range.is_empty() {
            let piece = self.piece(&range);
            visit(&piece);
            range.start += piece.len() as u64;
        }
        Ok(())
    }

    /// The first piece of `range`, without a copy except for a block's mark.
    fn piece(&self, range: &Range<u64>) -> Bytes {
        let len_bytes = range.end - range.start;
        match &self.source {
            Source::Held(bytes) => {
                let end = range.start + len_bytes.min(BLOCK_BYTES);
                bytes.slice(range.start as usize..end as usize)
            }
            Source::Generated { head, .. } if range.start < head.len() as u64 => {
                let end = range.end.min(head.len() as u64);
                head.slice(range.start as usize..end as usize)
            }
            Source::Generated { seed, block, .. } => {
                let within = range.start % BLOCK_BYTES;
                if within < MARK_BYTES {
                    let mark = mark(*seed, range.start / BLOCK_BYTES);
                    let end = MARK_BYTES.min(within + len_bytes);
                    Bytes::copy_from_slice(&mark[within as usize..end as usize])
                } else {
                    let end = BLOCK_BYTES.min(within + len_bytes);
                    block.slice(within as usize..end as usize)
                }
            }
            Source::OnDisk(_) => unreachable!("callers read files on disk themselves"),
        }
    }

    /// A range as a stream, for the body of a response.
    pub(super) fn stream(
        self,
        range: Range<u64>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let start = (self, range, None::<tokio::fs::File>);
        stream::try_unfold(start, |(content, mut range, mut open)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = match &content.source {
                Source::OnDisk(path) => {
                    let file = match &mut open {
                        Some(file) => file,
                        closed => closed.insert(open_at(path, range.start).await?),
                    };
                    let len_bytes = BLOCK_BYTES.min(range.end - range.start);
                    let mut piece = vec![0; len_bytes as usize];
                    file.read_exact(&mut piece).await?;
                    piece.into()
                }
                _ => content.piece(&range),
            };
            range.start += piece.len() as u64;
            Ok(Some((piece, (content, range, open))))
        })
    }
}

async fn open_at(path: &Path, offset: u64) -> io::Result<tokio::fs::File> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    Ok(file)
}

fn mark(seed: u64, block: u64) -> [u8; MARK_BYTES as usize] {
    let mixed = SeededRng::new(seed ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64();
    let mut mark = [0; MARK_BYTES as usize];
    mark[..8].copy_from_slice(&block.to_le_bytes());
    mark[8..].copy_from_slice(&mixed.to_le_bytes());
    mark
}
