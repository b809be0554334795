//! Results of conversions in the types of the doors.

use std::path::Path;

use lilims_convert::{Evaluation, Manifest};
use lilims_ipc::{ConversionRecord, Measurement};

/// The record of the conversion that created the model at `path`, from the manifest beside it.
pub(crate) fn record(path: &Path, size_bytes: u64) -> Option<ConversionRecord> {
    let manifest = Manifest::read(&Manifest::path_of(path)).ok()?;
    (manifest.result.size_bytes == size_bytes).then(|| of_manifest(manifest))
}

fn of_manifest(manifest: Manifest) -> ConversionRecord {
    let Manifest { source, result, conversion, evaluation, name, .. } = manifest;
    let file = match &*source.files {
        [file] => file.name.clone(),
        _ => source.origin.unwrap_or(name),
    };
    ConversionRecord {
        source: file,
        source_bytes: source.files.iter().map(|file| file.size_bytes).sum(),
        tool: conversion.tool,
        target: conversion.mix,
        size_bytes: result.size_bytes,
        figures: evaluation.map(measurement),
    }
}

/// The measurement of a conversion.
pub(super) fn measurement(evaluation: Evaluation) -> Measurement {
    Measurement {
        text: evaluation.text,
        tokens: evaluation.tokens as u64,
        perplexity_before: evaluation.perplexity_before,
        perplexity_after: evaluation.perplexity_after,
        mean_kl: evaluation.mean_kl,
        p99_kl: evaluation.p99_kl,
        same_top: evaluation.same_top,
    }
}
