//! `lilims search`: repositories on the hub with models in GGUF.

use anyhow::Result;
use clap::Args;
use lilims_ipc as ipc;
use lilims_terminal::{output, words};

use super::note_token_refusal;

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

impl Search {
    pub(crate) fn run(self) -> Result<()> {
        let library = super::open()?;
        let hub = super::hub(&library)?;
        let found = hub.search(&ipc::Search {
            text: self.text.join(" "),
            max_parameters: self.max_parameters,
            licence: self.licence.map(|licence| licence.to_ascii_lowercase()),
            only_fitting: false,
        });
        note_token_refusal(&hub);
        let found = found?;
        if self.json {
            output::show_json(&found)?;
        } else if found.is_empty() {
            output::note(&format!("Nothing on {} matches.", hub.host()));
        } else {
            let head = ["REPOSITORY", "SIZE", "LICENCE", "DOWNLOADS", "LIKES", ""];
            let head = head.map(str::to_owned);
            output::show(&output::table(
                std::iter::once(head).chain(found.into_iter().map(cells)),
            ))?;
        }
        Ok(())
    }
}

fn cells(found: ipc::SearchResult) -> [String; 6] {
    let unknown = || "?".to_owned();
    [
        found.repository,
        found.parameters.map_or_else(unknown, words::count),
        found.licence.unwrap_or_else(unknown),
        words::count(found.downloads),
        words::count(found.likes),
        if found.is_gated { "gated".to_owned() } else { String::new() },
    ]
}
