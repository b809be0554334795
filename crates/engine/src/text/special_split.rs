//! Splits a text at special tokens, longest first, like llama.cpp.
//!
//! llama.cpp takes the special tokens from longest to shortest and splits what the previous ones
//! have left, which takes as many passes over the text as there are tokens. Here the longest token
//! at each position is looked up in a sorted list, and overlapping matches are resolved together,
//! in the order of llama.cpp. Time grows with the text, not with the number of tokens, and the text
//! is yielded fragment by fragment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::vocab::Vocab;

const NONE: u32 = u32::MAX;
/// The most overlapping candidates that are resolved together: 128 MiB of them.
const MAX_CANDIDATES: usize = 1 << 24;

/// A fragment of a split text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// The special tokens to search for, sorted for fast lookup.
pub(super) struct SpecialTokenTable {
    /// Tokens sorted by text, without duplicates.
    ids: Vec<u32>,
    /// For each of `ids`: index of its longest proper prefix among them, or [`NONE`].
    prefixes: Vec<u32>,
    /// For each of `ids`: its priority, longest first, then lowest id.
    priorities: Vec<u32>,
    /// The tokens in order of priority.
    by_priority: Vec<u32>,
    /// For each pair of first bytes (high byte first): start in `ids` of the tokens with at least
    /// that pair.
    pair_starts: Vec<u32>,
    /// For each byte: index in `ids` of the token of this byte alone, or [`NONE`].
    single_byte: Box<[u32; 256]>,
    /// For each of `ids`: whether it is ignored in plain parts of a text.
    is_control: Vec<bool>,
}

impl SpecialTokenTable {
    /// A table of `ids`. Tokens that are not valid UTF-8 are skipped: no text can contain them.
    pub(super) fn new(
        vocab: &Vocab,
        ids: impl Iterator<Item = u32>,
        is_control: impl Fn(u32) -> bool,
    ) -> Self {
        let is_text = |id: &u32| {
            let text = vocab.text(*id);
            !text.is_empty() && std::str::from_utf8(text).is_ok()
        };
        let mut ids: Vec<u32> = ids.filter(is_text).collect();
        ids.sort_unstable_by(|&a, &b| vocab.text(a).cmp(vocab.text(b)).then(a.cmp(&b)));
        // Of several tokens with the same text the first one counts.
        ids.dedup_by(|later, first| vocab.text(*later) == vocab.text(*first));
        let mut by_priority = ids.clone();
        by_priority.sort_unstable_by_key(|&id| (Reverse(vocab.text(id).len()), id));
        let mut priorities = vec![0; ids.len()];
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_unstable_by_key(|&idx| {
            let id = ids[idx as usize];
            (Reverse(vocab.text(id).len()), id)
        });
        for (priority, &idx) in (0u32..).zip(&order) {
            priorities[idx as usize] = priority;
        }
        let prefixes = prefixes(vocab, &ids);
        let mut single_byte = Box::new([NONE; 256]);
        let mut pair_starts = Vec::with_capacity(if ids.is_empty() { 0 } else { (1 << 16) + 1 });
        for (idx, &id) in (0u32..).zip(&ids) {
            match *vocab.text(id) {
                [byte] => single_byte[usize::from(byte)] = idx,
                [a, b, ..] => pair_starts.resize((pair_key(a, b) + 1).max(pair_starts.len()), idx),
                [] => {}
            }
        }
        if !ids.is_empty() {
            pair_starts.resize((1 << 16) + 1, ids.len() as u32);
        }
        let is_control = ids.iter().map(|&id| is_control(id)).collect();
        Self { ids, prefixes, priorities, by_priority, pair_starts, single_byte, is_control }
    }

    /// The index of the longest token that `text` starts with.
    fn longest(&self, vocab: &Vocab, text: &[u8]) -> Option<u32> {
        let single =
            |byte: u8| Some(self.single_byte[usize::from(byte)]).filter(|&idx| idx != NONE);
        let (a, b) = match *text {
            [] => return None,
            [byte] => return single(byte),
            [a, b, ..] => (a, b),
        };
        let (first, end) = (
            self.pair_starts[pair_key(a, b)] as usize,
            self.pair_starts[pair_key(a, b) + 1] as usize,
        );
        // A token of one byte may sort between those of two byte pairs.
        let among = &self.ids[first..end];
        let not_after = among.partition_point(|&id| vocab.text(id) <= text);
        if not_after == 0 {
            return single(a);
        }
        // Each prefix of the text is also a prefix of the last token that does not sort after the
        // text, or that token itself.
        let mut idx = (first + not_after - 1) as u32;
        while !text.starts_with(vocab.text(self.ids[idx as usize])) {
            idx = self.prefixes[idx as usize];
            if idx == NONE {
                return None;
            }
        }
        Some(idx)
    }

    fn priority(&self, idx: u32) -> u32 {
        self.priorities[idx as usize]
    }
}

fn pair_key(a: u8, b: u8) -> usize {
    usize::from(a) << 8 | usize::from(b)
}

/// For each token: index of its longest proper prefix. Prefixes sort before it, the longest last.
fn prefixes(vocab: &Vocab, ids: &[u32]) -> Vec<u32> {
    let mut stack: Vec<u32> = Vec::new();
    let mut prefixes = Vec::with_capacity(ids.len());
    for (idx, &id) in (0u32..).zip(ids) {
        let text = vocab.text(id);
        while stack.last().is_some_and(|&last| !text.starts_with(vocab.text(ids[last as usize]))) {
            stack.pop();
        }
        prefixes.push(stack.last().copied().unwrap_or(NONE));
        stack.push(idx);
    }
    prefixes
}

/// Iterator over the fragments of a text.
pub(super) struct SpecialTokenSplitter<'a, 't> {
    table: &'a SpecialTokenTable,
    vocab: &'a Vocab,
    text: &'t str,
    /// Parts of the text without control tokens, in order, not overlapping.
    plain: &'a [Range<usize>],
    /// Whether white space after a token is dropped.
    drops_space: &'a dyn Fn(u32) -> bool,
    /// Everything before this offset has been yielded.
    done: usize,
    /// Everything before this offset has been searched.
    next: usize,
    /// Resolved matches, the last of the text first.
    matches: Vec<TokenMatch>,
}

/// A matched token and its range in the text.
#[derive(Clone, Copy)]
struct TokenMatch {
    id: u32,
    start: u32,
    end: u32,
}

impl<'a, 't> SpecialTokenSplitter<'a, 't> {
    /// Splits `text` from byte `from` on; it has fewer than `u32::MAX` bytes. Control tokens that
    /// touch one of the `plain` parts are ignored; the parts are in order and do not overlap.
    pub(super) fn new(
        table: &'a SpecialTokenTable,
        vocab: &'a Vocab,
        (text, from): (&'t str, usize),
        plain: &'a [Range<usize>],
        drops_space: &'a dyn Fn(u32) -> bool,
    ) -> Self {
        Self { table, vocab, text, plain, drops_space, done: from, next: from, matches: Vec::new() }
    }

    /// The offset up to which the text has been yielded.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// The table index of the longest allowed token at `at` that ends by `end`.
    fn longest(&self, at: usize, end: usize) -> Option<u32> {
        let mut idx = self.table.longest(self.vocab, &self.text.as_bytes()[at..end])?;
        while self.is_in_plain_text(idx, at) {
            idx = self.table.prefixes[idx as usize];
            if idx == NONE {
                return None;
            }
        }
        Some(idx)
    }

    /// Whether the token at `at` is a control token that touches a plain part.
    fn is_in_plain_text(&self, idx: u32, at: usize) -> bool {
        let end = at + self.vocab.text(self.table.ids[idx as usize]).len();
        let next = self.plain.partition_point(|part| part.end <= at);
        let touches = self.plain.get(next).is_some_and(|part| part.start < end);
        touches && self.table.is_control[idx as usize]
    }

    /// The end of the token at `start`, including dropped white space. `run` caches the last run of
    /// white space, which a sequence of tokens would scan again and again.
    fn end(&self, id: u32, start: usize, run: &mut Range<usize>) -> usize {
        let end = start + self.vocab.text(id).len();
        if !(self.drops_space)(id) {
            return end;
        }
        if !run.contains(&end) {
            let rest = &self.text.as_bytes()[end..];
            *run = end..end + rest.iter().take_while(|byte| is_c_space(**byte)).count();
        }
        run.end
    }

    /// Finds the next matches and resolves those that overlap.
    fn find_next(&mut self) {
        let (table, bytes) = (self.table, self.text.as_bytes());
        if table.ids.is_empty() {
            self.next = bytes.len();
        }
        while self.next < bytes.len() {
            let start = self.next;
            let Some(first) = self.longest(start, bytes.len()) else {
                self.next += 1;
                continue;
            };
            let mut run = 0..0;
            let mut end = self.end(table.ids[first as usize], start, &mut run);
            let mut candidates = vec![key(table.priority(first), start)];
            let mut at = start + 1;
            while at < end && candidates.len() < MAX_CANDIDATES {
                if let Some(idx) = self.longest(at, bytes.len()) {
                    candidates.push(key(table.priority(idx), at));
                    end = end.max(self.end(table.ids[idx as usize], at, &mut run));
                }
                at += 1;
            }
            // It ends early only if there are too many candidates.
            let end = if candidates.len() < MAX_CANDIDATES { end } else { at };
            self.resolve(candidates, start, end);
            self.next = end;
            if !self.matches.is_empty() {
                return;
            }
        }
    }

    /// Resolves `candidates` in `start..end`: longest token first, then lowest id, then first
    /// position. A token that overlaps a chosen one is replaced by a shorter one.
    fn resolve(&mut self, mut candidates: Vec<u64>, start: usize, end: usize) {
        candidates.sort_unstable();
        let mut candidates = candidates.into_iter().peekable();
        // Shorter replacements.
        let mut shorter: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        let mut occupied = BitSet::new(end - start);
        loop {
            let is_shorter = match (candidates.peek(), shorter.peek()) {
                (Some(candidate), Some(Reverse(other))) => other < candidate,
                (None, Some(_)) => true,
                _ => false,
            };
            let candidate =
                if is_shorter { shorter.pop().map(|Reverse(key)| key) } else { candidates.next() };
            let Some(candidate) = candidate else { break };
            let (priority, at) = ((candidate >> 32) as usize, candidate as u32 as usize);
            let id = self.table.by_priority[priority];
            let until = at + self.vocab.text(id).len();
            match occupied.first(at - start..until.min(end) - start) {
                Some(0) => {}
                None if until <= end => {
                    let mut until = until;
                    if (self.drops_space)(id) {
                        let is_unclaimed = |at: usize| at < end && !occupied.has(at - start);
                        while is_unclaimed(until) && is_c_space(self.text.as_bytes()[until]) {
                            until += 1;
                        }
                    }
                    occupied.set(at - start..until - start);
                    self.matches.push(TokenMatch { id, start: at as u32, end: until as u32 });
                }
                first_occupied => {
                    let until = first_occupied.map_or(end, |n| at + n);
                    let idx = self.longest(at, until);
                    shorter.extend(idx.map(|idx| Reverse(key(self.table.priority(idx), at))));
                }
            }
        }
        self.matches.sort_unstable_by_key(|found| Reverse(found.start));
    }
}

fn key(priority: u32, at: usize) -> u64 {
    u64::from(priority) << 32 | at as u64
}

impl<'t> Iterator for SpecialTokenSplitter<'_, 't> {
    type Item = Fragment<'t>;

    fn next(&mut self) -> Option<Fragment<'t>> {
        if self.matches.is_empty() {
            self.find_next();
        }
        let start = self.matches.last().map_or(self.text.len(), |found| found.start as usize);
        if start > self.done {
            let text = &self.text[self.done..start];
            self.done = start;
            return Some(Fragment::Text(text));
        }
        let found = self.matches.pop()?;
        self.done = found.end as usize;
        Some(Fragment::Token(found.id))
    }
}

fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A bit per byte.
struct BitSet(Vec<u64>);

impl BitSet {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 != 0
    }

    fn set(&mut self, range: Range<usize>) {
        range.for_each(|at| self.0[at / 64] |= 1 << (at % 64));
    }

    /// The first set bit of the range, relative to its start.
    fn first(&self, range: Range<usize>) -> Option<usize> {
        let mut at = range.start;
        while at < range.end {
            let word = self.0[at / 64] >> (at % 64);
            if word != 0 {
                at += word.trailing_zeros() as usize;
                return (at < range.end).then(|| at - range.start);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}
