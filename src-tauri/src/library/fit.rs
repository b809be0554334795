//! Whether a model will run here, as the engine estimates it.

use std::path::Path;

use lilims_engine::estimate::{Fit as EngineFit, MeasuredPeak, Verdict as EngineVerdict};
use lilims_engine::{BackendKind, LoadOptions, MemoryBudget};
use lilims_gguf::File;
use lilims_hub::Library;
use lilims_ipc::{Attempt, Error, Fit, FitPart, Verdict};

use super::headers::Header;
use super::machine;

/// What a model takes beside its file, where only the file's size is known: a share of it, and bytes.
const SIZE_SHARE: f64 = 1.1;
const SIZE_EXTRA_BYTES: u64 = 300 << 20;
/// From this share of the available memory on, a fit is tight.
const TIGHT_SHARE: f64 = 0.8;
/// The least context that is proposed after a crash.
const SAFER_CONTEXT: u32 = 2048;

/// What a model may take now.
pub(super) fn budget() -> MemoryBudget {
    MemoryBudget::now(BackendKind::default())
}

/// Whether a file of this size may fit.
pub(super) fn by_size(size_bytes: u64, budget: &MemoryBudget) -> Verdict {
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

/// Whether the model whose header this is fits.
pub(super) fn of_file(
    file: &File,
    name: &str,
    context_tokens: Option<u32>,
    library: &Library,
    budget: &MemoryBudget,
) -> Result<Fit, lilims_engine::Error> {
    of_header(&Header::new(file)?, name, context_tokens, library, budget)
}

/// As [`of_file`], of a header that was read before.
pub(super) fn of_header(
    header: &Header,
    name: &str,
    context_tokens: Option<u32>,
    library: &Library,
    budget: &MemoryBudget,
) -> Result<Fit, lilims_engine::Error> {
    let peaks: Vec<MeasuredPeak> =
        library.peaks().unwrap_or_default().into_iter().map(peak).collect();
    let options = LoadOptions {
        context: context_tokens.and_then(|context| context.try_into().ok()),
        ..LoadOptions::default()
    };
    let fit = EngineFit::from_facts(&header.facts, &options, budget, name, &peaks)?;
    let context = fit.estimate.context;
    let tokens_per_second = machine::speed(header, context / 2);
    Ok(Fit {
        verdict: match fit.verdict {
            EngineVerdict::Fits => Verdict::Fits,
            EngineVerdict::Tight => Verdict::Tight,
            EngineVerdict::TooLarge => Verdict::TooLarge,
        },
        context_tokens: context.try_into().unwrap_or(u32::MAX),
        needed_bytes: fit.needed_bytes,
        available_bytes: fit.available_bytes,
        parts: fit
            .parts
            .into_iter()
            .map(|part| FitPart {
                label: part.label.to_owned(),
                bytes: part.bytes,
                how: part.formula,
            })
            .collect(),
        available_from: fit.available_from,
        suggestion: fit.suggestion.map(|suggestion| suggestion.to_string()),
        tokens_per_second,
        is_measured: fit.estimate.correction.is_some(),
    })
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

/// What is noted before the model at `path` is loaded.
pub(crate) fn attempt(
    path: &Path,
    title: &str,
    options: &LoadOptions,
) -> Result<lilims_models::Attempt, Error> {
    let file = File::open(path).map_err(|error| crate::errors::not_loaded(&error.into()))?;
    let estimate = lilims_engine::MemoryEstimate::new(&file, options)
        .map_err(|error| crate::errors::not_loaded(&error))?;
    Ok(lilims_models::Attempt {
        name: path.display().to_string(),
        title: title.to_owned(),
        context_tokens: estimate.context.try_into().unwrap_or(u32::MAX),
        needed_bytes: estimate.total_bytes(),
        available_bytes: budget().available_bytes,
        process: std::process::id(),
    })
}

/// What a model took, beside what it was estimated to take with as many tokens in its cache.
pub(super) fn measured(
    path: &Path,
    model: String,
    n_tokens: usize,
    taken_bytes: u64,
) -> Option<lilims_hub::Peak> {
    if taken_bytes == 0 {
        return None;
    }
    // A cache takes no memory where nothing was written.
    let options = LoadOptions { context: Some(n_tokens.max(1)), ..LoadOptions::default() };
    let estimate = lilims_engine::MemoryEstimate::new(&File::open(path).ok()?, &options).ok()?;
    Some(lilims_hub::Peak {
        model,
        weights_bytes: estimate.weights_bytes,
        estimated_bytes: estimate.total_bytes(),
        // The app's own memory is none of the model's.
        measured_bytes: taken_bytes + estimate.base_bytes,
        family: estimate.family,
    })
}

/// A load that the last process did not survive, as the page explains it.
pub(crate) fn explained(attempt: lilims_models::Attempt) -> Attempt {
    let cause = if attempt.needed_bytes > attempt.available_bytes {
        "The system probably ended it, because memory ran short."
    } else {
        "Its file may be damaged, or the system may have ended it."
    };
    let title = &attempt.title;
    Attempt {
        message: format!("Lilims ended while it loaded {title}. {cause}"),
        name: attempt.title,
        context_tokens: attempt.context_tokens,
        needed_bytes: attempt.needed_bytes,
        available_bytes: attempt.available_bytes,
        safer_context_tokens: (attempt.context_tokens / 4).clamp(1, SAFER_CONTEXT),
    }
}

/// Whether a process runs.
pub(super) fn is_alive(process: u32) -> bool {
    // On Linux every process has a folder; elsewhere a note is taken for that of a crash.
    cfg!(target_os = "linux") && Path::new("/proc").join(process.to_string()).exists()
}
