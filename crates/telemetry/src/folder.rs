//! The folder of telemetry: its identifier, and the gate through which all files in it are written.
//!
//! The file with the identifier is also the switch between processes: whoever finds it gone or changed
//! writes nothing more.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lilims_files::{AtomicFile, AtomicFileOptions};
use parking_lot::Mutex;
use sentry::types::{Uuid, random_uuid};

use crate::Error;

/// Prefix of temporary files.
pub(crate) const TEMPORARY: &str = ".new-";
/// How long a call waits for another thread that writes.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// A UUID as text has 36.
const MAX_ID_BYTES: u64 = 100;

/// The folder of telemetry while it is on.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    install_id: Uuid,
    /// Held while a file is written; false once this process switched off.
    is_open: Mutex<bool>,
}

impl Folder {
    /// Creates what is not there: the folder, the queue's folder, and a random identifier.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let queue = queue_of(path);
        fs::create_dir_all(&queue).map_err(Error::folder(&queue))?;
        let install_id = read_or_create_id(&id_of(path))?;
        Ok(Self { path: path.to_owned(), install_id, is_open: Mutex::new(true) })
    }

    pub(crate) fn install_id(&self) -> Uuid {
        self.install_id
    }

    /// Where envelopes are.
    pub(crate) fn queue(&self) -> PathBuf {
        queue_of(&self.path)
    }

    /// Where the pauses between requests are.
    pub(crate) fn pauses(&self) -> PathBuf {
        self.path.join("pauses.json")
    }

    /// Whether this process has not switched off.
    pub(crate) fn is_open(&self) -> bool {
        *self.is_open.lock()
    }

    /// Does `write` while no other thread writes and none can switch off.
    pub(crate) fn while_open<T>(
        &self,
        write: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        // In a panic the other thread may never go on.
        let is_open = self.is_open.try_lock_for(MAX_WAIT).ok_or(Error::Busy)?;
        if !*is_open || read_id(&id_of(&self.path))? != Some(self.install_id) {
            return Err(Error::Off);
        }
        write()
    }

    /// Lets no more writes in, and waits for the one that is going on.
    pub(crate) fn close(&self) {
        *self.is_open.lock() = false;
    }

    /// Deletes all files of telemetry in the folder at `path`, also those of earlier runs, and the folder
    /// if nothing else is in it.
    pub(crate) fn delete(path: &Path) -> Result<(), Error> {
        // The identifier first: other processes stop writing.
        let results = [
            ignore_missing(fs::remove_file(id_of(path))),
            ignore_missing(fs::remove_dir_all(queue_of(path))),
            remove_other_files(path),
        ];
        results.into_iter().collect::<Result<(), _>>().map_err(Error::folder(path))?;
        match ignore_missing(fs::remove_dir(path)) {
            // Somebody else's files.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            result => result.map_err(Error::folder(path)),
        }
    }
}

/// Writes a file that only this user may read, as a whole.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = private_file(path)?;
    file.file().write_all(bytes).map_err(Error::folder(path))?;
    Ok(file.commit()?)
}

fn private_file(path: &Path) -> Result<AtomicFile, Error> {
    let options = AtomicFileOptions { prefix: TEMPORARY, is_private: true };
    Ok(AtomicFile::with_options(path, options)?)
}

fn queue_of(folder: &Path) -> PathBuf {
    folder.join("queue")
}

fn id_of(folder: &Path) -> PathBuf {
    folder.join("install-id")
}

fn read_or_create_id(path: &Path) -> Result<Uuid, Error> {
    if let Some(id) = read_id(path)? {
        return Ok(id);
    }
    let id = random_uuid();
    write_private(path, id.to_string().as_bytes())?;
    // Another process may have made one in the meantime; the last one written counts for both.
    Ok(read_id(path)?.unwrap_or(id))
}

/// The identifier in the file; `None` if there is none or it is damaged.
fn read_id(path: &Path) -> Result<Option<Uuid>, Error> {
    match lilims_files::read(path, MAX_ID_BYTES) {
        Ok(bytes) => Ok(Uuid::try_parse_ascii(&bytes).ok()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(lilims_files::Error::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the pauses and what a killed process left half written.
fn remove_other_files(folder: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(folder.join("pauses.json")))?;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            ignore_missing(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
