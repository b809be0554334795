//! SHA-256 of a file in its own order, with the digest of all that comes before the end of each
//! chunk: one pass tells the file's hash and also where a damaged chunk is.

use sha2::{Digest, Sha256};

use super::CHUNK_BYTES;

/// The bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 32;

/// What the end of a chunk has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The chunk is as it was when its digest was first written down, or has none yet.
    Good,
    /// The chunk has changed since; the hasher stands before it again.
    Damaged,
}

/// The hash of the beginning of a file.
#[derive(Clone)]
pub(crate) struct Hasher {
    /// Of all before `offset`.
    sha: Sha256,
    offset: u64,
    /// Of all before the chunk that `offset` is in.
    before: Sha256,
    /// After each chunk, as it was written down or is now.
    digests: Vec<u8>,
    /// The chunk that was found damaged last; it is believed when it comes again.
    damaged: Option<usize>,
}

impl Hasher {
    /// A hasher at the beginning of a file, of which `digests` were written down before.
    pub(crate) fn new(mut digests: Vec<u8>) -> Self {
        digests.truncate(digests.len() / DIGEST_BYTES * DIGEST_BYTES);
        Self { sha: Sha256::new(), offset: 0, before: Sha256::new(), digests, damaged: None }
    }

    /// How far it has come.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The chunk that it is in.
    pub(crate) fn chunk(&self) -> usize {
        usize::try_from(self.offset / CHUNK_BYTES).expect("files fit the address space")
    }

    /// Takes the bytes at `offset`, which stay within one chunk.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.offset += bytes.len() as u64;
    }

    /// Goes back to the beginning of the chunk that it is in.
    pub(crate) fn restart_chunk(&mut self) {
        self.sha = self.before.clone();
        self.offset = self.offset / CHUNK_BYTES * CHUNK_BYTES;
    }

    /// Notes that chunk `idx` ends here.
    pub(crate) fn end_chunk(&mut self, idx: usize) -> Ended {
        let digest: [u8; DIGEST_BYTES] = self.sha.clone().finalize().into();
        let place = idx * DIGEST_BYTES..(idx + 1) * DIGEST_BYTES;
        let is_as_before = self.digests.get(place.clone()).is_none_or(|it| it == digest);
        if !is_as_before && self.damaged != Some(idx) {
            self.damaged = Some(idx);
            self.sha = self.before.clone();
            self.offset = idx as u64 * CHUNK_BYTES;
            return Ended::Damaged;
        }
        if !is_as_before {
            // It came again and is still not what it was: what was written down is worth nothing
            // from here on, and the hash of the whole file decides.
            self.digests.truncate(place.start);
        }
        if self.digests.len() == place.start {
            self.digests.extend_from_slice(&digest);
        }
        self.before = self.sha.clone();
        Ended::Good
    }

    /// The digests after each chunk.
    pub(crate) fn digests(&self) -> &[u8] {
        &self.digests
    }

    /// The hash of all that came, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        hex(&self.sha.clone().finalize())
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = CHUNK_BYTES as usize;

    fn feed(hasher: &mut Hasher, file: &[u8]) -> Vec<Ended> {
        let mut ends = Vec::new();
        for (idx, chunk) in file.chunks(CHUNK).enumerate().skip(hasher.chunk()) {
            chunk.chunks(100_000).for_each(|piece| hasher.update(piece));
            ends.push(hasher.end_chunk(idx));
            if ends.last() == Some(&Ended::Damaged) {
                break;
            }
        }
        ends
    }

    #[test]
    fn a_damaged_chunk_is_found_and_the_rest_still_checked() {
        let file: Vec<u8> = (0..3 * CHUNK + 100).map(|i| (i / 7) as u8).collect();
        let mut first = Hasher::new(vec![]);
        assert!(feed(&mut first, &file).iter().all(|end| *end == Ended::Good));
        let digests = first.digests().to_vec();
        assert_eq!(digests.len(), 4 * DIGEST_BYTES);

        let mut damaged = file.clone();
        damaged[CHUNK + 3] ^= 1;
        let mut again = Hasher::new(digests.clone());
        assert_eq!(feed(&mut again, &damaged), [Ended::Good, Ended::Damaged]);
        assert_eq!(again.chunk(), 1);
        // Fetched again, it is what it was, and so is what follows.
        assert_eq!(feed(&mut again, &file), [Ended::Good; 3]);
        assert_eq!((again.hash(), again.digests()), (first.hash(), &digests[..]));
    }

    #[test]
    fn a_chunk_that_comes_again_the_same_is_believed() {
        let file = vec![1; CHUNK + 1];
        let mut wrong = Hasher::new(vec![0; 2 * DIGEST_BYTES]);
        assert_eq!(feed(&mut wrong, &file), [Ended::Damaged]);
        assert_eq!(feed(&mut wrong, &file), [Ended::Good, Ended::Good]);
        assert_eq!(wrong.hash(), hex(&Sha256::digest(&file)));
    }
}
