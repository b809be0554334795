//! `lilims convert`: from a checkpoint, or a GGUF file, to a GGUF file of another type.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lilims_convert::{Error, Job, Manifest, Mix, Options, Override, Progress, Stage, Text};

use crate::destination;
use crate::interrupt::Interrupt;
use crate::library::{self, InUse};
use crate::output::{self, Line};

/// Threads where `--threads` does not say how many.
const THREADS: usize = 2;
/// In a pipe a line comes each time this many more percent are done.
const STEP_PERCENT: usize = 10;

/// Convert a checkpoint of transformers (a folder with config.json, weights and a tokenizer), or a GGUF
/// file, to a GGUF file of TYPE, with a manifest (NAME.lilims.json) beside it. Until it is whole, nothing
/// stands at FILE; Ctrl-C leaves nothing.
#[derive(Args)]
pub(crate) struct Convert {
    /// The folder of a checkpoint, a GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE.gguf")]
    out: PathBuf,
    /// The type, or mix of types, such as Q4_K_M, Q8_0 or F16.
    #[arg(long = "type", value_name = "TYPE", value_parser = mix)]
    mix: Mix,
    /// The type of tensors whose names match. Can be given several times; the first that matches counts.
    #[arg(long, value_name = "REGEX=TYPE", value_parser = tensor_type)]
    tensor_type: Vec<Override>,
    /// Run the source on this text first and keep best what its activations meet: an importance matrix.
    #[arg(long, value_name = "TEXT")]
    calibrate: Option<PathBuf>,
    /// Measure before and after on this text [default: a built-in one], for the manifest.
    #[arg(long, value_name = "TEXT", num_args = 0..=1, require_equals = true)]
    evaluate: Option<Option<PathBuf>>,
    /// Replace FILE where there is one.
    #[arg(long)]
    force: bool,
    /// The model's semantic version, for the manifest.
    #[arg(long, value_name = "X.Y.Z", default_value = "1.0.0", value_parser = semantic_version)]
    model_version: String,
    /// Where the source was taken from, such as a repository, for the manifest.
    #[arg(long, value_name = "TEXT")]
    origin: Option<String>,
    /// The source's revision there, for the manifest.
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,
    /// The licence, as an SPDX identifier [default: what the source states].
    #[arg(long, value_name = "ID")]
    license: Option<String>,
    /// Print the manifest.
    #[arg(long)]
    json: bool,
}

impl Convert {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        destination::check(&self.out, &[])?;
        ensure!(
            self.force || !self.out.exists(),
            "{} is there already: --force replaces it",
            self.out.display()
        );
        let interrupt = Interrupt::for_answer();
        let (job, _in_use) = self.job(threads)?;
        let texts = [&self.calibrate, self.evaluate.as_ref().unwrap_or(&None)];
        let mut inputs = vec![job.source.as_path()];
        inputs.extend(texts.into_iter().flatten().map(PathBuf::as_path));
        for out in [&self.out, &Manifest::path_of(&self.out)] {
            destination::check(out, &inputs)?;
        }
        // What is written into the library's folder is not swept meanwhile.
        let library = lilims_hub::Library::open_existing().ok().flatten();
        let _guard = library.and_then(|library| library.guard_output(&self.out).ok().flatten());
        let mut told = Told::new();
        let result = interrupt.during(|cancel| job.run(cancel, &mut |stage| told.tell(stage)));
        told.line.clear();
        let manifest = match result {
            Err(Error::Cancelled) => {
                output::note("Stopped; nothing was left behind.");
                return Ok(interrupt.exit_code());
            }
            result => {
                result.with_context(|| format!("cannot convert {}", self.source.display()))?
            }
        };
        if self.json {
            output::show_json_text(&manifest.to_json())?;
        } else {
            output::show(&self.report(&manifest))?;
        }
        let was_cut = job.evaluation.is_some() && manifest.evaluation.is_none();
        if was_cut {
            output::note(
                "Stopped while measuring: the model is whole, its manifest has no figures.",
            );
        }
        Ok(if was_cut { interrupt.exit_code() } else { ExitCode::SUCCESS })
    }

    /// What to do, and what keeps a model of the library there meanwhile.
    fn job(&self, threads: Option<usize>) -> Result<(Job, Option<InUse>)> {
        let mut options = Options {
            overrides: self.tensor_type.clone(),
            threads: threads.unwrap_or(THREADS),
            version: self.model_version.clone(),
            origin: self.origin.clone(),
            revision: self.revision.clone(),
            license: self.license.clone(),
            replace_existing: self.force,
            ..Options::new(self.mix)
        };
        let source = if self.source.exists() {
            self.source.clone()
        } else {
            library::named(&self.source.to_string_lossy())?
        };
        let in_use = if source.is_dir() { None } else { InUse::of(&source)? };
        if let Some(entry) = in_use.as_ref().map(InUse::entry) {
            options.origin = options.origin.or_else(|| entry.repository.clone());
            options.revision = options.revision.or_else(|| entry.revision.clone());
            options.license = options.license.or_else(|| entry.licence.clone());
        }
        let read = |path: &Path| {
            Text::read(path).with_context(|| format!("cannot read the text {}", path.display()))
        };
        let job = Job {
            source,
            out: self.out.clone(),
            options,
            calibration: self.calibrate.as_deref().map(read).transpose()?,
            evaluation: match &self.evaluate {
                Some(Some(path)) => Some(read(path)?),
                Some(None) => Some(Text::for_evaluation()),
                None => None,
            },
        };
        Ok((job, in_use))
    }

    fn report(&self, manifest: &Manifest) -> String {
        let Manifest { result, tensors, conversion, evaluation, .. } = manifest;
        let size = output::disk_size(result.size_bytes);
        let before: u64 = manifest.source.files.iter().map(|file| file.size_bytes).sum();
        let mut report = format!(
            "{}: {}, {size} ({} before), {} tensors\n",
            self.out.display(),
            conversion.mix,
            output::disk_size(before),
            tensors.len(),
        );
        for note in &conversion.notes {
            report += &format!("note: {note}\n");
        }
        if let Some(found) = evaluation {
            let change = (found.perplexity_after / found.perplexity_before - 1.0) * 100.0;
            report += &format!(
                "perplexity {:.4} before, {:.4} after ({change:+.2}%), over {} tokens of {}\n\
                 KL divergence {:.6} nats in the mean, 99th percentile {:.6}; same likeliest token {:.2}%\n",
                found.perplexity_before,
                found.perplexity_after,
                found.tokens,
                found.text,
                found.mean_kl,
                found.p99_kl,
                found.same_top * 100.0,
            );
        }
        report
    }
}

/// What was told of a job.
struct Told {
    line: Line,
    is_terminal: bool,
    /// In a pipe: the stage and how much of it.
    last: Option<(&'static str, usize)>,
}

impl Told {
    fn new() -> Self {
        Self { line: Line::default(), is_terminal: output::stderr_is_terminal(), last: None }
    }

    fn tell(&mut self, stage: Stage<'_>) {
        let of_tensors = |what, Progress { written_bytes, total_bytes, name, .. }| {
            let percent = (written_bytes * 100 / u64::max(total_bytes, 1)) as usize;
            (what, percent, if name.is_empty() { String::new() } else { format!("  {name}") })
        };
        let of_count = |what, done: usize, total: usize| {
            (what, done * 100 / total.max(1), format!("  {done} of {total}"))
        };
        let (what, percent, detail) = match stage {
            Stage::Preparing(progress) => of_tensors("preparing", progress),
            Stage::Calibrating { done, total } => of_count("calibrating", done, total),
            Stage::Converting(progress) => of_tensors("converting", progress),
            Stage::Evaluating { done, total } => of_count("measuring", done, total),
        };
        let text = format!("{what} {percent:>3}%{detail}");
        if self.is_terminal {
            self.line.rewrite(&text);
            return;
        }
        let step = (what, percent / STEP_PERCENT);
        if self.last != Some(step) {
            self.last = Some(step);
            output::note(&text);
        }
    }
}

fn mix(text: &str) -> Result<Mix, Error> {
    text.parse()
}

fn tensor_type(text: &str) -> Result<Override, Error> {
    text.parse()
}

fn semantic_version(text: &str) -> Result<String> {
    match semver::Version::parse(text) {
        Ok(version) => Ok(version.to_string()),
        Err(error) => bail!("{error}: write it as 1.2.3"),
    }
}
