//! `lilims fit`: whether a model fits into the memory, why, and how fast it will be.

use anyhow::Result;
use clap::Args;
use lilims_core::LoadOptions;
use lilims_ipc::{self as ipc, FitPart, FitPartKind, Verdict};
use lilims_terminal::output;
use serde::Serialize;

use super::note_token_refusal;
use crate::messages;
use crate::options::{self, Kv};

#[derive(Args)]
pub(crate) struct Fit {
    /// A GGUF file, a model of the library, a curated model, or owner/name[:QUANT | /FILE] on the hub.
    #[arg(value_name = "MODEL")]
    model: String,
    /// Tokens that the model sees at once [default: the model's own, at most 8192].
    #[arg(long, value_name = "N", value_parser = options::some_tokens)]
    context: Option<usize>,
    /// How keys and values are cached.
    #[arg(long, value_enum, default_value_t)]
    kv_type: Kv,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    verdict: &'static str,
    needed_bytes: u64,
    available_bytes: u64,
    available_from: String,
    parameters: u64,
    context: u32,
    kv_type: &'static str,
    parts: Vec<Part>,
    suggestion: Option<String>,
    expected_tokens_per_second: Option<f32>,
    /// How many runs on this machine the estimate was corrected by.
    corrected_by_runs: u32,
}

#[derive(Serialize)]
struct Part {
    label: &'static str,
    bytes: u64,
    how: String,
}

impl Fit {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let library = super::open()?;
        let options = LoadOptions {
            context: self.context,
            kv_type: self.kv_type.into(),
            threads,
            ..LoadOptions::default()
        };
        let (name, fit) = match library.fit(&self.model, &options)? {
            Some(found) => found,
            None => {
                let (wanted, hub) = (self.model.parse()?, super::hub(&library)?);
                let file = hub.find(&wanted)?;
                note_token_refusal(&hub);
                (format!("{}/{}", file.repository, file.file), hub.fit(&file, &options)?)
            }
        };
        output::show_result(self.json, &report(&fit, &options, &name), || text(&fit, &name))
    }
}

/// The verdict in a line.
pub(super) fn summary(fit: &ipc::Fit) -> String {
    let (needed, available) = (output::size(fit.needed_bytes), output::size(fit.available_bytes));
    let line = match fit.verdict {
        Verdict::Fits => format!("Fits: it takes {needed} of memory, {available} may be taken."),
        Verdict::Tight => {
            format!("Tight: it takes {needed} of memory, only {available} may be taken.")
        }
        Verdict::TooLarge => {
            format!("Too large: it takes {needed} of memory, {available} may be taken.")
        }
    };
    match &fit.suggestion {
        Some(suggestion) => format!("{line} {}.", messages::suggestion(suggestion)),
        None => line,
    }
}

fn text(fit: &ipc::Fit, name: &str) -> String {
    let row = |part: &FitPart| {
        let (label, how) = messages::fit_part(part, fit.measured_ratio);
        [label.to_owned(), output::size(part.size_bytes), how]
    };
    let mut rows: Vec<_> = fit.parts.iter().map(row).collect();
    let (available, source) = (fit.available_bytes, messages::memory_source(fit.available_from));
    rows.push([
        "Together".to_owned(),
        output::size(fit.needed_bytes),
        format!("of {}: {source}", output::size(available)),
    ]);
    let mut text = format!("{name}\n{}\n\n{}", summary(fit), output::table(rows));
    if let Some(speed) = fit.tokens_per_second {
        text.push_str(&format!("\nAbout {speed:.0} tokens/s can be expected.\n"));
    }
    match fit.measured_runs {
        0 => {}
        1 => text.push_str("Corrected by 1 run on this machine.\n"),
        n => text.push_str(&format!("Corrected by {n} runs on this machine.\n")),
    }
    text
}

fn report<'a>(fit: &ipc::Fit, options: &LoadOptions, model: &'a str) -> Report<'a> {
    let part = |part: &FitPart| {
        let (label, how) = messages::fit_part(part, fit.measured_ratio);
        Part { label, bytes: part.size_bytes, how }
    };
    let parameters = fit.parts.iter().find_map(|part| match part.kind {
        FitPartKind::Weights { n_parameters, .. } => Some(n_parameters),
        _ => None,
    });
    Report {
        model,
        verdict: match fit.verdict {
            Verdict::Fits => "fits",
            Verdict::Tight => "tight",
            Verdict::TooLarge => "too-large",
        },
        needed_bytes: fit.needed_bytes,
        available_bytes: fit.available_bytes,
        available_from: messages::memory_source(fit.available_from),
        parameters: parameters.unwrap_or(0),
        context: fit.context_tokens,
        kv_type: options.kv_type.name(),
        parts: fit.parts.iter().map(part).collect(),
        suggestion: fit.suggestion.as_ref().map(messages::suggestion),
        expected_tokens_per_second: fit.tokens_per_second,
        corrected_by_runs: fit.measured_runs,
    }
}
