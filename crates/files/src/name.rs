//! Free names, taken in one step, so that no two processes get the same one.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::Error;

/// After this many taken names something else is wrong.
const MAX_NUMBER: u32 = 100_000;

/// Creates a file at a free name, open for reading and writing.
///
/// # Errors
/// [`Error::Exists`] when anything has the name, a link that leads nowhere included; [`Error::Io`].
pub fn create_new(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    file.map_err(|error| taken_or_io(path, error))
}

/// Gives the file `temp` the name `wanted` in one step, on the same file system, when it is free.
///
/// # Errors
/// [`Error::Exists`], [`Error::Io`]; then `temp` is where it was.
pub fn publish_new(temp: &Path, wanted: &Path) -> Result<(), Error> {
    let temp = TempPath::try_from_path(temp).map_err(Error::io(temp))?;
    persist_new(temp, wanted).map_err(|(error, temp)| {
        // Dropping it would remove the file, which is the caller's.
        let _ = temp.keep();
        error
    })?;
    crate::sync_folder(parent_of(wanted));
    Ok(())
}

/// Gives the file `temp` the first free name of `wanted`, `wanted-2`, `wanted-3` and returns it.
///
/// # Errors
/// As for [`publish_new`], but for taken names.
pub fn publish_free(temp: &Path, wanted: &Path) -> Result<PathBuf, Error> {
    free_name(wanted, |name| publish_new(temp, name)).map(|(path, ())| path)
}

/// Creates a file at the first free name of `wanted`, `wanted-2`, `wanted-3` and returns both.
///
/// # Errors
/// [`Error::Io`].
pub fn create_free(wanted: &Path) -> Result<(PathBuf, File), Error> {
    free_name(wanted, create_new)
}

/// Tries to take `wanted`, then `wanted-2`, `wanted-3` until one is free. `take` takes the name in
/// one step and returns [`Error::Exists`] where it is taken.
///
/// # Errors
/// Any other error of `take`.
pub fn free_name<T>(
    wanted: &Path,
    mut take: impl FnMut(&Path) -> Result<T, Error>,
) -> Result<(PathBuf, T), Error> {
    for number in 1..MAX_NUMBER {
        let name = numbered(wanted, number);
        match take(&name) {
            Err(error) if error.is_exists() => {}
            result => return result.map(|value| (name, value)),
        }
    }
    Err(Error::Exists { path: wanted.to_owned() })
}

/// The name number `number`, from 1: `a.gguf`, `a-2.gguf`, `a-3.gguf`.
pub fn numbered(wanted: &Path, number: u32) -> PathBuf {
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

/// The folder that a file is in.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Renames without replacing.
pub(crate) fn persist_new(temp: TempPath, wanted: &Path) -> Result<(), (Error, TempPath)> {
    // `renameat2(RENAME_NOREPLACE)`, its like, or `link`.
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
        return Err((taken_or_io(wanted, error), temp));
    }
    // Some file systems, such as exFAT, have neither: an empty file takes the name, and is replaced.
    if let Err(error) = create_new(wanted) {
        return Err((error, temp));
    }
    temp.persist(wanted).map_err(|error| {
        let _ = std::fs::remove_file(wanted);
        (Error::io(wanted)(error.error), error.path)
    })
}

fn taken_or_io(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Error::Exists { path: path.to_owned() };
    }
    Error::io(path)(error)
}
