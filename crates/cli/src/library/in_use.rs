//! A model of the library while it runs: it is kept, its last use and what it took are noted.

use std::path::Path;

use anyhow::Result;
use lilims_engine::{LoadOptions, MemoryEstimate};
use lilims_hub::{Entry, Error, Library, LockGuard, Peak};

use crate::memory;

/// Keeps a model from being removed until it is dropped.
pub(crate) struct InUse {
    library: Library,
    entry: Entry,
    _held: LockGuard,
}

impl InUse {
    /// Notes that the model at `path` is used now; `None` where the library does not have it, or
    /// cannot be written: that is no reason not to run a model.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        let Ok(Some(library)) = Library::open_existing() else { return Ok(None) };
        let Ok(path) = std::path::absolute(path) else { return Ok(None) };
        let Ok(Some(entry)) = library.entry_at(&path) else { return Ok(None) };
        match library.use_model(&entry.name) {
            Ok(held) => Ok(Some(Self { library, entry, _held: held })),
            Err(error @ Error::InUse { .. }) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// What the library knows of it.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Notes the most memory that this process took with `n_tokens` in the cache, so that later
    /// estimates are better.
    pub(crate) fn note_peak(&self, path: &Path, options: &LoadOptions, n_tokens: usize) {
        let Some(measured_bytes) = memory::peak_rss_bytes() else { return };
        // A cache takes no memory where nothing was written.
        let options = LoadOptions { context: Some(n_tokens.max(1)), ..options.clone() };
        let estimate = lilims_gguf::File::open(path)
            .map_err(lilims_engine::Error::from)
            .and_then(|file| MemoryEstimate::new(&file, &options));
        let Ok(estimate) = estimate else { return };
        let peak = Peak {
            model: self.entry.name.clone(),
            weights_bytes: estimate.weights_bytes,
            estimated_bytes: estimate.total_bytes(),
            measured_bytes,
            family: estimate.family,
        };
        // Without it, estimates are what they were.
        let _ = self.library.record_peak(&peak);
    }
}
