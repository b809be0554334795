//! Attention over the cache: grouped heads, causal, with a window where the layer has one.

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;

use super::matrix::Matrix;
use super::worker::{View, Worker};
use crate::backend::Slot;
use crate::quant::vector;
use crate::spec::RopeKind;
use crate::weights::LayerWeights;

/// Queries of one head that a worker takes at once.
const QUERY_BLOCK: usize = 16;

impl Worker<'_> {
    /// Norms and rotates queries and keys, stores keys and values, and attends.
    pub(super) fn attend_layer(
        &mut self,
        layer_idx: usize,
        layer: &LayerWeights<Matrix, Vec<f32>>,
    ) {
        let view = self.view;
        let n_kv_heads = view.model.spec.n_kv_heads;
        for item in view.member.share(view.n_rows * n_kv_heads) {
            let (row, kv_head) = (item / n_kv_heads, item % n_kv_heads);
            self.prepare_group(layer_idx, layer, row, kv_head);
        }
        view.member.barrier();
        let n_blocks = view.n_rows.div_ceil(QUERY_BLOCK);
        view.member.chunks(view.model.spec.n_heads * n_blocks, |chunk| {
            let (head, block) = (chunk / n_blocks, chunk % n_blocks);
            let end = ((block + 1) * QUERY_BLOCK).min(view.n_rows);
            for row in block * QUERY_BLOCK..end {
                attend_query(&view, &mut self.scratch.scores, layer_idx, head, row);
            }
        });
    }

    /// Makes one row's key-value head and the query heads that share it ready.
    fn prepare_group(
        &mut self,
        layer_idx: usize,
        layer: &LayerWeights<Matrix, Vec<f32>>,
        row: usize,
        kv_head: usize,
    ) {
        let (view, spec) = (self.view, &self.view.model.spec);
        let angles = view.angles(spec.layers[layer_idx].rope_idx, row);
        let (group, head_dim) = (spec.n_heads / spec.n_kv_heads, spec.head_dim);
        let mut prepare = |slot, head: usize, norm: Option<&Vec<f32>>| {
            // SAFETY: items have distinct rows and heads, and shares are disjoint.
            let x = unsafe { view.part(slot, row, columns(head, head_dim)) };
            if let Some(weight) = norm {
                self.scratch.head.clear();
                self.scratch.head.extend_from_slice(x);
                vector::rms_norm(&self.scratch.head, weight, spec.eps, x);
            }
            rotate(x, angles, spec.rope_kind);
            x
        };
        for head in kv_head * group..(kv_head + 1) * group {
            prepare(Slot::Query, head, layer.q_norm.as_ref());
        }
        let key = prepare(Slot::Key, kv_head, layer.k_norm.as_ref());
        // SAFETY: the projection's barrier made the values complete.
        let value = &unsafe { view.row(Slot::Value, row) }[columns(kv_head, head_dim)];
        let start = view.cache_start(kv_head, view.position + row);
        let (keys, values) = &view.buffers.cache[layer_idx];
        // SAFETY: each position and head is stored by one worker, and read after the barrier.
        unsafe {
            keys.store(start, key);
            values.store(start, value);
        }
    }
}

impl View<'_> {
    /// Where a head's row of a position starts in the cache.
    fn cache_start(&self, kv_head: usize, position: usize) -> usize {
        (kv_head * self.buffers.context + position) * self.model.spec.head_dim
    }
}

/// The columns of a head.
fn columns(head: usize, head_dim: usize) -> Range<usize> {
    head * head_dim..(head + 1) * head_dim
}

/// Turns each pair of `x` by its angle; dimensions past the angles stay.
fn rotate(x: &mut [f32], angles: &[(f32, f32)], kind: RopeKind) {
    let turn = |a: &mut f32, b: &mut f32, (cos, sin): (f32, f32)| {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    };
    match kind {
        RopeKind::Interleaved => {
            for (pair, angle) in x.chunks_exact_mut(2).zip(angles) {
                let [a, b] = pair else { unreachable!("chunks of two") };
                turn(a, b, *angle);
            }
        }
        RopeKind::Halves => {
            let (first, second) = x.split_at_mut(angles.len());
            for ((a, b), angle) in first.iter_mut().zip(second).zip(angles) {
                turn(a, b, *angle);
            }
        }
    }
}

/// `softmax(q · keysᵀ) · values` for one head of one row.
fn attend_query(view: &View<'_>, scores: &mut [f32], layer_idx: usize, head: usize, row: usize) {
    let spec = &view.model.spec;
    let head_dim = spec.head_dim;
    let kv_head = head / (spec.n_heads / spec.n_kv_heads);
    let end = view.position + row + 1;
    let first = spec.layers[layer_idx].window.map_or(0, |window| end.saturating_sub(window));
    let n_keys = end - first;
    let (keys, values) = &view.buffers.cache[layer_idx];
    let (start, len) = (view.cache_start(kv_head, first), n_keys * head_dim);
    // SAFETY: the barrier before made queries, keys and values complete; the output's part
    // belongs to this row and head alone.
    let (query, keys, values, out) = unsafe {
        (
            &view.row(Slot::Query, row)[columns(head, head_dim)],
            keys.rows(start, len),
            values.rows(start, len),
            view.part(Slot::Attended, row, columns(head, head_dim)),
        )
    };
    let scores = &mut scores[..n_keys];
    keys.dots(query, scores);
    scores.iter_mut().for_each(|score| *score *= spec.attention_scale);
    if let Some(cap) = spec.attention_soft_cap {
        scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
    }
    vector::softmax(scores);
    out.fill(0.0);
    values.add_weighted(scores, out);
}
