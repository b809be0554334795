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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryPart {
    /// What it is, with the factors of its size.
    pub kind: MemoryPartKind,
    /// Size in bytes.
    pub bytes: u64,
}

/// What a part is, with the factors of its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryPartKind {
    /// The weights, mapped from the file.
    Weights {
        /// Parameters of the model.
        n_parameters: u64,
        /// Bits for each.
        bits_per_weight: f64,
    },
    /// Keys and values of layers that see the whole context.
    ContextCache(CacheShape),
    /// Keys and values of layers with a window.
    WindowCache(CacheShape),
    /// Buffers for computing.
    Scratch {
        /// Tokens that are computed at once.
        chunk_tokens: usize,
        /// Worker threads.
        n_workers: usize,
    },
    /// Tables and logits of the vocabulary.
    Vocabulary {
        /// Its tokens.
        n_tokens: usize,
    },
    /// The program without a model.
    Program,
}

/// The factors of a cache: layers × 2 × heads × head size × (tokens + extra tokens) × bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CacheShape {
    /// Layers.
    pub n_layers: usize,
    /// Heads of keys and values in each.
    pub n_kv_heads: usize,
    /// Numbers of each head.
    pub head_dim: usize,
    /// Tokens of the context or the window.
    pub tokens: usize,
    /// Further tokens that it has room for.
    pub extra_tokens: usize,
    /// The type of the numbers.
    pub kv_type: KvType,
    /// Bytes for each number.
    pub bytes_per_number: f64,
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

    /// The parts of [`MemoryEstimate::total_bytes`]. All but the weights are multiplied by
    /// [`MemoryEstimate::correction`], if there is one.
    pub fn parts(&self) -> Vec<MemoryPart> {
        let Inputs { n_vocab, n_workers, .. } = self.inputs;
        let bits_per_weight = self.weights_bytes as f64 * 8.0 / self.n_parameters.max(1) as f64;
        let n_parameters = self.n_parameters;
        let weights = MemoryPartKind::Weights { n_parameters, bits_per_weight };
        let scratch = MemoryPartKind::Scratch { chunk_tokens: MAX_CHUNK, n_workers };
        let vocabulary = MemoryPartKind::Vocabulary { n_tokens: n_vocab };
        let cache = self.cache.iter().map(|part| {
            let shape = self.cache_shape(part);
            let kind = match part.window {
                None => MemoryPartKind::ContextCache(shape),
                Some(_) => MemoryPartKind::WindowCache(shape),
            };
            MemoryPart { kind, bytes: part.bytes }
        });
        std::iter::once(MemoryPart { kind: weights, bytes: self.weights_bytes })
            .chain(cache)
            .chain([
                MemoryPart { kind: scratch, bytes: self.scratch_bytes },
                MemoryPart { kind: vocabulary, bytes: self.text_bytes },
                MemoryPart { kind: MemoryPartKind::Program, bytes: self.base_bytes },
            ])
            .collect()
    }

    fn cache_shape(&self, part: &CachePart) -> CacheShape {
        let Inputs { n_kv_heads, head_dim, .. } = self.inputs;
        let tokens = part.window.unwrap_or(self.context).min(part.positions);
        let bytes_per_number = match self.kv_type {
            KvType::F32 => 4.0,
            KvType::F16 => 2.0,
            KvType::Q8_0 => 34.0 / 32.0,
        };
        CacheShape {
            n_layers: part.layers,
            n_kv_heads,
            head_dim,
            tokens,
            extra_tokens: part.positions - tokens,
            kv_type: self.kv_type,
            bytes_per_number,
        }
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
