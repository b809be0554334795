//! What the user chose, what was measured, and the log of connections; all kept in the store.

use std::path::{Path, PathBuf};

use super::index::stored_path;
use super::{Library, LoggedConnection, Peak};
use crate::Error;

/// The quota in bytes.
const QUOTA: &str = "library.quota";
/// How many downloads run at once.
const AT_ONCE: &str = "library.at_once";
/// The most bytes per second that downloads take.
const BYTES_PER_SECOND: &str = "library.bytes_per_second";
/// Downloads that run at once, unless the user says otherwise.
const DEFAULT_AT_ONCE: u32 = 2;

/// How downloads are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many run at once, at least one.
    pub at_once: u32,
    /// The most bytes per second, all downloads of a process together; `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

impl Library {
    /// The quota that the user chose, in bytes.
    pub(super) fn chosen_quota(&self) -> Result<Option<u64>, Error> {
        self.number(QUOTA)
    }

    /// Sets the quota in bytes; `None` goes back to the default. Nothing is removed by this.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_quota(&self, bytes: Option<u64>) -> Result<(), Error> {
        self.set_number(QUOTA, bytes)
    }

    /// How downloads are bounded.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn limits(&self) -> Result<Limits, Error> {
        let at_once = self.number(AT_ONCE)?.and_then(|n| u32::try_from(n).ok());
        let bytes_per_second = self.number(BYTES_PER_SECOND)?.filter(|&n| n > 0);
        Ok(Limits { at_once: at_once.unwrap_or(DEFAULT_AT_ONCE).max(1), bytes_per_second })
    }

    /// Bounds downloads, those that run included.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.set_number(AT_ONCE, Some(u64::from(limits.at_once.max(1))))?;
        self.set_number(BYTES_PER_SECOND, limits.bytes_per_second)
    }

    /// A number; one that cannot be read counts as not chosen, so that the library still works.
    fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.store.get(key) {
            Err(lilims_store::Error::Setting { .. }) => Ok(None),
            read => Ok(read?),
        }
    }

    fn set_number(&self, key: &str, value: Option<u64>) -> Result<(), Error> {
        match value {
            // The user has just chosen it, whatever was there.
            Some(value) => Ok(self.store.overwrite(key, &value)?),
            None => Ok(self.store.unset(key)?),
        }
    }

    /// What is kept under `key`.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.store.get(key)?)
    }

    /// Keeps `value` under `key`, or removes it.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_text(&self, key: &str, value: Option<&str>) -> Result<(), Error> {
        match value {
            Some(value) => Ok(self.store.set(key, &value.to_owned())?),
            None => Ok(self.store.unset(key)?),
        }
    }

    /// Folders that the user added, whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let folders = self.store.folders()?.into_iter();
        Ok(folders.map(|path| self.root().join(path)).collect())
    }

    /// Adds a folder whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn add_folder(&self, folder: &Path) -> Result<(), Error> {
        Ok(self.store.add_folder(&stored_path(&self.folder, folder))?)
    }

    /// Removes a folder that was added, and its models from the library. The files stay.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        for entry in self.entries()? {
            if entry.owner.is_some() && entry.path.starts_with(folder) {
                self.store.remove_model(&entry.name)?;
            }
        }
        Ok(self.store.remove_folder(&stored_path(&self.folder, folder))?)
    }

    /// Notes what a model took, so that later estimates are better.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn note_peak(&self, peak: &Peak) -> Result<(), Error> {
        Ok(self.store.add_peak(peak)?)
    }

    /// What models took on this machine.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn peaks(&self) -> Result<Vec<Peak>, Error> {
        Ok(self.store.peaks()?)
    }

    /// Writes a connection into the log. The log is no reason for a connection to fail.
    pub(crate) fn log_connection(&self, host: &str, purpose: &str, outcome: &str) {
        let _ = self.store.log_connection(host, purpose, outcome);
    }

    /// The connections that were made, the latest first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn connections(&self) -> Result<Vec<LoggedConnection>, Error> {
        Ok(self.store.connections(lilims_store::MAX_LOGGED_CONNECTIONS)?)
    }
}
