//! What meets a model's matrices while it reads a text: how much each column counts.
//!
//! The mean square of the activations that a column of a matrix is multiplied with says how much an
//! error in that column changes the product (llama.cpp's `imatrix` holds the same). The forward pass
//! itself is not changed for it: an [`Observed`] backend looks at what each operation reads.

use crate::backend::{Backend, LayerOf, LinearOf, Slot};
use crate::spec::Activation;
use crate::weights::Norm;
use crate::{Error, ModelSpec};

/// Sums over tokens of the squares of what each matrix of each layer was multiplied with.
#[derive(Clone, Debug)]
pub struct InputSquares {
    /// Tokens that were read.
    pub n_tokens: u64,
    /// Each layer's.
    pub layers: Vec<LayerSquares>,
}

/// The sums of one layer.
#[derive(Clone, Debug)]
pub struct LayerSquares {
    /// What queries, keys and values are made of. `[d_model]`
    pub attention: Vec<f64>,
    /// What attention's output is made of. `[n_heads · head_dim]`
    pub attention_out: Vec<f64>,
    /// What gate and up are made of. `[d_model]`
    pub ffn: Vec<f64>,
    /// What down is made of. `[d_ff]`
    pub down: Vec<f64>,
}

impl InputSquares {
    /// Nothing read yet.
    pub fn new(spec: &ModelSpec) -> Self {
        let layer = LayerSquares {
            attention: vec![0.0; spec.d_model],
            attention_out: vec![0.0; spec.n_heads * spec.head_dim],
            ffn: vec![0.0; spec.d_model],
            down: vec![0.0; spec.d_ff],
        };
        Self { n_tokens: 0, layers: vec![layer; spec.layers.len()] }
    }
}

impl InputSquares {
    /// Whether all sums are numbers.
    pub(crate) fn are_finite(&self) -> bool {
        self.layers.iter().all(|layer| {
            let LayerSquares { attention, attention_out, ffn, down } = layer;
            let sums = [attention, attention_out, ffn, down];
            sums.iter().all(|sums| sums.iter().all(|sum| sum.is_finite()))
        })
    }
}

/// A backend whose slots can be looked at.
pub(crate) trait Peek: Backend {
    /// Adds the squares of the slot's rows to `sums`, one for each column.
    fn add_squares(&mut self, slot: Slot, sums: &mut [f64]) -> Result<(), Error>;
}

/// Adds the squares of `rows` to `sums`, one for each column.
pub(crate) fn add_squares(rows: &[f32], sums: &mut [f64]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
}

/// A backend that notes what its matrices are multiplied with.
pub(crate) struct Observed<'a, B> {
    backend: B,
    /// `None` where another worker notes it.
    squares: Option<&'a mut InputSquares>,
    layer_idx: usize,
}

impl<'a, B: Peek> Observed<'a, B> {
    pub(crate) fn new(backend: B, squares: Option<&'a mut InputSquares>) -> Self {
        Self { backend, squares, layer_idx: 0 }
    }

    fn note(
        &mut self,
        from: Slot,
        sums: impl FnOnce(&mut LayerSquares) -> &mut Vec<f64>,
    ) -> Result<(), Error> {
        match &mut self.squares {
            Some(squares) => {
                let layer = &mut squares.layers[self.layer_idx];
                self.backend.add_squares(from, sums(layer))
            }
            None => Ok(()),
        }
    }
}

impl<B: Peek> Backend for Observed<'_, B> {
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
            Slot::Attended => self.note(from, |layer| &mut layer.attention_out)?,
            Slot::Gated => {
                self.note(from, |layer| &mut layer.down)?;
                // Nothing of the layer is multiplied after that.
                self.layer_idx += 1;
            }
            _ => self.note(from, |layer| &mut layer.attention)?,
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
        self.note(Slot::Normed, |layer| &mut layer.ffn)?;
        self.backend.gate(gate, up, activation)
    }

    fn gelu(&mut self, up: &LinearOf<B>) -> Result<(), Error> {
        self.note(Slot::Normed, |layer| &mut layer.ffn)?;
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
