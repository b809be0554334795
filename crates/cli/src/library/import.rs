//! `lilims import` and `scan`: models that are on this device already.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lilims_hub::{Error, Scanned};
use lilims_models::scan::{Environment, Owner};

use crate::interrupt::Interrupt;
use crate::output;

/// Copy GGUF files into the library; the system shares their blocks where it can.
#[derive(Args)]
pub(crate) struct Import {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Use them where they are, without a copy.
    #[arg(long)]
    in_place: bool,
}

/// Find the models of LM Studio, Ollama, Jan and Hugging Face's cache and use them where they are, and
/// look which files are gone.
#[derive(Args)]
pub(crate) struct Scan {
    /// Look into this folder only, and from now on at each scan.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let library = super::open()?;
        let interrupt = Interrupt::for_answer();
        for file in &self.files {
            let shown = file.display();
            ensure!(!file.is_dir(), "{shown} is a folder: `lilims scan {shown}` takes its models");
            let entry = match self.in_place {
                true => library.add_in_place(file, &Owner::Folder.to_string()),
                false => interrupt.during(|cancel| library.import_cancellable(file, cancel)),
            };
            if matches!(entry, Err(Error::Stopped)) {
                // Nothing of the copy is left.
                return Ok(interrupt.exit_code());
            }
            let entry = entry.with_context(|| format!("cannot import {shown}"))?;
            output::show(&format!("{}\n", &entry.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Scan {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let library = super::open()?;
        let scanned = match &self.folder {
            Some(folder) => library.scan_folder(folder)?,
            None => library.scan(&Environment::of_process())?,
        };
        output::show(&text(&scanned))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(scanned: &Scanned) -> String {
    let mut rows = Vec::new();
    let mut row = |label: &str, what: String| rows.push(vec![label.to_owned(), what]);
    scanned.added.iter().for_each(|name| row("new", name.clone()));
    scanned.gone.iter().for_each(|name| row("gone", name.clone()));
    for (path, why) in &scanned.skipped {
        row("left out", format!("{}: {why}", path.display()));
    }
    let added = match scanned.added.len() {
        1 => "1 model is new".to_owned(),
        n => format!("{n} models are new"),
    };
    let known = match scanned.known {
        1 => "1 was known".to_owned(),
        n => format!("{n} were known"),
    };
    format!("{}{added}, {known}.\n", output::table(&rows))
}
