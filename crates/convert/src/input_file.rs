//! Opens and reads the files of a checkpoint: only regular files of bounded size inside its folder.
//!
//! A checkpoint is untrusted: a symbolic link in it may point to a private file of this machine,
//! whose content would end up in the result.

use std::fs::File;
use std::path::{Path, PathBuf};

use lilims_files::ConfinedFolder;
use serde_json::Value as Json;

use crate::Error;

/// The largest vocabulary or index of shards that is read; the largest known ones take 35 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Returns the path of the folder's file `name`, links not resolved; `None` where it has none.
///
/// # Errors
///
/// [`Error::Io`], also for links that lead out of the folder.
pub(crate) fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let resolved = ConfinedFolder::new(folder).and_then(|folder| folder.resolve(name));
    match resolved {
        // Manifests give this name, not the target of a link into a cache.
        Ok(_) => Ok(Some(folder.join(name))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(from_files(error)),
    }
}

/// Reads the folder's file `name`; `None` where it has none.
///
/// # Errors
///
/// [`Error::Io`], also for links that lead out of the folder, for anything but a regular file and
/// for files that are too large.
pub(crate) fn read_optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let root = ConfinedFolder::new(folder).map_err(from_files)?;
    root.read_if_exists(name, MAX_BYTES).map_err(from_files)
}

/// Reads a JSON file that the folder must have.
///
/// # Errors
///
/// [`Error::MissingFile`], and as for [`optional_json`].
pub(crate) fn read_json(folder: &Path, name: &str) -> Result<Json, Error> {
    optional_json(folder, name)?
        .ok_or_else(|| Error::MissingFile { folder: folder.to_owned(), what: name.to_owned() })
}

/// Reads a JSON file; `None` where the folder has none of that name.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Damaged`].
pub(crate) fn optional_json(folder: &Path, name: &str) -> Result<Option<Json>, Error> {
    let Some(bytes) = read_optional(folder, name)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::damaged(&folder.join(name), format!("not JSON: {error}")))
}

/// Reads a file that [`find`] has found.
///
/// # Errors
///
/// As for [`read_optional`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    lilims_files::read(path, MAX_BYTES).map_err(from_files)
}

/// Opens a regular file.
///
/// # Errors
///
/// [`Error::Io`], also for anything but a regular file.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    lilims_files::open(path).map_err(from_files)
}

/// Converts an error of `lilims_files` into this crate's.
pub(crate) fn from_files(error: lilims_files::Error) -> Error {
    Error::Io { path: error.path().to_owned(), source: error.into() }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a14_links_out_of_a_checkpoint_are_rejected() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("checkpoint");
        std::fs::create_dir(&folder).unwrap();
        let secret = outer.path().join("secret");
        std::fs::write(&secret, "{}").unwrap();
        for name in ["config.json", "tokenizer.model", "model.safetensors", "README.md"] {
            symlink(&secret, folder.join(name)).unwrap();
            let error = read_optional(&folder, name).unwrap_err();
            assert!(matches!(&error, Error::Io { path, .. } if path.ends_with(name)), "{error}");
            assert!(find(&folder, name).is_err(), "{name}");
        }
        assert!(read_json(&folder, "config.json").is_err());
    }

    #[test]
    fn a6_pipes_devices_and_huge_files_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("config.json")).status();
        assert!(made.unwrap().success());
        symlink("/dev/zero", at("tokenizer.json")).unwrap();
        std::fs::File::create(at("generation_config.json")).unwrap().set_len(1 << 40).unwrap();
        for name in ["config.json", "tokenizer.json", "generation_config.json"] {
            assert!(optional_json(folder.path(), name).is_err(), "{name}");
        }
        assert!(optional_json(folder.path(), "absent.json").unwrap().is_none());
    }
}
