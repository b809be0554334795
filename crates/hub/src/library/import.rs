//! Models that come from this device: copied into our folder, or used where they are.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use lilims_models::scan::{self, Environment, Found, Owner};
use lilims_models::{Catalogue, short_name};
use rusqlite::TransactionBehavior;
use tempfile::NamedTempFile;

use super::describe::{Description, describe};
use super::{Entry, Library, folder, index, now_ms};
use crate::Error;

/// Whose the model is that ships with the app.
pub(crate) const BUNDLED: &str = "Lilims";

/// What a scan has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Short names of models that are new in the library.
    pub added: Vec<String>,
    /// How many were there already.
    pub known: usize,
    /// Short names of models whose files are gone.
    pub gone: Vec<String>,
    /// Files that are not in the library, and why.
    pub left_out: Vec<(PathBuf, String)>,
}

impl Library {
    /// Copies the model at `path` into our folder; the system shares the blocks where it can.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::NoSpace`], [`Error::Quota`],
    /// [`Error::Index`]. Then nothing has changed.
    pub fn import(&self, path: &Path) -> Result<Entry, Error> {
        let description = describe(path, &name_of(path))?;
        let size_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
        let plan = self.plan(size_bytes)?;
        self.check(&plan)?;
        // What has to leave is the user's to say, and an import does not ask.
        if !plan.removes.is_empty() {
            return Err(Error::Quota {
                needed: size_bytes,
                quota: self.storage()?.quota_bytes,
                kept: self.storage()?.used_bytes,
            });
        }
        let file_name = name_of(path);
        // A name of its own while it grows; dropped with what is here where something fails.
        let partial = NamedTempFile::new_in(self.folder.partials())
            .map_err(Error::io(self.folder.partials()))?
            .into_temp_path();
        folder::copy(path, &partial)?;
        let target = self.folder.of_import(&file_name);
        folder::publish(&partial, &target)?;
        self.add(&target, None, description, |_| {})
    }

    /// Uses the model at `path` where it is.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::Index`].
    pub fn add_in_place(&self, path: &Path, owner: &str) -> Result<Entry, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        match self.entry_at(&path)? {
            Some(entry) => Ok(entry),
            None => self.add(&path, Some(owner), describe(&path, &name_of(&path))?, |_| {}),
        }
    }

    /// Adds the model that ships with the app, wherever it lies now.
    ///
    /// # Errors
    /// As [`Library::add_in_place`].
    pub fn add_bundled(&self, path: &Path) -> Result<Entry, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        for entry in self.entries()? {
            let is_elsewhere = Path::new(&entry.path) != path;
            if entry.is_bundled() && is_elsewhere {
                self.remove(&entry.name)?;
            }
        }
        self.add_in_place(&path, BUNDLED)
    }

    /// Looks for models in the folders of other programs, in those that the user added, and in
    /// ours, and notes which files are gone.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn scan(&self, environment: &Environment) -> Result<Scanned, Error> {
        let mut places = scan::known_places(environment);
        places.extend(self.folders()?.into_iter().map(|folder| (Owner::Folder, folder)));
        let mut scanned = self.add_all(scan::scan_all(&places))?;
        // What a crash left in our folder between its rename and its entry.
        let ours = scan::scan(Owner::Folder, self.root());
        for found in ours.found {
            if self.entry_at(&found.path)?.is_none()
                && !self.reservation.is_of(&found.path)
                && let Ok(description) = describe(&found.path, &name_of(&found.path))
            {
                let entry = self.add(&found.path, None, description, |_| {})?;
                scanned.added.push(entry.name);
            }
        }
        for entry in self.entries()? {
            if !Path::new(&entry.path).exists() {
                scanned.gone.push(entry.name);
            }
        }
        Ok(scanned)
    }

    /// Adds the models of one folder, and the folder to those that scans look into.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no such folder; [`Error::Index`].
    pub fn scan_folder(&self, folder: &Path) -> Result<Scanned, Error> {
        let folder = fs::canonicalize(folder).map_err(Error::io(folder))?;
        self.add_folder(&folder)?;
        self.add_all(scan::scan(Owner::Folder, &folder))
    }

    fn add_all(&self, scan: scan::Scan) -> Result<Scanned, Error> {
        let mut scanned = Scanned { left_out: scan.left_out, ..Scanned::default() };
        for found in scan.found {
            if found.path.starts_with(self.root()) {
                continue;
            }
            if self.entry_at(&found.path)?.is_some() {
                scanned.known += 1;
                continue;
            }
            match describe(&found.path, &name_of(&found.path)) {
                Ok(description) => scanned.added.push(self.add_found(found, description)?.name),
                Err(error) => scanned.left_out.push((found.path, error.sentence())),
            }
        }
        Ok(scanned)
    }

    fn add_found(&self, found: Found, description: Description) -> Result<Entry, Error> {
        let owner = found.owner.to_string();
        self.add(&found.path, Some(&owner), description, |entry| {
            entry.title = found.title;
            entry.repository = found.repository;
            entry.revision = found.revision;
            entry.sha256 = found.sha256;
            entry.licence = found.licence.or(entry.licence.take());
        })
    }

    /// Writes down a model whose file is in its place.
    pub(super) fn add(
        &self,
        path: &Path,
        owner: Option<&str>,
        description: Description,
        more: impl FnOnce(&mut Entry),
    ) -> Result<Entry, Error> {
        let size_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
        let mut entry = self.new_entry(path, description, size_bytes)?;
        entry.owner = owner.map(str::to_owned);
        more(&mut entry);
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        index::put(&transaction, &mut entry)?;
        transaction.commit()?;
        Ok(entry)
    }

    /// An entry for a file that has none, with a short name that nothing has yet.
    pub(crate) fn new_entry(
        &self,
        path: &Path,
        description: Description,
        size_bytes: u64,
    ) -> Result<Entry, Error> {
        let names: Vec<String> = self.entries()?.into_iter().map(|entry| entry.name).collect();
        let is_taken = |name: &str| names.iter().any(|taken| taken == name);
        let file_name = name_of(path);
        let curated = Catalogue::curated().models.into_iter().find(|it| it.file == file_name);
        // Blobs of other programs have hashes for names; files often call themselves `model`.
        let stem = file_name.strip_suffix(".gguf").filter(|_| file_name != "model.gguf");
        let named = stem.map(str::to_owned).or_else(|| description.title.clone());
        let named = named.unwrap_or_else(|| "model".to_owned());
        Ok(Entry {
            name: short_name(&named, &is_taken),
            title: curated.as_ref().map_or(named, |it| it.name.clone()),
            path: path.to_string_lossy().into_owned(),
            size_bytes,
            licence: curated.map(|it| it.licence).or(description.licence),
            quantisation: description.quantisation,
            family: description.family,
            context_tokens: description.context_tokens,
            added_ms: now_ms(),
            ..Entry::default()
        })
    }
}

fn name_of(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
