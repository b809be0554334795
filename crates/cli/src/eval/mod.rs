//! `lilims eval`: how well models do on a text, and how far two of them are apart.

mod compare;
mod kl;
mod perplexity;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lilims_bench::Comparison;
use lilims_engine::Model;

use crate::interrupt::Interrupt;
use crate::options::{self, Loaded};
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Eval {
    /// Measure the perplexity of a text by llama.cpp's protocol.
    Perplexity(perplexity::Perplexity),
    /// Measure how far a quantised model's distributions are from its original's.
    Kl(kl::Kl),
    /// Set two models side by side: size, perplexity, bits per byte.
    Compare(compare::Compare),
}

impl Eval {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        match self {
            Self::Perplexity(command) => command.run(threads),
            Self::Kl(command) => command.run(threads),
            Self::Compare(command) => command.run(threads),
        }
    }
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
    fn read(&self) -> Result<String> {
        let mut text = std::fs::read_to_string(&self.text)
            .with_context(|| format!("cannot read {}", self.text.display()))?;
        text.truncate(text.strip_suffix('\n').unwrap_or(&text).len());
        Ok(text)
    }

    /// The text's tokens, as many as are wanted.
    fn ids(&self, model: &Model, text: &str) -> Result<Vec<u32>> {
        let mut ids = model.tokenizer().encode_prompt(text, false)?;
        if let Some(chunks) = self.chunks {
            ids.truncate(chunks.saturating_mul(self.context));
        }
        Ok(ids)
    }
}

/// Compares two models, telling the divergence so far after each chunk; `None` once Ctrl-C stops it.
fn compare(
    base: &Loaded,
    other: &Loaded,
    ids: &[u32],
    context: usize,
    interrupt: Interrupt,
) -> Result<Option<Comparison>> {
    let on_chunk = |so_far: &Comparison, n_chunks| {
        output::note(&format!("[{}/{n_chunks}] {:.6}", so_far.base.chunks, so_far.mean_kl));
    };
    let compared = interrupt.during(|cancel| {
        lilims_bench::compare(&base.model, &other.model, ids, context, cancel, on_chunk)
    });
    match compared {
        Err(lilims_bench::Error::Cancelled) => Ok(None),
        compared => Ok(Some(compared?)),
    }
}

/// What a file is called without its folder.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
