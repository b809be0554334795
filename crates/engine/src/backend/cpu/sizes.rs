//! Sizes of a runner's buffers, used both to allocate them and to estimate a model that is not
//! loaded ([`crate::estimate`]). The size of the cache is [`ModelSpec::cache_bytes`].

use super::activations::SharedActivations;
use super::attention_buffers::{AttentionScratch, Partials};
use crate::ModelSpec;
use crate::backend::Slot;
use crate::quant::PANEL_ROWS;
use crate::window::MAX_CHUNK;

/// Up to this many tokens each worker keeps its own copy of the residual stream: recomputing a norm
/// is cheaper than waiting for the others.
pub(super) const MAX_REPLICATED: usize = 4;
/// All slots, in order.
pub(super) const SLOTS: [Slot; Slot::COUNT] = [
    Slot::Residual,
    Slot::Normed,
    Slot::Query,
    Slot::Key,
    Slot::Value,
    Slot::Attended,
    Slot::Gated,
    Slot::Projected,
    Slot::Logits,
];

/// The most bytes of a panel per column: sixteen rows, unpacked and interleaved, plus a scale and a
/// minimum of seventeen rows for every sixteen columns.
const PANEL_BYTES_PER_COLUMN: usize = 2 * PANEL_ROWS + 17 * 2 * size_of::<f32>() / 16 + 1;

/// Values in a worker's residual or normed stream: a chunk for worker 0, the replicated rows for
/// the others.
pub(super) fn stream_values(spec: &ModelSpec, worker_idx: usize) -> usize {
    let rows = if worker_idx == 0 { MAX_CHUNK } else { MAX_REPLICATED };
    rows * spec.d_model
}

/// Values per row of a shared slot. Zero for the streams, which have separate buffers, and for the
/// logits, which the caller owns.
pub(super) fn width(spec: &ModelSpec, slot: Slot) -> usize {
    match slot {
        Slot::Residual | Slot::Normed | Slot::Logits => 0,
        Slot::Query | Slot::Attended => spec.n_heads * spec.head_dim,
        Slot::Key | Slot::Value => spec.n_kv_heads * spec.head_dim,
        Slot::Gated => spec.d_ff,
        Slot::Projected => spec.d_model,
    }
}

/// Values per row of the widest matrix input.
fn widest(spec: &ModelSpec) -> usize {
    spec.d_model.max(spec.d_ff).max(spec.n_heads * spec.head_dim)
}

/// Values in the shared quantised activations.
pub(super) fn activation_values(spec: &ModelSpec) -> usize {
    MAX_CHUNK * widest(spec)
}

/// Cosines and sines, for the window and for the sinks.
pub(super) fn angle_values(spec: &ModelSpec) -> usize {
    2 * spec.ropes.len() * MAX_CHUNK * (spec.rope_dim / 2) * 2
}

/// Bytes of all shared buffers.
pub(crate) fn shared_bytes(spec: &ModelSpec, n_workers: usize) -> u64 {
    let (first, others) = (2 * stream_values(spec, 0), 2 * stream_values(spec, 1));
    // The number of workers is not validated here: avoid overflow.
    let others = (others as u64).saturating_mul(n_workers.saturating_sub(1) as u64);
    let slots: usize = SLOTS.iter().map(|&slot| MAX_CHUNK * width(spec, slot)).sum();
    let values = others.saturating_add((first + slots + angle_values(spec)) as u64);
    let rest = SharedActivations::size_bytes(activation_values(spec)) + Partials::size_bytes(spec);
    values.saturating_mul(size_of::<f32>() as u64).saturating_add(rest as u64)
}

/// The size in bytes to which a worker's own buffers grow. It keeps a panel for each of
/// `panel_columns`: the widths of the quantised matrices, once per tensor type.
pub(crate) fn worker_bytes(spec: &ModelSpec, panel_columns: impl Iterator<Item = usize>) -> usize {
    // A crafted file may list wider matrices, which are never unpacked.
    let panel_columns = panel_columns.filter(|&n_cols| n_cols <= widest(spec));
    let panels: usize = panel_columns.map(|n_cols| n_cols * PANEL_BYTES_PER_COLUMN).sum();
    // A tile, the products of one chunk of rows, and those of the first matrix of a pair.
    let products = 3 * MAX_CHUNK * PANEL_ROWS * size_of::<f32>();
    AttentionScratch::size_bytes(spec)
        + SharedActivations::size_bytes(MAX_REPLICATED * widest(spec))
        + panels
        + products
}
