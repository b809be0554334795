//! Attention over the cache: grouped query heads, causal, with a sliding window in layers that have
//! one.
//!
//! Keys are read in tiles with an online softmax (Milakov and Gimelshein 2018,
//! <https://arxiv.org/abs/1805.02867>; tiled as in FlashAttention, Dao et al. 2022,
//! <https://arxiv.org/abs/2205.14135>), so no score row of the length of the context exists. The
//! query heads that share a key-value head, and up to sixteen rows, share each read. With few rows
//! over many keys the work is split by keys, and the worker that finishes last merges the splits.
//! Splits and tiles begin at fixed multiples of a position, so the result of a row is bit-identical
//! for any number of workers and for any few rows that are read with it.
//!
//! Once the window has slid, the sinks are handled as separate keys, for which queries are rotated
//! by other angles ([`crate::window`]).

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::attention_buffers::{
    AttentionScratch, KEY_TILE, MAX_SPLITS, QUERY_BLOCK, SPLITS_OF_CONTEXT,
};
use super::matrix::Matrix;
use super::view::{Angles, View};
use crate::backend::Slot;
use crate::quant::vector;
use crate::spec::RopeKind;
use crate::weights::LayerWeights;

/// The fewest keys per split.
const MIN_SPLIT_KEYS: usize = 128;

/// Keys per split.
fn split_keys(context: usize) -> usize {
    context.div_ceil(SPLITS_OF_CONTEXT).next_power_of_two().max(MIN_SPLIT_KEYS)
}

/// One unit of a layer's attention: one key-value head, some rows, some keys.
struct AttentionTask<'a> {
    view: View<'a>,
    layer_idx: usize,
    layer: &'a LayerWeights<Matrix, Vec<f32>>,
    kv_head: usize,
    rows: Range<usize>,
    /// Positions of sinks that are separate from the window.
    sinks: Range<usize>,
    /// Positions of the other keys.
    keys: Range<usize>,
    split: usize,
    n_splits: usize,
}

/// How the keys of few rows are split: separate sinks first, then ranges of the rest.
struct Splits {
    sinks: Range<usize>,
    keys: Range<usize>,
    /// Keys per split, whose start is a multiple of this.
    len: usize,
}

impl Splits {
    fn count(&self) -> usize {
        let n_key_splits = self.keys.end.div_ceil(self.len) - self.keys.start / self.len;
        usize::from(!self.sinks.is_empty()) + n_key_splits
    }

    /// The sinks and keys of one split.
    fn split(&self, idx: usize) -> (Range<usize>, Range<usize>) {
        let Some(key_split) = idx.checked_sub(usize::from(!self.sinks.is_empty())) else {
            return (self.sinks.clone(), 0..0);
        };
        let start = (self.keys.start / self.len + key_split) * self.len;
        (0..0, start.max(self.keys.start)..(start + self.len).min(self.keys.end))
    }
}

/// Norms and rotates queries and keys, stores keys and values in the cache, and attends.
pub(super) fn attend_layer(
    view: View<'_>,
    scratch: &mut AttentionScratch,
    layer_idx: usize,
    layer: &LayerWeights<Matrix, Vec<f32>>,
) {
    let n_kv_heads = view.model.spec.n_kv_heads;
    let n_blocks = view.n_rows.div_ceil(QUERY_BLOCK);
    let task = |kv_head, rows, (sinks, keys), split, n_splits| AttentionTask {
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
            let task = task(kv_head, rows.clone(), splits.split(split), split, n_splits);
            task.store_new_keys(scratch);
            task.attend(scratch);
        });
        return;
    }
    for item in view.member.share(view.n_rows * n_kv_heads) {
        let (row, kv_head) = (item / n_kv_heads, item % n_kv_heads);
        view.store_key_and_value(&mut scratch.head, layer_idx, layer, row, kv_head);
    }
    view.member.barrier();
    view.member.chunks(n_kv_heads * n_blocks, |chunk, _| {
        // Later rows have more keys: started first, they leave the shorter ones to even out the
        // end.
        let (block, kv_head) = (n_blocks - 1 - chunk / n_kv_heads, chunk % n_kv_heads);
        let rows = block * QUERY_BLOCK..((block + 1) * QUERY_BLOCK).min(view.n_rows);
        task(kv_head, rows.clone(), view.keys(layer_idx, rows), 0, 1).attend(scratch);
    });
}

impl View<'_> {
    /// The positions visible to any of `rows`: separate sinks, and the other keys.
    fn keys(&self, layer_idx: usize, rows: Range<usize>) -> (Range<usize>, Range<usize>) {
        let position = self.chunk.position;
        let last = rows.end - 1;
        let (first_sinks, first_keys) = self.visible(layer_idx, rows.start);
        let (sinks, _) = self.visible(layer_idx, last);
        let end = (position + rows.end).max(first_keys.start);
        (0..sinks.end.max(first_sinks.end), first_keys.start..end)
    }

    /// The positions visible to `row`: separate sinks, and the other keys.
    fn visible(&self, layer_idx: usize, row: usize) -> (Range<usize>, Range<usize>) {
        let (window, position) = (&self.chunk.window, self.chunk.position + row);
        let layout = self.buffers.cache[layer_idx].layout;
        let visible = layout.visible(window, position);
        if !self.has_separate_sinks(layout) {
            return (0..0, visible);
        }
        let n_sinks = window.n_sinks;
        let start = visible.start.max(n_sinks);
        (0..n_sinks.min(position + 1), start..visible.end.max(start))
    }

    /// Norms and rotates the key of one row and head, and stores it with its value.
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
        // SAFETY: each row and head is prepared by one worker, after the barrier of the projection.
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
        // SAFETY: each position and head is stored by one worker, and read by others only after a
        // barrier; no row of the chunk attends to what the slot held before.
        unsafe {
            cache.keys.store(kv_head, slot, key);
            cache.values.store(kv_head, slot, value);
        }
    }
}

impl<'a> AttentionTask<'a> {
    /// The number of query heads that share the key-value head.
    fn group(&self) -> usize {
        self.view.model.spec.n_heads / self.view.model.spec.n_kv_heads
    }

    /// Stores the new keys in the range of this task: no other task reads them.
    fn store_new_keys(&self, scratch: &mut AttentionScratch) {
        let (view, position) = (&self.view, self.view.chunk.position);
        let is_in_range =
            |position| self.keys.contains(&position) || self.sinks.contains(&position);
        for row in self.rows.clone().filter(|row| is_in_range(position + row)) {
            let unnormed = &mut scratch.head;
            view.store_key_and_value(unnormed, self.layer_idx, self.layer, row, self.kv_head);
        }
    }

    /// Copies the queries, normed, scaled, and rotated for the sinks or for the other keys.
    fn load_queries(&self, scratch: &mut AttentionScratch, for_sinks: bool) {
        let (view, spec, group) = (&self.view, &self.view.model.spec, self.group());
        let mut queries = scratch.queries.chunks_exact_mut(spec.head_dim);
        for row in self.rows.clone() {
            let angles = view.angles(spec.layers[self.layer_idx].rope_idx, row, for_sinks);
            // SAFETY: the queries are complete since the barrier of the projection; no worker
            // writes them now.
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

    /// Sums the values of the keys, weighted by the softmax of their scores.
    fn attend(&self, scratch: &mut AttentionScratch) {
        let n_sums = self.rows.len() * self.group() * self.view.model.spec.head_dim;
        scratch.sums[..n_sums].fill(0.0);
        scratch.weights.fill([f32::NEG_INFINITY, 0.0]);
        for (visible, row) in scratch.visible.iter_mut().zip(self.rows.clone()) {
            *visible = self.view.visible(self.layer_idx, row);
        }
        for (keys, for_sinks) in [(&self.sinks, true), (&self.keys, false)] {
            if !keys.is_empty() {
                self.load_queries(scratch, for_sinks);
                self.add_keys(scratch, keys.clone(), for_sinks);
            }
        }
        self.finish(scratch);
    }

    /// Adds the values of `positions` to the sums, by the online softmax.
    fn add_keys(&self, scratch: &mut AttentionScratch, positions: Range<usize>, for_sinks: bool) {
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
            // SAFETY: these keys and values are complete, by the last barrier or written by this
            // worker.
            let (keys, values, next_keys) = unsafe {
                (
                    cache.keys.rows(self.kv_head, slots(&tile)),
                    cache.values.rows(self.kv_head, slots(&tile)),
                    cache.keys.rows(self.kv_head, slots(&next)),
                )
            };
            // Rows before the tile do not attend to it.
            let first_row = self.rows.start.max(first.saturating_sub(view.chunk.position));
            let skipped = (first_row - self.rows.start) * group;
            let visible_rows = skipped..self.rows.len() * group;
            let scores = &mut scratch.scores[..visible_rows.len() * n_keys];
            let columns = visible_rows.start * head_dim..visible_rows.end * head_dim;
            let floats = keys.floats(&mut scratch.unpacked);
            floats.dots(values, &scratch.queries[columns.clone()], scores);
            if let Some(cap) = spec.attention_soft_cap {
                scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            }
            for (idx, scores) in visible_rows.zip(scores.chunks_exact_mut(n_keys)) {
                let (sinks, keys) = &scratch.visible[idx / group];
                let visible = if for_sinks { sinks } else { keys };
                let within = |position: usize| position.saturating_sub(first).min(n_keys);
                let visible = within(visible.start)..within(visible.end).max(within(visible.start));
                let sums = &mut scratch.sums[idx * head_dim..][..head_dim];
                softmax_weights(scores, visible, &mut scratch.weights[idx], sums);
            }
            let floats = values.floats(&mut scratch.unpacked);
            floats.add_weighted(next_keys, scores, &mut scratch.sums[columns]);
            tile = next;
        }
    }

    /// The tile of keys that starts at position `first`.
    fn tile(&self, positions: &Range<usize>, first: usize) -> Range<usize> {
        let layout = self.view.buffers.cache[self.layer_idx].layout;
        let limit = (first / KEY_TILE + 1) * KEY_TILE;
        let to_wrap = layout.n_slots - layout.slot(&self.view.chunk.window, first);
        first..limit.min(positions.end).min(first + to_wrap)
    }

    /// Writes the result, or stores the partial result and merges if this split is the last.
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
        // SAFETY: these rows belong to this head and split alone.
        unsafe {
            let sums =
                partials.sums.write(self.partial_row(self.split, 0) * head_dim, n_rows * head_dim);
            sums.copy_from_slice(&scratch.sums[..n_rows * head_dim]);
            let weights = partials.weights.write(self.partial_row(self.split, 0) * 2, n_rows * 2);
            weights.copy_from_slice(scratch.weights[..n_rows].as_flattened());
        }
        // Acquires the writes that the other workers released with the same addition.
        let n_done = &partials.n_done[self.kv_head];
        if n_done.fetch_add(1, Ordering::AcqRel) + 1 == self.n_splits {
            n_done.store(0, Ordering::Relaxed);
            (0..n_rows).for_each(|idx| self.merge_splits(idx));
        }
    }

    /// Merges the partial sums of one row.
    fn merge_splits(&self, idx: usize) {
        let partials = &self.view.buffers.partials;
        let head_dim = self.view.model.spec.head_dim;
        // SAFETY: all splits of this head are done, and their writes were acquired.
        let weights = |split| unsafe { partials.weights.read(self.partial_row(split, idx) * 2, 2) };
        let largest = (0..self.n_splits).map(|split| weights(split)[0]).fold(f32::MIN, f32::max);
        let factor = |split| (weights(split)[0] - largest).exp();
        let total: f32 = (0..self.n_splits).map(|split| factor(split) * weights(split)[1]).sum();
        let out = self.out(idx);
        out.fill(0.0);
        for split in 0..self.n_splits {
            // SAFETY: as above.
            let sums =
                unsafe { partials.sums.read(self.partial_row(split, idx) * head_dim, head_dim) };
            vector::axpy_f32(factor(split) / total, sums, out);
        }
    }

    /// Index of a split's row in the partial results.
    fn partial_row(&self, split: usize, idx: usize) -> usize {
        (self.kv_head * MAX_SPLITS + split) * QUERY_BLOCK * self.group() + idx
    }

    /// The output slice of a row.
    fn out(&self, idx: usize) -> &'a mut [f32] {
        let (row, head) = (idx / self.group(), idx % self.group() + self.kv_head * self.group());
        let columns = columns(head, self.view.model.spec.head_dim);
        // SAFETY: the row and head belong to this task alone, or to the last of its splits.
        unsafe { self.view.part(Slot::Attended, self.rows.start + row, columns) }
    }
}

/// Turns the scores of a tile into weights: `e^(score - largest so far)`, 0 outside `visible`. When
/// the largest score grows, the previous sums are rescaled.
fn softmax_weights(
    scores: &mut [f32],
    visible: Range<usize>,
    weights: &mut [f32; 2],
    sums: &mut [f32],
) {
    let [largest, total] = weights;
    let new_largest = vector::max(&scores[visible.clone()]).max(*largest);
    if new_largest > *largest {
        let factor = (*largest - new_largest).exp();
        vector::scale(sums, factor);
        *total *= factor;
        *largest = new_largest;
    }
    scores[..visible.start].fill(0.0);
    scores[visible.end..].fill(0.0);
    *total += vector::exp_shifted(&mut scores[visible], *largest);
}

/// The columns of a head.
fn columns(head: usize, head_dim: usize) -> Range<usize> {
    head * head_dim..(head + 1) * head_dim
}

/// Rotates each pair of `x` by its angle; dimensions past the angles stay unchanged.
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
