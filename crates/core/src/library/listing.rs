//! The models of the library one by one, for programs that name them: listing, removing, pinning,
//! verifying, importing.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_engine::LoadOptions;
use lilims_gguf::File;
use lilims_hub::{DownloadRow, DownloadState, Entry, Scanned, Verified};
use lilims_ipc::{Fit, Storage};
use lilims_models::scan::{Environment, Owner};
use serde::Serialize;

use super::wanted::Wanted;
use super::{LibraryHandle, fit, names, present};
use crate::error::Error;

/// A model on this device, or a download that has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The model; a download is called `owner/name/FILE` and has no path.
    #[serde(flatten)]
    pub model: Entry,
    /// Whether its file is not there.
    pub is_missing: bool,
    /// Whether it is a download that has not ended.
    pub is_unfinished: bool,
    /// Bytes of an unfinished download that are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_bytes: Option<u64>,
    /// Why the download does not run.
    #[serde(skip)]
    pub stopped: Option<Stopped>,
}

/// Why an unfinished download does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It is paused.
    Paused,
    /// It failed.
    Failed,
}

impl From<Entry> for Listed {
    fn from(model: Entry) -> Self {
        let is_missing = !model.path.is_file();
        Self { model, is_missing, is_unfinished: false, done_bytes: None, stopped: None }
    }
}

impl From<DownloadRow> for Listed {
    fn from(DownloadRow { source, state, progress, .. }: DownloadRow) -> Self {
        let entry = Entry {
            name: format!("{}/{}", source.repository, source.file),
            title: source.file.clone(),
            quantisation: lilims_models::quantisation_of(&source.file).unwrap_or_default(),
            repository: Some(source.repository),
            file: Some(source.file),
            revision: Some(source.revision),
            size_bytes: progress.total_bytes,
            ..Entry::default()
        };
        Self {
            is_unfinished: true,
            done_bytes: Some(progress.done_bytes),
            stopped: match state {
                DownloadState::Paused => Some(Stopped::Paused),
                DownloadState::Failed => Some(Stopped::Failed),
                _ => None,
            },
            ..entry.into()
        }
    }
}

impl LibraryHandle {
    /// The models, the last used first, and then the unfinished downloads.
    ///
    /// # Errors
    /// The library's.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let library = self.opened()?;
        let mut downloads = library.downloads()?;
        downloads.retain(|row| row.state != DownloadState::Done);
        let models = library.entries()?.into_iter().map(Listed::from);
        Ok(models.chain(downloads.into_iter().map(Listed::from)).collect())
    }

    /// The models with these names.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::Ambiguous`], or the library's.
    pub fn named(&self, names: &[String]) -> Result<Vec<Listed>, Error> {
        let library = self.opened()?;
        names.iter().map(|name| Ok(names::entry(library, name)?.into())).collect()
    }

    /// The bundled model, if it is there.
    ///
    /// # Errors
    /// The library's.
    pub fn bundled(&self) -> Result<Option<Listed>, Error> {
        let mut models = self.list()?.into_iter();
        Ok(models.find(|it| it.model.is_bundled() && !it.is_missing))
    }

    /// Removes models and unfinished downloads, and calls `on_removed` for each. Nothing is removed if
    /// one of the names is wrong.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::Ambiguous`], [`Error::BundledStays`], or the library's.
    pub fn remove(
        &self,
        names: &[String],
        mut on_removed: impl FnMut(&Listed),
    ) -> Result<(), Error> {
        let library = self.opened()?;
        let (mut models, mut downloads) = (Vec::new(), Vec::new());
        for name in names {
            let unfinished = names::unfinished(library, name)?;
            match names::find(library, name)? {
                Some(entry) if entry.is_bundled() => {
                    return Err(Error::BundledStays(entry.name));
                }
                Some(entry) => models.push(entry),
                None if unfinished.is_empty() => models.push(names::entry(library, name)?),
                None => downloads.extend(unfinished),
            }
        }
        for row in downloads {
            library.cancel(row.id)?;
            on_removed(&row.into());
        }
        for entry in models {
            library.remove(&entry.name)?;
            on_removed(&entry.into());
        }
        Ok(())
    }

    /// Pins models, so that they are never removed to make room, or unpins them.
    ///
    /// # Errors
    /// As for [`LibraryHandle::named`]. Then nothing is changed.
    pub fn pin(&self, names: &[String], is_pinned: bool) -> Result<(), Error> {
        for model in self.named(names)? {
            self.opened()?.pin(&model.model.name, is_pinned)?;
        }
        Ok(())
    }

    /// Hashes a model's file again; `None` where it is missing. `on_progress` gets the bytes that are done.
    ///
    /// # Errors
    /// The library's, also when it was cancelled.
    pub fn verify(
        &self,
        model: &Listed,
        cancel: &AtomicBool,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Verified>, Error> {
        if model.is_missing {
            return Ok(None);
        }
        Ok(Some(self.opened()?.verify(&model.model.name, cancel, on_progress)?))
    }

    /// Copies a file into the library, or adds it where it is. Returns its short name.
    ///
    /// # Errors
    /// [`Error::IsFolder`], or the library's, also when it was cancelled.
    pub fn import(
        &self,
        path: &Path,
        is_in_place: bool,
        cancel: &AtomicBool,
    ) -> Result<String, Error> {
        if path.is_dir() {
            return Err(Error::IsFolder(path.to_owned()));
        }
        let library = self.opened()?;
        let entry = match is_in_place {
            true => library.add_in_place(path, &Owner::Folder.to_string()),
            false => library.import_cancellable(path, cancel),
        };
        Ok(entry?.name)
    }

    /// Finds models in a folder, which is searched at each scan from then on; without a folder, in those
    /// of other programs.
    ///
    /// # Errors
    /// The library's.
    pub fn scan(&self, folder: Option<&Path>) -> Result<Scanned, Error> {
        let library = self.opened()?;
        Ok(match folder {
            Some(folder) => library.scan_folder(folder)?,
            None => library.scan(&Environment::of_process())?,
        })
    }

    /// Sets the quota; `None` is the default.
    ///
    /// # Errors
    /// The library's.
    pub fn set_quota(&self, quota_bytes: Option<u64>) -> Result<(), Error> {
        Ok(self.opened()?.set_quota(quota_bytes)?)
    }

    /// What models take on this device.
    ///
    /// # Errors
    /// The library's.
    pub fn storage(&self) -> Result<Storage, Error> {
        Ok(present::storage(self.opened()?.storage()?))
    }

    /// Whether the model that `text` names fits, with the name to show; `None` where it is not here and
    /// may be on the hub.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Run`], [`Error::UnknownModel`], [`Error::Ambiguous`], or the library's.
    pub fn fit(&self, text: &str, options: &LoadOptions) -> Result<Option<(String, Fit)>, Error> {
        let (library, path) = (self.opened()?, Path::new(text));
        let (name, path) = if path.exists() {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let entry = library.entry_at(&absolute)?;
            (entry.map_or_else(|| text.to_owned(), |entry| entry.name), absolute)
        } else if let Some(entry) = names::find(library, text)? {
            (entry.name, entry.path)
        } else if !text.contains('/') && text.parse::<Wanted>().is_err() {
            // Names of the library are as likely meant as the hub's.
            names::entry(library, text).map(|entry| (entry.name, entry.path))?
        } else {
            return Ok(None);
        };
        let file =
            File::open(&path).map_err(|source| Error::Read { path, source: source.into() })?;
        match fit::of_file(&file, &name, options, library, &fit::budget()) {
            Ok(fit) => Ok(Some((name, fit))),
            Err(source) => Err(Error::Run { name, source: source.into() }),
        }
    }
}
