//! Whether a model will run here, as the engine estimates it.

use std::path::Path;
use std::sync::Arc;

use lilims_engine::estimate::{self, Fit as EngineFit, MeasuredPeak, Verdict as EngineVerdict};
use lilims_engine::{BackendKind, LoadOptions, MemoryBudget, MemoryEstimate, Model};
use lilims_gguf::File;
use lilims_hub::Library;
use lilims_ipc::{
    Attempt, CacheShape, Error, Fit, FitPart, FitPartKind, MemorySource, Suggestion, Verdict,
};

use super::headers::Header;
use super::machine;
use crate::problem;

/// What a model takes beside its file, where only the file's size is known: a share of it, and bytes.
const SIZE_SHARE: f64 = 1.1;
const SIZE_EXTRA_BYTES: u64 = 300 << 20;
/// From this share of the available memory on, a fit is tight.
const TIGHT_SHARE: f64 = 0.8;
/// The least context that is proposed after a crash.
const SAFER_CONTEXT: u32 = 2048;

/// The memory that a model may take now.
pub(crate) fn budget() -> MemoryBudget {
    MemoryBudget::now(BackendKind::default())
}

/// Whether a file of this size may fit.
pub(crate) fn by_size(size_bytes: u64, budget: &MemoryBudget) -> Verdict {
    let needed = size_bytes as f64 * SIZE_SHARE + SIZE_EXTRA_BYTES as f64;
    let available = budget.available_bytes as f64;
    if needed > available {
        Verdict::TooLarge
    } else if needed > available * TIGHT_SHARE {
        Verdict::Tight
    } else {
        Verdict::Fits
    }
}

/// Whether the model with this header fits; `name` is its short name, for past runs.
///
/// # Errors
/// As for [`HeaderFacts::new`](lilims_engine::estimate::HeaderFacts::new).
pub(crate) fn of_file(
    file: &File,
    name: &str,
    options: &LoadOptions,
    library: &Library,
    budget: &MemoryBudget,
) -> Result<Fit, lilims_engine::Error> {
    of_header(&Header::new(file)?, name, options, library, budget)
}

/// As [`of_file`], of a cached header.
pub(crate) fn of_header(
    header: &Header,
    name: &str,
    options: &LoadOptions,
    library: &Library,
    budget: &MemoryBudget,
) -> Result<Fit, lilims_engine::Error> {
    let peaks: Vec<MeasuredPeak> =
        library.peaks().unwrap_or_default().into_iter().map(peak).collect();
    let fit = EngineFit::from_facts(&header.facts, options, budget, name, &peaks)?;
    let estimate = &fit.estimate;
    let of_model = peaks.iter().filter(|peak| peak.model == name).count();
    let of_family = peaks.iter().filter(|peak| peak.family == estimate.family).count();
    let runs = if of_model > 0 { of_model } else { of_family };
    Ok(Fit {
        verdict: match fit.verdict {
            EngineVerdict::Fits => Verdict::Fits,
            EngineVerdict::Tight => Verdict::Tight,
            EngineVerdict::TooLarge => Verdict::TooLarge,
        },
        context_tokens: count(estimate.context),
        needed_bytes: fit.needed_bytes,
        available_bytes: fit.available_bytes,
        parts: fit.parts.iter().map(part).collect(),
        available_from: match fit.available_from {
            estimate::MemorySource::Free { reserve_bytes } => MemorySource::Free { reserve_bytes },
            estimate::MemorySource::Container { reserve_bytes } => {
                MemorySource::Container { reserve_bytes }
            }
            estimate::MemorySource::AppLimit { reserve_bytes } => {
                MemorySource::AppLimit { reserve_bytes }
            }
            estimate::MemorySource::Metal => MemorySource::Metal,
        },
        suggestion: fit.suggestion.as_ref().map(suggestion),
        tokens_per_second: machine::speed(header, estimate.context / 2, options.kv_type),
        measured_ratio: estimate.correction,
        measured_runs: estimate.correction.map_or(0, |_| count(runs)),
    })
}

fn part(part: &estimate::MemoryPart) -> FitPart {
    use estimate::MemoryPartKind;
    let kind = match part.kind {
        MemoryPartKind::Weights { n_parameters, bits_per_weight } => {
            FitPartKind::Weights { n_parameters, bits_per_weight }
        }
        MemoryPartKind::ContextCache(shape) => FitPartKind::ContextCache(cache_shape(&shape)),
        MemoryPartKind::WindowCache(shape) => FitPartKind::WindowCache(cache_shape(&shape)),
        MemoryPartKind::Scratch { chunk_tokens, n_workers } => {
            FitPartKind::Scratch { chunk_tokens: chunk_tokens as u64, n_workers: n_workers as u64 }
        }
        MemoryPartKind::Vocabulary { n_tokens } => {
            FitPartKind::Vocabulary { n_tokens: n_tokens as u64 }
        }
        MemoryPartKind::Program => FitPartKind::Program,
    };
    FitPart { size_bytes: part.bytes, kind }
}

fn cache_shape(shape: &estimate::CacheShape) -> CacheShape {
    CacheShape {
        n_layers: shape.n_layers as u64,
        n_heads: shape.n_kv_heads as u64,
        head_size: shape.head_dim as u64,
        tokens: shape.tokens as u64,
        extra_tokens: shape.extra_tokens as u64,
        kv_type: shape.kv_type.name().to_owned(),
        bytes_per_number: shape.bytes_per_number,
    }
}

fn suggestion(suggestion: &estimate::Suggestion) -> Suggestion {
    match *suggestion {
        estimate::Suggestion::Load { context, kv_type } => Suggestion::Load {
            context_tokens: context.map(count),
            kv_type: kv_type.map(|kv_type| kv_type.name().to_owned()),
        },
        estimate::Suggestion::Quantisation { bits, context } => {
            Suggestion::Quantisation { bits_per_weight: bits, context_tokens: context.map(count) }
        }
        estimate::Suggestion::OtherModel => Suggestion::OtherModel,
    }
}

fn count(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn peak(peak: lilims_hub::Peak) -> MeasuredPeak {
    MeasuredPeak {
        model: peak.model,
        family: peak.family,
        weights_bytes: peak.weights_bytes,
        estimated_bytes: peak.estimated_bytes,
        measured_bytes: peak.measured_bytes,
    }
}

/// The note that is written before the model at `path` is loaded.
pub(crate) fn attempt(
    path: &Path,
    title: &str,
    options: &LoadOptions,
) -> Result<lilims_models::LoadAttempt, Error> {
    let file = File::open(path).map_err(|error| problem::not_loaded(&error.into()))?;
    let estimate =
        MemoryEstimate::new(&file, options).map_err(|error| problem::not_loaded(&error))?;
    Ok(lilims_models::LoadAttempt {
        name: path.display().to_string(),
        title: title.to_owned(),
        context_tokens: estimate.context.try_into().unwrap_or(u32::MAX),
        needed_bytes: estimate.total_bytes(),
        available_bytes: budget().available_bytes,
        process: std::process::id(),
    })
}

/// Loads the model at `path` beside another one.
///
/// # Errors
/// If it cannot be loaded, or memory is too short for both.
pub(crate) fn load_beside(
    path: &Path,
    options: &LoadOptions,
) -> Result<Arc<Model>, lilims_engine::Error> {
    let needed = MemoryEstimate::new(&File::open(path)?, options)?.total_bytes();
    if needed > budget().available_bytes {
        return Err(lilims_engine::Error::OutOfMemory { bytes: needed });
    }
    Model::load(path, options)
}

/// The measured memory of a model, with its estimate for as many tokens in its cache.
pub(crate) fn peak_of(
    path: &Path,
    model: String,
    options: &LoadOptions,
    n_tokens: usize,
    measured_bytes: impl FnOnce(&MemoryEstimate) -> u64,
) -> Option<lilims_hub::Peak> {
    // A cache takes no memory where nothing was written.
    let options = LoadOptions { context: Some(n_tokens.max(1)), ..options.clone() };
    let estimate = MemoryEstimate::new(&File::open(path).ok()?, &options).ok()?;
    Some(lilims_hub::Peak {
        model,
        weights_bytes: estimate.weights_bytes,
        estimated_bytes: estimate.total_bytes(),
        measured_bytes: measured_bytes(&estimate),
        family: estimate.family,
    })
}

/// A load that the last process did not survive, as the doors see it.
pub(crate) fn suspended(attempt: lilims_models::LoadAttempt) -> Attempt {
    Attempt {
        name: attempt.title,
        context_tokens: attempt.context_tokens,
        needed_bytes: attempt.needed_bytes,
        available_bytes: attempt.available_bytes,
        safer_context_tokens: (attempt.context_tokens / 4).clamp(1, SAFER_CONTEXT),
    }
}

/// Whether a process runs.
pub(crate) fn is_alive(process: u32) -> bool {
    // On Linux every process has a folder; elsewhere every note counts as that of a crash.
    cfg!(target_os = "linux") && Path::new("/proc").join(process.to_string()).exists()
}
