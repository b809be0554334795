//! The library, downloads and plans in the types of the page.

use lilims_hub::{self as hub, DownloadRow, Entry, Occupant};
use lilims_ipc::{
    Condition, Download, DownloadPlan, DownloadState, Error, Library, LibraryModel, Limits, Place,
    PlanModel, Storage,
};

use super::headers::Headers;
use super::{Shelf, convert, errors, fit};

/// The whole library.
pub(super) fn library(shelf: &Shelf) -> Result<Library, Error> {
    let library = shelf.library()?;
    let wrong = |error| errors::of(&error);
    let budget = fit::budget();
    let entries = library.entries().map_err(wrong)?;
    let limits = library.limits().map_err(wrong)?;
    let folders = library.folders().map_err(wrong)?;
    let headers = &shelf.headers;
    headers.keep_only(entries.iter().map(|entry| entry.path.as_path()));
    let models = entries.into_iter().map(|entry| model(entry, library, headers, &budget));
    Ok(Library {
        models: models.collect(),
        storage: storage(library.storage().map_err(wrong)?),
        loaded: shelf.loaded(),
        limits: Limits { at_once: limits.at_once, bytes_per_second: limits.bytes_per_second },
        folders: folders.into_iter().map(|folder| folder.display().to_string()).collect(),
        notes: shelf.notes(),
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
        Ok(header) => match fit::of_header(&header, &entry.name, None, library, budget) {
            Ok(fit) => (Some(fit), Condition::Good),
            Err(error) => (None, Condition::Unsupported { why: error.to_string() }),
        },
        Err(condition) => (None, condition),
    };
    LibraryModel {
        place: match entry.owner.clone() {
            None => Place::Ours,
            Some(_) if entry.is_bundled() => Place::Bundled,
            Some(owner) => Place::InPlace { owner },
        },
        disk_bytes: hub::disk_bytes(path),
        made: convert::made(path, entry.size_bytes),
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

fn storage(storage: hub::Storage) -> Storage {
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
pub(super) fn downloads(rows: &[DownloadRow]) -> Vec<Download> {
    rows.iter().map(download).collect()
}

fn download(row: &DownloadRow) -> Download {
    let journal = &row.journal;
    let rate = journal.bytes_per_second.filter(|_| row.state == hub::DownloadState::Running);
    let left = journal.total_bytes.saturating_sub(journal.done_bytes);
    let state = match row.state {
        hub::DownloadState::Queued => DownloadState::Queued,
        hub::DownloadState::Running => match &journal.retrying {
            Some((why, in_seconds)) => {
                DownloadState::Retrying { why: why.clone(), in_seconds: *in_seconds }
            }
            None if journal.is_checking => DownloadState::Checking,
            None => DownloadState::Running,
        },
        hub::DownloadState::Paused => DownloadState::Paused,
        hub::DownloadState::Failed => DownloadState::Failed {
            error: errors::of_download(row.failure.as_deref().unwrap_or("It broke off")),
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
        done_bytes: journal.done_bytes,
        total_bytes: journal.total_bytes,
        bytes_per_second: rate,
        seconds_left: rate.filter(|&rate| rate > 0.0).map(|rate| (left as f64 / rate) as u64),
    }
}

/// What a download would take.
pub(super) fn plan(
    repository: &str,
    file: &str,
    plan: hub::Plan,
    obstacle: Option<Error>,
) -> DownloadPlan {
    DownloadPlan {
        repository: repository.to_owned(),
        file: file.to_owned(),
        needed_bytes: plan.needed_bytes,
        removes: plan.removes.into_iter().map(plan_model).collect(),
        keeps: plan.keeps.into_iter().map(plan_model).collect(),
        obstacle,
    }
}

/// A model of a plan.
pub(super) fn plan_model(occupant: Occupant) -> PlanModel {
    PlanModel {
        name: occupant.name,
        title: occupant.title,
        disk_bytes: occupant.disk_bytes,
        last_used_ms: occupant.last_used_ms,
        why: occupant.stays.unwrap_or_default().to_owned(),
    }
}

/// A size as drives are sold: `4.1 GB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
