//! What a backend does for the forward pass, and the backends.
//!
//! A backend is a machine with named buffers ([`Slot`]). The forward pass is a program for it:
//! each operation reads slots and writes others. That lets the `cpu` backend run one program on
//! all its workers at once, and the `candle` backend keep tensors on its device.

pub(crate) mod candle;
pub(crate) mod cpu;

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;

use crate::Error;
use crate::observe::InputSquares;
use crate::spec::Activation;
use crate::weights::{LayerWeights, Linear, Norm};
use crate::window::Window;

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
    /// The activated gate times up; without a gate, the activated up. `[tokens, d_ff]`
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

    /// Sets the residual stream to the embeddings of the chunk's tokens, scaled, plus those of
    /// their positions where these are learned.
    fn embed(
        &mut self,
        embedding: &Self::Matrix,
        positions: Option<&Self::Matrix>,
    ) -> Result<(), Error>;

    /// `to = from / rms(from) · weight`, or the LayerNorm of `from`.
    fn norm(&mut self, from: Slot, norm: &Norm<Self::Vector>, to: Slot) -> Result<(), Error>;

    /// Multiplies `from` with several matrices, each into its slot.
    fn linear(&mut self, from: Slot, projections: &[(&LinearOf<Self>, Slot)]) -> Result<(), Error>;

    /// Norms (where the layer has head norms) and rotates (where positions are rotary) queries and
    /// keys, appends keys and values to the layer's cache, and attends: `Query, Key, Value` to
    /// `Attended`.
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

    /// `Logits = Normed · headᵀ`, squashed by `soft_cap` where there is one. Without a head the
    /// embedding serves.
    fn head(
        &mut self,
        head: Option<&LinearOf<Self>>,
        embedding: &Self::Matrix,
        soft_cap: Option<f32>,
    ) -> Result<(), Error>;
}

/// Tokens to read, and what they may see.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    /// At most [`MAX_CHUNK`](crate::session::MAX_CHUNK).
    pub(crate) tokens: &'a [u32],
    /// Where the first of them stands in the conversation.
    pub(crate) position: usize,
    /// What the cache holds once the chunk is written.
    pub(crate) window: Window,
    /// Whose logits are wanted.
    pub(crate) want: Want,
    /// Whether each token's logits must have the bits that reading it alone would give, which takes
    /// longer. Of at most [`Runner::max_exact`] tokens.
    pub(crate) is_exact: bool,
    /// Set by another thread to end the pass early.
    pub(crate) cancel: &'a AtomicBool,
}

/// A loaded model with a cache for one session.
pub(crate) trait Runner: Send {
    /// Reads a chunk and appends the logits that are wanted to `logits`. Once cancelled, what the
    /// chunk left in the cache is not to be used.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Candle`].
    fn run(&mut self, chunk: &Chunk<'_>, logits: &mut Vec<f32>) -> Result<(), Error>;

    /// Reads a chunk whose logits are not wanted, and adds what its matrices are multiplied with to
    /// `squares`.
    ///
    /// # Errors
    /// As for [`Runner::run`].
    fn observe(&mut self, chunk: &Chunk<'_>, squares: &mut InputSquares) -> Result<(), Error>;

    /// The most tokens of an exact chunk.
    fn max_exact(&self) -> usize;

    /// Whether a key or value was larger than the type of the cache holds, and was cut.
    fn has_cut(&self) -> bool;

    /// Another runner with a copy of the first `len` tokens' keys and values.
    fn fork(&self, window: &Window, len: usize) -> Result<Box<dyn Runner>, Error>;

    /// Writes the keys and values of the first `len` tokens that are held.
    fn save(&self, window: &Window, len: usize, to: &mut dyn Write) -> Result<(), Error>;

    /// Reads what `save` wrote, into an empty cache.
    fn load(&mut self, window: &Window, len: usize, from: &mut dyn Read) -> Result<(), Error>;
}
