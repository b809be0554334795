//! The importance matrix: how much an error in each input column of a weight matrix changes the
//! product.
//!
//! It holds the sum of squares of the activations that each column is multiplied by, as llama.cpp's
//! `imatrix` does. [`crate::observe`] collects it.

use crate::ModelSpec;

/// The sums of squares of each matrix's inputs, over all tokens read.
#[derive(Clone, Debug)]
pub struct ImportanceMatrix {
    /// Tokens read.
    pub n_tokens: u64,
    /// The sums of each layer.
    pub layers: Vec<LayerImportance>,
}

/// The sums of one layer.
#[derive(Clone, Debug)]
pub struct LayerImportance {
    /// Inputs of the query, key and value projections. `[d_model]`
    pub attention: Vec<f64>,
    /// Inputs of the attention output projection. `[n_heads · head_dim]`
    pub attention_out: Vec<f64>,
    /// Inputs of gate and up. `[d_model]`
    pub ffn: Vec<f64>,
    /// Inputs of down. `[d_ff]`
    pub down: Vec<f64>,
}

impl ImportanceMatrix {
    /// All sums zero.
    pub fn new(spec: &ModelSpec) -> Self {
        let layer = LayerImportance {
            attention: vec![0.0; spec.d_model],
            attention_out: vec![0.0; spec.n_heads * spec.head_dim],
            ffn: vec![0.0; spec.d_model],
            down: vec![0.0; spec.d_ff],
        };
        Self { n_tokens: 0, layers: vec![layer; spec.layers.len()] }
    }

    /// Whether all sums are finite.
    pub(crate) fn are_finite(&self) -> bool {
        self.layers.iter().all(|layer| {
            let LayerImportance { attention, attention_out, ffn, down } = layer;
            let sums = [attention, attention_out, ffn, down];
            sums.iter().all(|sums| sums.iter().all(|sum| sum.is_finite()))
        })
    }
}
