//! `lilims extract`: the text of a document.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use lilims_core::documents;
use lilims_terminal::{interrupt, output};

use crate::{messages, options};

#[derive(Args)]
pub(crate) struct Extract {
    /// The document.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The longest time that reading may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = options::count)]
    time: usize,
    /// The most memory of the process that reads a PDF, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = options::count)]
    memory: usize,
}

impl Extract {
    pub(crate) fn run(self) -> Result<()> {
        let bounds = documents::Options {
            time: Duration::from_secs(self.time as u64),
            memory_bytes: (self.memory as u64) << 20,
            ..documents::Options::default()
        };
        let read = interrupt::during(|cancel| documents::read(&self.file, &bounds, cancel));
        let document = read?;
        if self.json {
            return output::show_json(&document);
        }
        for note in &document.notes {
            output::note(&messages::attachment_note(note));
        }
        let mut text = document.text;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(output::show(&text)?)
    }
}
