//! The files of a checkpoint: regular, bounded, and in its folder.
//!
//! A checkpoint is somebody else's folder: a link in it may lead to a file that was never meant to
//! leave this machine, and would end in the result.

use std::fs::File;
use std::path::{Path, PathBuf};

use lilims_files::ConfinedFolder;

use crate::Error;

/// The most bytes of a vocabulary or an index of shards; the largest that are known take 35 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Where the folder's file `name` is, by the name that it has there; `None` where it has none.
///
/// *Errors*: [`Error::Io`], also for links that lead out of the folder.
pub(crate) fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let resolved = ConfinedFolder::new(folder).and_then(|folder| folder.resolve(name));
    match resolved {
        // Manifests state this name, not the one that a link in a cache leads to.
        Ok(_) => Ok(Some(folder.join(name))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(from_files(error)),
    }
}

/// Reads the folder's file `name`; `None` where it has none.
///
/// *Errors*: [`Error::Io`], also for links that lead out of the folder, for what is no regular file
/// and for what is too large.
pub(crate) fn read_optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let root = ConfinedFolder::new(folder).map_err(from_files)?;
    root.read_if_exists(name, MAX_BYTES).map_err(from_files)
}

/// Reads a file of a checkpoint, whose place is known.
///
/// *Errors*: as for [`read_optional`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    lilims_files::read(path, MAX_BYTES).map_err(from_files)
}

/// Opens a file, which is regular.
///
/// *Errors*: [`Error::Io`].
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    lilims_files::open(path).map_err(from_files)
}

/// The same error with this crate's words.
pub(crate) fn from_files(error: lilims_files::Error) -> Error {
    Error::Io { path: error.path().to_owned(), source: error.into() }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::{optional_json, read_json};
    use crate::source::Checkpoint;
    use crate::tokenizer_files::Files;

    #[test]
    fn a14_what_links_out_of_a_checkpoint_is_refused() {
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
        assert!(Checkpoint::open(&folder).is_err());
        assert!(Files::read(&folder).is_ok_and(|files| files.generation.is_null()));
    }

    #[test]
    fn a6_pipes_devices_and_giants_in_a_checkpoint_are_refused() {
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
