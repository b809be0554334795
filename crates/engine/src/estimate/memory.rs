//! The memory estimate of one model, from the header of its file.
//!
//! It is the most that the `cpu` backend takes with a full context: all allocations, by the formulas
//! that allocate them, plus the file, which is mapped and has to stay in memory for the model to run
//! well.

use std::collections::BTreeSet;

use lilims_gguf::{File, TensorInfo, TensorType};

use crate::backend::cpu::{performance_cores, shared_bytes, worker_bytes};
use crate::window::{Layout, MAX_CHUNK};
use crate::{Error, KvType, LoadOptions, ModelSpec, text, weights};

/// Memory of a process before it loads a model: the program, its stacks, the chat template and the
/// overhead of the allocator.
const BASE_BYTES: u64 = 12 << 20;
/// Rows of logits kept at once: those of the last token, and those after the last prompt.
const LOGIT_ROWS: usize = 2;
/// Ratios of measured to estimated peak outside of this range are clamped: another program caused
/// them.
const PLAUSIBLE_RATIOS: (f64, f64) = (0.5, 4.0);

/// The memory of a loaded model with one session, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryEstimate {
    /// The model's family, such as `llama`.
    pub family: String,
    /// Context length, in tokens.
    pub context: usize,
    /// Type of the key-value cache.
    pub kv_type: KvType,
    /// Number of weights.
    pub n_parameters: u64,
    /// Size of the file, which is mapped: weights and the vocabulary.
    pub weights_bytes: u64,
    /// Key-value cache, by kind of layer.
    pub cache: Vec<CachePart>,
    /// Buffers of the forward pass.
    pub scratch_bytes: u64,
    /// Tables of the tokenizer, logits, and the tokens of a session.
    pub text_bytes: u64,
    /// Memory of a process without a model.
    pub base_bytes: u64,
    /// The factor by which everything but the weights was corrected, if past runs were measured.
    pub correction: Option<f64>,
    inputs: Inputs,
}

/// The numbers that appear in the formulas of the parts.
#[derive(Clone, Debug, PartialEq)]
struct Inputs {
    n_kv_heads: usize,
    head_dim: usize,
    n_vocab: usize,
    n_workers: usize,
}

/// What an estimate needs from the header of a file: small, so it can be cached.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderFacts {
    spec: ModelSpec,
    n_parameters: u64,
    file_bytes: u64,
    /// Widths of the quantised matrices, once per tensor type.
    panel_columns: Vec<usize>,
    /// Size of the decoded norms.
    norms_bytes: u64,
    /// Size of the tokenizer's tables.
    table_bytes: u64,
}

impl HeaderFacts {
    /// Reads the facts from the header of `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::Split`] if Lilims cannot run the model; [`Error::Gguf`]
    /// and [`Error::Damaged`] for a missing or invalid value.
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

    /// The architecture of the model.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}

/// The caches of all layers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePart {
    /// Number of layers.
    pub layers: usize,
    /// The attention window of these layers in tokens; `None` for the whole context.
    pub window: Option<usize>,
    /// Positions kept per layer: the window or the context, plus room for the next chunk.
    pub positions: usize,
    /// Size of all their caches in bytes.
    pub bytes: u64,
}

/// One part of the memory of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPart {
    /// Name, such as `Weights`.
    pub label: &'static str,
    /// Size in bytes.
    pub bytes: u64,
    /// How the size is computed, in words.
    pub formula: String,
}

/// The measured peak memory of a past run, for [`MemoryEstimate::corrected`]. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredPeak {
    /// Name by which the caller identifies the model.
    pub model: String,
    /// Family of the model.
    pub family: String,
    /// [`MemoryEstimate::weights_bytes`] of that run.
    pub weights_bytes: u64,
    /// [`MemoryEstimate::total_bytes`] of that run, uncorrected, for a context of as many tokens as
    /// the cache held: unused cache takes no memory.
    pub estimated_bytes: u64,
    /// The measured peak.
    pub measured_bytes: u64,
}

impl MemoryEstimate {
    /// The memory to load `file` with these options, for the `cpu` backend whichever backend they
    /// name. The header is enough ([`File::from_header`]).
    ///
    /// # Errors
    /// As for [`HeaderFacts::new`]; [`Error::Unsupported`] if the cache type does not suit the
    /// model.
    pub fn new(file: &File, options: &LoadOptions) -> Result<Self, Error> {
        Self::from_facts(&HeaderFacts::new(file)?, options)
    }

    /// Like [`MemoryEstimate::new`], from facts read before.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the cache type does not suit the model.
    pub fn from_facts(facts: &HeaderFacts, options: &LoadOptions) -> Result<Self, Error> {
        let spec = &facts.spec;
        let context = spec.session_context(options.context);
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
            inputs: Inputs {
                n_kv_heads: spec.n_kv_heads,
                head_dim: spec.head_dim,
                n_vocab: spec.n_vocab,
                n_workers,
            },
            family: spec.family.clone(),
        })
    }

    /// The number of worker threads that the model would run with.
    pub fn n_workers(&self) -> usize {
        self.inputs.n_workers
    }

    /// Size of the key-value cache of all layers.
    pub fn cache_bytes(&self) -> u64 {
        sum(self.cache.iter().map(|part| part.bytes))
    }

    /// The whole estimate.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.non_weight_bytes())
    }

    fn non_weight_bytes(&self) -> u64 {
        sum([self.cache_bytes(), self.scratch_bytes, self.text_bytes, self.base_bytes].into_iter())
    }

    /// Corrects everything but the weights by the median ratio of measured to estimated memory: in
    /// past runs of `model`, or else of models of its family. Without such runs the estimate is
    /// unchanged.
    pub fn corrected(mut self, model: &str, peaks: &[MeasuredPeak]) -> Self {
        let model_ratio = median_ratio(peaks.iter().filter(|peak| peak.model == model));
        let family_ratio = || median_ratio(peaks.iter().filter(|peak| peak.family == self.family));
        let Some(ratio) = model_ratio.or_else(family_ratio) else { return self };
        let scale = |bytes: &mut u64| *bytes = (*bytes as f64 * ratio) as u64;
        self.cache.iter_mut().for_each(|part| scale(&mut part.bytes));
        let rest = [&mut self.scratch_bytes, &mut self.text_bytes, &mut self.base_bytes];
        rest.into_iter().for_each(scale);
        self.correction = Some(self.correction.unwrap_or(1.0) * ratio);
        self
    }

    /// The parts of [`MemoryEstimate::total_bytes`], with their formulas.
    pub fn parts(&self) -> Vec<MemoryPart> {
        let Inputs { n_vocab, n_workers, .. } = self.inputs;
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
            ("Program", self.base_bytes, "the program without a model".to_owned()),
        ];
        let cache = self.cache.iter().map(|part| {
            let label = match part.window {
                None => "Cache of the whole context",
                Some(_) => "Cache of layers with a window",
            };
            (label, part.bytes, self.cache_formula(part))
        });
        let measured = self.correction.map(|ratio| format!(" × {ratio:.2} as measured here"));
        let measured = measured.unwrap_or_default();
        let non_weights = cache.chain(rest).map(|(label, bytes, formula)| {
            let formula = format!("{formula}{measured}");
            MemoryPart { label, bytes, formula }
        });
        let weights = MemoryPart { label: "Weights", bytes: self.weights_bytes, formula: weights };
        std::iter::once(weights).chain(non_weights).collect()
    }

    /// For example `30 layers × 2 × 3 heads × 64 × (8,192 + 256) tokens × 2 bytes`.
    fn cache_formula(&self, part: &CachePart) -> String {
        let Inputs { n_kv_heads, head_dim, .. } = self.inputs;
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

fn is_matrix(tensor: &&TensorInfo) -> bool {
    tensor.dims.len() > 1
}

/// A saturating sum: crafted headers cannot make it overflow.
pub(super) fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The caches grouped by window, in the order of the layers.
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

/// Size of the buffers of the forward pass and of the decoded norms.
fn scratch_bytes(facts: &HeaderFacts, n_workers: usize) -> u64 {
    let HeaderFacts { spec, panel_columns, norms_bytes, .. } = facts;
    let worker = worker_bytes(spec, panel_columns.iter().copied()) as u64;
    let workers_total = worker.saturating_mul(n_workers as u64);
    sum([shared_bytes(spec, n_workers), workers_total, *norms_bytes].into_iter())
}

/// Size of the tokenizer's tables, the logits, and the tokens of a session.
fn text_bytes(facts: &HeaderFacts, context: usize) -> u64 {
    let logits = LOGIT_ROWS * facts.spec.n_vocab * size_of::<f32>();
    let tokens = context.saturating_mul(size_of::<u32>());
    sum([facts.table_bytes, logits as u64, tokens as u64].into_iter())
}

/// The median ratio of measured to estimated memory, both without the weights.
fn median_ratio<'a>(peaks: impl Iterator<Item = &'a MeasuredPeak>) -> Option<f64> {
    let ratio = |peak: &MeasuredPeak| {
        let non_weights =
            |bytes: u64| bytes.checked_sub(peak.weights_bytes).map(|bytes| bytes as f64);
        let estimated = non_weights(peak.estimated_bytes).filter(|bytes| *bytes > 0.0)?;
        // A measurement below the size of the weights means that not all of them were read: count
        // it as the lowest ratio.
        let measured = non_weights(peak.measured_bytes).unwrap_or(0.0);
        Some((measured / estimated).clamp(PLAUSIBLE_RATIOS.0, PLAUSIBLE_RATIOS.1))
    };
    let mut ratios: Vec<f64> = peaks.filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.len() / 2;
    Some((ratios.get(middle)? + ratios[(ratios.len() - 1) / 2]) / 2.0)
}

/// A number with a comma before every three digits.
pub(super) fn grouped(number: usize) -> String {
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
#[path = "tests.rs"]
mod tests;
