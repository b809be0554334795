//! `lilims eval`: how well models predict a text, and how far models or their tensors are apart.

use std::iter;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lilims_core::measure::{self, Comparison, EvaluationText, Figures, SideBySide, TensorError};
use lilims_terminal::{interrupt, output};
use serde::Serialize;

use crate::options::{self, ModelOptions, RunOptions};

#[derive(Subcommand)]
pub(crate) enum Eval {
    /// Measure the perplexity of a text by llama.cpp's protocol.
    Perplexity(Perplexity),
    /// Measure how far the distributions of quantised models are from their original's.
    Kl(Kl),
    /// Measure the error of each tensor of a quantised model.
    Tensors(Tensors),
    /// Set two models side by side: size, perplexity, bits per byte.
    Compare(Compare),
}

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

#[derive(Args)]
pub(crate) struct Kl {
    /// The original: a GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The quantised models, which are all read beside one run of the original.
    #[arg(value_name = "QUANTISED", required = true)]
    quantised: Vec<PathBuf>,
    #[command(flatten)]
    text: TextOptions,
    #[command(flatten)]
    run: RunOptions,
    /// Print one JSON object, or a list of them for several models.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Tensors {
    /// The original: a GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// The quantised model.
    #[arg(value_name = "QUANTISED")]
    quantised: PathBuf,
    /// Print a JSON list.
    #[arg(long)]
    json: bool,
}

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

/// A text, and how it is cut.
#[derive(Args)]
struct TextOptions {
    /// The file that holds the text, in UTF-8.
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens of a chunk; the second half of each is scored.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = options::some_tokens)]
    context: usize,
    /// Read at most this many chunks.
    #[arg(long, value_name = "N", value_parser = options::count)]
    chunks: Option<usize>,
}

impl TextOptions {
    /// The text; as with llama.cpp without a last line break.
    fn read(&self) -> Result<EvaluationText> {
        let mut text = lilims_files::read_to_string(&self.text, options::MAX_TEXT_BYTES)?;
        text.truncate(text.strip_suffix('\n').unwrap_or(&text).len());
        Ok(EvaluationText { text, context: self.context, max_chunks: self.chunks })
    }
}

impl Eval {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        match self {
            Self::Perplexity(command) => command.run(threads),
            Self::Kl(command) => command.run(threads),
            Self::Tensors(command) => command.run(),
            Self::Compare(command) => command.run(threads),
        }
    }
}

impl Perplexity {
    fn run(self, threads: Option<usize>) -> Result<()> {
        let text = self.text.read()?;
        let model = self.model.load(threads, Some(text.context))?;
        let found = text.perplexity(&model, note_perplexity)?;
        if self.json {
            output::show_json(&found)?;
        } else {
            let (value, error) = (found.perplexity, found.standard_error);
            output::show(&format!("perplexity {value:.4} ± {error:.4}\n"))?;
        }
        Ok(())
    }
}

impl Kl {
    fn run(self, threads: Option<usize>) -> Result<()> {
        let text = self.text.read()?;
        let load = |path: &PathBuf| self.run.load(Some(path), threads, Some(text.context));
        let base = load(&self.base)?;
        let quantised = self.quantised.iter().map(load).collect::<Result<Vec<_>>>()?;
        let mut chunks = vec![Vec::new(); quantised.len()];
        let found = interrupt::during(|cancel| {
            text.divergences(&base, &quantised, cancel, |so_far, n_chunks| {
                for (chunks, so_far) in chunks.iter_mut().zip(so_far) {
                    chunks.push(so_far.other.last_chunk);
                }
                note_divergences(so_far, n_chunks);
            })
        })?;
        let models = self.quantised.iter().zip(found).zip(chunks);
        let divergences: Vec<Divergence> = models
            .map(|((file, comparison), perplexity_of_chunks)| Divergence {
                model: file.display().to_string(),
                comparison,
                perplexity_of_chunks,
            })
            .collect();
        match &divergences[..] {
            [only] => output::show_result(self.json, only, || divergence(&only.comparison)),
            several => output::show_result(self.json, &several, || {
                several.iter().map(Divergence::titled).collect::<Vec<_>>().join("\n")
            }),
        }
    }
}

/// How far one quantised model is from the original.
#[derive(Serialize)]
struct Divergence {
    /// The model as it was named.
    model: String,
    #[serde(flatten)]
    comparison: Comparison,
    /// The quantised model's perplexity of each chunk alone, for paired statistics.
    perplexity_of_chunks: Vec<f64>,
}

impl Divergence {
    /// The figures below the model's name.
    fn titled(&self) -> String {
        format!("{}\n{}", output::field(&self.model), divergence(&self.comparison))
    }
}

impl Tensors {
    fn run(self) -> Result<()> {
        let path = |named: &PathBuf| options::model_path(Some(named));
        let found = measure::tensor_errors(&path(&self.base)?, &path(&self.quantised)?)?;
        output::show_result(self.json, &found, || tensor_table(&found))
    }
}

impl Compare {
    fn run(self, threads: Option<usize>) -> Result<()> {
        let text = self.text.read()?;
        let load = |path| self.run.load(Some(path), threads, Some(text.context));
        let (a, b) = (load(&self.a)?, load(&self.b)?);
        let found = interrupt::during(|cancel| {
            text.compare(&a, &b, cancel, note_perplexity, note_divergence)
        })?;
        output::show_result(self.json, &found, || side_by_side(&found))
    }
}

fn note_perplexity(so_far: &measure::Perplexity) {
    output::note(&format!("[{}] {:.4}", so_far.chunks, so_far.perplexity));
}

/// Notes the mean divergence of each model.
fn note_divergences(so_far: &[Comparison], n_chunks: usize) {
    let chunks = so_far.first().map_or(0, |first| first.base.chunks);
    let means: Vec<String> = so_far.iter().map(|it| format!("{:.6}", it.mean_kl)).collect();
    output::note(&format!("[{chunks}/{n_chunks}] {}", means.join(" ")));
}

fn note_divergence(so_far: &Comparison, n_chunks: usize) {
    output::note(&format!("[{}/{n_chunks}] {:.6}", so_far.base.chunks, so_far.mean_kl));
}

/// The figures of a comparison, a line each.
fn divergence(found: &Comparison) -> String {
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

/// The errors of all tensors, the largest relative ones first.
fn tensor_table(errors: &[TensorError]) -> String {
    let mut sorted: Vec<&TensorError> = errors.iter().collect();
    sorted.sort_by(|a, b| b.relative().total_cmp(&a.relative()));
    let heading = ["TENSOR", "TYPE", "RMSE", "RELATIVE"].map(str::to_owned);
    let rows = sorted.into_iter().map(|it| {
        let relative = format!("{:.3}%", it.relative() * 100.0);
        [it.name.clone(), it.tensor_type.clone(), format!("{:.3e}", it.rmse), relative]
    });
    output::table(iter::once(heading).chain(rows))
}

fn side_by_side(SideBySide { a, b, comparison }: &SideBySide) -> String {
    let row =
        |what: &str, of: &dyn Fn(&Figures) -> String| format!("{what:<16}{:<36}{}\n", of(a), of(b));
    let perplexity = |it: &Figures| {
        format!("{:.4} ± {:.4}", it.perplexity.perplexity, it.perplexity.standard_error)
    };
    let table = [
        row("", &|it| output::field(&it.file)),
        row("size", &|it| output::disk_size(it.size_bytes)),
        row("type", &|it| it.quantisation.clone()),
        row("perplexity", &perplexity),
        row("bits per byte", &|it| format!("{:.4}", it.bits_per_byte)),
    ]
    .concat();
    match comparison {
        Some(comparison) => format!("{table}\nof B from A:\n{}", divergence(comparison)),
        None => format!(
            "{table}\nThe vocabularies differ: perplexities are per token and not comparable, bits per \
             byte are. There is no KL divergence.\n"
        ),
    }
}
