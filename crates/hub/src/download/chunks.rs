//! Which chunks of a file have been received, and which are being downloaded.

use std::ops::Range;

use super::CHUNK_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    /// Being downloaded by the worker of this number.
    Claimed(usize),
    Received,
}

/// The chunks of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    total_bytes: u64,
    states: Vec<State>,
}

impl Chunks {
    /// The chunks of a file of which nothing has been received.
    pub(crate) fn new(total_bytes: u64) -> Self {
        let n = usize::try_from(total_bytes.div_ceil(CHUNK_BYTES)).unwrap_or(usize::MAX);
        Self { total_bytes, states: vec![State::Missing; n] }
    }

    /// The chunks of a file of which those with a bit set in `bits` have been received.
    pub(crate) fn from_bits(total_bytes: u64, bits: &[u8]) -> Self {
        let mut chunks = Self::new(total_bytes);
        for (idx, state) in chunks.states.iter_mut().enumerate() {
            if bits.get(idx / 8).is_some_and(|byte| byte >> (idx % 8) & 1 == 1) {
                *state = State::Received;
            }
        }
        chunks
    }

    /// One bit per chunk: whether it has been received.
    pub(crate) fn to_bits(&self) -> Vec<u8> {
        let mut bits = vec![0; self.states.len().div_ceil(8)];
        for idx in (0..self.states.len()).filter(|&idx| self.states[idx] == State::Received) {
            bits[idx / 8] |= 1 << (idx % 8);
        }
        bits
    }

    /// The number of chunks.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The byte range of a chunk.
    pub(crate) fn range(&self, idx: usize) -> Range<u64> {
        let start = idx as u64 * CHUNK_BYTES;
        start..(start + CHUNK_BYTES).min(self.total_bytes)
    }

    /// The number of bytes in received chunks.
    pub(crate) fn received_bytes(&self) -> u64 {
        let received = (0..self.len()).filter(|&idx| self.is_received(idx));
        received.map(|idx| self.range(idx)).map(|range| range.end - range.start).sum()
    }

    pub(crate) fn is_received(&self, idx: usize) -> bool {
        self.states.get(idx) == Some(&State::Received)
    }

    pub(crate) fn all_received(&self) -> bool {
        self.states.iter().all(|state| *state == State::Received)
    }

    /// Claims the first run of missing chunks for `worker`, at most `max` chunks, and returns their byte
    /// range.
    pub(crate) fn claim(&mut self, worker: usize, max: usize) -> Option<Range<u64>> {
        let first = self.states.iter().position(|state| *state == State::Missing)?;
        let run = self.states[first..].iter().take(max);
        let n = run.take_while(|state| **state == State::Missing).count();
        self.states[first..first + n].fill(State::Claimed(worker));
        Some(self.range(first).start..self.range(first + n - 1).end)
    }

    /// Claims one chunk for `worker`, if it is missing.
    pub(crate) fn claim_one(&mut self, worker: usize, idx: usize) {
        if let Some(state @ State::Missing) = self.states.get_mut(idx) {
            *state = State::Claimed(worker);
        }
    }

    /// Whether `worker` has claimed the chunk.
    pub(crate) fn is_claimed(&self, idx: usize, worker: usize) -> bool {
        self.states.get(idx) == Some(&State::Claimed(worker))
    }

    /// Returns the claims of `worker` from the chunk at `offset` on.
    pub(crate) fn release(&mut self, worker: usize, offset: u64) {
        let before = usize::try_from(offset / CHUNK_BYTES).unwrap_or(usize::MAX);
        let claimed = self.states.iter_mut().skip(before);
        claimed
            .filter(|it| **it == State::Claimed(worker))
            .for_each(|state| *state = State::Missing);
    }

    /// Marks a chunk as received.
    pub(crate) fn set_received(&mut self, idx: usize) {
        self.states[idx] = State::Received;
    }

    /// Marks a chunk as missing.
    pub(crate) fn set_missing(&mut self, idx: usize) {
        self.states[idx] = State::Missing;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn claims_are_runs_of_missing_chunks() {
        let mut chunks = Chunks::new(4 * CHUNK_BYTES + 5);
        chunks.set_received(2);
        assert_eq!(chunks.claim(1, 8), Some(0..2 * CHUNK_BYTES));
        assert_eq!(chunks.claim(2, 1), Some(3 * CHUNK_BYTES..4 * CHUNK_BYTES));
        assert_eq!(chunks.claim(1, 9), Some(4 * CHUNK_BYTES..4 * CHUNK_BYTES + 5));
        assert_eq!(chunks.claim(2, 9), None);
        assert_eq!(chunks.received_bytes(), CHUNK_BYTES);
        assert!(chunks.is_claimed(3, 2) && !chunks.is_claimed(3, 1));
        chunks.release(1, CHUNK_BYTES + 7);
        assert_eq!(chunks.claim(3, 9), Some(CHUNK_BYTES..2 * CHUNK_BYTES));
        (2..5).for_each(|idx| chunks.claim_one(3, idx));
        assert!(chunks.is_claimed(4, 3) && chunks.is_claimed(3, 2) && chunks.is_received(2));
    }

    #[test]
    fn empty_file_is_complete() {
        assert!(Chunks::new(0).all_received());
    }

    proptest! {
        #[test]
        fn bits_round_trip(total in 0u64..100 * CHUNK_BYTES, bits: Vec<u8>) {
            let chunks = Chunks::from_bits(total, &bits);
            prop_assert_eq!(Chunks::from_bits(total, &chunks.to_bits()), chunks);
        }
    }
}
