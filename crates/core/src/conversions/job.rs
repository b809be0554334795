//! One conversion from its start to the model in the library.

use std::sync::atomic::AtomicBool;
use std::thread;

use lilims_convert::{Error as Convert, Job, Manifest, Mix, Options, Progress, Stage, Text};
use lilims_hub::{Entry, Library, OngoingConversion};
use lilims_ipc::{
    ConversionRequest, ConversionStage, ConversionState, Error, Share, TensorProgress,
};

use super::present;
use crate::problem;

/// The options for converting `source`, whose origin goes into the manifest.
pub(super) fn options(mix: Mix, source: &Entry) -> Options {
    Options {
        threads: threads(),
        origin: source.repository.clone(),
        revision: source.revision.clone(),
        license: source.licence.clone(),
        ..Options::new(mix)
    }
}

/// All cores but one from three on: a chat may be running.
fn threads() -> usize {
    match thread::available_parallelism().map_or(1, usize::from) {
        few @ ..3 => few,
        many => many - 1,
    }
}

/// Converts, and takes the result into the library.
pub(super) fn run(
    library: &Library,
    converting: &OngoingConversion,
    request: &ConversionRequest,
    mix: Mix,
    cancel: &AtomicBool,
    on_stage: &mut dyn FnMut(ConversionStage),
) -> Result<ConversionState, Error> {
    let job = Job {
        source: converting.source().path.clone(),
        out: converting.path().to_owned(),
        options: options(mix, converting.source()),
        calibration: request.is_weighed.then(Text::for_calibration),
        evaluation: request.is_measured.then(Text::for_evaluation),
    };
    let (manifest, unmeasured) = match job.run(cancel, &mut |it: Stage<'_>| on_stage(stage(it))) {
        Ok(manifest) => (manifest, None),
        Err(Convert::Cancelled) => return Ok(ConversionState::Cancelled),
        // If there is a manifest, the model is complete, and only measuring it failed.
        Err(error) => match Manifest::read(&Manifest::path_of(converting.path())) {
            Ok(manifest) => (manifest, Some(problem::not_converted(&error))),
            Err(_) => return Err(problem::not_converted(&error)),
        },
    };
    let entry = library.add_converted(converting, &manifest.result.sha256)?;
    Ok(ConversionState::Done {
        name: entry.name,
        size_bytes: entry.size_bytes,
        figures: manifest.evaluation.map(present::measurement),
        unmeasured,
    })
}

pub(super) fn stage(stage: Stage<'_>) -> ConversionStage {
    match stage {
        Stage::Preparing(progress) => ConversionStage::Preparing(tensors(progress)),
        Stage::Calibrating { done, total } => ConversionStage::Calibrating(share(done, total)),
        Stage::Converting(progress) => ConversionStage::Converting(tensors(progress)),
        Stage::Evaluating { done, total } => ConversionStage::Measuring(share(done, total)),
    }
}

fn tensors(progress: Progress<'_>) -> TensorProgress {
    TensorProgress {
        done: count(progress.tensor_idx),
        total: count(progress.n_tensors),
        name: progress.name.to_owned(),
        written_bytes: progress.written_bytes,
        total_bytes: progress.total_bytes,
    }
}

fn share(done: usize, total: usize) -> Share {
    Share { done: count(done), total: count(total) }
}

fn count(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}
