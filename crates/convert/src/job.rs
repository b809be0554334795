//! A conversion with what may come before and after it: the importance of columns, measured on the
//! source, and how far the result is from the source.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{LoadOptions, Model};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::calibrate::{CONTEXT, calibrate, context};
use crate::input_file::from_files;
use crate::manifest::{Calibration, Evaluation, hex};
use crate::output::{PREFIX, folder};
use crate::{Error, Manifest, Mix, Options, Progress, convert};

/// The most bytes of a text to calibrate with or to measure on.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// A text to run a model on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the manifest calls it.
    pub name: String,
    /// The text itself.
    pub text: Cow<'static, str>,
}

impl Text {
    /// The text in the file at `path`, without a last line break.
    ///
    /// *Errors*: [`Error::Io`], also for what is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = lilims_files::read_to_string(path, MAX_TEXT_BYTES).map_err(from_files)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // llama.cpp drops it too.
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        Ok(Self { name, text: text.into() })
    }

    /// A text of many kinds to calibrate with, built in.
    pub fn for_calibration() -> Self {
        let text = include_str!("../texts/calibration.txt");
        Self { name: "built-in calibration text".to_owned(), text: text.into() }
    }

    /// Another text of many kinds to measure on, built in.
    pub fn for_evaluation() -> Self {
        let text = include_str!("../texts/evaluation.txt");
        Self { name: "built-in evaluation text".to_owned(), text: text.into() }
    }
}

/// What to convert, and what to do beside that.
#[derive(Clone, Debug)]
pub struct Job {
    /// The folder of a checkpoint, or a GGUF file.
    pub source: PathBuf,
    /// The file to write; its manifest goes beside it.
    pub out: PathBuf,
    /// How to convert.
    pub options: Options,
    /// A text on which the importance of columns is measured first.
    pub calibration: Option<Text>,
    /// A text on which source and result are compared at the end.
    pub evaluation: Option<Text>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// The checkpoint becomes a file that can be run, which is removed at the end.
    Preparing(Progress<'a>),
    /// The source reads the calibration text.
    Calibrating {
        /// Tokens that were read.
        done: usize,
        /// Tokens in all.
        total: usize,
    },
    /// Tensors are converted.
    Converting(Progress<'a>),
    /// Source and result read the evaluation text.
    Evaluating {
        /// Chunks that both have read.
        done: usize,
        /// Chunks in all.
        total: usize,
    },
}

impl Job {
    /// Does it. The model stands at its place once it is converted: cancelling the evaluation leaves it
    /// there, with a manifest that has no figures.
    ///
    /// *Errors*: those of [`convert`]; [`Error::Run`] where the source cannot be run;
    /// [`Error::Measure`] where the model was converted and could not be evaluated.
    pub fn run(
        &self,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(Stage<'_>),
    ) -> Result<Manifest, Error> {
        let runs = self.calibration.is_some() || self.evaluation.is_some();
        let runnable = runs.then(|| self.runnable(cancel, on_stage)).transpose()?;
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

    /// The source as a file that can be run.
    fn runnable(
        &self,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(Stage<'_>),
    ) -> Result<Runnable, Error> {
        if !self.source.is_dir() {
            return Ok(Runnable { path: self.source.clone(), _folder: None });
        }
        let beside = folder(&self.out);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(beside);
        let folder = folder.map_err(Error::io(beside))?;
        let path = folder.path().join("source.gguf");
        // The one type that holds what any checkpoint does.
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

/// A model file, and the folder that goes with it where it was made for this.
struct Runnable {
    path: PathBuf,
    _folder: Option<TempDir>,
}
