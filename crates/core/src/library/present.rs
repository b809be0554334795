//! The library, downloads and plans in the types of the doors.

use lilims_engine::LoadOptions;
use lilims_hub::{self as hub, DownloadRow, Entry};
use lilims_ipc::{
    Condition, Download, DownloadPlan, DownloadState, Error, Library, LibraryModel, Limits, Place,
    PlannedModel, Problem, Report, SkipReason, SkippedFile, Storage,
};
use lilims_models::scan;

use super::headers::Headers;
use super::{LibraryHandle, fit};
use crate::{conversions, problem};

/// The most skipped files that a report lists.
const MAX_SKIPPED: usize = 20;

/// The whole library.
///
/// # Errors
/// When there is no library or its index cannot be read.
pub(crate) fn library(handle: &LibraryHandle) -> Result<Library, Error> {
    let library = handle.library()?;
    let budget = fit::budget();
    let entries = library.entries()?;
    let limits = library.limits()?;
    let folders = library.folders()?;
    let headers = handle.headers();
    headers.keep_only(entries.iter().map(|entry| entry.path.as_path()));
    let models = entries.into_iter().map(|entry| model(entry, library, headers, &budget));
    Ok(Library {
        models: models.collect(),
        storage: storage(library.storage()?),
        loaded: handle.loaded(),
        limits: Limits { at_once: limits.at_once, bytes_per_second: limits.bytes_per_second },
        folders: folders.into_iter().map(|folder| folder.display().to_string()).collect(),
        notes: handle.notes(),
    })
}

fn model(
    entry: Entry,
    library: &hub::Library,
    headers: &Headers,
    budget: &lilims_engine::MemoryBudget,
) -> LibraryModel {
    let path = entry.path.as_path();
    let (fit, condition) = match headers.of(path) {
        _ if entry.is_damaged => (None, Condition::Damaged),
        Ok(header) => {
            let options = LoadOptions::default();
            match fit::of_header(&header, &entry.name, &options, library, budget) {
                Ok(fit) => (Some(fit), Condition::Good),
                Err(error) => (None, Condition::Unsupported { error: problem::not_loaded(&error) }),
            }
        }
        Err(condition) => (None, condition),
    };
    LibraryModel {
        place: match entry.owner.clone() {
            None => Place::Ours,
            Some(_) if entry.is_bundled() => Place::Bundled,
            Some(owner) => Place::InPlace { owner: hub::owner_of(&owner) },
        },
        disk_bytes: hub::disk_bytes(path),
        conversion: conversions::record(path, entry.size_bytes),
        name: entry.name,
        title: entry.title,
        size_bytes: entry.size_bytes,
        quantisation: entry.quantisation,
        family: entry.family,
        context_tokens: entry.context_tokens,
        licence: entry.licence,
        repository: entry.repository,
        revision: entry.revision,
        sha256: entry.sha256,
        is_pinned: entry.is_pinned,
        last_used_ms: entry.last_used_ms,
        path: entry.path.display().to_string(),
        condition,
        fit,
    }
}

pub(super) fn storage(storage: hub::Storage) -> Storage {
    Storage {
        folder: storage.folder.display().to_string(),
        used_bytes: storage.used_bytes,
        unfinished_bytes: storage.unfinished_bytes,
        quota_bytes: storage.quota_bytes,
        is_default_quota: storage.is_default_quota,
        free_bytes: storage.free_bytes,
        in_place_bytes: storage.in_place_bytes,
    }
}

/// The queue of downloads.
pub(crate) fn downloads(rows: &[DownloadRow]) -> Vec<Download> {
    rows.iter().map(download).collect()
}

/// A download.
pub(super) fn download(row: &DownloadRow) -> Download {
    let progress = &row.progress;
    let rate = progress.bytes_per_second.filter(|_| row.state == hub::DownloadState::Running);
    let left = progress.total_bytes.saturating_sub(progress.done_bytes);
    let state = match row.state {
        hub::DownloadState::Queued => DownloadState::Queued,
        hub::DownloadState::Running => match &progress.retrying {
            Some((error, in_seconds)) => {
                DownloadState::Retrying { error: error.clone(), in_seconds: *in_seconds }
            }
            None if progress.is_checking => DownloadState::Checking,
            None => DownloadState::Running,
        },
        hub::DownloadState::Paused => DownloadState::Paused,
        hub::DownloadState::Failed => DownloadState::Failed {
            error: row.failure.clone().unwrap_or_else(|| Problem::Unknown.into()),
        },
        hub::DownloadState::Done => {
            DownloadState::Done { name: row.model.clone().unwrap_or_default() }
        }
    };
    Download {
        id: row.id,
        repository: row.source.repository.clone(),
        file: row.source.file.clone(),
        state,
        done_bytes: progress.done_bytes,
        total_bytes: progress.total_bytes,
        bytes_per_second: rate,
        seconds_left: rate.filter(|&rate| rate > 0.0).map(|rate| (left as f64 / rate) as u64),
    }
}

/// The plan of a download.
pub(crate) fn plan(
    repository: &str,
    file: &str,
    plan: hub::Plan,
    obstacle: Option<Error>,
) -> DownloadPlan {
    DownloadPlan {
        repository: repository.to_owned(),
        file: file.to_owned(),
        needed_bytes: plan.needed_bytes,
        removes: plan.removes.into_iter().map(planned_model).collect(),
        keeps: plan.keeps.into_iter().map(planned_model).collect(),
        obstacle,
    }
}

/// A model of a plan.
pub(crate) fn planned_model(model: hub::PlannedModel) -> PlannedModel {
    PlannedModel {
        name: model.name,
        title: model.title,
        disk_bytes: model.disk_bytes,
        last_used_ms: model.last_used_ms,
        stays: model.stays,
    }
}

/// The result of a scan.
pub(crate) fn scanned(scanned: hub::Scanned) -> Report {
    let hub::Scanned { added, known, gone, skipped } = scanned;
    let n_more_skipped = skipped.len().saturating_sub(MAX_SKIPPED) as u64;
    let skipped = skipped.into_iter().take(MAX_SKIPPED);
    let skipped = skipped.map(|(path, reason)| SkippedFile {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        reason: skip_reason(reason),
    });
    let skipped = skipped.collect();
    Report::Scanned { added, n_known: known as u64, gone, skipped, n_more_skipped }
}

fn skip_reason(reason: scan::SkipReason) -> SkipReason {
    match reason {
        scan::SkipReason::Missing => SkipReason::Missing,
        scan::SkipReason::Unreadable(what) | scan::SkipReason::Unusable(what) => {
            SkipReason::Unusable { what }
        }
        scan::SkipReason::NotAFile | scan::SkipReason::NotGguf => SkipReason::NotGguf,
        scan::SkipReason::Unsuitable(why) => SkipReason::Unsuitable { why: hub::unsuitable(why) },
        scan::SkipReason::TooManyFiles { limit } => {
            SkipReason::TooManyFiles { limit: limit as u64 }
        }
        scan::SkipReason::TooDeep { limit } => SkipReason::TooDeep { limit: limit as u64 },
        scan::SkipReason::NeedsAdapter => SkipReason::NeedsAdapter,
        scan::SkipReason::Split => SkipReason::Split,
        scan::SkipReason::WrongSize => SkipReason::WrongSize,
        scan::SkipReason::Manifest(what) => SkipReason::Manifest { what: what.to_owned() },
    }
}
