//! Buffers of attention: the partial results that workers share, and the scratch space of one worker.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::buffer::{SharedBuffer, zeros};
use crate::{Error, ModelSpec};

/// Rows per query block.
pub(super) const QUERY_BLOCK: usize = 16;
/// Keys per tile: with their values they fit into the L1 cache.
pub(super) const KEY_TILE: usize = 64;
/// The approximate number of splits of a full context.
pub(super) const SPLITS_OF_CONTEXT: usize = 32;
/// The most splits: the keys rarely begin and end at the boundary of a split, and the sinks are a
/// split of their own.
pub(super) const MAX_SPLITS: usize = SPLITS_OF_CONTEXT + 3;

/// Partial results of the splits, which the last worker merges.
pub(crate) struct Partials {
    /// Weighted sums of values, not yet normalised. `[n_kv_heads, splits, rows, head_dim]`
    pub(super) sums: SharedBuffer<f32>,
    /// The largest score and the sum of weights per row. `[n_kv_heads, splits, rows, 2]`
    pub(super) weights: SharedBuffer<f32>,
    /// The number of finished splits per key-value head.
    pub(super) n_done: Vec<AtomicUsize>,
}

impl Partials {
    /// Allocates the buffers for a model of this shape.
    ///
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

    /// The size in bytes of sums and weights.
    pub(crate) fn size_bytes(spec: &ModelSpec) -> usize {
        Self::n_rows(spec) * (spec.head_dim + 2) * size_of::<f32>()
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.sums.size_bytes() + self.weights.size_bytes()
    }

    /// Discards the splits of a cancelled pass.
    pub(crate) fn reset(&self) {
        self.n_done.iter().for_each(|n_done| n_done.store(0, Ordering::Relaxed));
    }
}

/// The buffers of one worker. Rows are those of a query block, for each head of the group.
pub(crate) struct AttentionScratch {
    /// `[rows, head_dim]`
    pub(super) queries: Vec<f32>,
    /// `[rows, KEY_TILE]`
    pub(super) scores: Vec<f32>,
    /// `[rows, head_dim]`
    pub(super) sums: Vec<f32>,
    /// The largest score and the sum of weights of each row.
    pub(super) weights: Vec<[f32; 2]>,
    /// The positions visible to each row: separate sinks, and the other keys.
    pub(super) visible: [(Range<usize>, Range<usize>); QUERY_BLOCK],
    /// A head before its norm.
    pub(super) head: Vec<f32>,
    /// An unpacked tile of quantised keys or values. `[KEY_TILE, head_dim]`
    pub(super) unpacked: Vec<f32>,
}

impl AttentionScratch {
    /// Allocates the buffers for a model of this shape.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, Error> {
        let n_rows = Self::n_rows(spec);
        Ok(Self {
            queries: zeros(n_rows * spec.head_dim)?,
            scores: zeros(n_rows * KEY_TILE)?,
            sums: zeros(n_rows * spec.head_dim)?,
            weights: zeros(n_rows)?,
            visible: [const { (0..0, 0..0) }; QUERY_BLOCK],
            head: zeros(spec.head_dim)?,
            unpacked: zeros(KEY_TILE * spec.head_dim)?,
        })
    }

    fn n_rows(spec: &ModelSpec) -> usize {
        QUERY_BLOCK * (spec.n_heads / spec.n_kv_heads)
    }

    /// The size in bytes of what `new` allocates.
    pub(crate) fn size_bytes(spec: &ModelSpec) -> usize {
        let row_values = 2 * spec.head_dim + KEY_TILE + 2;
        let tile_values = (1 + KEY_TILE) * spec.head_dim;
        (Self::n_rows(spec) * row_values + tile_values) * size_of::<f32>()
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        let Self { queries, scores, sums, weights, head, unpacked, .. } = self;
        let floats = [queries, scores, sums, head, unpacked];
        size_of_val(&**weights) + floats.map(|floats| size_of_val(&**floats)).iter().sum::<usize>()
    }
}
