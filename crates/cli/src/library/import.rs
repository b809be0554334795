//! `lilims import` and `scan`: models that are on this device already.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lilims_core::Error;
use lilims_core::library::Scanned;
use lilims_terminal::{interrupt, output};

#[derive(Args)]
pub(crate) struct Import {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Use them where they are, without a copy.
    #[arg(long)]
    in_place: bool,
}

#[derive(Args)]
pub(crate) struct Scan {
    /// Look into this folder only, and from now on at each scan.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self) -> Result<()> {
        let library = super::open()?;
        for file in &self.files {
            match interrupt::during(|cancel| library.import(file, self.in_place, cancel)) {
                Ok(name) => output::show(&format!("{name}\n"))?,
                Err(error @ Error::IsFolder(_)) => return Err(error.into()),
                Err(error) => {
                    let context = format!("cannot import {}", file.display());
                    return Err(anyhow::Error::new(error).context(context));
                }
            }
        }
        Ok(())
    }
}

impl Scan {
    pub(crate) fn run(self) -> Result<()> {
        Ok(output::show(&text(&super::open()?.scan(self.folder.as_deref())?))?)
    }
}

fn text(scanned: &Scanned) -> String {
    let mut rows = Vec::new();
    rows.extend(scanned.added.iter().map(|name| ("new", name.clone())));
    rows.extend(scanned.gone.iter().map(|name| ("gone", name.clone())));
    let left_out = scanned.skipped.iter();
    rows.extend(left_out.map(|(path, why)| ("left out", format!("{}: {why}", path.display()))));
    let added = match scanned.added.len() {
        1 => "1 model is new".to_owned(),
        n => format!("{n} models are new"),
    };
    let known = match scanned.known {
        1 => "1 was known".to_owned(),
        n => format!("{n} were known"),
    };
    format!("{}{added}, {known}.\n", output::fields(rows))
}
