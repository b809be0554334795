//! `lilims eval kl`: what a quantisation costs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_bench::Comparison;

use super::TextOptions;
use crate::interrupt::Interrupt;
use crate::options::RunOptions;
use crate::output;

/// Measure the Kullback–Leibler divergence of a quantised model from its original over a text: mean,
/// 99th percentile, how often both hold the same token for the likeliest. The mean after each chunk goes
/// to standard error.
#[derive(Args)]
pub(crate) struct Kl {
    /// The original: a GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The quantised model.
    #[arg(value_name = "QUANTISED")]
    quantised: PathBuf,
    #[command(flatten)]
    text: TextOptions,
    #[command(flatten)]
    run: RunOptions,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Kl {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let text = self.text.read()?;
        let context = self.text.context;
        let interrupt = Interrupt::for_answer();
        let base = self.run.load(Some(&self.base), threads, Some(context))?;
        let quantised = self.run.load(Some(&self.quantised), threads, Some(context))?;
        let ids = self.text.ids(&base.model, &text)?;
        let found = super::compare(&base, &quantised, &ids, context, interrupt)?;
        let Some(result) = found else { return Ok(interrupt.exit_code()) };
        if self.json {
            output::show_json(&result)?;
        } else {
            output::show(&report(&result))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The figures of a comparison, a line each.
pub(super) fn report(found: &Comparison) -> String {
    let Comparison { base, other, .. } = found;
    let error = found.log_ratio_standard_error * 100.0;
    format!(
        "mean KL divergence  {:.6} ± {:.6} nats\n\
         99th percentile     {:.6}\n\
         maximum             {:.6}\n\
         same likeliest      {:.2}%\n\
         perplexity          {:.4} to {:.4}, {:+.2}% ± {error:.2}%\n",
        found.mean_kl,
        found.mean_kl_standard_error,
        found.p99_kl,
        found.max_kl,
        found.same_top * 100.0,
        base.perplexity,
        other.perplexity,
        found.perplexity_change() * 100.0,
    )
}
