//! The note that a model is being loaded, which outlasts a process that ends while it loads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The most bytes of a note that are read; it takes some hundred.
const MAX_BYTES: u64 = 1 << 16;

/// A load that has begun and, if its note is found at a start, has not ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The model's short name in the library; empty where it has none.
    pub name: String,
    /// Its name to show.
    pub title: String,
    /// The context that it is loaded with, in tokens.
    pub context_tokens: u32,
    /// The memory that it will take, in bytes.
    pub needed_bytes: u64,
    /// The memory that was free, in bytes.
    pub available_bytes: u64,
    /// The process that loads it.
    pub process: u32,
}

/// The note on disk; gone when this is dropped.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Attempt {
    /// Writes the note into `folder`, until what is returned is dropped.
    ///
    /// # Errors
    /// When it cannot be written; the load may go on without it.
    pub fn note(&self, folder: &Path) -> io::Result<Note> {
        fs::create_dir_all(folder)?;
        let path = path(folder);
        // On the disk before the load begins: it may take the whole system down.
        lilims_files::write_atomic(&path, |file| Ok(serde_json::to_writer(file, self)?))?;
        Ok(Note { path })
    }

    /// Takes the note that an earlier process has left in `folder`. One of a process that `is_alive`
    /// is no sign of a crash and stays.
    pub fn take_left(folder: &Path, is_alive: impl Fn(u32) -> bool) -> Option<Self> {
        crate::conversation::sweep_abandoned(folder);
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

    fn attempt(process: u32) -> Attempt {
        Attempt {
            name: "m".into(),
            title: "M".into(),
            context_tokens: 8192,
            needed_bytes: 9,
            available_bytes: 8,
            process,
        }
    }

    #[test]
    fn a_load_that_ends_leaves_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let note = attempt(7).note(folder.path()).unwrap();
        assert!(path(folder.path()).exists());
        drop(note);
        assert_eq!(Attempt::take_left(folder.path(), |_| false), None);
    }

    #[test]
    fn a_process_that_ended_is_explained_once() {
        let folder = tempfile::tempdir().unwrap();
        std::mem::forget(attempt(7).note(folder.path()).unwrap());
        assert_eq!(Attempt::take_left(folder.path(), |id| id == 7), None);
        assert_eq!(Attempt::take_left(folder.path(), |_| false), Some(attempt(7)));
        assert_eq!(Attempt::take_left(folder.path(), |_| false), None);
        fs::write(path(folder.path()), "{").unwrap();
        assert_eq!(Attempt::take_left(folder.path(), |_| false), None);
        assert!(!path(folder.path()).exists());
    }
}
