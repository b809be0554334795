//! `lilims search`: repositories on the hub with models in GGUF.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use lilims_hub::{Client, Search as Query, SearchResult};
use serde::Serialize;

use super::{patiently, runtime, tell_of_token, words};
use crate::output;

/// Search Hugging Face for models in GGUF, the most downloaded first.
#[derive(Args)]
pub(crate) struct Search {
    /// Words of the name.
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    text: Vec<String>,
    /// Only with this licence, such as apache-2.0.
    #[arg(long, value_name = "L", alias = "license")]
    licence: Option<String>,
    /// Only up to this size, such as 4B.
    #[arg(long, value_name = "N", value_parser = words::parameters)]
    max_parameters: Option<u64>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a repository.
#[derive(Serialize)]
struct Row<'a> {
    repository: &'a str,
    downloads: u64,
    likes: u64,
    licence: Option<&'a str>,
    parameters: Option<u64>,
    is_gated: bool,
    updated: Option<&'a str>,
}

impl Search {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let client = Client::from_env(Arc::new(super::open()?))?;
        let query = Query {
            text: self.text.join(" "),
            max_parameters: self.max_parameters,
            licence: self.licence.map(|licence| licence.to_ascii_lowercase()),
        };
        let found = runtime()?.block_on(patiently(async || client.search(&query).await));
        tell_of_token(&client);
        let found = found?;
        if self.json {
            output::show_json(&found.iter().map(row).collect::<Vec<_>>())?;
        } else if found.is_empty() {
            output::note(&format!("Nothing on {} matches.", client.host()));
        } else {
            let head = ["REPOSITORY", "SIZE", "LICENCE", "DOWNLOADS", "LIKES", ""];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(found.iter().map(cells));
            output::show(&output::table(&rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(found: &SearchResult) -> Row<'_> {
    Row {
        repository: &found.repository,
        downloads: found.downloads,
        likes: found.likes,
        licence: found.licence.as_deref(),
        parameters: found.parameters,
        is_gated: found.is_gated,
        updated: found.updated.as_deref(),
    }
}

fn cells(found: &SearchResult) -> Vec<String> {
    vec![
        found.repository.clone(),
        found.parameters.map_or_else(|| "?".to_owned(), words::count),
        found.licence.clone().unwrap_or_else(|| "?".to_owned()),
        words::count(found.downloads),
        words::count(found.likes),
        if found.is_gated { "gated".to_owned() } else { String::new() },
    ]
}
