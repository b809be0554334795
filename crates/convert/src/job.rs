//! Runs a conversion with optional calibration before it, which measures column importance on the
//! source, and optional evaluation after it, which measures how far the result is from the source.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{LoadOptions, Model};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::calibrate::{CONTEXT, calibrate, context};
use crate::file_hash::hex;
use crate::input_file::from_files;
use crate::manifest::{Calibration, Evaluation};
use crate::output::{PREFIX, folder_of};
use crate::{Error, Manifest, Mix, Options, Progress, convert};

/// The largest text for calibration or evaluation, in bytes.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A text to run a model on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its name in the manifest.
    pub name: String,
    /// The text itself.
    pub text: Cow<'static, str>,
}

impl Text {
    /// Reads the text in the file at `path`, without its last line break.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], also for a file that is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = lilims_files::read_to_string(path, MAX_TEXT_BYTES).map_err(from_files)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // As llama.cpp does, so that both measure the same tokens.
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        Ok(Self { name, text: text.into() })
    }

    /// The built-in text for calibration, which mixes many kinds of text.
    pub fn for_calibration() -> Self {
        let text = include_str!("../texts/calibration.txt");
        Self { name: "built-in calibration text".to_owned(), text: text.into() }
    }

    /// The built-in text for evaluation, which is not that for calibration.
    pub fn for_evaluation() -> Self {
        let text = include_str!("../texts/evaluation.txt");
        Self { name: "built-in evaluation text".to_owned(), text: text.into() }
    }
}

/// A conversion with optional calibration and evaluation.
#[derive(Clone, Debug)]
pub struct Job {
    /// The folder of a checkpoint, or a GGUF file.
    pub source: PathBuf,
    /// The file to write; its manifest is written beside it.
    pub out: PathBuf,
    /// How to convert.
    pub options: Options,
    /// The text to measure column importance on before converting.
    pub calibration: Option<Text>,
    /// The text to compare source and result on after converting.
    pub evaluation: Option<Text>,
}

/// The stage a job is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// A checkpoint is converted to a temporary file that the engine can run.
    Preparing(Progress<'a>),
    /// The source reads the calibration text.
    Calibrating {
        /// Tokens read so far.
        done: usize,
        /// All tokens of the text.
        total: usize,
    },
    /// Tensors are converted.
    Converting(Progress<'a>),
    /// Source and result read the evaluation text.
    Evaluating {
        /// Chunks that both have read.
        done: usize,
        /// All chunks of the text.
        total: usize,
    },
}

impl Job {
    /// Runs the job. Cancelling the evaluation keeps the converted model, with a manifest without
    /// figures.
    ///
    /// # Errors
    ///
    /// Those of [`convert`]; [`Error::Run`] if the source cannot be run; [`Error::EmptyText`];
    /// [`Error::Measure`] if the model was converted and could not be evaluated.
    pub fn run(
        &self,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(Stage<'_>),
    ) -> Result<Manifest, Error> {
        let runs_models = self.calibration.is_some() || self.evaluation.is_some();
        let runnable = runs_models.then(|| self.runnable(cancel, on_stage)).transpose()?;
        let mut options = Cow::Borrowed(&self.options);
        if let (Some(text), Some(runnable)) = (&self.calibration, &runnable) {
            let model = self.load(&runnable.path)?;
            let importance = calibrate(&model, &text.text, cancel, &mut |done, total| {
                on_stage(Stage::Calibrating { done, total });
            })?;
            let options = options.to_mut();
            options.importance = importance;
            options.calibration = Some(Calibration {
                text: text.name.clone(),
                sha256: hex(Sha256::digest(text.text.as_bytes())),
            });
        }
        let mut on_progress = |progress: Progress<'_>| on_stage(Stage::Converting(progress));
        let mut manifest = convert(&self.source, &self.out, &options, cancel, &mut on_progress)?;
        if let (Some(text), Some(runnable)) = (&self.evaluation, &runnable) {
            match self.evaluate(runnable, text, cancel, on_stage) {
                Ok(evaluation) => {
                    manifest.evaluation = Some(evaluation);
                    manifest.write(&self.out)?;
                }
                Err(Error::Measure(lilims_bench::Error::Cancelled)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(manifest)
    }

    /// Returns the source as a file that the engine can run, converting a checkpoint to F32.
    fn runnable(
        &self,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(Stage<'_>),
    ) -> Result<Runnable, Error> {
        if !self.source.is_dir() {
            return Ok(Runnable { path: self.source.clone(), _folder: None });
        }
        let parent = folder_of(&self.out);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let folder = folder.map_err(Error::io(parent))?;
        let path = folder.path().join("source.gguf");
        // F32 represents the values of every checkpoint exactly.
        let options = Options { threads: self.options.threads, ..Options::new(Mix::F32) };
        let mut on_progress = |progress: Progress<'_>| on_stage(Stage::Preparing(progress));
        convert(&self.source, &path, &options, cancel, &mut on_progress)?;
        Ok(Runnable { path, _folder: Some(folder) })
    }

    fn load(&self, path: &Path) -> Result<Arc<Model>, Error> {
        let threads = Some(self.options.threads);
        Ok(Model::load(
            path,
            &LoadOptions { threads, context: Some(CONTEXT), ..LoadOptions::default() },
        )?)
    }

    fn evaluate(
        &self,
        source: &Runnable,
        text: &Text,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(Stage<'_>),
    ) -> Result<Evaluation, Error> {
        let (before, after) = (self.load(&source.path)?, self.load(&self.out)?);
        let ids = before.tokenizer().encode_prompt(&text.text, false)?;
        let (context, mut n_chunks) = (context(&before), 0);
        on_stage(Stage::Evaluating { done: 0, total: ids.len() / context });
        let found = lilims_bench::compare(&before, &after, &ids, context, cancel, |_, total| {
            n_chunks += 1;
            on_stage(Stage::Evaluating { done: n_chunks, total });
        })?;
        Ok(Evaluation {
            text: text.name.clone(),
            tokens: found.base.tokens,
            perplexity_before: found.base.perplexity,
            perplexity_after: found.other.perplexity,
            mean_kl: found.mean_kl,
            p99_kl: found.p99_kl,
            same_top: found.same_top,
        })
    }
}

/// A model file that the engine can run, and its temporary folder if it was made for this job.
struct Runnable {
    path: PathBuf,
    _folder: Option<TempDir>,
}
