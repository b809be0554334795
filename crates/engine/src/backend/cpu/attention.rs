//! Attention over the cache: grouped heads, causal, with a window where the layer has one.
//!
//! Keys are read in tiles with an online softmax (Milakov and Gimelshein 2018,
//! <https://arxiv.org/abs/1805.02867>; in tiles as FlashAttention, Dao et al. 2022,
//! <https://arxiv.org/abs/2205.14135>): no row of scores as long as the context exists. The query
//! heads that share a key-value head, and several rows, share each read. Few rows over many keys
//! are split by keys, whose parts the worker that comes last joins. Splits and tiles begin at multiples
//! of a position, so a row's result has the same bits for any number of workers and for any few rows
//! that are read with it.
//!
//! Once the window has slid, the sinks are keys of their own, which queries meet with other angles
//! ([`crate::window`]).

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::buffer::{SharedBuffer, zeros};
use super::matrix::Matrix;
use super::worker::{Angles, View, Worker};
use crate::backend::Slot;
use crate::quant::vector;
use crate::spec::RopeKind;
use crate::weights::LayerWeights;
use crate::{Error, ModelSpec};

/// Rows whose queries a worker takes at once.
const QUERY_BLOCK: usize = 16;
/// Keys of a tile: with their values they fit in a core's first cache.
const KEY_TILE: usize = 64;
/// The fewest keys of a split.
const MIN_SPLIT_KEYS: usize = 128;
/// Into about so many splits a full context falls.
const SPLITS_OF_CONTEXT: usize = 32;
/// The most splits: keys rarely begin and end at a split's limit, and sinks are one by themselves.
const MAX_SPLITS: usize = SPLITS_OF_CONTEXT + 3;

/// Keys of a split.
fn split_keys(context: usize) -> usize {
    context.div_ceil(SPLITS_OF_CONTEXT).next_power_of_two().max(MIN_SPLIT_KEYS)
}

/// What the splits of a pass leave for the worker that joins them.
pub(crate) struct Partials {
    /// Weighted sums of values, not yet divided. `[n_kv_heads, splits, rows, head_dim]`
    sums: SharedBuffer<f32>,
    /// The largest score and the sum of weights of each row. `[n_kv_heads, splits, rows, 2]`
    weights: SharedBuffer<f32>,
    /// How many splits of each key-value head are done.
    n_done: Vec<AtomicUsize>,
}

impl Partials {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, Error> {
        let n_rows = Self::n_rows(spec);
        Ok(Self {
            sums: SharedBuffer::new(n_rows * spec.head_dim)?,
            weights: SharedBuffer::new(n_rows * 2)?,
            n_done: (0..spec.n_kv_heads).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    fn n_rows(spec: &ModelSpec) -> usize {
        MAX_SPLITS * QUERY_BLOCK * spec.n_heads
    }

    /// Bytes of the sums and weights.
    pub(crate) fn size_bytes(spec: &ModelSpec) -> usize {
        Self::n_rows(spec) * (spec.head_dim + 2) * size_of::<f32>()
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.sums.size_bytes() + self.weights.size_bytes()
    }

    /// Forgets the splits of a pass that was cancelled.
    pub(crate) fn reset(&self) {
        self.n_done.iter().for_each(|n_done| n_done.store(0, Ordering::Relaxed));
    }
}

/// One worker's buffers: rows are those of a query block, head by head.
pub(crate) struct AttentionScratch {
    /// `[rows, head_dim]`
    queries: Vec<f32>,
    /// `[rows, KEY_TILE]`
    scores: Vec<f32>,
    /// `[rows, head_dim]`
    sums: Vec<f32>,
    /// The largest score of each row, and the sum of its weights.
    weights: Vec<[f32; 2]>,
    /// The positions that each row sees: sinks where they are apart, and the others.
    seen: [(Range<usize>, Range<usize>); QUERY_BLOCK],
    /// A head before its norm.
    head: Vec<f32>,
    /// A tile of keys or values that are kept in blocks. `[KEY_TILE, head_dim]`
    unpacked: Vec<f32>,
}

impl AttentionScratch {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, Error> {
        let n_rows = Self::n_rows(spec);
        Ok(Self {
            queries: zeros(n_rows * spec.head_dim)?,
            scores: zeros(n_rows * KEY_TILE)?,
            sums: zeros(n_rows * spec.head_dim)?,
            weights: zeros(n_rows)?,
            seen: [const { (0..0, 0..0) }; QUERY_BLOCK],
            head: zeros(spec.head_dim)?,
            unpacked: zeros(KEY_TILE * spec.head_dim)?,
        })
    }

    fn n_rows(spec: &ModelSpec) -> usize {
        QUERY_BLOCK * (spec.n_heads / spec.n_kv_heads)
    }

    /// Bytes of what `new` allocates.
    pub(crate) fn size_bytes(spec: &ModelSpec) -> usize {
        let of_row = 2 * spec.head_dim + KEY_TILE + 2;
        let of_tile = (1 + KEY_TILE) * spec.head_dim;
        (Self::n_rows(spec) * of_row + of_tile) * size_of::<f32>()
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        let Self { queries, scores, sums, weights, head, unpacked, .. } = self;
        let floats = [queries, scores, sums, head, unpacked];
        size_of_val(&**weights) + floats.map(|floats| size_of_val(&**floats)).iter().sum::<usize>()
    }
}

/// A piece of a layer's attention: one key-value head, some rows, some keys.
struct Item<'a> {
    view: View<'a>,
    layer_idx: usize,
    layer: &'a LayerWeights<Matrix, Vec<f32>>,
    kv_head: usize,
    rows: Range<usize>,
    /// Positions of sinks that are seen apart from the window.
    sinks: Range<usize>,
    /// Positions of the other keys.
    keys: Range<usize>,
    split: usize,
    n_splits: usize,
}

/// How few rows' keys are split: the sinks where they are apart, then pieces of the rest.
struct Splits {
    sinks: Range<usize>,
    keys: Range<usize>,
    /// Keys of a piece, which begins at a multiple of it.
    len: usize,
}

impl Splits {
    fn count(&self) -> usize {
        let pieces = self.keys.end.div_ceil(self.len) - self.keys.start / self.len;
        usize::from(!self.sinks.is_empty()) + pieces
    }

    /// Sinks and keys of a split.
    fn split(&self, idx: usize) -> (Range<usize>, Range<usize>) {
        let Some(piece) = idx.checked_sub(usize::from(!self.sinks.is_empty())) else {
            return (self.sinks.clone(), 0..0);
        };
        let start = (self.keys.start / self.len + piece) * self.len;
        (0..0, start.max(self.keys.start)..(start + self.len).min(self.keys.end))
    }
}

impl Worker<'_> {
    /// Norms and rotates queries and keys, stores keys and values, and attends.
    pub(super) fn attend_layer(
        &mut self,
        layer_idx: usize,
        layer: &LayerWeights<Matrix, Vec<f32>>,
    ) {
        let (view, scratch) = (self.view, &mut self.scratch.attention);
        let n_kv_heads = view.model.spec.n_kv_heads;
        let n_blocks = view.n_rows.div_ceil(QUERY_BLOCK);
        let item = |kv_head, rows, (sinks, keys), split, n_splits| Item {
            view,
            layer_idx,
            layer,
            kv_head,
            rows,
            sinks,
            keys,
            split,
            n_splits,
        };
        if n_blocks == 1 {
            let rows = 0..view.n_rows;
            let (sinks, keys) = view.keys(layer_idx, rows.clone());
            let splits = Splits { sinks, keys, len: split_keys(view.chunk.window.context) };
            let n_splits = splits.count();
            view.member.chunks(n_kv_heads * n_splits, |chunk, _| {
                let (kv_head, split) = (chunk / n_splits, chunk % n_splits);
                let item = item(kv_head, rows.clone(), splits.split(split), split, n_splits);
                item.store_new_keys(scratch);
                item.attend(scratch);
            });
            return;
        }
        for item in view.member.share(view.n_rows * n_kv_heads) {
            let (row, kv_head) = (item / n_kv_heads, item % n_kv_heads);
            view.store_key_and_value(&mut scratch.head, layer_idx, layer, row, kv_head);
        }
        view.member.barrier();
        view.member.chunks(n_kv_heads * n_blocks, |chunk, _| {
            // Later rows have more keys: begun first, they leave the others to fill the gaps.
            let (block, kv_head) = (n_blocks - 1 - chunk / n_kv_heads, chunk % n_kv_heads);
            let rows = block * QUERY_BLOCK..((block + 1) * QUERY_BLOCK).min(view.n_rows);
            item(kv_head, rows.clone(), view.keys(layer_idx, rows), 0, 1).attend(scratch);
        });
    }
}

impl View<'_> {
    /// The positions that any of `rows` sees: sinks where they are apart, and the others.
    fn keys(&self, layer_idx: usize, rows: Range<usize>) -> (Range<usize>, Range<usize>) {
        let position = self.chunk.position;
        let last = rows.end - 1;
        let (first_sinks, first_keys) = self.seen(layer_idx, rows.start);
        let (sinks, _) = self.seen(layer_idx, last);
        let end = (position + rows.end).max(first_keys.start);
        (0..sinks.end.max(first_sinks.end), first_keys.start..end)
    }

    /// The positions that `row` sees: sinks where they are apart, and the others.
    fn seen(&self, layer_idx: usize, row: usize) -> (Range<usize>, Range<usize>) {
        let (window, position) = (&self.chunk.window, self.chunk.position + row);
        let layout = self.buffers.cache[layer_idx].layout;
        let seen = layout.seen(window, position);
        if !self.sees_sinks_apart(layout) {
            return (0..0, seen);
        }
        let n_sinks = window.n_sinks;
        let start = seen.start.max(n_sinks);
        (0..n_sinks.min(position + 1), start..seen.end.max(start))
    }

    /// Norms and rotates one row's key of one head, and stores it with its value.
    fn store_key_and_value(
        &self,
        unnormed: &mut [f32],
        layer_idx: usize,
        layer: &LayerWeights<Matrix, Vec<f32>>,
        row: usize,
        kv_head: usize,
    ) {
        let spec = &self.model.spec;
        let columns = columns(kv_head, spec.head_dim);
        // SAFETY: each row and head is prepared by one worker, after the projection's barrier.
        let (key, value) = unsafe {
            (self.part(Slot::Key, row, columns.clone()), &self.row(Slot::Value, row)[columns])
        };
        if let Some(weight) = &layer.k_norm {
            unnormed.copy_from_slice(key);
            vector::rms_norm(unnormed, weight, spec.eps, key);
        }
        rotate(key, self.angles(spec.layers[layer_idx].rope_idx, row, false), spec.rope_kind);
        let cache = &self.buffers.cache[layer_idx];
        let slot = cache.layout.slot(&self.chunk.window, self.chunk.position + row);
        // SAFETY: each position and head is stored by one worker, and read by others after a
        // barrier only; no row of the chunk sees what the slot held before.
        unsafe {
            cache.keys.store(kv_head, slot, key);
            cache.values.store(kv_head, slot, value);
        }
    }
}

impl<'a> Item<'a> {
    /// Query heads that share the key-value head.
    fn group(&self) -> usize {
        self.view.model.spec.n_heads / self.view.model.spec.n_kv_heads
    }

    /// Stores the new keys that lie in this item's range: no other item reads them.
    fn store_new_keys(&self, scratch: &mut AttentionScratch) {
        let (view, position) = (&self.view, self.view.chunk.position);
        let is_here = |position| self.keys.contains(&position) || self.sinks.contains(&position);
        for row in self.rows.clone().filter(|row| is_here(position + row)) {
            let unnormed = &mut scratch.head;
            view.store_key_and_value(unnormed, self.layer_idx, self.layer, row, self.kv_head);
        }
    }

    /// Copies the queries, normed, scaled, and rotated as they meet sinks or the other keys.
    fn gather_queries(&self, scratch: &mut AttentionScratch, of_sinks: bool) {
        let (view, spec, group) = (&self.view, &self.view.model.spec, self.group());
        let mut queries = scratch.queries.chunks_exact_mut(spec.head_dim);
        for row in self.rows.clone() {
            let angles = view.angles(spec.layers[self.layer_idx].rope_idx, row, of_sinks);
            // SAFETY: the projection's barrier made the queries complete; nobody writes them.
            let from = unsafe { view.row(Slot::Query, row) };
            for (head, query) in (self.kv_head * group..).zip((&mut queries).take(group)) {
                let from = &from[columns(head, spec.head_dim)];
                match &self.layer.q_norm {
                    Some(weight) => vector::rms_norm(from, weight, spec.eps, query),
                    None => query.copy_from_slice(from),
                }
                rotate(query, angles, spec.rope_kind);
                vector::scale(query, spec.attention_scale);
            }
        }
    }

    /// Sums the values of the keys, weighted by their softmax.
    fn attend(&self, scratch: &mut AttentionScratch) {
        let n_sums = self.rows.len() * self.group() * self.view.model.spec.head_dim;
        scratch.sums[..n_sums].fill(0.0);
        scratch.weights.fill([f32::NEG_INFINITY, 0.0]);
        for (seen, row) in scratch.seen.iter_mut().zip(self.rows.clone()) {
            *seen = self.view.seen(self.layer_idx, row);
        }
        for (keys, of_sinks) in [(&self.sinks, true), (&self.keys, false)] {
            if !keys.is_empty() {
                self.gather_queries(scratch, of_sinks);
                self.add_keys(scratch, keys.clone(), of_sinks);
            }
        }
        self.finish(scratch);
    }

    /// Adds the values of `positions`, weighted by the softmax that the keys so far give.
    fn add_keys(&self, scratch: &mut AttentionScratch, positions: Range<usize>, of_sinks: bool) {
        let (view, spec) = (&self.view, &self.view.model.spec);
        let (head_dim, group) = (spec.head_dim, self.group());
        let cache = &view.buffers.cache[self.layer_idx];
        let mut tile = self.tile(&positions, positions.start);
        while !tile.is_empty() {
            let (first, n_keys) = (tile.start, tile.len());
            let next = self.tile(&positions, tile.end);
            let slots = |tile: &Range<usize>| {
                let slot = cache.layout.slot(&view.chunk.window, tile.start);
                slot..slot + tile.len()
            };
            // SAFETY: the barrier before, or this worker, made these keys and values complete.
            let (keys, values, next_keys) = unsafe {
                (
                    cache.keys.rows(self.kv_head, slots(&tile)),
                    cache.values.rows(self.kv_head, slots(&tile)),
                    cache.keys.rows(self.kv_head, slots(&next)),
                )
            };
            // Rows before the tile do not see it.
            let first_row = self.rows.start.max(first.saturating_sub(view.chunk.position));
            let skipped = (first_row - self.rows.start) * group;
            let shown = skipped..self.rows.len() * group;
            let scores = &mut scratch.scores[..shown.len() * n_keys];
            let columns = shown.start * head_dim..shown.end * head_dim;
            let floats = keys.floats(&mut scratch.unpacked);
            floats.dots(values, &scratch.queries[columns.clone()], scores);
            if let Some(cap) = spec.attention_soft_cap {
                scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            }
            for (idx, scores) in shown.zip(scores.chunks_exact_mut(n_keys)) {
                let (sinks, keys) = &scratch.seen[idx / group];
                let seen = if of_sinks { sinks } else { keys };
                let within = |position: usize| position.saturating_sub(first).min(n_keys);
                let seen = within(seen.start)..within(seen.end).max(within(seen.start));
                let sums = &mut scratch.sums[idx * head_dim..][..head_dim];
                weigh(scores, seen, &mut scratch.weights[idx], sums);
            }
            let floats = values.floats(&mut scratch.unpacked);
            floats.add_weighted(next_keys, scores, &mut scratch.sums[columns]);
            tile = next;
        }
    }

    /// The keys from position `first` on that are read together.
    fn tile(&self, positions: &Range<usize>, first: usize) -> Range<usize> {
        let layout = self.view.buffers.cache[self.layer_idx].layout;
        let limit = (first / KEY_TILE + 1) * KEY_TILE;
        let to_wrap = layout.n_slots - layout.slot(&self.view.chunk.window, first);
        first..limit.min(positions.end).min(first + to_wrap)
    }

    /// Writes the result, or leaves it to the last of the splits.
    fn finish(&self, scratch: &mut AttentionScratch) {
        let n_rows = self.rows.len() * self.group();
        let head_dim = self.view.model.spec.head_dim;
        if self.n_splits == 1 {
            let sums = scratch.sums.chunks_exact(head_dim).zip(&scratch.weights);
            for (idx, (sums, [_, weight])) in sums.enumerate().take(n_rows) {
                let out = self.out(idx);
                out.copy_from_slice(sums);
                vector::scale(out, 1.0 / weight);
            }
            return;
        }
        let partials = &self.view.buffers.partials;
        // SAFETY: the places belong to this head and split alone.
        unsafe {
            let sums = partials.sums.write(self.place(self.split, 0) * head_dim, n_rows * head_dim);
            sums.copy_from_slice(&scratch.sums[..n_rows * head_dim]);
            let weights = partials.weights.write(self.place(self.split, 0) * 2, n_rows * 2);
            weights.copy_from_slice(scratch.weights[..n_rows].as_flattened());
        }
        // Acquires what the others released by the same addition.
        let n_done = &partials.n_done[self.kv_head];
        if n_done.fetch_add(1, Ordering::AcqRel) + 1 == self.n_splits {
            n_done.store(0, Ordering::Relaxed);
            (0..n_rows).for_each(|idx| self.join(idx));
        }
    }

    /// Joins the splits' sums of a row.
    fn join(&self, idx: usize) {
        let partials = &self.view.buffers.partials;
        let head_dim = self.view.model.spec.head_dim;
        // SAFETY: all splits of this head are done, and their writes were acquired.
        let weights = |split| unsafe { partials.weights.read(self.place(split, idx) * 2, 2) };
        let largest = (0..self.n_splits).map(|split| weights(split)[0]).fold(f32::MIN, f32::max);
        let factor = |split| (weights(split)[0] - largest).exp();
        let total: f32 = (0..self.n_splits).map(|split| factor(split) * weights(split)[1]).sum();
        let out = self.out(idx);
        out.fill(0.0);
        for split in 0..self.n_splits {
            // SAFETY: as above.
            let sums = unsafe { partials.sums.read(self.place(split, idx) * head_dim, head_dim) };
            vector::axpy_f32(factor(split) / total, sums, out);
        }
    }

    /// Where a split's row lies among the partial results.
    fn place(&self, split: usize, idx: usize) -> usize {
        (self.kv_head * MAX_SPLITS + split) * QUERY_BLOCK * self.group() + idx
    }

    /// Where the result of a row goes.
    fn out(&self, idx: usize) -> &'a mut [f32] {
        let (row, head) = (idx / self.group(), idx % self.group() + self.kv_head * self.group());
        let columns = columns(head, self.view.model.spec.head_dim);
        // SAFETY: the row and head belong to this item alone, or to the last of its splits.
        unsafe { self.view.part(Slot::Attended, self.rows.start + row, columns) }
    }
}

/// Turns the scores of a tile into weights: e^(score - largest so far), 0 outside `seen`. When the
/// largest grows, what was summed before is scaled down.
fn weigh(scores: &mut [f32], seen: Range<usize>, weights: &mut [f32; 2], sums: &mut [f32]) {
    let [largest, total] = weights;
    let new_largest = vector::largest(&scores[seen.clone()]).max(*largest);
    if new_largest > *largest {
        let factor = (*largest - new_largest).exp();
        vector::scale(sums, factor);
        *total *= factor;
        *largest = new_largest;
    }
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    *total += vector::exp_shifted(&mut scores[seen], *largest);
}

/// The columns of a head.
fn columns(head: usize, head_dim: usize) -> Range<usize> {
    head * head_dim..(head + 1) * head_dim
}

/// Turns each pair of `x` by its angle; dimensions past the angles stay.
fn rotate(x: &mut [f32], angles: Angles<'_>, kind: RopeKind) {
    let n_pairs = angles.cos.len();
    match kind {
        RopeKind::Interleaved => {
            for ((pair, cos), sin) in
                x.as_chunks_mut::<2>().0.iter_mut().zip(angles.cos).zip(angles.sin)
            {
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, a * sin + b * cos];
            }
        }
        RopeKind::Halves => {
            let (first, second) = x[..2 * n_pairs].split_at_mut(n_pairs);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(angles.cos).zip(angles.sin)
            {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
}
