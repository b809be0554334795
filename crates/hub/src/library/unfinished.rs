//! What processes are writing into our folder, and what those that ended have left there.
//!
//! Each file that grows has a lock, which the system releases when its process ends, however it ends.
//! So a file whose lock is free has no owner: it is removed when a library is opened, and until
//! then it counts neither as used nor as a reason for a model to leave.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::downloads::download_lock;
use super::{Held, Library, folder};
use crate::Error;

/// Copies that may run at once, over all processes.
const MAX_COPIES: u32 = 256;
/// The lock that everybody shares who writes files named [`super::conversions::UNFINISHED`].
const CONVERTING: &str = "converting";
/// How names begin that earlier versions gave to copies, which had no lock, and after how long
/// no process writes to one any more.
const OLD_PREFIX: &str = ".tmp";
const OLD_AGE: Duration = Duration::from_secs(3600);

/// A copy that grows in our folder. Dropped, it removes what is still there.
#[derive(Debug)]
pub(super) struct Copying {
    folder: folder::Folder,
    path: PathBuf,
    _held: Held,
}

impl Copying {
    /// The file; nothing is there at first.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // What cannot be removed now goes when a library is opened.
        let _ = self.folder.remove_file(&self.path);
    }
}

impl Library {
    /// A place for a copy, used by this process alone.
    pub(super) fn begin_copy(&self) -> Result<Copying, Error> {
        for n in 0..MAX_COPIES {
            if let Some(held) = self.locks.try_exclusive(&copy_lock(n))? {
                let (folder, path) = (self.folder.clone(), self.copy_path(n));
                folder.remove_file(&path)?;
                return Ok(Copying { folder, path, _held: held });
            }
        }
        Err(Error::Busy)
    }

    fn copy_path(&self, n: u32) -> PathBuf {
        self.folder.partials().join(format!("import-{n}.part"))
    }

    /// The copies that grow or were left.
    fn copies(&self) -> Vec<u32> {
        let Ok(files) = fs::read_dir(self.folder.partials()) else { return Vec::new() };
        let number = |name: &str| name.strip_prefix("import-")?.strip_suffix(".part")?.parse().ok();
        let numbers = files.flatten().filter_map(|it| number(&it.file_name().to_string_lossy()));
        numbers.filter(|&n| n < MAX_COPIES).collect()
    }

    /// Removes what no process works on any more. What cannot be removed, or not be looked at, is
    /// left for the next time.
    pub(super) fn sweep(&self) {
        let _ = self.remove_orphans();
        for n in self.copies() {
            if let Ok(Some(_held)) = self.locks.try_exclusive(&copy_lock(n)) {
                let _ = self.folder.remove_file(&self.copy_path(n));
            }
        }
        self.sweep_old();
        let conversions = self.folder.conversions();
        if !conversions.is_empty()
            && let Ok(Some(_held)) = self.locks.try_exclusive(CONVERTING)
        {
            for path in conversions.iter().filter(|path| self.folder.owns(path)) {
                let _ = match path.is_dir() {
                    true => fs::remove_dir_all(path),
                    false => fs::remove_file(path),
                };
            }
            let converted = self.folder.converted();
            if self.folder.owns(&converted) {
                // One that is not empty stays.
                let _ = fs::remove_dir(converted);
            }
        }
        self.settle_all();
    }

    fn sweep_old(&self) {
        let Ok(files) = fs::read_dir(self.folder.partials()) else { return };
        for file in files.flatten() {
            let is_old = || {
                let changed = file.metadata().ok()?.modified().ok()?;
                Some(changed.elapsed().ok()? > OLD_AGE)
            };
            let is_ours = file.file_name().to_string_lossy().starts_with(OLD_PREFIX);
            if is_ours && is_old() == Some(true) {
                let _ = self.folder.remove_file(&file.path());
            }
        }
    }

    /// What downloads of the queue and copies under way take of the disk.
    pub(super) fn unfinished_bytes(&self) -> Result<u64, Error> {
        let known: HashSet<i64> = self.downloads()?.into_iter().map(|row| row.id).collect();
        let is_used = |lock: &str| matches!(self.locks.try_shared(lock), Ok(None));
        let downloads = self.folder.unfinished().into_iter();
        let downloads = downloads
            .filter(|id| known.contains(id) || is_used(&download_lock(*id)))
            .map(|id| self.folder.partial(id));
        let copies = self.copies().into_iter();
        let copies = copies.filter(|&n| is_used(&copy_lock(n))).map(|n| self.copy_path(n));
        Ok(downloads.chain(copies).map(|path| folder::disk_bytes(&path)).sum())
    }

    /// Whether some process converts into our folder.
    pub(super) fn is_converting(&self) -> bool {
        matches!(self.locks.try_exclusive(CONVERTING), Ok(None))
    }

    /// Takes part in converting into our folder, so that no process sweeps what is being written.
    pub(super) fn share_converting(&self) -> Result<Held, Error> {
        let held = self.locks.shared_within(CONVERTING, Duration::from_secs(5))?;
        held.ok_or(Error::Busy)
    }

    /// Keeps what is being written beside `path` from being swept, where that is in our folder,
    /// until what is returned is dropped. For programs that convert to a place of their own choice.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Busy`].
    pub fn guard_output(&self, path: &Path) -> Result<Option<Held>, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        match self.folder.owns(&path) {
            true => self.share_converting().map(Some),
            false => Ok(None),
        }
    }
}

/// The lock of the process that writes the copy of this number.
fn copy_lock(n: u32) -> String {
    format!("import-{n}")
}
