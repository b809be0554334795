//! The architecture of a model as data, read from GGUF metadata.
//!
//! A new family is a row in [`FAMILIES`] and, if needed, a switch in [`ModelSpec`] that the forward
//! pass reads. Keys are those of <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use lilims_gguf::{File, Metadata, quoted};

use crate::window::Layout;
use crate::{Error, KvType};

/// The largest valid dimension; anything above is damage or an attack.
const MAX_DIMENSION: u64 = 1 << 24;
/// The shortest context with learned positions, so that the recent half is not empty.
const MIN_LEARNED_CONTEXT: usize = 2;
/// The longest default context, in tokens.
const DEFAULT_CONTEXT: usize = 8192;

/// How the dimensions of a head form pairs for rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeKind {
    /// Neighbours: dimensions 2i and 2i + 1.
    Interleaved,
    /// Halves: dimensions i and i + n/2, as GPT-NeoX does.
    Halves,
}

/// The rotary position embedding of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeSpec {
    /// The base of the geometric series of angles.
    pub base: f64,
    /// Positions are divided by this.
    pub position_scale: f64,
    /// Whether the file's frequency factors apply.
    pub uses_factors: bool,
    /// Cosines and sines are multiplied by this: the attention factor of LongRoPE
    /// (<https://arxiv.org/abs/2402.13753>), 1 elsewhere.
    pub magnitude: f32,
}

impl RopeSpec {
    /// Zero angles, for layers without positional encoding (NoPE).
    const NONE: Self =
        Self { base: 1.0, position_scale: f64::INFINITY, uses_factors: false, magnitude: 1.0 };
}

/// What differs between layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSpec {
    /// A query attends to this many last positions, its own included; `None` for all.
    pub window: Option<usize>,
    /// Index in [`ModelSpec::ropes`] of the rope for its queries and keys, if positions are rotary.
    pub rope_idx: usize,
}

/// The kind of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Divided by the root mean square, times a weight.
    Rms,
    /// LayerNorm: minus the mean, divided by the standard deviation, times a weight, plus a bias
    /// (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>).
    Layer,
}

/// The kind of positional encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Queries and keys are rotated by their positions.
    Rotary,
    /// Each position has an embedding, which is added to that of the token. There are
    /// [`ModelSpec::context`] of them.
    Learned,
}

/// The gate's activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// GELU in its tanh form.
    Gelu,
}

/// A model's architecture as data.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Family, such as `llama` (`general.architecture`).
    pub family: String,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// The context length that it was trained for, in tokens; with learned positions also the
    /// longest possible.
    pub context: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of the feed-forward layer.
    pub d_ff: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Positional encoding.
    pub positions: Positions,
    /// Rotated dimensions per head; 0 with learned positions.
    pub rope_dim: usize,
    /// How rotated dimensions form pairs.
    pub rope_kind: RopeKind,
    /// The distinct ropes of the layers; empty with learned positions.
    pub ropes: Vec<RopeSpec>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// The kind of norm.
    pub norm: NormKind,
    /// Added to the mean square or variance in every norm.
    pub eps: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Scores are multiplied by this before the softmax.
    pub attention_scale: f32,
    /// Scores are soft-capped to ± this by tanh.
    pub attention_soft_cap: Option<f32>,
    /// Logits are soft-capped to ± this by tanh.
    pub logit_soft_cap: Option<f32>,
    /// Whether queries and keys are normed per head.
    pub head_norms: bool,
    /// Whether attention and feed-forward outputs are normed before they are added.
    pub post_norms: bool,
    /// Whether one matrix holds the rows of queries, keys and values, in this order.
    pub fused_qkv: bool,
    /// Whether one matrix, `ffn_up`, holds the rows of gate and up, in this order.
    pub fused_gate_up: bool,
    /// Whether attention and feed-forward read the same norm and are added together.
    pub parallel_residual: bool,
    /// The context up to which the short frequency factors of the file apply; longer contexts use
    /// the long factors.
    pub short_context: Option<usize>,
    /// The feed-forward layer's gate; without one the layer is `down(gelu(up(x)))`.
    pub gate: Option<Activation>,
}

/// A model family: the parts of its architecture that GGUF metadata does not state.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name in `general.architecture`.
    pub name: &'static str,
    /// How positions are encoded.
    pub positions: Positions,
    /// How rotated dimensions pair up.
    pub rope_kind: RopeKind,
    /// How activations are normed.
    pub norm: NormKind,
    /// Whether one matrix holds the rows of queries, keys and values.
    pub fused_qkv: bool,
    /// Whether one matrix holds the rows of gate and up.
    pub fused_gate_up: bool,
    /// Whether attention and feed-forward read the same norm and are added together.
    pub parallel_residual: bool,
    /// The feed-forward layer's gate, if it has one.
    pub gate: Option<Activation>,
    /// Whether queries and keys are normed per head.
    pub head_norms: bool,
    /// Whether attention and feed-forward outputs are normed before they are added.
    pub post_norms: bool,
    /// Whether embeddings are multiplied by the square root of the model's width.
    pub scales_embeddings: bool,
    /// Which layers have a sliding window.
    pub windows: Windows,
    /// Every `n`th layer does not rotate queries and keys.
    pub nope_every: Option<usize>,
    /// The default rotary base of layers with a window; `None` where it is that of other layers.
    pub local_rope_base: Option<f64>,
    /// The number of layers of the family's one model that scales attention scores by
    /// `d_model / n_heads` instead of `head_dim`; its metadata does not say so.
    pub model_width_scale_layers: Option<usize>,
}

impl Family {
    /// The family of that name in [`FAMILIES`].
    pub fn find(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The number whose square root divides attention scores.
    pub fn attention_divisor(
        &self,
        n_layers: usize,
        d_model: usize,
        n_heads: usize,
        head_dim: usize,
    ) -> usize {
        let uses_model_width = self.model_width_scale_layers == Some(n_layers);
        if uses_model_width { d_model / n_heads } else { head_dim }
    }
}

/// Which layers have a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// The layers that the metadata lists. Without a list none: llama.cpp ignores windows in these
    /// families, so a window's width alone does not apply to any layer.
    Listed,
    /// Every layer, where the metadata gives a window.
    All,
    /// All but every `n`th layer.
    AllButEvery(usize),
}

const LLAMA: Family = Family {
    name: "llama",
    positions: Positions::Rotary,
    rope_kind: RopeKind::Interleaved,
    norm: NormKind::Rms,
    fused_qkv: false,
    fused_gate_up: false,
    parallel_residual: false,
    gate: Some(Activation::Silu),
    head_norms: false,
    post_norms: false,
    scales_embeddings: false,
    windows: Windows::Listed,
    nope_every: None,
    local_rope_base: None,
    model_width_scale_layers: None,
};

/// All supported families; a new one is a new row.
pub const FAMILIES: &[Family] = &[
    LLAMA,
    Family { name: "mistral", windows: Windows::All, ..LLAMA },
    Family { name: "smollm3", nope_every: Some(4), ..LLAMA },
    Family { name: "qwen2", rope_kind: RopeKind::Halves, ..LLAMA },
    Family { name: "qwen3", rope_kind: RopeKind::Halves, head_norms: true, ..LLAMA },
    Family {
        name: "gemma",
        rope_kind: RopeKind::Halves,
        gate: Some(Activation::Gelu),
        scales_embeddings: true,
        ..LLAMA
    },
    Family {
        name: "gemma2",
        rope_kind: RopeKind::Halves,
        gate: Some(Activation::Gelu),
        post_norms: true,
        scales_embeddings: true,
        windows: Windows::AllButEvery(2),
        model_width_scale_layers: Some(46),
        ..LLAMA
    },
    Family {
        name: "gemma3",
        rope_kind: RopeKind::Halves,
        gate: Some(Activation::Gelu),
        head_norms: true,
        post_norms: true,
        scales_embeddings: true,
        windows: Windows::AllButEvery(6),
        local_rope_base: Some(10_000.0),
        model_width_scale_layers: Some(62),
        ..LLAMA
    },
    Family {
        name: "gpt2",
        positions: Positions::Learned,
        norm: NormKind::Layer,
        fused_qkv: true,
        gate: None,
        ..LLAMA
    },
    Family {
        name: "phi2",
        rope_kind: RopeKind::Halves,
        norm: NormKind::Layer,
        parallel_residual: true,
        gate: None,
        ..LLAMA
    },
    Family {
        name: "phi3",
        rope_kind: RopeKind::Halves,
        fused_qkv: true,
        fused_gate_up: true,
        windows: Windows::All,
        ..LLAMA
    },
];

impl ModelSpec {
    /// Reads the specification from the metadata of `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an unknown family, [`Error::Split`] for a part of a split model,
    /// [`Error::Gguf`] for a missing key, [`Error::Damaged`] for invalid values.
    pub fn from_gguf(file: &File) -> Result<Self, Error> {
        if let Some(split) = file.split() {
            return Err(Error::Split(split));
        }
        let metadata = file.metadata();
        let name = metadata.str("general.architecture")?;
        let family = Family::find(name).ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            let what = format!("the model family `{}` is not supported yet", quoted(name));
            Error::Unsupported { what: format!("{what} (supported: {})", known.join(", ")) }
        })?;
        let keys = Keys { metadata, family: name };
        let mut spec = read(&keys, family, n_vocab(file)?)?;
        // Older files of Phi-2 have one fused matrix where newer ones have three.
        spec.fused_qkv |= file.tensor("blk.0.attn_qkv.weight").is_ok();
        spec.check()?;
        Ok(spec)
    }

    /// The default context, in tokens: that of the model, up to a limit that small machines can
    /// hold.
    pub fn default_context(&self) -> usize {
        self.context.min(DEFAULT_CONTEXT)
    }

    /// The context of a session, in tokens: `requested` within what the model can hold, or the
    /// default.
    pub(crate) fn session_context(&self, requested: Option<usize>) -> usize {
        let context = requested.unwrap_or_else(|| self.default_context());
        match self.max_positions() {
            Some(most) => context.clamp(MIN_LEARNED_CONTEXT, most),
            None => context.max(1),
        }
    }

    /// The cache layout of each layer in a session of `context` tokens.
    pub(crate) fn layouts(&self, context: usize) -> impl Iterator<Item = Layout> {
        self.layers.iter().map(move |layer| Layout::new(layer.window, context))
    }

    /// The most memory that the key-value cache of a session of `context` tokens takes, in bytes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the cache type does not suit the width of a head.
    pub fn cache_bytes(&self, context: usize, kv_type: KvType) -> Result<u64, Error> {
        let n_slots = self.layouts(context).map(|layout| layout.n_slots as u64);
        let n_slots = n_slots.fold(0, u64::saturating_add);
        Ok(n_slots.saturating_mul(self.position_bytes(kv_type)?))
    }

    /// The size of the keys and values of one position in one layer, in bytes.
    ///
    /// # Errors
    /// As for [`ModelSpec::cache_bytes`].
    pub fn position_bytes(&self, kv_type: KvType) -> Result<u64, Error> {
        Ok(2 * (self.n_kv_heads * kv_type.row_bytes(self.head_dim)?) as u64)
    }

    /// The most positions; `None` if unlimited.
    pub fn max_positions(&self) -> Option<usize> {
        (self.positions == Positions::Learned).then_some(self.context)
    }

    fn check(&self) -> Result<(), Error> {
        ensure(self.n_heads > 0 && self.head_dim > 0, || {
            format!("{} heads of {} dimensions", self.n_heads, self.head_dim)
        })?;
        let heads_fit = self.n_kv_heads > 0 && self.n_heads.is_multiple_of(self.n_kv_heads);
        ensure(heads_fit, || {
            format!("{} heads cannot share {} key-value heads", self.n_heads, self.n_kv_heads)
        })?;
        let width = self.n_heads.saturating_mul(self.head_dim) as u64;
        ensure(width <= MAX_DIMENSION, || {
            format!("{} heads of {} dimensions", self.n_heads, self.head_dim)
        })?;
        ensure(self.rope_dim.is_multiple_of(2) && self.rope_dim <= self.head_dim, || {
            format!("cannot rotate {} of {} head dimensions", self.rope_dim, self.head_dim)
        })?;
        ensure(self.head_dim.is_multiple_of(2), || {
            format!("head dimension {} is odd", self.head_dim)
        })?;
        ensure(self.positions == Positions::Rotary || self.context >= MIN_LEARNED_CONTEXT, || {
            format!("a context of {} tokens is too short", self.context)
        })?;
        // Larger values would dominate the mean square in f32.
        ensure((0.0..=1.0).contains(&self.eps), || format!("invalid norm epsilon {}", self.eps))?;
        for cap in [self.attention_soft_cap, self.logit_soft_cap].into_iter().flatten() {
            ensure(cap.is_normal(), || format!("invalid soft cap ±{cap}"))?;
        }
        let ropes_fit = self.ropes.iter().all(|rope| {
            let is_unrotated = *rope == RopeSpec::NONE;
            let is_turning = rope.base.is_finite() && rope.base > 0.0;
            let is_scaled = rope.position_scale > 0.0 && rope.position_scale.is_normal();
            is_unrotated
                || is_turning && is_scaled && rope.magnitude > 0.0 && rope.magnitude.is_normal()
        });
        ensure(ropes_fit, || "rope base or scale is not a positive number".to_owned())
    }
}

fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Damaged { what: what() }) }
}

/// The size of the vocabulary: the number of rows of the embedding.
fn n_vocab(file: &File) -> Result<usize, Error> {
    let embedding = file.tensor("token_embd.weight")?;
    match embedding.dims[..] {
        [_, rows] if (1..=MAX_DIMENSION).contains(&rows) => Ok(rows as usize),
        _ => Err(Error::Damaged { what: "token_embd.weight is not a matrix".to_owned() }),
    }
}

/// Metadata keys of one family, without its prefix.
struct Keys<'a> {
    metadata: Metadata<'a>,
    family: &'a str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.family)
    }

    fn size(&self, key: &str) -> Result<usize, Error> {
        let key = self.full(key);
        let value = self.metadata.u64(&key)?;
        ensure((1..=MAX_DIMENSION).contains(&value), || {
            format!("invalid value {value} of `{key}`")
        })?;
        Ok(value as usize)
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize, Error> {
        match self.metadata.get(&self.full(key)) {
            Some(_) => self.size(key),
            None => Ok(default),
        }
    }

    /// The size at `key`; `None` if it is missing or 0, which files write for what does not apply.
    fn optional_size(&self, key: &str) -> Result<Option<usize>, Error> {
        match self.metadata.get(&self.full(key)) {
            None => Ok(None),
            Some(value) if value.as_u64() == Some(0) => Ok(None),
            Some(_) => self.size(key).map(Some),
        }
    }

    /// The number at `key`, if present.
    fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        let key = self.full(key);
        self.metadata.get(&key).map(|_| Ok(self.metadata.f32(&key)?)).transpose()
    }

    /// The positive number at `key`; `None` if it is missing or 0, which files write for what does
    /// not apply.
    fn positive(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.f32(key)?.filter(|value| *value != 0.0) else { return Ok(None) };
        ensure(value > 0.0 && value.is_finite(), || {
            format!("invalid value {value} of `{}`", self.full(key))
        })?;
        Ok(Some(value))
    }

    fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        let key = self.full(key);
        self.metadata.get(&key).map(|_| Ok(self.metadata.str(&key)?)).transpose()
    }
}

fn read(keys: &Keys<'_>, family: &Family, n_vocab: usize) -> Result<ModelSpec, Error> {
    let d_model = keys.size("embedding_length")?;
    let n_heads = keys.size("attention.head_count")?;
    let head_dim = keys.size_or("attention.key_length", d_model / n_heads)?;
    let value_dim = keys.size_or("attention.value_length", head_dim)?;
    if value_dim != head_dim {
        let what = format!("keys of {head_dim} and values of {value_dim} dimensions");
        return Err(Error::Unsupported { what: format!("{what} are not supported yet") });
    }
    if keys.metadata.get(&keys.full("expert_count")).is_some_and(|n| n.as_u64() != Some(0)) {
        let what = "mixtures of experts are not supported yet".to_owned();
        return Err(Error::Unsupported { what });
    }
    let (rope_dim, ropes) = match family.positions {
        Positions::Rotary => {
            (keys.size_or("rope.dimension_count", head_dim)?, ropes(keys, family)?)
        }
        Positions::Learned => (0, Vec::new()),
    };
    let eps = match family.norm {
        NormKind::Rms => "attention.layer_norm_rms_epsilon",
        NormKind::Layer => "attention.layer_norm_epsilon",
    };
    let windows = windows(keys, family)?;
    let attention_divisor = family.attention_divisor(windows.len(), d_model, n_heads, head_dim);
    Ok(ModelSpec {
        family: keys.family.to_owned(),
        n_vocab,
        context: keys.size("context_length")?,
        d_model,
        d_ff: keys.size("feed_forward_length")?,
        n_heads,
        n_kv_heads: keys.size_or("attention.head_count_kv", n_heads)?,
        head_dim,
        positions: family.positions,
        rope_dim,
        rope_kind: family.rope_kind,
        ropes,
        layers: windows
            .into_iter()
            .enumerate()
            .map(|(idx, window)| {
                let is_local = family.local_rope_base.is_some() && window.is_some();
                let is_unrotated = family.nope_every.is_some_and(|every| (idx + 1) % every == 0);
                LayerSpec { window, rope_idx: usize::from(is_local || is_unrotated) }
            })
            .collect(),
        norm: family.norm,
        eps: keys.metadata.f32(&keys.full(eps))?,
        embedding_scale: if family.scales_embeddings { (d_model as f32).sqrt() } else { 1.0 },
        attention_scale: 1.0 / (attention_divisor as f32).sqrt(),
        attention_soft_cap: keys.positive("attn_logit_softcapping")?,
        logit_soft_cap: keys.positive("final_logit_softcapping")?,
        head_norms: family.head_norms,
        post_norms: family.post_norms,
        fused_qkv: family.fused_qkv,
        fused_gate_up: family.fused_gate_up,
        parallel_residual: family.parallel_residual,
        short_context: keys.optional_size("rope.scaling.original_context_length")?,
        gate: family.gate,
    })
}

fn windows(keys: &Keys<'_>, family: &Family) -> Result<Vec<Option<usize>>, Error> {
    let n_layers = keys.size("block_count")?;
    ensure(n_layers <= 1024, || format!("{n_layers} layers are too many"))?;
    let window = keys.optional_size("attention.sliding_window")?;
    let pattern = |default| keys.size_or("attention.sliding_window_pattern", default);
    Ok(match family.windows {
        Windows::Listed => match listed_windows(keys, n_layers)? {
            Some(windowed) => windowed.into_iter().map(|has| window.filter(|_| has)).collect(),
            None => vec![None; n_layers],
        },
        Windows::All => vec![window; n_layers],
        Windows::AllButEvery(default) => {
            let every = pattern(default)?;
            (1..=n_layers).map(|n| window.filter(|_| n % every != 0)).collect()
        }
    })
}

/// Which layers have a window, if the metadata lists them.
fn listed_windows(keys: &Keys<'_>, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
    let key = keys.full("attention.sliding_window_pattern");
    let Ok(array) = keys.metadata.array(&key) else { return Ok(None) };
    let listed: Option<Vec<bool>> = array.iter().take(n_layers).map(|has| has.as_bool()).collect();
    let fits = |listed: &Vec<bool>| listed.len() == n_layers && array.len() == n_layers;
    match listed.filter(fits) {
        Some(listed) => Ok(Some(listed)),
        None => Err(Error::Damaged { what: format!("`{key}` does not list {n_layers} layers") }),
    }
}

fn ropes(keys: &Keys<'_>, family: &Family) -> Result<Vec<RopeSpec>, Error> {
    let scaling = keys.str("rope.scaling.type")?.unwrap_or("none");
    let position_scale = match scaling {
        // LongRoPE scales each pair by its own factor.
        "none" | "longrope" => keys.f32("rope.scale_linear")?.unwrap_or(1.0),
        "linear" => keys.f32("rope.scaling.factor")?.unwrap_or(1.0),
        other => {
            let what = format!("rotary scaling `{}` is not supported yet", quoted(other));
            return Err(Error::Unsupported { what });
        }
    };
    let base = f64::from(keys.f32("rope.freq_base")?.unwrap_or(10_000.0));
    let position_scale = f64::from(position_scale);
    let magnitude = keys.f32("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let mut ropes = vec![RopeSpec { base, position_scale, uses_factors: true, magnitude }];
    if let Some(default_base) = family.local_rope_base {
        let base = keys.f32("rope.freq_base_swa")?.map_or(default_base, f64::from);
        let local = RopeSpec { base, position_scale: 1.0, uses_factors: false, magnitude: 1.0 };
        ropes.push(local);
    }
    if family.nope_every.is_some() {
        ropes.push(RopeSpec::NONE);
    }
    Ok(ropes)
}
