//! The SHA-256 of a file, with intermediate digests after each chunk: one pass computes the hash and
//! finds damaged chunks.

use sha2::{Digest, Sha256};

use super::CHUNK_BYTES;

/// Size of a digest.
pub(crate) const DIGEST_BYTES: usize = 32;

/// The result of checking a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkCheck {
    /// The chunk matches its stored digest, or had none.
    Good,
    /// The chunk does not match; the hasher is back at its beginning.
    Damaged,
}

/// The hash of a prefix of a file.
#[derive(Clone)]
pub(crate) struct Hasher {
    /// Of the bytes before `offset`.
    sha: Sha256,
    offset: u64,
    /// Of the bytes before the current chunk.
    before: Sha256,
    /// Digests after each chunk: stored by an earlier attempt, or computed by this one.
    digests: Vec<u8>,
    /// The chunk that was last found damaged. When it is received again, it is accepted.
    damaged: Option<usize>,
}

impl Hasher {
    /// Starts at the beginning of a file with the digests that an earlier attempt stored.
    pub(crate) fn new(mut digests: Vec<u8>) -> Self {
        digests.truncate(digests.len() / DIGEST_BYTES * DIGEST_BYTES);
        Self { sha: Sha256::new(), offset: 0, before: Sha256::new(), digests, damaged: None }
    }

    /// The number of hashed bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The current chunk.
    pub(crate) fn chunk(&self) -> usize {
        usize::try_from(self.offset / CHUNK_BYTES).expect("files fit the address space")
    }

    /// Hashes the next bytes, which must lie in one chunk.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Goes back to the beginning of the current chunk.
    pub(crate) fn restart_chunk(&mut self) {
        self.sha = self.before.clone();
        self.offset = self.offset / CHUNK_BYTES * CHUNK_BYTES;
    }

    /// Checks chunk `idx`, which ends here.
    pub(crate) fn end_chunk(&mut self, idx: usize) -> ChunkCheck {
        let digest: [u8; DIGEST_BYTES] = self.sha.clone().finalize().into();
        let range = idx * DIGEST_BYTES..(idx + 1) * DIGEST_BYTES;
        let matches = self.digests.get(range.clone()).is_none_or(|it| it == digest);
        if !matches && self.damaged != Some(idx) {
            self.damaged = Some(idx);
            self.sha = self.before.clone();
            self.offset = idx as u64 * CHUNK_BYTES;
            return ChunkCheck::Damaged;
        }
        if !matches {
            // Received again, it still does not match: the stored digests are wrong from here on, and
            // the hash of the whole file decides.
            self.digests.truncate(range.start);
        }
        if self.digests.len() == range.start {
            self.digests.extend_from_slice(&digest);
        }
        self.before = self.sha.clone();
        ChunkCheck::Good
    }

    /// The digests after each chunk, concatenated.
    pub(crate) fn digests(&self) -> &[u8] {
        &self.digests
    }

    /// The hash of the bytes so far, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        hex(&self.sha.clone().finalize())
    }
}

/// Formats bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = CHUNK_BYTES as usize;

    fn feed(hasher: &mut Hasher, file: &[u8]) -> Vec<ChunkCheck> {
        let mut checks = Vec::new();
        for (idx, chunk) in file.chunks(CHUNK).enumerate().skip(hasher.chunk()) {
            chunk.chunks(100_000).for_each(|part| hasher.update(part));
            checks.push(hasher.end_chunk(idx));
            if checks.last() == Some(&ChunkCheck::Damaged) {
                break;
            }
        }
        checks
    }

    #[test]
    fn damaged_chunk_is_found_and_the_rest_is_still_checked() {
        let file: Vec<u8> = (0..3 * CHUNK + 100).map(|i| (i / 7) as u8).collect();
        let mut first = Hasher::new(vec![]);
        assert!(feed(&mut first, &file).iter().all(|check| *check == ChunkCheck::Good));
        let digests = first.digests().to_vec();
        assert_eq!(digests.len(), 4 * DIGEST_BYTES);

        let mut damaged = file.clone();
        damaged[CHUNK + 3] ^= 1;
        let mut again = Hasher::new(digests.clone());
        assert_eq!(feed(&mut again, &damaged), [ChunkCheck::Good, ChunkCheck::Damaged]);
        assert_eq!(again.chunk(), 1);
        // Received again, it matches, and so do the following chunks.
        assert_eq!(feed(&mut again, &file), [ChunkCheck::Good; 3]);
        assert_eq!((again.hash(), again.digests()), (first.hash(), &digests[..]));
    }

    #[test]
    fn chunk_that_is_received_twice_unchanged_is_accepted() {
        let file = vec![1; CHUNK + 1];
        let mut wrong = Hasher::new(vec![0; 2 * DIGEST_BYTES]);
        assert_eq!(feed(&mut wrong, &file), [ChunkCheck::Damaged]);
        assert_eq!(feed(&mut wrong, &file), [ChunkCheck::Good, ChunkCheck::Good]);
        assert_eq!(wrong.hash(), hex(&Sha256::digest(&file)));
    }
}
