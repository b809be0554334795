//! Whether a model will run: how much memory it takes, told from its file's header alone, against what
//! this machine has ([`MemoryBudget`]), and what to change where that is not enough ([`Fit`]).
//!
//! The estimate is the most that the `cpu` backend takes with a full context. It adds what is
//! allocated, by the formulas that allocate it, and the file, which is mapped and has to stay in memory
//! for the model to run well. How fast the model will be is the business of the crate `lilims-bench`.

mod budget;
mod fit;
#[cfg(target_os = "ios")]
mod process_limit;
#[cfg(test)]
pub(crate) mod samples;

use std::collections::BTreeSet;

use lilims_gguf::{File, TensorInfo, TensorType};

pub use self::budget::MemoryBudget;
pub use self::fit::{Fit, Suggestion, Verdict};
use crate::backend::cpu::{performance_cores, shared_bytes, worker_bytes};
use crate::session::MAX_CHUNK;
use crate::window::Layout;
use crate::{BackendKind, Error, KvType, LoadOptions, ModelSpec, model, text, weights};

/// What a process takes before it loads a model: the program itself, its stacks, the chat template and
/// what the allocator holds back.
const BASE_BYTES: u64 = 12 << 20;
/// Up to so much no session asks how much memory there is, which takes a while.
const UNCHECKED_BYTES: u64 = 256 << 20;
/// Logits that are held at once: those of the last token, and those that follow the last prompt.
const LOGIT_ROWS: usize = 2;
/// The ratios of a measured to an estimated peak that are believed; others are another program's doing.
const BELIEVED_RATIOS: (f64, f64) = (0.5, 4.0);

/// The memory that a loaded model with one session takes, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryEstimate {
    /// The model's family, such as `llama`.
    pub family: String,
    /// The context that it is for, in tokens.
    pub context: usize,
    /// How keys and values are cached.
    pub kv_type: KvType,
    /// Weights in all.
    pub n_parameters: u64,
    /// The file, which is mapped: weights, and the vocabulary's texts.
    pub weights_bytes: u64,
    /// Keys and values, by kinds of layers.
    pub cache: Vec<CachePart>,
    /// Buffers of the forward pass.
    pub scratch_bytes: u64,
    /// Tables of the tokenizer, logits, and the tokens that a session holds.
    pub text_bytes: u64,
    /// What any process takes.
    pub base_bytes: u64,
    /// By what everything but the weights was multiplied, where runs were measured.
    pub correction: Option<f64>,
    how: How,
}

/// What the arithmetic of the parts is told with.
#[derive(Clone, Debug, PartialEq)]
struct How {
    n_kv_heads: usize,
    head_dim: usize,
    n_vocab: usize,
    n_workers: usize,
}

/// What estimates need of a file's header: small, so that it can be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderFacts {
    spec: ModelSpec,
    n_parameters: u64,
    file_bytes: u64,
    /// The columns of quantised matrices, once for each type that they have.
    panel_columns: Vec<usize>,
    /// The norms, decoded.
    norms_bytes: u64,
    /// The tokenizer's tables.
    table_bytes: u64,
}

impl HeaderFacts {
    /// What the header of `file` says.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::Split`] when Lilims cannot run the model;
    /// [`Error::Gguf`] and [`Error::Damaged`] for what the header lacks or cannot mean.
    pub fn new(file: &File) -> Result<Self, Error> {
        let spec = ModelSpec::from_gguf(file)?;
        let (matrices, norms): (Vec<_>, Vec<_>) = file.tensors().iter().partition(is_matrix);
        matrices.iter().try_for_each(|tensor| weights::expect_supported(tensor))?;
        let is_float = |ty| matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        let panels: BTreeSet<(u32, u64)> = matrices
            .iter()
            .filter(|tensor| !is_float(tensor.tensor_type))
            .map(|tensor| (tensor.tensor_type.id(), tensor.dims[0]))
            .collect();
        let float_bytes = |n_values: u64| n_values.saturating_mul(size_of::<f32>() as u64);
        Ok(Self {
            n_parameters: sum(file.tensors().iter().map(|tensor| tensor.n_values)),
            file_bytes: file.total_bytes(),
            panel_columns: panels.into_iter().map(|(_, n_cols)| n_cols as usize).collect(),
            norms_bytes: sum(norms.iter().map(|tensor| float_bytes(tensor.n_values))),
            table_bytes: text::table_bytes(file.metadata(), spec.n_vocab) as u64,
            spec,
        })
    }

    /// What the header says of the architecture.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}

/// Layers whose caches are of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePart {
    /// How many layers.
    pub layers: usize,
    /// How many tokens these layers look at; `None` where they look at the whole context.
    pub window: Option<usize>,
    /// Positions that each keeps: the window or the context, and room to read on.
    pub positions: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// A summand of the memory that a model takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is, such as `Weights`.
    pub label: &'static str,
    /// How large.
    pub bytes: u64,
    /// How that comes about, in words.
    pub how: String,
}

/// The most memory that a process took in a past run, for [`MemoryEstimate::corrected`]. Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// What the caller knows the model by.
    pub model: String,
    /// The model's family.
    pub family: String,
    /// [`MemoryEstimate::weights_bytes`] of that run.
    pub weights_bytes: u64,
    /// [`MemoryEstimate::total_bytes`] of that run, uncorrected, for a context of as many tokens as were
    /// held: a cache takes no memory where nothing was written.
    pub estimated_bytes: u64,
    /// The peak.
    pub measured_bytes: u64,
}

impl MemoryEstimate {
    /// What loading `file` with these options would take, whichever backend they name. The header is
    /// enough ([`File::from_header`]).
    ///
    /// # Errors
    /// As for [`HeaderFacts::new`]; [`Error::Unsupported`] where Lilims cannot run the model with
    /// this type of cache.
    pub fn new(file: &File, options: &LoadOptions) -> Result<Self, Error> {
        Self::of(&HeaderFacts::new(file)?, options)
    }

    /// As [`MemoryEstimate::new`], of a header that was read before.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where Lilims cannot run the model with this type of cache.
    pub fn of(facts: &HeaderFacts, options: &LoadOptions) -> Result<Self, Error> {
        let spec = &facts.spec;
        let context = model::context(spec, options.context);
        let n_workers = options.threads.unwrap_or_else(performance_cores).max(1);
        Ok(Self {
            context,
            kv_type: options.kv_type,
            n_parameters: facts.n_parameters,
            weights_bytes: facts.file_bytes,
            cache: cache(spec, context, options.kv_type)?,
            scratch_bytes: scratch_bytes(facts, n_workers),
            text_bytes: text_bytes(facts, context),
            base_bytes: BASE_BYTES,
            correction: None,
            how: How {
                n_kv_heads: spec.n_kv_heads,
                head_dim: spec.head_dim,
                n_vocab: spec.n_vocab,
                n_workers,
            },
            family: spec.family.clone(),
        })
    }

    /// The worker threads that the model would run with.
    pub fn n_workers(&self) -> usize {
        self.how.n_workers
    }

    /// Keys and values of all layers.
    pub fn cache_bytes(&self) -> u64 {
        sum(self.cache.iter().map(|part| part.bytes))
    }

    /// Everything.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.beside_weights())
    }

    fn beside_weights(&self) -> u64 {
        sum([self.cache_bytes(), self.scratch_bytes, self.text_bytes, self.base_bytes].into_iter())
    }

    /// The estimate with everything but the weights multiplied by the median of what was measured over
    /// what was estimated: in runs of `model`, else of models of its family. Without any, as it is.
    pub fn corrected(mut self, model: &str, peaks: &[Peak]) -> Self {
        let of_model = median_ratio(peaks.iter().filter(|peak| peak.model == model));
        let of_family = || median_ratio(peaks.iter().filter(|peak| peak.family == self.family));
        let Some(ratio) = of_model.or_else(of_family) else { return self };
        let scale = |bytes: &mut u64| *bytes = (*bytes as f64 * ratio) as u64;
        self.cache.iter_mut().for_each(|part| scale(&mut part.bytes));
        let rest = [&mut self.scratch_bytes, &mut self.text_bytes, &mut self.base_bytes];
        rest.into_iter().for_each(scale);
        self.correction = Some(self.correction.unwrap_or(1.0) * ratio);
        self
    }

    /// What [`MemoryEstimate::total_bytes`] is the sum of, with the arithmetic.
    pub fn parts(&self) -> Vec<Part> {
        let How { n_vocab, n_workers, .. } = self.how;
        let bits = self.weights_bytes as f64 * 8.0 / self.n_parameters.max(1) as f64;
        let millions = self.n_parameters as f64 / 1e6;
        let weights =
            format!("{millions:.0} million parameters × {bits:.2} bits, mapped from the file");
        let workers = if n_workers == 1 { "1 worker" } else { &format!("{n_workers} workers") };
        let rest = [
            (
                "Scratch",
                self.scratch_bytes,
                format!("buffers for {MAX_CHUNK} tokens at once, and those of {workers}"),
            ),
            (
                "Text",
                self.text_bytes,
                format!("tables and logits of a vocabulary of {} tokens", grouped(n_vocab)),
            ),
            ("Program", self.base_bytes, "what it takes without a model".to_owned()),
        ];
        let cache = self.cache.iter().map(|part| {
            let label = match part.window {
                None => "Cache of the whole context",
                Some(_) => "Cache of layers with a window",
            };
            (label, part.bytes, self.cache_how(part))
        });
        let measured = self.correction.map(|ratio| format!(" × {ratio:.2} as measured here"));
        let measured = measured.unwrap_or_default();
        let beside = cache.chain(rest).map(|(label, bytes, how)| {
            let how = format!("{how}{measured}");
            Part { label, bytes, how }
        });
        let weights = Part { label: "Weights", bytes: self.weights_bytes, how: weights };
        std::iter::once(weights).chain(beside).collect()
    }

    /// Such as `30 layers × 2 × 3 heads × 64 × (8,192 + 256) tokens × 2 bytes`.
    fn cache_how(&self, part: &CachePart) -> String {
        let How { n_kv_heads, head_dim, .. } = self.how;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let first = part.window.unwrap_or(self.context).min(part.positions);
        let tokens = format!("({} + {})", grouped(first), grouped(part.positions - first));
        let bytes = match self.kv_type {
            KvType::F32 => "4",
            KvType::F16 => "2",
            KvType::Q8_0 => "34/32",
        };
        format!(
            "{} layer{} × 2 × {n_kv_heads} head{} × {head_dim} × {tokens} tokens × {bytes} bytes",
            part.layers,
            plural(part.layers),
            plural(n_kv_heads),
        )
    }
}

/// What a session of `context` tokens allocates: cache and buffers, in bytes.
///
/// # Errors
/// As for [`ModelSpec::cache_bytes`].
pub(crate) fn session_bytes(
    spec: &ModelSpec,
    context: usize,
    kv_type: KvType,
    n_workers: usize,
) -> Result<u64, Error> {
    let cache = spec.cache_bytes(context, kv_type)?;
    let of_workers =
        (worker_bytes(spec, std::iter::empty()) as u64).saturating_mul(n_workers as u64);
    Ok(sum([cache, shared_bytes(spec, n_workers), of_workers].into_iter()))
}

/// Checks that the machine has the memory that a session of `context` tokens takes. Small ones are left
/// to the allocator.
///
/// # Errors
/// [`Error::TooLarge`].
pub(crate) fn expect_room(
    needed_bytes: u64,
    context: usize,
    backend: BackendKind,
) -> Result<(), Error> {
    if needed_bytes <= UNCHECKED_BYTES {
        return Ok(());
    }
    let available_bytes = MemoryBudget::now(backend).available_bytes;
    if needed_bytes > available_bytes {
        return Err(Error::TooLarge { context, needed_bytes, available_bytes });
    }
    Ok(())
}

fn is_matrix(tensor: &&TensorInfo) -> bool {
    tensor.dims.len() > 1
}

/// Sums that a crafted header can make no number overflow with.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The caches by windows, in the order in which the layers have them.
fn cache(spec: &ModelSpec, context: usize, kv_type: KvType) -> Result<Vec<CachePart>, Error> {
    let position_bytes = spec.position_bytes(kv_type)?;
    let mut parts: Vec<CachePart> = Vec::new();
    for Layout { local, n_slots } in spec.layouts(context) {
        let bytes = (n_slots as u64).saturating_mul(position_bytes);
        match parts.iter_mut().find(|part| part.window == local) {
            Some(part) => {
                part.layers += 1;
                part.bytes = part.bytes.saturating_add(bytes);
            }
            None => parts.push(CachePart { layers: 1, window: local, positions: n_slots, bytes }),
        }
    }
    Ok(parts)
}

/// Buffers of the forward pass, and the norms, which are decoded.
fn scratch_bytes(facts: &HeaderFacts, n_workers: usize) -> u64 {
    let HeaderFacts { spec, panel_columns, norms_bytes, .. } = facts;
    let of_worker = worker_bytes(spec, panel_columns.iter().copied()) as u64;
    let of_workers = of_worker.saturating_mul(n_workers as u64);
    sum([shared_bytes(spec, n_workers), of_workers, *norms_bytes].into_iter())
}

/// The tokenizer's tables, logits, and the tokens that a session holds.
fn text_bytes(facts: &HeaderFacts, context: usize) -> u64 {
    let logits = LOGIT_ROWS * facts.spec.n_vocab * size_of::<f32>();
    let tokens = context.saturating_mul(size_of::<u32>());
    sum([facts.table_bytes, logits as u64, tokens as u64].into_iter())
}

/// The median of what runs took beside the weights over what was estimated.
fn median_ratio<'a>(peaks: impl Iterator<Item = &'a Peak>) -> Option<f64> {
    let ratio = |peak: &Peak| {
        let beside = |bytes: u64| bytes.checked_sub(peak.weights_bytes).map(|bytes| bytes as f64);
        let estimated = beside(peak.estimated_bytes).filter(|bytes| *bytes > 0.0)?;
        // Weights that were not all read take less than estimated, and tell that the rest did too.
        let measured = beside(peak.measured_bytes).unwrap_or(0.0);
        Some((measured / estimated).clamp(BELIEVED_RATIOS.0, BELIEVED_RATIOS.1))
    };
    let mut ratios: Vec<f64> = peaks.filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.len() / 2;
    Some((ratios.get(middle)? + ratios[(ratios.len() - 1) / 2]) / 2.0)
}

/// A number with a comma before each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
