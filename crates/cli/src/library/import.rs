//! `lilims import` and `scan`: models that are on this device already.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_core::Error;
use lilims_core::library::Scanned;

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
        let (library, interrupt) = (super::open()?, Interrupt::for_answer());
        for file in &self.files {
            match interrupt.during(|cancel| library.import(file, self.in_place, cancel)) {
                Ok(name) => output::show(&format!("{name}\n"))?,
                // Nothing of the copy is left.
                Err(error) if error.is_cancelled() => return Ok(interrupt.exit_code()),
                Err(error @ Error::IsFolder { .. }) => return Err(error.into()),
                Err(error) => {
                    let context = format!("cannot import {}", file.display());
                    return Err(anyhow::Error::new(error).context(context));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Scan {
    pub(crate) fn run(self) -> Result<ExitCode> {
        output::show(&text(&super::open()?.scan(self.folder.as_deref())?))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(scanned: &Scanned) -> String {
    let mut rows = Vec::new();
    let mut row = |label: &str, what: String| rows.push([label.to_owned(), what]);
    scanned.added.iter().for_each(|name| row("new", name.clone()));
    scanned.gone.iter().for_each(|name| row("gone", name.clone()));
    for (path, why) in &scanned.left_out {
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
    format!("{}{added}, {known}.\n", output::table(rows))
}
