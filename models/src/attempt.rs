//! A marker file that exists while a model loads, so that the next start can report a load that
//! crashed the process. It does not load models and does not decide what to do after a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Upper bound on the marker's size when it is read; it normally takes a few hundred bytes.
const MAX_BYTES: u64 = 1 << 16;

/// A model load in progress. A marker that is still there at the next start means that the load
/// crashed the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadAttempt {
    /// The model's short name in the library; empty if it is not in the library.
    pub name: String,
    /// The model's display name.
    pub title: String,
    /// The requested context size, in tokens.
    pub context_tokens: u32,
    /// The estimated memory use, in bytes.
    pub needed_bytes: u64,
    /// The available memory when the load started, in bytes.
    pub available_bytes: u64,
    /// The id of the process that loads the model.
    pub process: u32,
}

/// The marker file of a [`LoadAttempt`], removed on drop.
#[derive(Debug)]
pub struct LoadMarker {
    path: PathBuf,
}

impl Drop for LoadMarker {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl LoadAttempt {
    /// Writes the marker file into `folder`; dropping the returned value removes it.
    ///
    /// # Errors
    /// If the marker cannot be written. The caller can still load the model.
    pub fn write_marker(&self, folder: &Path) -> io::Result<LoadMarker> {
        fs::create_dir_all(folder)?;
        let path = path(folder);
        // On disk before the load starts: running out of memory can take the whole system down.
        lilims_files::write_atomic(&path, |file| Ok(serde_json::to_writer(file, self)?))?;
        Ok(LoadMarker { path })
    }

    /// Reads and removes the marker that a crashed process left in `folder`. The marker of another
    /// process that `is_alive` is not a sign of a crash: it stays, and the result is `None`.
    pub fn take_leftover(folder: &Path, is_alive: impl Fn(u32) -> bool) -> Option<Self> {
        crate::conversation::remove_abandoned(folder);
        let path = path(folder);
        let attempt: Self =
            match serde_json::from_slice(&lilims_files::read(&path, MAX_BYTES).ok()?) {
                Ok(attempt) => attempt,
                Err(_) => {
                    let _ = fs::remove_file(&path);
                    return None;
                }
            };
        if attempt.process != std::process::id() && is_alive(attempt.process) {
            return None;
        }
        fs::remove_file(&path).ok()?;
        Some(attempt)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("loading.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(process: u32) -> LoadAttempt {
        LoadAttempt {
            name: "m".into(),
            title: "M".into(),
            context_tokens: 8192,
            needed_bytes: 9,
            available_bytes: 8,
            process,
        }
    }

    #[test]
    fn finished_load_leaves_no_marker() {
        let folder = tempfile::tempdir().unwrap();
        let marker = attempt(7).write_marker(folder.path()).unwrap();
        assert!(path(folder.path()).exists());
        drop(marker);
        assert_eq!(LoadAttempt::take_leftover(folder.path(), |_| false), None);
    }

    #[test]
    fn crashed_load_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        std::mem::forget(attempt(7).write_marker(folder.path()).unwrap());
        assert_eq!(LoadAttempt::take_leftover(folder.path(), |id| id == 7), None);
        assert_eq!(LoadAttempt::take_leftover(folder.path(), |_| false), Some(attempt(7)));
        assert_eq!(LoadAttempt::take_leftover(folder.path(), |_| false), None);
        fs::write(path(folder.path()), "{").unwrap();
        assert_eq!(LoadAttempt::take_leftover(folder.path(), |_| false), None);
        assert!(!path(folder.path()).exists());
    }
}
