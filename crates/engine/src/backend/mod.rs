//! What a backend does for the forward pass, and the backends.
//!
//! A backend is a machine with named buffers ([`Slot`]). The forward pass is a program for it:
//! each operation reads slots and writes others. That lets the `cpu` backend run one program on
//! all its workers at once, and the `candle` backend keep tensors on its device.

pub(crate) mod candle;
pub(crate) mod cpu;

use crate::Error;
use crate::spec::Activation;
use crate::weights::{LayerWeights, Linear};

/// A buffer of activations: a row for each token of the current chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The residual stream. `[tokens, d_model]`
    Residual,
    /// The residual stream or an output after a norm. `[tokens, d_model]`
    Normed,
    /// Queries. `[tokens, n_heads · head_dim]`
    Query,
    /// Keys. `[tokens, n_kv_heads · head_dim]`
    Key,
    /// Values. `[tokens, n_kv_heads · head_dim]`
    Value,
    /// What attention read. `[tokens, n_heads · head_dim]`
    Attended,
    /// The activated gate times up. `[tokens, d_ff]`
    Gated,
    /// A projection back to the residual stream's width. `[tokens, d_model]`
    Projected,
    /// Logits of the tokens that were asked for. `[rows, n_vocab]`
    Logits,
}

impl Slot {
    /// How many slots there are.
    pub(crate) const COUNT: usize = 9;
}

/// Which tokens' logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// None: the chunk is followed by another.
    Nothing,
    /// The last token's.
    Last,
    /// Every token's.
    All,
}

/// A backend's linear layer.
pub(crate) type LinearOf<B> = Linear<<B as Backend>::Matrix, <B as Backend>::Vector>;

/// A backend's weights of one layer.
pub(crate) type LayerOf<B> = LayerWeights<<B as Backend>::Matrix, <B as Backend>::Vector>;

/// The operations of the forward pass.
///
/// `Matrix` products are `y = x · Wᵀ + bias`. All sizes come from the model's specification,
/// which the backend holds.
pub(crate) trait Backend: Sized {
    /// A weight matrix.
    type Matrix;
    /// A weight vector.
    type Vector;

    /// Sets the residual stream to the embeddings of the chunk's tokens, scaled.
    fn embed(&mut self, embedding: &Self::Matrix) -> Result<(), Error>;

    /// `to = from / rms(from) · weight`.
    fn norm(&mut self, from: Slot, weight: &Self::Vector, to: Slot) -> Result<(), Error>;

    /// Multiplies `from` with several matrices, each into its slot.
    fn linear(&mut self, from: Slot, projections: &[(&LinearOf<Self>, Slot)]) -> Result<(), Error>;

    /// Norms (where the layer has head norms) and rotates queries and keys, appends keys and
    /// values to the layer's cache, and attends: `Query, Key, Value` to `Attended`.
    fn attend(&mut self, layer_idx: usize, layer: &LayerOf<Self>) -> Result<(), Error>;

    /// `Gated = activation(Normed · gateᵀ) · (Normed · upᵀ)`.
    fn gate(
        &mut self,
        gate: &LinearOf<Self>,
        up: &LinearOf<Self>,
        activation: Activation,
    ) -> Result<(), Error>;

    /// Adds `from` to the residual stream.
    fn add(&mut self, from: Slot) -> Result<(), Error>;

    /// Drops all tokens but the last from the residual stream.
    fn keep_last(&mut self) -> Result<(), Error>;

    /// `Logits = Normed · headᵀ`, squashed by `soft_cap` where there is one. Without a head the
    /// embedding serves.
    fn head(
        &mut self,
        head: Option<&LinearOf<Self>>,
        embedding: &Self::Matrix,
        soft_cap: Option<f32>,
    ) -> Result<(), Error>;
}

/// A loaded model with a cache for one session.
pub(crate) trait Runner: Send {
    /// Reads `tokens` at `position`, which must not leave a gap in the cache, and appends the
    /// logits that are wanted to `logits`.
    fn run(
        &mut self,
        tokens: &[u32],
        position: usize,
        want: Want,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error>;
}
