//! The user's database, opened beside the window, or a temporary one in its place.

use std::sync::Arc;

use lilims_hub::Library;
use lilims_ipc::{Error, Problem};
use lilims_models::data_dir;
use lilims_store::Store;
use tempfile::TempDir;

/// An open database.
pub(crate) struct Database {
    /// The database.
    pub(crate) store: Arc<Store>,
    /// Why it is a temporary one: the user's cannot be opened.
    pub(crate) unsaved: Option<Error>,
    /// Removed with this value.
    _folder: Option<TempDir>,
}

impl Database {
    /// Opens the user's database. If that fails, the database is a temporary one, so that the user can
    /// chat and read why nothing is saved.
    ///
    /// # Errors
    /// If not even a temporary database can be made.
    pub(crate) fn open() -> Result<Self, Error> {
        match user_store() {
            Ok(store) => Ok(Self { store, unsaved: None, _folder: None }),
            Err(error) => Self::temporary(Some(error)),
        }
    }

    /// A database that lasts as long as this value.
    pub(crate) fn temporary(unsaved: Option<Error>) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|error| Error::internal(error.to_string()))?;
        let store = Store::open(folder.path()).map_err(from_store)?;
        Ok(Self { store: Arc::new(store), unsaved, _folder: Some(folder) })
    }

    /// The library in the user's database.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) fn library(&self) -> Result<Arc<Library>, Error> {
        match &self.unsaved {
            Some(error) => Err(error.clone()),
            None => Ok(Arc::new(Library::new(Arc::clone(&self.store))?)),
        }
    }
}

fn user_store() -> Result<Arc<Store>, Error> {
    let folder = data_dir().map_err(|error| Error::internal(error.to_string()))?;
    let store = Store::open(&folder).map_err(from_store)?;
    if let Some(restored) = store.restored() {
        tracing::warn!(?restored, "the database was restored");
    }
    if let Some(error) = store.copy_error() {
        tracing::warn!(%error, "cannot copy the database");
    }
    Ok(Arc::new(store))
}

/// The error of a door for an error of the store.
pub(crate) fn from_store(error: lilims_store::Error) -> Error {
    use lilims_store::Error as Store;
    match &error {
        Store::NoSuchConversation { .. } | Store::NoSuchMessage { .. } => {
            Error::caused_by(Problem::ConversationGone, &error)
        }
        Store::StillWriting { .. } => Error::caused_by(Problem::Answering, &error),
        Store::NoSuchFolder { .. } => Error::caused_by(Problem::ConversationFolderGone, &error),
        _ => lilims_hub::Error::from(error).into(),
    }
}
