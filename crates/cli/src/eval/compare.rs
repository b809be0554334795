//! `lilims eval compare`: two models side by side.

use std::f64::consts::LN_2;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_bench::{Comparison, Perplexity};
use serde::Serialize;

use super::{TextOptions, file_name, kl};
use crate::interrupt::Interrupt;
use crate::options::{Loaded, RunOptions};
use crate::output;

/// Compare two models on a text. Models with different vocabularies are compared by bits per byte, which
/// do not depend on how a text is cut into tokens; with one vocabulary also by KL divergence.
#[derive(Args)]
pub(crate) struct Compare {
    /// A GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other.
    #[arg(value_name = "B")]
    b: PathBuf,
    #[command(flatten)]
    text: TextOptions,
    #[command(flatten)]
    run: RunOptions,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    a: Figures,
    b: Figures,
    /// `None` where the vocabularies differ.
    comparison: Option<Comparison>,
}

/// One model's figures.
#[derive(Serialize)]
struct Figures {
    file: String,
    size_bytes: u64,
    quantisation: String,
    perplexity: Perplexity,
    bits_per_byte: f64,
}

impl Compare {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let text = self.text.read()?;
        let context = self.text.context;
        let interrupt = Interrupt::for_answer();
        let [a, b] =
            [&self.a, &self.b].map(|path| self.run.load(Some(path), threads, Some(context)));
        let (a, b) = (a?, b?);
        let [a_ids, b_ids] = [&a, &b].map(|loaded| self.text.ids(&loaded.model, &text));
        let (a_ids, b_ids) = (a_ids?, b_ids?);
        let have_one_vocabulary =
            a.model.spec().n_vocab == b.model.spec().n_vocab && a_ids == b_ids;
        let (a_found, b_found, comparison) = if have_one_vocabulary {
            let found = super::compare(&a, &b, &a_ids, context, interrupt)?;
            let Some(found) = found else { return Ok(interrupt.exit_code()) };
            (found.base, found.other, Some(found))
        } else {
            let perplexity = |loaded: &Loaded, ids: &[u32]| {
                lilims_bench::perplexity(&loaded.model, ids, context, |so_far| {
                    output::note(&format!("[{}] {:.4}", so_far.chunks, so_far.perplexity));
                })
            };
            (perplexity(&a, &a_ids)?, perplexity(&b, &b_ids)?, None)
        };
        let report = Report {
            a: figures(&a, a_found, bytes_per_token(&a, &a_ids)),
            b: figures(&b, b_found, bytes_per_token(&b, &b_ids)),
            comparison,
        };
        if self.json {
            output::show_json(&report)?;
        } else {
            output::show(&report.table())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Bytes of text for each of its tokens.
fn bytes_per_token(loaded: &Loaded, ids: &[u32]) -> f64 {
    loaded.model.tokenizer().decode(ids).len() as f64 / ids.len().max(1) as f64
}

fn figures(loaded: &Loaded, perplexity: Perplexity, bytes_per_token: f64) -> Figures {
    Figures {
        file: file_name(&loaded.path),
        size_bytes: loaded.model.size_bytes(),
        quantisation: loaded.model.quantisation().to_owned(),
        perplexity,
        bits_per_byte: perplexity.perplexity.ln() / LN_2 / bytes_per_token,
    }
}

impl Report {
    fn table(&self) -> String {
        let row = |what: &str, of: &dyn Fn(&Figures) -> String| {
            format!("{what:<16}{:<36}{}\n", of(&self.a), of(&self.b))
        };
        let mut table = row("", &|it| output::field(&it.file));
        table += &row("size", &|it| output::disk_size(it.size_bytes));
        table += &row("type", &|it| it.quantisation.clone());
        table += &row("perplexity", &|it| {
            format!("{:.4} ± {:.4}", it.perplexity.perplexity, it.perplexity.standard_error)
        });
        table += &row("bits per byte", &|it| format!("{:.4}", it.bits_per_byte));
        table.push('\n');
        table += &match &self.comparison {
            Some(comparison) => format!("of B from A:\n{}", kl::report(comparison)),
            None => {
                "The vocabularies differ: perplexities are per token and not comparable, bits per \
                     byte are. There is no KL divergence.\n"
                    .to_owned()
            }
        };
        table
    }
}
