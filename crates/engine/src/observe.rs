//! A backend wrapper that collects the [`ImportanceMatrix`] during a forward pass.
//!
//! The forward pass itself does not change: [`ObservingBackend`] looks at the slot that each
//! operation reads before it passes the operation on.

use crate::Error;
use crate::backend::{Backend, LayerOf, LinearOf, Slot};
use crate::importance::{ImportanceMatrix, LayerImportance};
use crate::spec::Activation;
use crate::weights::Norm;

/// A backend that can sum the importance of a slot.
pub(crate) trait SlotSquares: Backend {
    /// Adds the importance of the slot's rows to `sums`, one for each column.
    fn add_squares(&mut self, slot: Slot, sums: &mut [f64]) -> Result<(), Error>;
}

/// Adds the importance of `rows` to `sums`, one for each column.
pub(crate) fn add_squares(rows: &[f32], sums: &mut [f64]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
}

/// A backend that records the inputs of its matrix products.
pub(crate) struct ObservingBackend<'a, B> {
    backend: B,
    /// `None` in workers that do not record.
    importance: Option<&'a mut ImportanceMatrix>,
    layer_idx: usize,
}

impl<'a, B: SlotSquares> ObservingBackend<'a, B> {
    pub(crate) fn new(backend: B, importance: Option<&'a mut ImportanceMatrix>) -> Self {
        Self { backend, importance, layer_idx: 0 }
    }

    fn record(
        &mut self,
        from: Slot,
        sums: impl FnOnce(&mut LayerImportance) -> &mut Vec<f64>,
    ) -> Result<(), Error> {
        match &mut self.importance {
            Some(importance) => {
                let layer = &mut importance.layers[self.layer_idx];
                self.backend.add_squares(from, sums(layer))
            }
            None => Ok(()),
        }
    }
}

impl<B: SlotSquares> Backend for ObservingBackend<'_, B> {
    type Matrix = B::Matrix;
    type Vector = B::Vector;

    fn embed(&mut self, embedding: &B::Matrix, positions: Option<&B::Matrix>) -> Result<(), Error> {
        self.backend.embed(embedding, positions)
    }

    fn norm(&mut self, from: Slot, norm: &Norm<B::Vector>, to: Slot) -> Result<(), Error> {
        self.backend.norm(from, norm, to)
    }

    fn linear(&mut self, from: Slot, projections: &[(&LinearOf<B>, Slot)]) -> Result<(), Error> {
        match from {
            Slot::Attended => self.record(from, |layer| &mut layer.attention_out)?,
            Slot::Gated => {
                self.record(from, |layer| &mut layer.down)?;
                // `down` is the last product of a layer.
                self.layer_idx += 1;
            }
            _ => self.record(from, |layer| &mut layer.attention)?,
        }
        self.backend.linear(from, projections)
    }

    fn attend(&mut self, layer_idx: usize, layer: &LayerOf<B>) -> Result<(), Error> {
        self.backend.attend(layer_idx, layer)
    }

    fn gate(
        &mut self,
        gate: &LinearOf<B>,
        up: &LinearOf<B>,
        activation: Activation,
    ) -> Result<(), Error> {
        self.record(Slot::Normed, |layer| &mut layer.ffn)?;
        self.backend.gate(gate, up, activation)
    }

    fn gelu(&mut self, up: &LinearOf<B>) -> Result<(), Error> {
        self.record(Slot::Normed, |layer| &mut layer.ffn)?;
        self.backend.gelu(up)
    }

    fn add(&mut self, from: Slot) -> Result<(), Error> {
        self.backend.add(from)
    }

    fn keep_last(&mut self) -> Result<(), Error> {
        self.backend.keep_last()
    }

    fn head(
        &mut self,
        head: Option<&LinearOf<B>>,
        embedding: &B::Matrix,
        soft_cap: Option<f32>,
    ) -> Result<(), Error> {
        self.backend.head(head, embedding, soft_cap)
    }
}
