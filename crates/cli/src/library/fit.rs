//! `lilims fit`: whether a model fits into the memory, why, and how fast it will be.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use lilims_bench::roofline;
use lilims_core::library::{fetch_header, fit};
use lilims_engine::{LoadOptions, MemoryBudget};
use lilims_gguf::File;
use lilims_hub::{Client, Library};
use lilims_ipc::{self as ipc, FitPart, FitPartKind, Verdict};
use serde::Serialize;

use super::target::{Wanted, choose};
use super::{find, patiently, runtime, tell_of_token};
use crate::messages::{self, Failure};
use crate::options::{self, Kv};
use crate::output;

/// Tell whether a model fits into the memory that is free now, from its header alone, and how fast it
/// will be. One that does not fit is no failure.
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
    expected_tokens_per_second: f64,
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
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let library = Arc::new(super::open()?);
        let options = LoadOptions {
            context: self.context,
            kv_type: self.kv_type.of_engine(),
            threads,
            ..LoadOptions::default()
        };
        let (name, file) = self.header(&library)?;
        let fit = judge(&library, &file, &options, &name)
            .map_err(Failure)
            .with_context(|| format!("Lilims cannot run {name}"))?;
        let workers = fit.parts.iter().find_map(|part| match part.kind {
            FitPartKind::Scratch { n_workers, .. } => Some(n_workers as usize),
            _ => None,
        });
        let speed = roofline::quick_read_bytes_per_second(workers.unwrap_or(1));
        let speed = roofline::expected_tokens_per_second(
            &file,
            0,
            options.kv_type,
            speed,
            roofline::DEFAULT_EFFICIENCY,
        )?;
        if self.json {
            output::show_json(&report(&fit, &options, &name, speed))?;
        } else {
            output::show(&text(&fit, &name, speed))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The model's name and header, from wherever it is.
    fn header(&self, library: &Arc<Library>) -> Result<(String, File)> {
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let path = Path::new(&self.model);
        if path.exists() {
            let absolute = std::path::absolute(path)?;
            let entry = library.entry_at(&absolute)?;
            return Ok((entry.map_or_else(|| self.model.clone(), |it| it.name), open(path)?));
        }
        if let Some(entry) = find::find(library, &self.model)? {
            let file = open(&entry.path)?;
            return Ok((entry.name, file));
        }
        if !self.model.contains('/') && self.model.parse::<Wanted>().is_err() {
            // The names of the library are as likely meant as the hub's.
            find::entry(library, &self.model)?;
        }
        self.header_on_hub(library)
    }

    fn header_on_hub(&self, library: &Arc<Library>) -> Result<(String, File)> {
        let Wanted { target, revision, .. } = self.model.parse()?;
        let client = Client::from_env(Arc::clone(library))?;
        let revision = revision.as_deref().unwrap_or("main");
        runtime()?.block_on(async {
            let look = async || client.repository(&target.repository, revision).await;
            let repository = patiently(look).await?;
            tell_of_token(&client);
            let available = MemoryBudget::now(Default::default()).available_bytes;
            let file = &choose(&repository, &target.pick, available)?.file;
            let name = format!("{}/{file}", target.repository);
            let file = fetch_header(&client, &target.repository, &repository.revision, file);
            Ok((name, file.await.map_err(Failure)?))
        })
    }
}

/// Whether the file with this header, which the library calls `name`, fits.
pub(super) fn judge(
    library: &Library,
    file: &File,
    options: &LoadOptions,
    name: &str,
) -> Result<ipc::Fit, ipc::Error> {
    let budget = MemoryBudget::now(options.backend);
    fit::of_file(file, name, options, library, &budget)
        .map_err(|error| lilims_core::problem::not_loaded(&error))
}

/// The verdict in a line.
pub(super) fn line(fit: &ipc::Fit) -> String {
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

fn text(fit: &ipc::Fit, name: &str, tokens_per_second: f64) -> String {
    let row = |part: &FitPart| {
        let (label, how) = messages::fit_part(part, fit.measured_ratio);
        vec![label.to_owned(), output::size(part.size_bytes), how]
    };
    let mut rows: Vec<_> = fit.parts.iter().map(row).collect();
    let (available, source) = (fit.available_bytes, messages::memory_source(fit.available_from));
    rows.push(vec![
        "Together".to_owned(),
        output::size(fit.needed_bytes),
        format!("of {}: {source}", output::size(available)),
    ]);
    let mut text = format!("{name}\n{}\n\n{}", line(fit), output::table(&rows));
    text.push_str(&format!("\nAbout {tokens_per_second:.0} tokens/s can be expected.\n"));
    match fit.measured_runs {
        0 => {}
        1 => text.push_str("Corrected by 1 run on this machine.\n"),
        n => text.push_str(&format!("Corrected by {n} runs on this machine.\n")),
    }
    text
}

fn report<'a>(
    fit: &ipc::Fit,
    options: &LoadOptions,
    model: &'a str,
    expected_tokens_per_second: f64,
) -> Report<'a> {
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
        expected_tokens_per_second,
        corrected_by_runs: fit.measured_runs,
    }
}
