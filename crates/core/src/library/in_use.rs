//! A model of the library while it runs: it cannot be removed, and its use and memory are recorded.

use std::path::{Path, PathBuf};

use lilims_engine::LoadOptions;
use lilims_hub::{Entry, Library, LockGuard};

use super::{fit, machine};
use crate::error::Error;

/// Keeps a model from being removed until it is dropped.
pub(crate) struct InUse {
    library: Library,
    pub(crate) entry: Entry,
    path: PathBuf,
    _lock_guard: LockGuard,
}

impl InUse {
    /// Records that the model at `path` is used now; `None` where the library does not have it or
    /// cannot be written, which is no reason not to run a model.
    ///
    /// # Errors
    /// While it is being removed.
    pub(crate) fn new(path: &Path) -> Result<Option<Self>, Error> {
        let Ok(Some(library)) = Library::open_existing() else { return Ok(None) };
        let Ok(path) = std::path::absolute(path) else { return Ok(None) };
        let Ok(Some(entry)) = library.entry_at(&path) else { return Ok(None) };
        match library.use_model(&entry.name) {
            Ok(guard) => Ok(Some(Self { library, entry, path, _lock_guard: guard })),
            Err(error @ lilims_hub::Error::InUse { .. }) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Records the peak memory of this process with `n_tokens` in the cache, for later estimates.
    pub(crate) fn note_peak(&self, options: &LoadOptions, n_tokens: usize) {
        let Some(measured_bytes) = machine::peak_bytes() else { return };
        let (model, measured) = (self.entry.name.clone(), |_: &_| measured_bytes);
        if let Some(peak) = fit::peak_of(&self.path, model, options, n_tokens, measured) {
            // If this fails, estimates stay as they are.
            let _ = self.library.record_peak(&peak);
        }
    }
}
