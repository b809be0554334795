//! `lilims eval perplexity`: how well a model predicts a text.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::TextOptions;
use crate::options::ModelOptions;
use crate::output;

/// Measure perplexity: chunks of the context's size, the second half of each scored. The value
/// after each chunk goes to standard error.
#[derive(Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    text: TextOptions,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Perplexity {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let text = self.text.read()?;
        let context = self.text.context;
        let loaded = self.model.load(threads, Some(context))?;
        let model = &loaded.model;
        let ids = self.text.ids(model, &text)?;
        let result = lilims_bench::perplexity(model, &ids, context, |so_far| {
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
