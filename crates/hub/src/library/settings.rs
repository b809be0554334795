//! Settings and measured memory peaks, both in the database.

use std::path::{Path, PathBuf};

use super::index::stored_path;
use super::{Library, Peak};
use crate::Error;

/// Setting: the quota in bytes.
const QUOTA: &str = "library.quota";
/// Setting: how many downloads run at once.
const AT_ONCE: &str = "library.at_once";
/// Setting: the rate limit of downloads.
const BYTES_PER_SECOND: &str = "library.bytes_per_second";
/// Default of [`Limits::at_once`].
const DEFAULT_AT_ONCE: u32 = 2;

/// Limits of downloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many run at once; at least one.
    pub at_once: u32,
    /// The total rate of a process's downloads; `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

impl Library {
    /// The quota in bytes that the user has set.
    pub(super) fn custom_quota(&self) -> Result<Option<u64>, Error> {
        self.number(QUOTA)
    }

    /// Sets the quota in bytes; `None` restores the default. Removes nothing.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_quota(&self, bytes: Option<u64>) -> Result<(), Error> {
        self.set_number(QUOTA, bytes)
    }

    /// The limits of downloads.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn limits(&self) -> Result<Limits, Error> {
        let at_once = self.number(AT_ONCE)?.and_then(|n| u32::try_from(n).ok());
        let bytes_per_second = self.number(BYTES_PER_SECOND)?.filter(|&n| n > 0);
        Ok(Limits { at_once: at_once.unwrap_or(DEFAULT_AT_ONCE).max(1), bytes_per_second })
    }

    /// Sets the limits of downloads, including running ones.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.set_number(AT_ONCE, Some(u64::from(limits.at_once.max(1))))?;
        self.set_number(BYTES_PER_SECOND, limits.bytes_per_second)
    }

    /// Reads a number. An invalid one counts as unset, so that the library still works.
    fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.store.get(key) {
            Err(lilims_store::Error::Setting { .. }) => Ok(None),
            read => Ok(read?),
        }
    }

    fn set_number(&self, key: &str, value: Option<u64>) -> Result<(), Error> {
        match value {
            // `set` refuses to replace an unreadable value.
            Some(value) => Ok(self.store.overwrite(key, &value)?),
            None => Ok(self.store.unset(key)?),
        }
    }

    /// Reads the setting `key`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.store.get(key)?)
    }

    /// Sets or removes the setting `key`.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_text(&self, key: &str, value: Option<&str>) -> Result<(), Error> {
        match value {
            Some(value) => Ok(self.store.set(key, &value.to_owned())?),
            None => Ok(self.store.unset(key)?),
        }
    }

    /// Folders whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let folders = self.store.folders()?.into_iter();
        Ok(folders.map(|path| self.root().join(path)).collect())
    }

    /// Adds a folder whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn add_folder(&self, folder: &Path) -> Result<(), Error> {
        Ok(self.store.add_folder(&stored_path(&self.folder, folder))?)
    }

    /// Removes a folder and its models from the library. The files stay.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        for entry in self.entries()? {
            if entry.owner.is_some() && entry.path.starts_with(folder) {
                self.store.remove_model(&entry.name)?;
            }
        }
        Ok(self.store.remove_folder(&stored_path(&self.folder, folder))?)
    }

    /// Records the measured memory peak of a model, for later estimates.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn record_peak(&self, peak: &Peak) -> Result<(), Error> {
        Ok(self.store.add_peak(peak)?)
    }

    /// The measured memory peaks on this machine.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn peaks(&self) -> Result<Vec<Peak>, Error> {
        Ok(self.store.peaks()?)
    }
}
