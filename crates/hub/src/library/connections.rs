//! The log of connections, and whether connections are made at all.

use std::sync::atomic::{AtomicBool, Ordering};

use lilims_ipc::SealedBy;
use lilims_store::{LastConnection, MAX_LOGGED_CONNECTIONS, NewConnection};

use super::{Library, LoggedConnection};
use crate::Error;

/// Setting: whether Lilims is sealed.
const SEALED: &str = "privacy.sealed";
/// Whether this process was started sealed.
static SEALED_AT_START: AtomicBool = AtomicBool::new(false);

/// Seals this process until it ends, whatever the setting says.
pub fn seal_process() {
    SEALED_AT_START.store(true, Ordering::Relaxed);
}

impl Library {
    /// Why no connection is made; `None` if connections are possible. A setting that cannot be read
    /// counts as sealed.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn sealed(&self) -> Result<Option<SealedBy>, Error> {
        if cfg!(feature = "sealed") {
            return Ok(Some(SealedBy::Build));
        }
        if SEALED_AT_START.load(Ordering::Relaxed) {
            return Ok(Some(SealedBy::Start));
        }
        let is_sealed = match self.store.get::<bool>(SEALED) {
            Err(lilims_store::Error::Setting { .. }) => true,
            read => read?.unwrap_or(false),
        };
        // Another process may have changed it.
        self.is_sealed.store(is_sealed, Ordering::Relaxed);
        Ok(is_sealed.then_some(SealedBy::Setting))
    }

    /// Seals Lilims in all its processes, or opens it. What this process receives ends at once; what
    /// others receive, before their next request.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_sealed(&self, is_sealed: bool) -> Result<(), Error> {
        self.store.overwrite(SEALED, &is_sealed)?;
        self.is_sealed.store(is_sealed, Ordering::Relaxed);
        self.connections_changed.notify_one();
        // Downloads that waited go on.
        self.downloads_changed.notify_one();
        Ok(())
    }

    /// Fails if Lilims was sealed, as far as this process knows without the database.
    pub(crate) fn check_not_sealed_here(&self) -> Result<(), Error> {
        match self.is_sealed.load(Ordering::Relaxed) {
            true => Err(Error::Sealed { by: SealedBy::Setting }),
            false => Ok(()),
        }
    }

    /// Logs a connection that is about to be made.
    pub(crate) fn begin_connection(&self, new: &NewConnection) -> Result<i64, Error> {
        match self.sealed()? {
            Some(by) => Err(Error::Sealed { by }),
            None => Ok(self.store.begin_connection(new)?),
        }
    }

    /// Waits until a connection was made, or Lilims was sealed or opened, by this process.
    pub async fn connections_changed(&self) {
        self.connections_changed.notified().await;
    }

    /// The logged connections, latest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn connections(&self) -> Result<Vec<LoggedConnection>, Error> {
        Ok(self.store.connections(MAX_LOGGED_CONNECTIONS)?)
    }

    /// The last connection of all processes; `None` if there was none, ever.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn last_connection(&self) -> Result<Option<LastConnection>, Error> {
        Ok(self.store.last_connection()?)
    }

    /// Deletes the log of connections.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn clear_connections(&self) -> Result<(), Error> {
        self.store.clear_connections()?;
        self.connections_changed.notify_one();
        Ok(())
    }
}
