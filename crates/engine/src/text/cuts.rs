//! Finds special tokens in a text, the longest first, as llama.cpp cuts them out.
//!
//! llama.cpp goes through the special tokens from the longest to the shortest and cuts each out of what
//! the ones before have left, which takes as many passes over the text as there are tokens. Here the
//! longest token that begins at each place is looked up in a sorted list; places whose tokens overlap are
//! settled together, in llama.cpp's order. Time grows with the text, not with the number of tokens, and
//! text comes out piece by piece.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::special::Fragment;
use super::vocab::Vocab;

const NONE: u32 = u32::MAX;
/// Places whose tokens overlap are settled together up to so many: 128 MiB of them.
const MAX_PLACES: usize = 1 << 24;

/// The tokens to look for.
pub(super) struct CutTable {
    /// Sorted by text, without repetitions.
    ids: Vec<u32>,
    /// For each of `ids` the place of the longest other one that it begins with, or [`NONE`].
    parents: Vec<u32>,
    /// For each of `ids` its turn: the longest first, then the lower id.
    turns: Vec<u32>,
    /// The tokens in order of their turns.
    by_turn: Vec<u32>,
    /// Where tokens begin in `ids` whose first two bytes are at least this number, high byte first.
    pairs: Vec<u32>,
    /// The place in `ids` of each token of one byte, or [`NONE`].
    singles: Box<[u32; 256]>,
    /// For each of `ids` whether it is left alone in plain parts of a text.
    is_control: Vec<bool>,
}

impl CutTable {
    /// A table of `ids`. Tokens that are no whole characters are left out: no text can be cut there.
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
        // Of several tokens with one text the first is cut out.
        ids.dedup_by(|later, first| vocab.text(*later) == vocab.text(*first));
        let mut by_turn = ids.clone();
        by_turn.sort_unstable_by_key(|&id| (Reverse(vocab.text(id).len()), id));
        let mut turns = vec![0; ids.len()];
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_unstable_by_key(|&place| {
            let id = ids[place as usize];
            (Reverse(vocab.text(id).len()), id)
        });
        for (turn, &place) in (0u32..).zip(&order) {
            turns[place as usize] = turn;
        }
        let parents = parents(vocab, &ids);
        let mut singles = Box::new([NONE; 256]);
        let mut pairs = Vec::with_capacity(if ids.is_empty() { 0 } else { (1 << 16) + 1 });
        for (place, &id) in (0u32..).zip(&ids) {
            match *vocab.text(id) {
                [byte] => singles[usize::from(byte)] = place,
                [a, b, ..] => pairs.resize((pair(a, b) + 1).max(pairs.len()), place),
                [] => {}
            }
        }
        if !ids.is_empty() {
            pairs.resize((1 << 16) + 1, ids.len() as u32);
        }
        let is_control = ids.iter().map(|&id| is_control(id)).collect();
        Self { ids, parents, turns, by_turn, pairs, singles, is_control }
    }

    /// The place in `ids` of the longest token that `text` begins with.
    fn longest(&self, vocab: &Vocab, text: &[u8]) -> Option<u32> {
        let single =
            |byte: u8| Some(self.singles[usize::from(byte)]).filter(|&place| place != NONE);
        let (a, b) = match *text {
            [] => return None,
            [byte] => return single(byte),
            [a, b, ..] => (a, b),
        };
        let (first, end) = (self.pairs[pair(a, b)] as usize, self.pairs[pair(a, b) + 1] as usize);
        // A token of one byte may stand between those of two byte pairs.
        let among = &self.ids[first..end];
        let not_after = among.partition_point(|&id| vocab.text(id) <= text);
        if not_after == 0 {
            return single(a);
        }
        // Whatever the text begins with begins the last token that is not after the text, too.
        let mut place = (first + not_after - 1) as u32;
        while !text.starts_with(vocab.text(self.ids[place as usize])) {
            place = self.parents[place as usize];
            if place == NONE {
                return None;
            }
        }
        Some(place)
    }

    fn turn(&self, place: u32) -> u32 {
        self.turns[place as usize]
    }
}

fn pair(a: u8, b: u8) -> usize {
    usize::from(a) << 8 | usize::from(b)
}

/// The place of the longest other token that each begins with; those stand before it, innermost last.
fn parents(vocab: &Vocab, ids: &[u32]) -> Vec<u32> {
    let mut open: Vec<u32> = Vec::new();
    let mut parents = Vec::with_capacity(ids.len());
    for (place, &id) in (0u32..).zip(ids) {
        let text = vocab.text(id);
        while open.last().is_some_and(|&last| !text.starts_with(vocab.text(ids[last as usize]))) {
            open.pop();
        }
        parents.push(open.last().copied().unwrap_or(NONE));
        open.push(place);
    }
    parents
}

/// Cuts a text, piece by piece.
pub(super) struct Cuts<'a, 't> {
    table: &'a CutTable,
    vocab: &'a Vocab,
    text: &'t str,
    /// Parts of the text in which no control token is cut out, in order, not overlapping.
    plain: &'a [Range<usize>],
    /// Whether white space after this token is dropped.
    drops_space: &'a dyn Fn(u32) -> bool,
    /// Up to here the text has come out.
    done: usize,
    /// From here on tokens are looked for.
    next: usize,
    /// Cuts that were settled, the last of the text first.
    settled: Vec<Cut>,
}

/// A token in the text, and where the text goes on after it.
#[derive(Clone, Copy)]
struct Cut {
    id: u32,
    start: u32,
    end: u32,
}

impl<'a, 't> Cuts<'a, 't> {
    /// Cuts `text` from the byte `from` on; it has fewer than `u32::MAX` bytes. No control token is
    /// cut out that touches one of the `plain` parts, which are in order and do not overlap.
    pub(super) fn new(
        table: &'a CutTable,
        vocab: &'a Vocab,
        (text, from): (&'t str, usize),
        plain: &'a [Range<usize>],
        drops_space: &'a dyn Fn(u32) -> bool,
    ) -> Self {
        Self { table, vocab, text, plain, drops_space, done: from, next: from, settled: Vec::new() }
    }

    /// Up to where the text has come out.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// The place in the table of the longest token at `at` that ends by `end` and may be cut out.
    fn longest(&self, at: usize, end: usize) -> Option<u32> {
        let mut place = self.table.longest(self.vocab, &self.text.as_bytes()[at..end])?;
        while self.is_kept(place, at) {
            place = self.table.parents[place as usize];
            if place == NONE {
                return None;
            }
        }
        Some(place)
    }

    /// Whether the token at `at` is a control token that touches a plain part.
    fn is_kept(&self, place: u32, at: usize) -> bool {
        let end = at + self.vocab.text(self.table.ids[place as usize]).len();
        let next = self.plain.partition_point(|part| part.end <= at);
        let touches = self.plain.get(next).is_some_and(|part| part.start < end);
        touches && self.table.is_control[place as usize]
    }

    /// Where the text goes on after the token at `start`. `run` is the last run of white space that was
    /// looked at, which a run of tokens would look at again and again.
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

    /// Finds the next places that hold tokens and settles those that overlap.
    fn settle(&mut self) {
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
            let mut places = vec![key(table.turn(first), start)];
            let mut at = start + 1;
            while at < end && places.len() < MAX_PLACES {
                if let Some(place) = self.longest(at, bytes.len()) {
                    places.push(key(table.turn(place), at));
                    end = end.max(self.end(table.ids[place as usize], at, &mut run));
                }
                at += 1;
            }
            // Only where there are too many does it end earlier.
            let end = if places.len() < MAX_PLACES { end } else { at };
            self.choose(places, start, end);
            self.next = end;
            if !self.settled.is_empty() {
                return;
            }
        }
    }

    /// Settles `places` in `start..end`: the longest token first, then the lower id, then the earlier
    /// place. A token that overlaps one before makes way for a shorter one.
    fn choose(&mut self, mut places: Vec<u64>, start: usize, end: usize) {
        places.sort_unstable();
        let mut places = places.into_iter().peekable();
        // Those that made way.
        let mut shorter: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        let mut taken = Bits::new(end - start);
        loop {
            let is_shorter = match (places.peek(), shorter.peek()) {
                (Some(place), Some(Reverse(other))) => other < place,
                (None, Some(_)) => true,
                _ => false,
            };
            let place =
                if is_shorter { shorter.pop().map(|Reverse(key)| key) } else { places.next() };
            let Some(place) = place else { break };
            let (turn, at) = ((place >> 32) as usize, place as u32 as usize);
            let id = self.table.by_turn[turn];
            let until = at + self.vocab.text(id).len();
            match taken.first(at - start..until.min(end) - start) {
                Some(0) => {}
                None if until <= end => {
                    let mut until = until;
                    if (self.drops_space)(id) {
                        let is_free = |at: usize| at < end && !taken.has(at - start);
                        while is_free(until) && is_c_space(self.text.as_bytes()[until]) {
                            until += 1;
                        }
                    }
                    taken.set(at - start..until - start);
                    self.settled.push(Cut { id, start: at as u32, end: until as u32 });
                }
                free => {
                    let until = free.map_or(end, |n| at + n);
                    let place = self.longest(at, until);
                    shorter.extend(place.map(|place| Reverse(key(self.table.turn(place), at))));
                }
            }
        }
        self.settled.sort_unstable_by_key(|cut| Reverse(cut.start));
    }
}

fn key(turn: u32, at: usize) -> u64 {
    u64::from(turn) << 32 | at as u64
}

impl<'t> Iterator for Cuts<'_, 't> {
    type Item = Fragment<'t>;

    fn next(&mut self) -> Option<Fragment<'t>> {
        if self.settled.is_empty() {
            self.settle();
        }
        let start = self.settled.last().map_or(self.text.len(), |cut| cut.start as usize);
        if start > self.done {
            let text = &self.text[self.done..start];
            self.done = start;
            return Some(Fragment::Text(text));
        }
        let cut = self.settled.pop()?;
        self.done = cut.end as usize;
        Some(Fragment::Token(cut.id))
    }
}

fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Which bytes are taken.
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 != 0
    }

    fn set(&mut self, range: Range<usize>) {
        range.for_each(|at| self.0[at / 64] |= 1 << (at % 64));
    }

    /// The first taken one of the range, counted from its start.
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
