//! `lilims eval perplexity`: how well a model predicts a text.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::options::{self, ModelOptions};
use crate::output;

/// Measure perplexity: chunks of the context's size, the second half of each scored. The value
/// after each chunk goes to standard error.
#[derive(Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    model: ModelOptions,
    /// The file that holds the text, in UTF-8.
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens of a chunk.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = options::count)]
    context: usize,
    /// Read at most this many chunks.
    #[arg(long, value_name = "N", value_parser = options::count)]
    chunks: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Perplexity {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let text = fs::read_to_string(&self.text)
            .with_context(|| format!("cannot read {}", self.text.display()))?;
        let loaded = self.model.load(threads, Some(self.context))?;
        let model = &loaded.model;
        // llama.cpp drops a last line break when it reads a file.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut ids = model.tokenizer().encode_prompt(text, false)?;
        if let Some(chunks) = self.chunks {
            ids.truncate(chunks.saturating_mul(self.context));
        }
        let result = lilims_bench::perplexity(model, &ids, self.context, |so_far| {
            output::note(&format!("[{}] {:.4}", so_far.chunks, so_far.perplexity));
        })?;
        if self.json {
            output::show_json(&result)?;
        } else {
            let (value, error) = (result.perplexity, result.standard_error);
            output::show(&format!("perplexity {value:.4} ± {error:.4}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
