//! The operations that a backend provides for the forward pass ([`Backend`]), and what a session
//! needs of a loaded model ([`Runner`]).
//!
//! A backend holds named activation buffers ([`Slot`]). The forward pass is a program over them:
//! each operation reads slots and writes others. So the `cpu` backend can run one program on all
//! its workers at once, and the `candle` backend can keep tensors on its device.

pub(crate) mod candle;
pub(crate) mod cpu;

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;

use crate::Error;
use crate::importance::ImportanceMatrix;
use crate::spec::Activation;
use crate::weights::{LayerWeights, Linear, Norm};
use crate::window::Window;

/// A buffer of activations: a row for each token of the current chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The residual stream. `[tokens, d_model]`
    Residual,
    /// A normed copy of the residual stream or of a projection. `[tokens, d_model]`
    Normed,
    /// Queries. `[tokens, n_heads · head_dim]`
    Query,
    /// Keys. `[tokens, n_kv_heads · head_dim]`
    Key,
    /// Values. `[tokens, n_kv_heads · head_dim]`
    Value,
    /// The output of attention. `[tokens, n_heads · head_dim]`
    Attended,
    /// The activated gate times up; without a gate, the activated up. `[tokens, d_ff]`
    Gated,
    /// A projection back to the residual stream's width. `[tokens, d_model]`
    Projected,
    /// Logits of the requested tokens. `[rows, n_vocab]`
    Logits,
}

impl Slot {
    /// The number of slots.
    pub(crate) const COUNT: usize = 9;
}

/// Which tokens' logits a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedLogits {
    /// No logits: another chunk follows.
    None,
    /// The last token's only.
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

    /// Sets the residual stream to the scaled embeddings of the chunk's tokens, plus their position
    /// embeddings where positions are learned.
    fn embed(
        &mut self,
        embedding: &Self::Matrix,
        positions: Option<&Self::Matrix>,
    ) -> Result<(), Error>;

    /// `to = from / rms(from) · weight`, or the LayerNorm of `from`.
    fn norm(&mut self, from: Slot, norm: &Norm<Self::Vector>, to: Slot) -> Result<(), Error>;

    /// Multiplies `from` by several matrices, each into its own slot.
    fn linear(&mut self, from: Slot, projections: &[(&LinearOf<Self>, Slot)]) -> Result<(), Error>;

    /// Runs attention: norms queries and keys (with head norms) and rotates them (with rotary
    /// positions), appends keys and values to the cache of the layer, and attends from `Query`,
    /// `Key` and `Value` to `Attended`.
    fn attend(&mut self, layer_idx: usize, layer: &LayerOf<Self>) -> Result<(), Error>;

    /// `Gated = activation(Normed · gateᵀ) · (Normed · upᵀ)`.
    fn gate(
        &mut self,
        gate: &LinearOf<Self>,
        up: &LinearOf<Self>,
        activation: Activation,
    ) -> Result<(), Error>;

    /// `Gated = gelu(Normed · upᵀ)`: a feed-forward layer without a gate.
    fn gelu(&mut self, up: &LinearOf<Self>) -> Result<(), Error>;

    /// Adds `from` to the residual stream.
    fn add(&mut self, from: Slot) -> Result<(), Error>;

    /// Drops all tokens but the last from the residual stream.
    fn keep_last(&mut self) -> Result<(), Error>;

    /// `Logits = Normed · headᵀ`, soft-capped by `soft_cap` if given. Without a head the embedding
    /// matrix is used (tied weights).
    fn head(
        &mut self,
        head: Option<&LinearOf<Self>>,
        embedding: &Self::Matrix,
        soft_cap: Option<f32>,
    ) -> Result<(), Error>;
}

/// The tokens of one forward pass, and which positions they attend to.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    /// At most [`MAX_CHUNK`](crate::window::MAX_CHUNK).
    pub(crate) tokens: &'a [u32],
    /// Position of the first token in the conversation.
    pub(crate) position: usize,
    /// The attention window once the chunk is written.
    pub(crate) window: Window,
    /// Which logits to compute.
    pub(crate) want: WantedLogits,
    /// Whether each token's logits must be bit-identical to reading it alone, which is slower. For
    /// at most [`Runner::max_exact`] tokens.
    pub(crate) is_exact: bool,
    /// Set by another thread to end the pass early.
    pub(crate) cancel: &'a AtomicBool,
}

/// A loaded model with the cache of one session.
pub(crate) trait Runner: Send {
    /// Runs a chunk and appends the requested logits to `logits`. After a cancelled run the cache
    /// rows of this chunk are invalid.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Candle`].
    fn run(&mut self, chunk: &Chunk<'_>, logits: &mut Vec<f32>) -> Result<(), Error>;

    /// Runs a chunk without logits, and adds the squares of the activations that each matrix is
    /// multiplied by to `importance`.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    fn observe(
        &mut self,
        chunk: &Chunk<'_>,
        importance: &mut ImportanceMatrix,
    ) -> Result<(), Error>;

    /// The most tokens in an exact chunk.
    fn max_exact(&self) -> usize;

    /// Whether a key or value exceeded the range of the cache type and was clamped.
    fn has_clamped(&self) -> bool;

    /// A new runner with a copy of the keys and values of the first `len` tokens.
    fn fork(&self, window: &Window, len: usize) -> Result<Box<dyn Runner>, Error>;

    /// Writes the keys and values that the cache still holds of the first `len` tokens.
    fn save(&self, window: &Window, len: usize, to: &mut dyn Write) -> Result<(), Error>;

    /// Reads what `save` wrote into an empty cache.
    fn load(&mut self, window: &Window, len: usize, from: &mut dyn Read) -> Result<(), Error>;
}
