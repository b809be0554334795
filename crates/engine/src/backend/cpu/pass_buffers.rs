//! The buffers that all workers of one session share, and its key-value cache.

use super::activations::SharedActivations;
use super::attention_buffers::Partials;
use super::buffer::SharedBuffer;
use super::cache::LayerCache;
use super::sizes::{SLOTS, activation_values, angle_values, stream_values, width};
use crate::window::{Layout, MAX_CHUNK};
use crate::{Error, KvType, ModelSpec};

/// Activation buffers and the cache, shared by all workers.
pub(super) struct PassBuffers {
    /// The residual stream, per worker: that of worker 0 holds a chunk, the others hold replicated
    /// rows.
    pub(super) residual: Vec<SharedBuffer<f32>>,
    /// The normed stream, laid out like `residual`.
    pub(super) normed: Vec<SharedBuffer<f32>>,
    /// The other slots, indexed by [`Slot`]. `[rows, width]` each
    pub(super) slots: Vec<SharedBuffer<f32>>,
    /// Quantised input of the current matrix product, written by all workers.
    pub(super) activations: SharedActivations,
    /// Cosines, then sines, first for the window and then for the sinks, by rope, token and pair.
    /// `[2, ropes, MAX_CHUNK, 2, rope_dim / 2]`
    pub(super) angles: SharedBuffer<f32>,
    /// The cache of each layer.
    pub(super) cache: Vec<LayerCache>,
    pub(super) partials: Partials,
    /// Context length of the session, in tokens.
    pub(super) context: usize,
}

impl PassBuffers {
    pub(super) fn new(
        spec: &ModelSpec,
        context: usize,
        kv_type: KvType,
        n_workers: usize,
    ) -> Result<Self, Error> {
        let stream = |worker_idx| SharedBuffer::new(stream_values(spec, worker_idx));
        Ok(Self {
            residual: (0..n_workers).map(stream).collect::<Result<_, _>>()?,
            normed: (0..n_workers).map(stream).collect::<Result<_, _>>()?,
            slots: SLOTS
                .iter()
                .map(|&slot| SharedBuffer::new(MAX_CHUNK * width(spec, slot)))
                .collect::<Result<_, _>>()?,
            activations: SharedActivations::new(activation_values(spec))?,
            angles: SharedBuffer::new(angle_values(spec))?,
            cache: spec
                .layouts(context)
                .map(|layout| LayerCache::new(spec, layout, kv_type))
                .collect::<Result<_, _>>()?,
            partials: Partials::new(spec)?,
            context,
        })
    }

    /// Bytes allocated, without the cache.
    #[cfg(test)]
    fn size_bytes(&self) -> usize {
        let Self { residual, normed, slots, activations, angles, partials, .. } = self;
        let floats = residual.iter().chain(normed).chain(slots).chain([angles]);
        floats.map(SharedBuffer::size_bytes).sum::<usize>()
            + activations.allocated_bytes()
            + partials.allocated_bytes()
    }

    /// The cache layout of layers that attend to the whole context.
    pub(super) fn global_layout(&self) -> Layout {
        Layout::new(None, self.context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention_buffers::AttentionScratch;
    use super::super::sizes::shared_bytes;
    use super::*;
    use crate::estimate::samples;

    #[test]
    fn size_formulas_match_allocations() {
        for spec in [samples::gemma3(), samples::gpt2()] {
            for n_workers in [1, 2, 5] {
                let buffers = PassBuffers::new(&spec, 64, KvType::F16, n_workers).unwrap();
                assert_eq!(shared_bytes(&spec, n_workers), buffers.size_bytes() as u64);
            }
            let scratch = AttentionScratch::new(&spec).unwrap();
            assert_eq!(AttentionScratch::size_bytes(&spec), scratch.allocated_bytes());
        }
    }
}
