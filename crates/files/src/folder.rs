//! Reads files of an untrusted folder, such as a checkpoint, without leaving it through `..` or
//! links.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use crate::{Error, read};

/// A folder whose files are read by untrusted names; nothing outside of it is read.
///
/// Symbolic links may point anywhere inside. The one exception is Hugging Face's cache: a folder
/// `models--…/snapshots/…` consists of links into `models--…/blobs`, and these are followed.
#[derive(Clone, Debug)]
pub struct ConfinedFolder {
    root: PathBuf,
    /// The blob folder that the links of a snapshot point to, if this is a snapshot.
    blobs: Option<PathBuf>,
}

impl ConfinedFolder {
    /// Opens the folder at `path`, following links.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder does not exist.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let root = path.canonicalize().map_err(Error::io(path))?;
        if !root.is_dir() {
            return Err(Error::io(path)(std::io::ErrorKind::NotADirectory.into()));
        }
        let blobs = blobs_of(&root);
        Ok(Self { root, blobs })
    }

    /// The folder's canonical path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The canonical path of the file `name`.
    ///
    /// # Errors
    /// [`Error::Outside`] for absolute paths, paths with `..`, and links that point outside;
    /// [`Error::DanglingLink`]; [`Error::Io`] when the file does not exist.
    pub fn resolve(&self, name: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let name = name.as_ref();
        let outside = || Error::Outside { path: name.to_owned(), root: self.root.clone() };
        let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.as_os_str().is_empty() || !name.components().all(is_plain) {
            return Err(outside());
        }
        let path = self.root.join(name);
        let resolved = path.canonicalize().map_err(|error| {
            let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            if is_link && error.kind() == std::io::ErrorKind::NotFound {
                return Error::DanglingLink { path: path.clone() };
            }
            Error::io(&path)(error)
        })?;
        let is_blob = self.blobs.is_some() && resolved.parent() == self.blobs.as_deref();
        if resolved.starts_with(&self.root) || is_blob { Ok(resolved) } else { Err(outside()) }
    }

    /// Opens the regular file `name`.
    ///
    /// # Errors
    /// The errors of [`ConfinedFolder::resolve`] and [`open`](crate::open).
    pub fn open(&self, name: impl AsRef<Path>) -> Result<File, Error> {
        read::open(&self.resolve(name)?)
    }

    /// Reads the regular file `name` of at most `limit_bytes`.
    ///
    /// # Errors
    /// The errors of [`ConfinedFolder::resolve`] and [`read`](crate::read()).
    pub fn read(&self, name: impl AsRef<Path>, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        read::read(&self.resolve(name)?, limit_bytes)
    }

    /// Reads the regular file `name` of at most `limit_bytes` as text.
    ///
    /// # Errors
    /// The errors of [`ConfinedFolder::resolve`] and [`read_to_string`](crate::read_to_string).
    pub fn read_to_string(
        &self,
        name: impl AsRef<Path>,
        limit_bytes: u64,
    ) -> Result<String, Error> {
        read::read_to_string(&self.resolve(name)?, limit_bytes)
    }

    /// Reads the regular file `name` of at most `limit_bytes`; `None` if it does not exist.
    ///
    /// # Errors
    /// As for [`ConfinedFolder::read`].
    pub fn read_if_exists(
        &self,
        name: impl AsRef<Path>,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.read(name, limit_bytes) {
            Err(error) if error.is_not_found() => Ok(None),
            result => result.map(Some),
        }
    }

    /// The names of everything directly in the folder, sorted.
    ///
    /// # Errors
    /// [`Error::Io`], also when there are more than `max_names`.
    pub fn names(&self, max_names: usize) -> Result<Vec<OsString>, Error> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(Error::io(&self.root))? {
            if names.len() >= max_names {
                let too_many = format!("more than {max_names} files in the folder");
                return Err(Error::io(&self.root)(std::io::Error::other(too_many)));
            }
            names.push(entry.map_err(Error::io(&self.root))?.file_name());
        }
        names.sort();
        Ok(names)
    }
}

/// The `blobs` folder beside `models--…/snapshots/…`.
fn blobs_of(root: &Path) -> Option<PathBuf> {
    let snapshots = root.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let repository = snapshots.parent()?;
    let is_cache = repository.file_name()?.to_str()?.starts_with("models--");
    let blobs = repository.join("blobs");
    // If the blob folder itself is a link, the user made it, so it is trusted as well.
    (is_cache && blobs.is_dir()).then(|| blobs.canonicalize().ok()).flatten()
}
