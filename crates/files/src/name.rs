//! Creating and renaming files without replacing existing ones, atomically, so that no two
//! processes get the same name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::Error;
use crate::parent::{parent_of, sync_folder};

/// After this many names in use, something else must be wrong.
const MAX_NUMBER: u32 = 100_000;

/// Creates a file that must not exist yet, open for reading and writing.
///
/// # Errors
/// [`Error::Exists`] when the name is in use, even by a dangling link; [`Error::Io`].
pub fn create_new(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    file.map_err(|error| exists_or_io(path, error))
}

/// Atomically renames the file `temp` to `wanted` on the same file system, without replacing a
/// file.
///
/// # Errors
/// [`Error::Exists`], [`Error::Io`]; `temp` then keeps its name.
pub fn rename_no_replace(temp: &Path, wanted: &Path) -> Result<(), Error> {
    let temp = TempPath::try_from_path(temp).map_err(Error::io(temp))?;
    persist_new(temp, wanted).map_err(|(error, temp)| {
        // Dropping the `TempPath` would delete the caller's file.
        let _ = temp.keep();
        error
    })?;
    sync_folder(parent_of(wanted));
    Ok(())
}

/// Renames the file `temp` to the first free name of `wanted`, `wanted-2`, `wanted-3`, … and
/// returns that name.
///
/// # Errors
/// As for [`rename_no_replace`], except that names in use are skipped.
pub fn rename_to_free_name(temp: &Path, wanted: &Path) -> Result<PathBuf, Error> {
    with_free_name(wanted, |name| rename_no_replace(temp, name)).map(|(path, ())| path)
}

/// Creates a file with the first free name of `wanted`, `wanted-2`, `wanted-3`, … and returns both.
///
/// # Errors
/// [`Error::Io`].
pub fn create_at_free_name(wanted: &Path) -> Result<(PathBuf, File), Error> {
    with_free_name(wanted, create_new)
}

/// Calls `claim` with `wanted`, `wanted-2`, `wanted-3`, … until a name is free. `claim` must claim
/// the name atomically and return [`Error::Exists`] if it is in use.
///
/// # Errors
/// Any other error of `claim`.
pub fn with_free_name<T>(
    wanted: &Path,
    mut claim: impl FnMut(&Path) -> Result<T, Error>,
) -> Result<(PathBuf, T), Error> {
    for number in 1..MAX_NUMBER {
        let name = numbered_name(wanted, number);
        match claim(&name) {
            Err(error) if error.is_exists() => {}
            result => return result.map(|value| (name, value)),
        }
    }
    Err(Error::Exists { path: wanted.to_owned() })
}

/// The variant `number` of a file name, counted from 1: `a.gguf`, `a-2.gguf`, `a-3.gguf`.
pub fn numbered_name(wanted: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return wanted.to_owned();
    }
    let mut name = wanted.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(format!("-{number}"));
    if let Some(extension) = wanted.extension() {
        name.push(".");
        name.push(extension);
    }
    wanted.with_file_name(name)
}

/// Renames without replacing.
pub(crate) fn persist_new(temp: TempPath, wanted: &Path) -> Result<(), (Error, TempPath)> {
    // Uses `renameat2(RENAME_NOREPLACE)` or its equivalent, otherwise `link`.
    let error = match temp.persist_noclobber(wanted) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let (error, temp) = (error.error, error.path);
    let is_unsupported = matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    );
    if !is_unsupported {
        return Err((exists_or_io(wanted, error), temp));
    }
    // Some file systems, such as exFAT, support neither: claim the name with an empty file, then
    // replace it.
    if let Err(error) = create_new(wanted) {
        return Err((error, temp));
    }
    temp.persist(wanted).map_err(|error| {
        let _ = std::fs::remove_file(wanted);
        (Error::io(wanted)(error.error), error.path)
    })
}

fn exists_or_io(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Error::Exists { path: path.to_owned() };
    }
    Error::io(path)(error)
}
