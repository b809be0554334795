//! `lilims inspect`: what a GGUF file holds, and whether and why not Lilims can run it.

mod metadata;
mod report;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use lilims_gguf::File;

use crate::output;
use report::Report;

/// Show metadata, tensors, sizes, family, context, quantisation and chat template of a file, and
/// whether Lilims can run it. A file that it cannot run is no failure; a damaged one is.
#[derive(Args)]
pub(crate) struct Inspect {
    /// The GGUF file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let file = File::open(&self.file)
            .map(Arc::new)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let verdict = verdict::judge(&self.file, &file, threads);
        let report = Report::new(&self.file, &file, verdict);
        if self.json {
            output::show_json(&report)?;
        } else {
            output::show(&report.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
