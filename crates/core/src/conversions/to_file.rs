//! Converts to a file of the user's choice, which need not be in the library.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lilims_convert::{Job, Manifest, Options, Text};
use lilims_hub::Library;
use lilims_ipc::{ConversionStage, LibraryNote};

use super::job;
use crate::destination::check_destination;
use crate::error::Error;
use crate::library::in_use::InUse;
use crate::library::model_path;

/// What to convert, and to which file.
#[derive(Clone, Debug)]
pub struct FileConversion {
    /// The folder of a checkpoint, a GGUF file, or the name of a model of the library.
    pub source: PathBuf,
    /// The file to write.
    pub out: PathBuf,
    /// How to convert. Origin, revision and licence are the library's where they are not given.
    pub options: Options,
    /// The text to measure column importance on.
    pub calibration: Option<PathBuf>,
    /// The text to compare source and result on; a built-in one without a path.
    pub evaluation: Option<Option<PathBuf>>,
}

/// A finished conversion.
#[derive(Debug)]
pub struct ConvertedFile {
    /// The manifest beside the file.
    pub manifest: Manifest,
    /// Whether measuring was cancelled; the model is complete.
    pub is_unmeasured: bool,
}

impl FileConversion {
    /// Checks that the file may be written.
    ///
    /// # Errors
    /// [`Error::Exists`], or those of [`check_destination`].
    pub fn check(&self) -> Result<(), Error> {
        check_destination(&self.out, &[])?;
        if !self.options.replace_existing && self.out.exists() {
            return Err(Error::Exists(self.out.clone()));
        }
        Ok(())
    }

    /// Converts. `on_note` gets what happened to the library, where the source is looked up in it.
    ///
    /// # Errors
    /// As for [`FileConversion::check`]; those of finding the source and the texts; [`Error::Convert`],
    /// also when it was cancelled. Then nothing is left of it.
    pub fn run(
        self,
        cancel: &AtomicBool,
        on_stage: &mut dyn FnMut(ConversionStage),
        on_note: &dyn Fn(&LibraryNote),
    ) -> Result<ConvertedFile, Error> {
        self.check()?;
        let source = model_path(Some(&self.source), on_note)?;
        let in_use = if source.is_dir() { None } else { InUse::new(&source)? };
        let mut options = self.options;
        if let Some(in_use) = &in_use {
            let entry = in_use.entry.clone();
            options.origin = options.origin.or(entry.repository);
            options.revision = options.revision.or(entry.revision);
            options.license = options.license.or(entry.licence);
        }
        let texts = self.calibration.iter().chain(self.evaluation.iter().flatten());
        let inputs: Vec<&Path> =
            [source.as_path()].into_iter().chain(texts.map(PathBuf::as_path)).collect();
        for out in [&self.out, &Manifest::path_of(&self.out)] {
            check_destination(out, &inputs)?;
        }
        let evaluation = match &self.evaluation {
            Some(None) => Some(Text::for_evaluation()),
            Some(Some(path)) => Some(read_text(path)?),
            None => None,
        };
        let calibration = self.calibration.as_deref().map(read_text).transpose()?;
        // What is written into the library's folder is not swept meanwhile.
        let library = Library::open_existing().ok().flatten();
        let _guard = library.and_then(|library| library.guard_output(&self.out).ok().flatten());
        let job = Job { source, out: self.out, options, calibration, evaluation };
        let manifest = job.run(cancel, &mut |stage| on_stage(job::stage(stage)))?;
        let is_unmeasured = job.evaluation.is_some() && manifest.evaluation.is_none();
        Ok(ConvertedFile { manifest, is_unmeasured })
    }
}

fn read_text(path: &Path) -> Result<Text, Error> {
    Text::read(path)
        .map_err(|source| Error::ReadText { path: path.to_owned(), source: source.into() })
}
