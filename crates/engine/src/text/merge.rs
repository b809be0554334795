//! Merges neighbouring symbols of a text, best pair first, until no pair can be merged.
//!
//! SentencePiece and BPE differ only in how they rank a pair; the order of merges, leftmost first
//! among equals, is that of llama.cpp. A heap keeps it O(n log n). Callers merge at most
//! [`MAX_SYMBOLS`] at once, so that a text without any split point takes no more memory than
//! others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// The most symbols that are merged at once: longer runs are split, and a token across the split
/// becomes two.
///
/// No real word is that long. A power of two, since runs of one character merge into tokens of such
/// lengths.
pub(super) const MAX_SYMBOLS: usize = 1 << 16;

/// The id of a symbol that is not a token.
pub(super) const NO_TOKEN: u32 = u32::MAX;
const END: u32 = u32::MAX;

/// A part of the text that may become a token.
#[derive(Clone, Copy)]
pub(super) struct Symbol {
    /// The token, or [`NO_TOKEN`].
    pub(super) id: u32,
    start: u32,
    end: u32,
    prev: u32,
    next: u32,
}

impl Symbol {
    /// The range of the symbol in the text.
    pub(super) fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn is_merged_away(&self) -> bool {
        self.start == self.end
    }
}

/// A pair that can be merged, ordered by priority (largest first).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    priority: u32,
    left: Reverse<u32>,
    right: u32,
    end: u32,
    id: u32,
}

/// The merge algorithm, with buffers that are reused for the next text.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

impl Merger {
    /// Merges `symbols`, each `(token, range)`, adjacent and not empty, and yields the rest.
    ///
    /// `rank` returns the priority of merging two neighbours and the resulting token.
    pub(super) fn merge(
        &mut self,
        symbols: impl IntoIterator<Item = (u32, Range<usize>)>,
        mut rank: impl FnMut(&Symbol, &Symbol) -> Option<(u32, u32)>,
    ) -> impl Iterator<Item = Symbol> {
        let Self { symbols: list, pairs: heap } = self;
        list.clear();
        list.extend(symbols.into_iter().enumerate().map(|(idx, (id, range))| Symbol {
            id,
            start: range.start as u32,
            end: range.end as u32,
            prev: (idx as u32).wrapping_sub(1),
            next: idx as u32 + 1,
        }));
        let symbols = list;
        if let Some(last) = symbols.last_mut() {
            last.next = END;
        }
        heap.clear();
        for left in 0..symbols.len().saturating_sub(1) as u32 {
            heap.extend(pair(symbols, left, left + 1, &mut rank));
        }
        while let Some(Pair { left: Reverse(left), right, end, id, .. }) = heap.pop() {
            let (l, r) = (symbols[left as usize], symbols[right as usize]);
            // One of the two may have been merged since the pair was queued.
            if l.is_merged_away() || r.is_merged_away() || l.end != r.start || r.end != end {
                continue;
            }
            symbols[left as usize] = Symbol { id, end: r.end, next: r.next, ..l };
            symbols[right as usize].end = r.start;
            if r.next != END {
                symbols[r.next as usize].prev = left;
                heap.extend(pair(symbols, left, r.next, &mut rank));
            }
            if l.prev != END {
                heap.extend(pair(symbols, l.prev, left, &mut rank));
            }
        }
        symbols.iter().copied().filter(|symbol| !symbol.is_merged_away())
    }
}

fn pair(
    symbols: &[Symbol],
    left: u32,
    right: u32,
    rank: &mut impl FnMut(&Symbol, &Symbol) -> Option<(u32, u32)>,
) -> Option<Pair> {
    let (l, r) = (&symbols[left as usize], &symbols[right as usize]);
    let (priority, id) = rank(l, r)?;
    Some(Pair { priority, left: Reverse(left), right, end: r.end, id })
}

/// The text in chunks of at most [`MAX_SYMBOLS`] characters.
pub(super) fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let split = rest.char_indices().nth(MAX_SYMBOLS).map_or(rest.len(), |(at, _)| at);
        let (chunk, after) = rest.split_at(split);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}
