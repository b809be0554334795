//! The model library with what the engine knows of its files.
//!
//! `lilims-hub` keeps the library; this joins it with the engine's estimates and holds which model is
//! loaded. Hub and engine do not know each other.

pub(crate) mod download;
pub(crate) mod fit;
mod header;
pub(crate) mod headers;
pub(crate) mod in_use;
mod listing;
pub mod machine;
mod names;
pub(crate) mod present;
mod wanted;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lilims_engine::{LoadOptions, MemoryEstimate};
use lilims_hub::{Client, Library, LockGuard};
use lilims_ipc::{Attempt, ConnectionAsker, Error, LibraryNote, Problem};
use lilims_models::Catalogue;
use parking_lot::Mutex;

use crate::error;
pub use download::{BlockingHub, HubFile};
pub(crate) use header::fetch as fetch_header;
use headers::Headers;
pub use lilims_hub::{Entry, Outcome, RepositoryFile, Scanned, Verified, set_token};
pub use listing::{Listed, Stopped};
pub use names::model_path;
pub use wanted::{Pick, Target, Wanted};

/// The setting that holds the short name of the model that was used last.
const LAST_MODEL: &str = "model";

/// The library of this user, or why there is none. Chatting with the bundled model works without it.
#[derive(Default)]
pub struct LibraryHandle {
    library: OnceLock<Result<Arc<Library>, Error>>,
    /// The model that is loaded, and the lock that keeps it from being removed.
    loaded: Mutex<Option<(String, LockGuard)>>,
    /// What the user should know that happened while this process runs.
    notes: Mutex<Vec<LibraryNote>>,
    headers: Headers,
    /// The only HTTP client of the process, so that all requests share its connections, pauses and
    /// token; created when it is first used.
    client: OnceLock<Result<Client, Error>>,
}

impl LibraryHandle {
    /// Opens the library of this user.
    pub fn open() -> Self {
        Self::new(Library::open_default())
    }

    /// Opens the library of this user.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn try_open() -> Result<Self, error::Error> {
        Ok(Self::new(Ok(Library::open_default()?)))
    }

    fn new(library: Result<Library, lilims_hub::Error>) -> Self {
        let handle = Self::default();
        handle.provide(library.map(Arc::new).map_err(Error::from));
        handle
    }

    /// Provides the library; calls wait for it until then.
    pub(crate) fn provide(&self, library: Result<Arc<Library>, Error>) {
        // Provided once.
        let _ = self.library.set(library);
    }

    /// Adds the bundled model, if there is one.
    ///
    /// # Errors
    /// Why it cannot be added.
    pub fn add_bundled(&self) -> Result<(), error::Error> {
        if let Ok(path) = lilims_models::bundled_model(None) {
            self.opened()?.add_bundled(&path)?;
        }
        Ok(())
    }

    /// The library of a handle from [`LibraryHandle::try_open`].
    pub(crate) fn opened(&self) -> Result<&Arc<Library>, error::Error> {
        self.library().map_err(error::Error::from)
    }

    /// The library.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub fn library(&self) -> Result<&Arc<Library>, Error> {
        self.library.wait().as_ref().map_err(Clone::clone)
    }

    /// The client of the hub.
    ///
    /// # Errors
    /// When there is no library, or `HF_ENDPOINT` is not a URL.
    pub fn client(&self) -> Result<&Client, Error> {
        let asker = ConnectionAsker::Window;
        let create = || Ok(Client::from_env(Arc::clone(self.library()?), asker)?);
        self.client.get_or_init(create).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// What happened without the user asking for it.
    pub fn notes(&self) -> Vec<LibraryNote> {
        let rebuilt = self.library().ok().and_then(|library| rebuilt(library));
        rebuilt.into_iter().chain(self.notes.lock().iter().cloned()).collect()
    }

    /// Keeps the note that the hub has refused the access token, if it just did; returns whether.
    pub fn note_token(&self, client: &Client) -> bool {
        let is_refused = client.take_token_rejection();
        if is_refused {
            let host = client.host().to_owned();
            self.notes.lock().push(LibraryNote::TokenRefused { host });
        }
        is_refused
    }

    /// The short name of the model that is loaded.
    pub fn loaded(&self) -> Option<String> {
        self.loaded.lock().as_ref().map(|(name, _)| name.clone())
    }

    /// The file of the model with this short name; without a name, of the model that was used last.
    pub fn path(&self, name: Option<&str>) -> Option<PathBuf> {
        let library = self.library().ok()?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => library.text(LAST_MODEL).ok()??,
        };
        let path = library.entry(&name).ok()?.path;
        path.is_file().then_some(path)
    }

    /// Adds the model that is there without a choice: the bundled one, or the one that was named at the
    /// start. A file that is not a model is not added; loading it reports why.
    pub fn add_given(&self, path: &Path) {
        let Ok(library) = self.library() else { return };
        let bundled = Catalogue::curated().bundled().map(|it| it.file.clone());
        let is_bundled = bundled.is_some_and(|file| path.ends_with(file));
        let _ = if is_bundled { library.add_bundled(path) } else { library.add_given(path) };
    }

    /// Locks the model at `path` against removal, since it is about to be loaded. Returns the name to
    /// show, if the library has the model.
    pub fn begin_use(&self, path: &Path) -> Option<String> {
        let library = self.library().ok()?;
        let path = std::path::absolute(path).ok()?;
        let entry = library.entry_at(&path).ok()??;
        let lock_guard = library.use_model(&entry.name).ok()?;
        *self.loaded.lock() = Some((entry.name, lock_guard));
        Some(entry.title)
    }

    /// Remembers the loaded model for the next start.
    pub fn remember_loaded(&self) {
        if let (Ok(library), Some(name)) = (self.library(), self.loaded()) {
            // If this fails, the next start loads the bundled model.
            let _ = library.set_text(LAST_MODEL, Some(&name));
        }
    }

    /// Records the memory that the model at `path` takes with `n_tokens` in its cache, for later
    /// estimates.
    pub fn note_peak(&self, path: &Path, n_tokens: usize, taken_bytes: u64) {
        let (Ok(library), Some(name)) = (self.library(), self.loaded()) else { return };
        if taken_bytes == 0 {
            // The system does not report it.
            return;
        }
        // The app's own memory is not the model's.
        let measured = |estimate: &MemoryEstimate| taken_bytes + estimate.base_bytes;
        let options = LoadOptions::default();
        if let Some(peak) = fit::peak_of(path, name, &options, n_tokens, measured) {
            let _ = library.record_peak(&peak);
        }
    }

    /// The id of the loaded model in the catalogue, if it is one of its models.
    pub(crate) fn catalogue_id(&self) -> Option<String> {
        let entry = self.library().ok()?.entry(&self.loaded()?).ok()?;
        let is_it = |model: &lilims_models::Entry| {
            entry.is_file_of(&model.repository, &model.file, model.sha256.as_deref())
                || entry.path.ends_with(&model.file)
        };
        Catalogue::curated().models.into_iter().find(is_it).map(|model| model.id)
    }

    /// Releases the lock of the loaded model.
    pub fn end_use(&self) {
        self.loaded.lock().take();
    }
}

/// What happened to the index, if it was rebuilt.
fn rebuilt(library: &Library) -> Option<LibraryNote> {
    let rebuilt = library.rebuilt()?;
    let n_models = rebuilt.n_models as u64;
    let from_copy_of_ms = rebuilt.from_copy_of_ms;
    Some(match &rebuilt.put_aside {
        Some(aside) => {
            let put_aside = aside.display().to_string();
            LibraryNote::IndexDamaged { put_aside, from_copy_of_ms, n_models }
        }
        None => LibraryNote::IndexGone { from_copy_of_ms, n_models },
    })
}

/// The load that the last process did not survive, if there is one.
pub(crate) fn suspended_load() -> Option<Attempt> {
    let folder = lilims_models::data_dir().ok()?;
    let left = lilims_models::LoadAttempt::take_leftover(&folder, fit::is_alive)?;
    Some(fit::suspended(left))
}

/// The error of a model that is no longer in the library.
pub(crate) fn gone(name: &str) -> Error {
    Problem::ModelGone { name: name.to_owned() }.into()
}
