//! `lilims fit`: whether a model fits into the memory, why, and how fast it will be.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use lilims_bench::roofline;
use lilims_engine::estimate::{self, Verdict};
use lilims_engine::{LoadOptions, MemoryBudget};
use lilims_gguf::File;
use lilims_hub::{Client, Library};
use serde::Serialize;

use super::target::{Wanted, choose};
use super::{find, header, patiently, runtime, tell_of_token};
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
    available_from: &'a str,
    parameters: u64,
    context: usize,
    kv_type: &'static str,
    parts: Vec<Part<'a>>,
    suggestion: Option<String>,
    expected_tokens_per_second: f64,
    /// How many runs on this machine the estimate was corrected by.
    corrected_by_runs: usize,
}

#[derive(Serialize)]
struct Part<'a> {
    label: &'static str,
    bytes: u64,
    how: &'a str,
}

/// Whether a model fits, and what that was learnt from.
pub(super) struct Judged {
    fit: estimate::Fit,
    corrected_by_runs: usize,
}

impl Fit {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let library = super::open()?;
        let peaks = library.peaks()?;
        let options = LoadOptions {
            context: self.context,
            kv_type: self.kv_type.of_engine(),
            threads,
            ..LoadOptions::default()
        };
        let (name, file) = self.header(library)?;
        let judged = Judged::new(&file, &options, &name, peaks)
            .with_context(|| format!("Lilims cannot run {name}"))?;
        let speed = roof::quick_read_bytes_per_second(judged.fit.estimate.n_workers());
        let speed = roof::expected_tokens_per_second(
            &file,
            0,
            options.kv_type,
            speed,
            roof::DEFAULT_EFFICIENCY,
        )?;
        if self.json {
            output::show_json(&judged.report(&name, speed))?;
        } else {
            output::show(&judged.text(&name, speed))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The model's name and header, from wherever it is.
    fn header(&self, library: Library) -> Result<(String, File)> {
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let path = Path::new(&self.model);
        if path.exists() {
            let absolute = std::path::absolute(path)?;
            let entry = library.entry_at(&absolute)?;
            return Ok((entry.map_or_else(|| self.model.clone(), |it| it.name), open(path)?));
        }
        if let Some(entry) = find::find(&library, &self.model)? {
            let file = open(&entry.path)?;
            return Ok((entry.name, file));
        }
        if !self.model.contains('/') && self.model.parse::<Wanted>().is_err() {
            // The names of the library are as likely meant as the hub's.
            find::entry(&library, &self.model)?;
        }
        self.header_on_hub(library)
    }

    fn header_on_hub(&self, library: Library) -> Result<(String, File)> {
        let Wanted { target, revision, .. } = self.model.parse()?;
        let client = Client::from_env(library.into())?;
        let revision = revision.as_deref().unwrap_or("main");
        runtime()?.block_on(async {
            let look = async || client.repository(&target.repository, revision).await;
            let repository = patiently(look).await?;
            tell_of_token(&client);
            let available = MemoryBudget::now(Default::default()).available_bytes;
            let file = &choose(&repository, &target.pick, available)?.file;
            let name = format!("{}/{file}", target.repository);
            let file =
                header::fetch(&client, &target.repository, &repository.revision, file).await?;
            Ok((name, file))
        })
    }
}

impl Judged {
    /// Judges the file with this header, which the library calls `name`, by what runs took before.
    pub(super) fn new(
        file: &File,
        options: &LoadOptions,
        name: &str,
        peaks: Vec<lilims_hub::Peak>,
    ) -> Result<Self> {
        let peaks: Vec<_> = peaks
            .into_iter()
            .map(|peak| estimate::MeasuredPeak {
                model: peak.model,
                family: peak.family,
                weights_bytes: peak.weights_bytes,
                estimated_bytes: peak.estimated_bytes,
                measured_bytes: peak.measured_bytes,
            })
            .collect();
        let budget = MemoryBudget::now(options.backend);
        let fit = estimate::Fit::new(file, options, &budget, name, &peaks)?;
        let of_model = peaks.iter().filter(|peak| peak.model == name).count();
        let of_family = peaks.iter().filter(|peak| peak.family == fit.estimate.family).count();
        let runs = if of_model > 0 { of_model } else { of_family };
        let corrected_by_runs = fit.estimate.correction.map_or(0, |_| runs);
        Ok(Self { fit, corrected_by_runs })
    }

    /// The verdict in a line.
    pub(super) fn line(&self) -> String {
        let (needed, available) =
            (output::size(self.fit.needed_bytes), output::size(self.fit.available_bytes));
        let line = match self.fit.verdict {
            Verdict::Fits => {
                format!("Fits: it takes {needed} of memory, {available} may be taken.")
            }
            Verdict::Tight => {
                format!("Tight: it takes {needed} of memory, only {available} may be taken.")
            }
            Verdict::TooLarge => {
                format!("Too large: it takes {needed} of memory, {available} may be taken.")
            }
        };
        match &self.fit.suggestion {
            Some(suggestion) => format!("{line} {suggestion}."),
            None => line,
        }
    }

    fn text(&self, name: &str, tokens_per_second: f64) -> String {
        let fit = &self.fit;
        let mut rows: Vec<_> = (fit.parts.iter())
            .map(|part| vec![part.label.to_owned(), output::size(part.bytes), part.formula.clone()])
            .collect();
        rows.push(vec![
            "Together".to_owned(),
            output::size(fit.needed_bytes),
            format!("of {}: {}", output::size(fit.available_bytes), fit.available_from),
        ]);
        let mut text = format!("{name}\n{}\n\n{}", self.line(), output::table(&rows));
        text.push_str(&format!("\nAbout {tokens_per_second:.0} tokens/s can be expected.\n"));
        match self.corrected_by_runs {
            0 => {}
            1 => text.push_str("Corrected by 1 run on this machine.\n"),
            n => text.push_str(&format!("Corrected by {n} runs on this machine.\n")),
        }
        text
    }

    fn report<'a>(&'a self, model: &'a str, expected_tokens_per_second: f64) -> Report<'a> {
        let fit = &self.fit;
        let part = |part: &'a estimate::Part| Part {
            label: part.label,
            bytes: part.bytes,
            how: &part.formula,
        };
        Report {
            model,
            verdict: match fit.verdict {
                Verdict::Fits => "fits",
                Verdict::Tight => "tight",
                Verdict::TooLarge => "too-large",
            },
            needed_bytes: fit.needed_bytes,
            available_bytes: fit.available_bytes,
            available_from: &fit.available_from,
            parameters: fit.estimate.n_parameters,
            context: fit.estimate.context,
            kv_type: fit.estimate.kv_type.name(),
            parts: fit.parts.iter().map(part).collect(),
            suggestion: fit.suggestion.map(|suggestion| suggestion.to_string()),
            expected_tokens_per_second,
            corrected_by_runs: self.corrected_by_runs,
        }
    }
}
