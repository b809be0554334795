//! How large a runner's buffers are: what they are made with, and what [`crate::estimate`] says of a
//! model that is not loaded. The cache is not among them ([`ModelSpec::cache_bytes`]).

use super::activations::SharedActivations;
use super::attention::{AttentionScratch, Partials};
use super::{MAX_REPLICATED, SLOTS, Slot};
use crate::ModelSpec;
use crate::quant::PANEL_ROWS;
use crate::session::MAX_CHUNK;

/// What a panel takes at most for each column: sixteen rows unpacked and interleaved, and a scale and a
/// minimum of seventeen rows for each sixteen columns.
const PANEL_BYTES_PER_COLUMN: usize = 2 * PANEL_ROWS + 17 * 2 * size_of::<f32>() / 16 + 1;

/// Values of a worker's residual or normed stream: worker 0's holds a chunk, the others' the replicated
/// rows.
pub(super) fn stream_values(spec: &ModelSpec, worker_idx: usize) -> usize {
    let rows = if worker_idx == 0 { MAX_CHUNK } else { MAX_REPLICATED };
    rows * spec.d_model
}

/// Values in a row of a shared slot; the streams have buffers of their own, the logits the caller's.
pub(super) fn width(spec: &ModelSpec, slot: Slot) -> usize {
    match slot {
        Slot::Residual | Slot::Normed | Slot::Logits => 0,
        Slot::Query | Slot::Attended => spec.n_heads * spec.head_dim,
        Slot::Key | Slot::Value => spec.n_kv_heads * spec.head_dim,
        Slot::Gated => spec.d_ff,
        Slot::Projected => spec.d_model,
    }
}

/// Values of the widest slot that is multiplied with.
fn widest(spec: &ModelSpec) -> usize {
    spec.d_model.max(spec.d_ff).max(spec.n_heads * spec.head_dim)
}

/// Values of the activations that all workers quantise together.
pub(super) fn activation_values(spec: &ModelSpec) -> usize {
    MAX_CHUNK * widest(spec)
}

/// Cosines and sines, for the window and for the sinks.
pub(super) fn angle_values(spec: &ModelSpec) -> usize {
    2 * spec.ropes.len() * MAX_CHUNK * (spec.rope_dim / 2) * 2
}

/// Bytes of what the workers share.
pub(crate) fn shared_bytes(spec: &ModelSpec, n_workers: usize) -> u64 {
    let (first, others) = (2 * stream_values(spec, 0), 2 * stream_values(spec, 1));
    // Anyone may ask for any number of workers.
    let others = (others as u64).saturating_mul(n_workers.saturating_sub(1) as u64);
    let slots: usize = SLOTS.iter().map(|&slot| MAX_CHUNK * width(spec, slot)).sum();
    let values = others.saturating_add((first + slots + angle_values(spec)) as u64);
    let rest = SharedActivations::size_bytes(activation_values(spec)) + Partials::size_bytes(spec);
    values.saturating_mul(size_of::<f32>() as u64).saturating_add(rest as u64)
}

/// Bytes that a worker's own buffers grow to. It keeps a panel for each of `panel_columns`: the number
/// of columns of quantised matrices, once for each type that they have.
pub(crate) fn worker_bytes(spec: &ModelSpec, panel_columns: impl Iterator<Item = usize>) -> usize {
    // A file may list other matrices, which are never unpacked.
    let panel_columns = panel_columns.filter(|&n_cols| n_cols <= widest(spec));
    let panels: usize = panel_columns.map(|n_cols| n_cols * PANEL_BYTES_PER_COLUMN).sum();
    // A tile, the products of a chunk of rows, and those of a pair's first matrix.
    let products = 3 * MAX_CHUNK * PANEL_ROWS * size_of::<f32>();
    AttentionScratch::size_bytes(spec)
        + SharedActivations::size_bytes(MAX_REPLICATED * widest(spec))
        + panels
        + products
}

#[cfg(test)]
mod tests {
    use super::super::Buffers;
    use super::*;
    use crate::KvType;
    use crate::estimate::samples;

    #[test]
    fn what_is_told_is_what_is_allocated() {
        for spec in [samples::gemma3(), samples::gpt2()] {
            for n_workers in [1, 2, 5] {
                let buffers = Buffers::new(&spec, 64, KvType::F16, n_workers).unwrap();
                assert_eq!(shared_bytes(&spec, n_workers), buffers.size_bytes() as u64);
            }
            let scratch = AttentionScratch::new(&spec).unwrap();
            assert_eq!(AttentionScratch::size_bytes(&spec), scratch.allocated_bytes());
        }
    }
}
