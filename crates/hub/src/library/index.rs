//! Models as the library shows them: rows of the store, whose paths are made whole, and whose owner is
//! decided by where the file really lies.

use std::path::Path;

use super::folder::Folder;
use super::import::FOLDER;
use super::{Entry, Library};
use crate::Error;

impl Library {
    /// All models, the last used first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let models = self.store.models()?.into_iter();
        Ok(models.map(|model| resolved(&self.folder, model)).collect())
    }

    /// The model with this short name.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn entry(&self, name: &str) -> Result<Entry, Error> {
        let missing = || Error::NoSuchModel { name: name.to_owned() };
        Ok(resolved(&self.folder, self.store.model(name)?.ok_or_else(missing)?))
    }

    /// The model whose file is at `path`, or where links from there lead, if the library has it.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entry_at(&self, path: &Path) -> Result<Option<Entry>, Error> {
        if let Some(model) = self.store.model_at(&stored_path(&self.folder, path))? {
            return Ok(Some(resolved(&self.folder, model)));
        }
        let Ok(target) = std::fs::canonicalize(path) else { return Ok(None) };
        let is_it =
            |entry: &Entry| std::fs::canonicalize(&entry.path).is_ok_and(|path| path == target);
        Ok(self.entries()?.into_iter().find(is_it))
    }

    /// The model that came from `file` of `repository`, if it is here.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entry_of(&self, repository: &str, file: &str) -> Result<Option<Entry>, Error> {
        let is_it = |entry: &Entry| {
            entry.repository.as_deref() == Some(repository) && entry.file.as_deref() == Some(file)
        };
        Ok(self.entries()?.into_iter().find(is_it))
    }
}

/// The path as the store has it: relative to our folder where it lies there, so that the folder may
/// move.
pub(super) fn stored_path(folder: &Folder, path: &Path) -> std::path::PathBuf {
    folder.relative(path).unwrap_or_else(|| path.to_owned())
}

/// A row of the store as the library shows it.
pub(super) fn resolved(folder: &Folder, mut model: Entry) -> Entry {
    // An absolute path stays what it is.
    model.path = folder.root().join(&model.path);
    if model.owner.is_none() && !folder.owns(&model.path) {
        // Whatever the row says: a link may have taken the place of a folder of ours.
        model.owner = Some(FOLDER.to_owned());
    }
    model
}

/// Writes `entry` down by `put`, which gets it as the store has it and may change its name.
pub(super) fn put(
    folder: &Folder,
    entry: &mut Entry,
    put: impl FnOnce(&mut Entry) -> Result<(), lilims_store::Error>,
) -> Result<(), Error> {
    let path = entry.path.clone();
    entry.path = stored_path(folder, &path);
    let done = put(entry);
    entry.path = path;
    Ok(done?)
}
