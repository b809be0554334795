//! `lilims show`: what is known of a model of the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_hub::Entry;

use super::list::{Row, notes, place};
use super::{find, words};
use crate::output;

/// Tell what is known of a model of the library. `lilims inspect` tells what is in its file.
#[derive(Args)]
pub(crate) struct Show {
    /// Its short name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let entry = find::entry(&super::open()?, &self.name)?;
        if self.json {
            output::show_json(&Row::from(entry))?;
        } else {
            output::show(&text(&entry))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(entry: &Entry) -> String {
    let source = entry.repository.as_ref().map(|repository| match &entry.file {
        Some(file) => format!("{repository}/{file}"),
        None => repository.clone(),
    });
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows = [
        ("name", Some(entry.name.clone())),
        ("title", Some(entry.title.clone())),
        ("size", Some(output::disk_size(entry.size_bytes))),
        ("family", known(&entry.family)),
        ("quantisation", known(&entry.quantisation)),
        ("context", entry.context_tokens.map(|n| format!("{n} tokens"))),
        ("licence", entry.licence.clone()),
        ("where", Some(place(entry).to_owned())),
        ("file", Some(entry.path.display().to_string())),
        ("from", source),
        ("revision", entry.revision.clone()),
        ("sha256", entry.sha256.clone()),
        ("added", Some(words::when(entry.added_ms))),
        ("last used", Some(entry.last_used_ms.map_or_else(|| "never".to_owned(), words::when))),
        ("state", known(&notes(entry).join(", "))),
    ];
    let rows: Vec<_> = rows
        .into_iter()
        .filter_map(|(label, value)| Some(vec![label.to_owned(), value?]))
        .collect();
    output::table(&rows)
}
