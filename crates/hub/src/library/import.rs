//! Adds models that are on this device: copied into our folder, or used in place.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lilims_models::scan::{self, Environment, FoundModel, Owner, SkipReason};
use lilims_models::{Catalogue, short_name};

use super::describe::{Description, describe};
use super::{Entry, Library, folder, index, now_ms};
use crate::Error;

/// Owner of the model that ships with the app.
pub(crate) const BUNDLED: &str = lilims_store::BUNDLED_OWNER;
/// Owner of files in folders that the user added, and of files that links in our folder lead to.
pub(crate) const FOLDER: &str = "Folder";
/// Owner of the file that the user named when starting the app.
pub(crate) const GIVEN: &str = "Given";

/// The largest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// The result of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Short names of new models.
    pub added: Vec<String>,
    /// The number of known models.
    pub known: usize,
    /// Short names of models whose files are missing.
    pub gone: Vec<String>,
    /// Files that were skipped, and why.
    pub skipped: Vec<(PathBuf, SkipReason)>,
}

impl Library {
    /// Copies the model at `path` into our folder. The system shares the blocks if it can.
    ///
    /// # Errors
    /// As for [`Library::import_cancellable`].
    pub fn import(&self, path: &Path) -> Result<Entry, Error> {
        self.import_cancellable(path, &AtomicBool::new(false))
    }

    /// Like [`Library::import`]; stops when `cancel` is set.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Unsuitable`], [`Error::Io`], [`Error::NoSpace`],
    /// [`Error::Quota`], [`Error::Database`], [`Error::Outside`]; [`Error::Stopped`] if `cancel` is set.
    /// Nothing has changed then.
    pub fn import_cancellable(&self, path: &Path, cancel: &AtomicBool) -> Result<Entry, Error> {
        let description = describe(path, &name_of(path))?;
        let size_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
        let plan = self.plan(size_bytes)?;
        self.check(&plan)?;
        // Removing models needs the user's consent, and an import does not ask for it.
        if !plan.removes.is_empty() {
            return Err(Error::Quota {
                needed: size_bytes,
                quota: self.storage()?.quota_bytes,
                kept: self.storage()?.used_bytes,
            });
        }
        let copy = self.begin_copy()?;
        folder::copy(path, copy.path(), cancel)?;
        let wanted = self.folder.imported().join(copy_name(path));
        let (target, ()) = lilims_files::with_free_name(&wanted, |name| {
            match self.folder.publish_new(copy.path(), name) {
                Ok(true) => Ok(()),
                Ok(false) => Err(lilims_files::Error::Exists { path: name.to_owned() }),
                Err(error) => Err(lilims_files::Error::Io {
                    path: name.to_owned(),
                    source: std::io::Error::other(error),
                }),
            }
        })
        .map_err(publish_error)?;
        self.add(&target, None, description, |_| {})
    }

    /// Adds the model at `path`, which stays where it is.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::Database`].
    pub fn add_in_place(&self, path: &Path, owner: &str) -> Result<Entry, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        match self.entry_at(&path)? {
            Some(entry) => Ok(entry),
            None => self.add(&path, Some(owner), describe(&path, &name_of(&path))?, |_| {}),
        }
    }

    /// Adds the model that ships with the app, at its current path.
    ///
    /// # Errors
    /// As for [`Library::add_in_place`].
    pub fn add_bundled(&self, path: &Path) -> Result<Entry, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        let here = self.entry_at(&path)?;
        for entry in self.entries()?.into_iter().filter(Entry::is_bundled) {
            if entry.path == path || here.as_ref().is_some_and(|here| here.name == entry.name) {
                continue;
            }
            if here.is_none() && entry.path.file_name() == path.file_name() {
                // The app was moved, as by each update on iOS.
                return self.set_path(&entry, &path);
            }
            self.remove(&entry.name)?;
        }
        match here {
            // Even in our folder, it is not ours to remove.
            Some(entry) if entry.owner.is_none() => {
                self.store.set_model_owner(&entry.name, BUNDLED)?;
                self.entry(&entry.name)
            }
            Some(entry) => Ok(entry),
            None => self.add_in_place(&path, BUNDLED),
        }
    }

    /// Adds the file that the user named when starting the app.
    ///
    /// # Errors
    /// As for [`Library::add_in_place`].
    pub fn add_given(&self, path: &Path) -> Result<Entry, Error> {
        self.add_in_place(path, GIVEN)
    }

    /// Stores the new path of a model.
    fn set_path(&self, entry: &Entry, path: &Path) -> Result<Entry, Error> {
        let path = index::stored_path(&self.folder, path);
        self.store.set_model_path(&entry.name, &path)?;
        self.entry(&entry.name)
    }

    /// Searches for models in the folders of other programs, in those that the user added, and in ours.
    /// Reports missing files.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn scan(&self, environment: &Environment) -> Result<Scanned, Error> {
        let mut locations = scan::known_locations(environment);
        locations.extend(self.folders()?.into_iter().map(|folder| (Owner::Folder, folder)));
        let mut scanned = self.add_all(scan::scan_all(&locations))?;
        scanned.added.extend(self.scan_own_folder()?);
        for entry in self.entries()? {
            if !entry.path.exists() {
                scanned.gone.push(entry.name);
            }
        }
        Ok(scanned)
    }

    /// Adds the models in our folder that have no row, as after a crash between renaming and adding.
    /// Returns their short names.
    pub(super) fn scan_own_folder(&self) -> Result<Vec<String>, Error> {
        let mut added = Vec::new();
        for found in scan::scan(Owner::Folder, self.root()).found {
            if self.entry_at(&found.path)?.is_some() || self.reservation.is_of(&found.path) {
                continue;
            }
            let Ok(description) = describe(&found.path, &name_of(&found.path)) else { continue };
            // A link may lead to another program's file.
            let owner = (!self.folder.owns(&found.path)).then(|| found.owner.to_string());
            let relative = self.folder.relative(&found.path);
            let (origin, converted) = match &owner {
                None => (relative.as_deref().and_then(repository_of), manifest(&found.path)),
                Some(_) => (None, None),
            };
            let entry = self.add(&found.path, owner.as_deref(), description, |entry| {
                if let Some((repository, file)) = origin {
                    (entry.repository, entry.file) = (Some(repository), Some(file));
                }
                if let Some(converted) = converted.filter(|it| it.size_bytes == entry.size_bytes) {
                    entry.repository = converted.repository;
                    entry.revision = converted.revision;
                    entry.licence = converted.licence.or(entry.licence.take());
                    entry.sha256 = Some(converted.sha256);
                }
            })?;
            added.push(entry.name);
        }
        Ok(added)
    }

    /// Adds the models of a folder, and adds the folder to later scans.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such folder; [`Error::Database`].
    pub fn scan_folder(&self, folder: &Path) -> Result<Scanned, Error> {
        let folder = fs::canonicalize(folder).map_err(Error::io(folder))?;
        self.add_folder(&folder)?;
        self.add_all(scan::scan(Owner::Folder, &folder))
    }

    fn add_all(&self, scan: scan::Scan) -> Result<Scanned, Error> {
        let mut scanned = Scanned { skipped: scan.skipped, ..Scanned::default() };
        for found in scan.found {
            if self.folder.owns(&found.path) {
                continue;
            }
            if self.entry_at(&found.path)?.is_some() {
                scanned.known += 1;
                continue;
            }
            if let Some(entry) = self.moved_entry(&found)? {
                self.set_path(&entry, &found.path)?;
                scanned.known += 1;
                continue;
            }
            match describe(&found.path, &name_of(&found.path)) {
                Ok(description) => match self.add_found(&found, description) {
                    Ok(entry) => scanned.added.push(entry.name),
                    // A path that this system cannot store.
                    Err(error @ Error::FileName { .. }) => {
                        let reason = SkipReason::Unusable(error.with_cause());
                        scanned.skipped.push((found.path, reason));
                    }
                    Err(error) => return Err(error),
                },
                Err(Error::Unsuitable { path, why }) => {
                    scanned.skipped.push((path, SkipReason::Unsuitable(why)));
                }
                Err(error) => {
                    let reason = SkipReason::Unusable(error.with_cause());
                    scanned.skipped.push((found.path, reason));
                }
            }
        }
        Ok(scanned)
    }

    /// The entry of a missing file that was probably moved to `found`: the same name, size and program.
    fn moved_entry(&self, found: &FoundModel) -> Result<Option<Entry>, Error> {
        let owner = found.owner.to_string();
        let is_it = |entry: &Entry| {
            entry.owner.as_deref() == Some(&*owner)
                && entry.size_bytes == found.size_bytes
                && entry.path.file_name() == found.path.file_name()
                && entry.title == found.title
                && !entry.path.exists()
        };
        Ok(self.entries()?.into_iter().find(is_it))
    }

    fn add_found(&self, found: &FoundModel, description: Description) -> Result<Entry, Error> {
        let owner = found.owner.to_string();
        self.add(&found.path, Some(&owner), description, |entry| {
            entry.title.clone_from(&found.title);
            entry.repository.clone_from(&found.repository);
            entry.revision.clone_from(&found.revision);
            entry.sha256.clone_from(&found.sha256);
            entry.licence = found.licence.clone().or(entry.licence.take());
        })
    }

    /// Adds the model at `path`. `customise` may change the entry before it is stored.
    pub(super) fn add(
        &self,
        path: &Path,
        owner: Option<&str>,
        description: Description,
        customise: impl FnOnce(&mut Entry),
    ) -> Result<Entry, Error> {
        let size_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
        let mut entry = self.new_entry(path, description, size_bytes)?;
        entry.owner = owner.map(str::to_owned);
        customise(&mut entry);
        index::put(&self.folder, &mut entry, |model| self.store.put_model(model))?;
        Ok(entry)
    }

    /// Creates an entry with an unused short name.
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
        // Blobs of other programs are named by hashes, and many files are named `model`.
        let stem = file_name.strip_suffix(".gguf").filter(|_| file_name != "model.gguf");
        let named = stem.map(str::to_owned).or_else(|| description.title.clone());
        let named = named.unwrap_or_else(|| "model".to_owned());
        Ok(Entry {
            name: short_name(&named, &is_taken),
            title: curated.as_ref().map_or(named, |it| it.name.clone()),
            path: path.to_owned(),
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

/// The name of a copy of `path`: visible to scans, and without control characters.
fn copy_name(path: &Path) -> String {
    let name = name_of(path);
    let plain: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let plain = plain.trim_start_matches('.');
    match plain.to_ascii_lowercase().ends_with(".gguf") {
        true => plain.to_owned(),
        false => format!("{plain}.gguf"),
    }
}

/// Converts an error of renaming a copy, whose cause may be an error of this crate.
fn publish_error(error: lilims_files::Error) -> Error {
    let path = error.path().to_owned();
    let source = std::io::Error::from(error);
    match source.downcast::<Error>() {
        Ok(ours) => ours,
        Err(source) => Error::io(path)(source),
    }
}

/// The repository and its file that a path in our folder stands for.
fn repository_of(relative: &Path) -> Option<(String, String)> {
    let mut parts = relative.iter().map(|part| part.to_str());
    let (owner, name) = (parts.next()??, parts.next()??);
    let rest: Vec<_> = parts.collect::<Option<_>>()?;
    let is_repository = !rest.is_empty() && !matches!(owner, "imported" | "converted");
    is_repository.then(|| (format!("{owner}/{name}"), rest.join("/")))
}

/// The origin of a converted model, from its manifest.
struct Origin {
    repository: Option<String>,
    revision: Option<String>,
    licence: Option<String>,
    sha256: String,
    size_bytes: u64,
}

/// Reads the manifest beside the model at `path`, if there is a valid one.
fn manifest(path: &Path) -> Option<Origin> {
    let bytes = lilims_files::read(&folder::manifest_of(path), MAX_MANIFEST_BYTES).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let text = |pointer: &str| manifest.pointer(pointer)?.as_str().map(str::to_owned);
    let is_hash = |it: &String| it.len() == 64 && it.bytes().all(|b| b.is_ascii_hexdigit());
    Some(Origin {
        repository: text("/source/origin").filter(|it| folder::check_repository(it).is_ok()),
        revision: text("/source/revision"),
        licence: text("/license"),
        sha256: text("/result/sha256").filter(is_hash)?,
        size_bytes: manifest.pointer("/result/size_bytes")?.as_u64()?,
    })
}
