//! `lilims convert`: from a checkpoint, or a GGUF file, to a GGUF file of another type.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use lilims_core::Error;
use lilims_core::conversions::{ConvertedFile, FileConversion, Manifest, Mix, Options, Override};
use lilims_ipc::{ConversionStage, Share, TensorProgress};
use lilims_terminal::{Progress, interrupt, output};

use crate::messages;

#[derive(Args)]
pub(crate) struct Convert {
    /// The folder of a checkpoint, a GGUF file, or a model that `lilims list` shows.
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE.gguf")]
    out: PathBuf,
    /// The type, or mix of types, such as Q4_K_M, Q8_0 or F16.
    #[arg(long = "type", value_name = "TYPE", value_parser = str::parse::<Mix>)]
    mix: Mix,
    /// The type of tensors whose names match. Can be given several times; the first that matches counts.
    #[arg(long, value_name = "REGEX=TYPE", value_parser = str::parse::<Override>)]
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
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let mut options = Options {
            overrides: self.tensor_type,
            version: self.model_version,
            origin: self.origin,
            revision: self.revision,
            license: self.license,
            replace_existing: self.force,
            ..Options::new(self.mix)
        };
        options.threads = threads.unwrap_or(options.threads);
        let conversion = FileConversion {
            source: self.source.clone(),
            out: self.out.clone(),
            options,
            calibration: self.calibrate,
            evaluation: self.evaluate,
        };
        let mut progress = Progress::default();
        let result = interrupt::during(|cancel| {
            conversion.run(cancel, &mut |stage| show(&mut progress, &stage), &messages::print_note)
        });
        progress.clear();
        let ConvertedFile { manifest, is_unmeasured } = match result {
            Err(error) if error.is_cancelled() => {
                output::note("Stopped; nothing was left behind.");
                return Ok(());
            }
            Err(error @ Error::Convert(_)) => {
                let context = format!("cannot convert {}", self.source.display());
                return Err(anyhow::Error::new(error).context(context));
            }
            result => result?,
        };
        if self.json {
            output::show_json_text(&manifest.to_json())?;
        } else {
            output::show(&report(&self.out, &manifest))?;
        }
        if is_unmeasured {
            output::note(
                "Stopped while measuring: the model is whole, its manifest has no figures.",
            );
        }
        Ok(())
    }
}

fn report(out: &Path, manifest: &Manifest) -> String {
    let Manifest { result, tensors, conversion, evaluation, .. } = manifest;
    let size = output::disk_size(result.size_bytes);
    let before: u64 = manifest.source.files.iter().map(|file| file.size_bytes).sum();
    let mut report = format!(
        "{}: {}, {size} ({} before), {} tensors\n",
        out.display(),
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

/// Shows the progress of a conversion.
fn show(progress: &mut Progress, stage: &ConversionStage) {
    let of_tensors = |what, it: &TensorProgress| {
        let name = if it.name.is_empty() { String::new() } else { format!("  {}", it.name) };
        (what, it.written_bytes * 100 / it.total_bytes.max(1), name)
    };
    let of_share = |what, it: &Share| {
        let percent = u64::from(it.done) * 100 / u64::from(it.total.max(1));
        (what, percent, format!("  {} of {}", it.done, it.total))
    };
    let (what, percent, detail) = match stage {
        ConversionStage::Starting => return,
        ConversionStage::Preparing(progress) => of_tensors("preparing", progress),
        ConversionStage::Calibrating(share) => of_share("calibrating", share),
        ConversionStage::Converting(progress) => of_tensors("converting", progress),
        ConversionStage::Measuring(share) => of_share("measuring", share),
    };
    progress.show(what, Some(percent), &format!("{what} {percent:>3}%{detail}"));
}

fn semantic_version(text: &str) -> Result<String, String> {
    let version = semver::Version::parse(text);
    version.map(|it| it.to_string()).map_err(|error| format!("{error}: write it as 1.2.3"))
}
