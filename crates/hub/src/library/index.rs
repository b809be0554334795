//! Reads and writes models in the database, where paths are relative to the library's folder. Whether a
//! model is ours is decided by where its file really is.

use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::import::FOLDER;
use super::{Entry, Library};
use crate::Error;

impl Library {
    /// All models, most recently used first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let models = self.store.models()?.into_iter();
        Ok(models.map(|model| resolved(&self.folder, model)).collect())
    }

    /// The model with this short name.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Database`].
    pub fn entry(&self, name: &str) -> Result<Entry, Error> {
        let missing = || Error::NoSuchModel { name: name.to_owned() };
        Ok(resolved(&self.folder, self.store.model(name)?.ok_or_else(missing)?))
    }

    /// The model whose file is at `path`, after following links.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn entry_at(&self, path: &Path) -> Result<Option<Entry>, Error> {
        if let Some(model) = self.store.model_at(&stored_path(&self.folder, path))? {
            return Ok(Some(resolved(&self.folder, model)));
        }
        let Ok(target) = std::fs::canonicalize(path) else { return Ok(None) };
        let is_it =
            |entry: &Entry| std::fs::canonicalize(&entry.path).is_ok_and(|path| path == target);
        Ok(self.entries()?.into_iter().find(is_it))
    }

    /// The model that was downloaded from `file` of `repository`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn entry_of(&self, repository: &str, file: &str) -> Result<Option<Entry>, Error> {
        let is_it = |entry: &Entry| {
            entry.repository.as_deref() == Some(repository) && entry.file.as_deref() == Some(file)
        };
        Ok(self.entries()?.into_iter().find(is_it))
    }
}

/// The path for the database: relative if it is in the library's folder, so that the folder may move.
pub(super) fn stored_path(folder: &Folder, path: &Path) -> PathBuf {
    folder.relative(path).unwrap_or_else(|| path.to_owned())
}

/// Resolves the path of a row, and corrects its owner.
pub(super) fn resolved(folder: &Folder, mut model: Entry) -> Entry {
    // Joining keeps an absolute path.
    model.path = folder.root().join(&model.path);
    if model.owner.is_none() && !folder.owns(&model.path) {
        // A link may have replaced one of our folders.
        model.owner = Some(FOLDER.to_owned());
    }
    model
}

/// Stores `entry` by `put`, which gets the stored form of its path and may change its name.
pub(super) fn put(
    folder: &Folder,
    entry: &mut Entry,
    put: impl FnOnce(&mut Entry) -> Result<(), lilims_store::Error>,
) -> Result<(), Error> {
    let path = entry.path.clone();
    entry.path = stored_path(folder, &path);
    let result = put(entry);
    entry.path = path;
    Ok(result?)
}
