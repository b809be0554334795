//! Unfinished files in our folder, and the removal of those whose process has ended.
//!
//! The process that writes a file holds a lock, which the system releases when the process ends. So a
//! file whose lock is free is abandoned: it is removed when a library is opened, and does not count as
//! used before that.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::downloads::download_lock;
use super::{Library, LockGuard, folder};
use crate::Error;

/// The most simultaneous copies of all processes.
const MAX_COPIES: u32 = 256;
/// The lock that processes share while they write files named [`super::conversions::UNFINISHED`].
const CONVERTING: &str = "converting";
/// Prefix of unlocked copies by earlier versions, and the age from which they count as abandoned.
const LEGACY_PREFIX: &str = ".tmp";
const LEGACY_AGE: Duration = Duration::from_secs(3600);

/// The unfinished file of a copy; removed when dropped.
#[derive(Debug)]
pub(super) struct UnfinishedCopy {
    folder: folder::Folder,
    path: PathBuf,
    _lock: LockGuard,
}

impl UnfinishedCopy {
    /// Its path, where no file exists at first.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnfinishedCopy {
    fn drop(&mut self) {
        // If this fails, the next opening of the library removes it.
        let _ = self.folder.remove_file(&self.path);
    }
}

impl Library {
    /// Chooses and locks a path for a copy.
    pub(super) fn begin_copy(&self) -> Result<UnfinishedCopy, Error> {
        for n in 0..MAX_COPIES {
            if let Some(lock) = self.locks.try_exclusive(&copy_lock(n))? {
                let (folder, path) = (self.folder.clone(), self.copy_path(n));
                folder.remove_file(&path)?;
                return Ok(UnfinishedCopy { folder, path, _lock: lock });
            }
        }
        Err(Error::Busy)
    }

    fn copy_path(&self, n: u32) -> PathBuf {
        self.folder.partials().join(format!("import-{n}.part"))
    }

    /// The numbers of unfinished copies.
    fn copies(&self) -> Vec<u32> {
        let Ok(files) = fs::read_dir(self.folder.partials()) else { return Vec::new() };
        let number = |name: &str| name.strip_prefix("import-")?.strip_suffix(".part")?.parse().ok();
        let numbers = files.flatten().filter_map(|it| number(&it.file_name().to_string_lossy()));
        numbers.filter(|&n| n < MAX_COPIES).collect()
    }

    /// Removes abandoned files. Errors are left for the next time.
    pub(super) fn remove_abandoned(&self) {
        let _ = self.remove_orphans();
        for n in self.copies() {
            if let Ok(Some(_lock)) = self.locks.try_exclusive(&copy_lock(n)) {
                let _ = self.folder.remove_file(&self.copy_path(n));
            }
        }
        self.remove_legacy_copies();
        let conversions = self.folder.conversions();
        if !conversions.is_empty()
            && let Ok(Some(_lock)) = self.locks.try_exclusive(CONVERTING)
        {
            for path in conversions.iter().filter(|path| self.folder.owns(path)) {
                let _ = match path.is_dir() {
                    true => fs::remove_dir_all(path),
                    false => fs::remove_file(path),
                };
            }
            let converted = self.folder.converted();
            if self.folder.owns(&converted) {
                // A non-empty folder stays.
                let _ = fs::remove_dir(converted);
            }
        }
        self.recover_downloads();
    }

    fn remove_legacy_copies(&self) {
        let Ok(files) = fs::read_dir(self.folder.partials()) else { return };
        for file in files.flatten() {
            let is_old = || {
                let changed = file.metadata().ok()?.modified().ok()?;
                Some(changed.elapsed().ok()? > LEGACY_AGE)
            };
            let is_ours = file.file_name().to_string_lossy().starts_with(LEGACY_PREFIX);
            if is_ours && is_old() == Some(true) {
                let _ = self.folder.remove_file(&file.path());
            }
        }
    }

    /// The size of unfinished downloads and copies on disk.
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

    /// Whether a process is converting into our folder.
    pub(super) fn is_converting(&self) -> bool {
        matches!(self.locks.try_exclusive(CONVERTING), Ok(None))
    }

    /// Locks unfinished conversions against removal.
    pub(super) fn lock_converting(&self) -> Result<LockGuard, Error> {
        let lock = self.locks.shared_within(CONVERTING, Duration::from_secs(5))?;
        lock.ok_or(Error::Busy)
    }

    /// Locks the unfinished file of a conversion to `path` against removal, if that is in our folder. For
    /// programs that convert to a path of their choice.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Busy`].
    pub fn guard_output(&self, path: &Path) -> Result<Option<LockGuard>, Error> {
        let path = std::path::absolute(path).map_err(Error::io(path))?;
        match self.folder.owns(&path) {
            true => self.lock_converting().map(Some),
            false => Ok(None),
        }
    }
}

/// The lock of the process that writes this copy.
fn copy_lock(n: u32) -> String {
    format!("import-{n}")
}
