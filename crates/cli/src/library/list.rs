//! `lilims list`: the models on this device.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_hub::{DownloadRow, DownloadState, Entry};
use serde::Serialize;

use super::{find, words};
use crate::output;

/// List the models on this device, the last used first. The names are what `--model` takes.
#[derive(Args)]
pub(crate) struct List {
    /// Print a JSON array with all that is known.
    #[arg(long)]
    json: bool,
}

/// A model as `--json` prints it. Times are milliseconds since 1970.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    title: String,
    path: String,
    /// `None` for files that Lilims fetched or copied.
    owner: Option<String>,
    repository: Option<String>,
    file: Option<String>,
    revision: Option<String>,
    sha256: Option<String>,
    size_bytes: u64,
    quantisation: String,
    family: String,
    context_tokens: Option<u32>,
    licence: Option<String>,
    added_ms: u64,
    last_used_ms: Option<u64>,
    is_pinned: bool,
    is_damaged: bool,
    is_missing: bool,
    /// Whether it is a download that has not ended; `name` is `owner/name/FILE` then.
    is_unfinished: bool,
    /// What is here of an unfinished download.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_bytes: Option<u64>,
}

impl List {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let library = super::open()?;
        let entries = library.entries()?;
        let mut unfinished = library.downloads()?;
        unfinished.retain(|row| row.state != DownloadState::Done);
        if self.json {
            let entries = entries.into_iter().map(Row::from);
            let rows: Vec<_> = entries.chain(unfinished.iter().map(Row::of_download)).collect();
            output::show_json(&rows)?;
        } else if entries.is_empty() && unfinished.is_empty() {
            output::note(
                "There are no models yet: `lilims pull` fetches one, `lilims scan` finds some.",
            );
        } else {
            let head = ["NAME", "SIZE", "QUANT", "WHERE", "LAST USED", ""];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(entries.iter().map(cells));
            rows.extend(unfinished.iter().map(cells_of_download));
            output::show(&output::table(&rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn cells(entry: &Entry) -> Vec<String> {
    vec![
        entry.name.clone(),
        output::disk_size(entry.size_bytes),
        entry.quantisation.clone(),
        place(entry).to_owned(),
        entry.last_used_ms.map_or_else(|| "never".to_owned(), words::when),
        notes(entry).join(", "),
    ]
}

fn cells_of_download(row: &DownloadRow) -> Vec<String> {
    let journal = &row.progress;
    let percent = journal.done_bytes.saturating_mul(100) / journal.total_bytes.max(1);
    let why = match row.state {
        DownloadState::Failed => "unfinished, broke off",
        DownloadState::Paused => "unfinished, paused",
        _ => "unfinished",
    };
    vec![
        find::name_of(row),
        output::disk_size(journal.total_bytes),
        lilims_models::quantisation_of(&row.source.file).unwrap_or_default(),
        "ours".to_owned(),
        format!("{percent}% here"),
        why.to_owned(),
    ]
}

/// Whose folder a model is in.
pub(super) fn place(entry: &Entry) -> &str {
    match entry.owner.as_deref() {
        None => "ours",
        Some(_) if entry.is_bundled() => "bundled",
        Some(owner) => owner,
    }
}

/// What else is to be said of it.
pub(super) fn notes(entry: &Entry) -> Vec<&'static str> {
    let all = [
        (entry.is_pinned, "pinned"),
        (entry.is_damaged, "damaged"),
        (is_missing(entry), "missing"),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note).collect()
}

/// Whether its file is gone.
pub(super) fn is_missing(entry: &Entry) -> bool {
    !entry.path.is_file()
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Self {
        Self {
            is_missing: is_missing(&entry),
            name: entry.name,
            title: entry.title,
            path: entry.path.to_string_lossy().into_owned(),
            owner: entry.owner,
            repository: entry.repository,
            file: entry.file,
            revision: entry.revision,
            sha256: entry.sha256,
            size_bytes: entry.size_bytes,
            quantisation: entry.quantisation,
            family: entry.family,
            context_tokens: entry.context_tokens,
            licence: entry.licence,
            added_ms: entry.added_ms,
            last_used_ms: entry.last_used_ms,
            is_pinned: entry.is_pinned,
            is_damaged: entry.is_damaged,
            is_unfinished: false,
            done_bytes: None,
        }
    }
}

impl Row {
    /// A download that has not ended.
    fn of_download(row: &DownloadRow) -> Self {
        let entry = Entry {
            name: find::name_of(row),
            title: row.source.file.clone(),
            repository: Some(row.source.repository.clone()),
            file: Some(row.source.file.clone()),
            revision: Some(row.source.revision.clone()),
            size_bytes: row.progress.total_bytes,
            quantisation: lilims_models::quantisation_of(&row.source.file).unwrap_or_default(),
            ..Entry::default()
        };
        let done_bytes = Some(row.progress.done_bytes);
        Self { is_unfinished: true, done_bytes, ..Self::from(entry) }
    }
}
