//! Locks between processes, which the system releases when a process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// How long a process that waits for a lock sleeps between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct LockGuard {
    _file: File,
}

/// A folder of lock files, each of which is one lock.
#[derive(Clone, Debug)]
pub struct Locks {
    folder: PathBuf,
}

impl Locks {
    /// Uses the lock files in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self { folder })
    }

    /// Takes the lock `name` alone; `None` where somebody has it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_exclusive(&self, name: &str) -> Result<Option<LockGuard>, Error> {
        self.take(name, File::try_lock)
    }

    /// Takes the lock `name` together with others who share it; `None` where somebody has it alone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn try_shared(&self, name: &str) -> Result<Option<LockGuard>, Error> {
        self.take(name, File::try_lock_shared)
    }

    /// As [`Locks::try_exclusive`], and waits for up to `patience`: others look at locks by taking
    /// them for a moment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exclusive_within(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Option<LockGuard>, Error> {
        within(patience, || self.try_exclusive(name))
    }

    /// As [`Locks::try_shared`], and waits for up to `patience`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn shared_within(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Option<LockGuard>, Error> {
        within(patience, || self.try_shared(name))
    }

    fn take(
        &self,
        name: &str,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<LockGuard>, Error> {
        let path = self.folder.join(format!("{name}.lock"));
        let file = open(&path).map_err(Error::io(&path))?;
        match lock(&file) {
            Ok(()) => Ok(Some(LockGuard { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io(&path)(source)),
        }
    }
}

fn within(
    patience: Duration,
    take: impl Fn() -> Result<Option<LockGuard>, Error>,
) -> Result<Option<LockGuard>, Error> {
    let start = Instant::now();
    loop {
        let guard = take()?;
        if guard.is_some() || start.elapsed() >= patience {
            return Ok(guard);
        }
        thread::sleep(PAUSE);
    }
}

/// Lock files stay where they are: one that is removed while another process opens it would be
/// two locks.
fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_or_many_read() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::open(folder.path().join("locks")).unwrap();
        let reader = locks.try_shared("a").unwrap().unwrap();
        let other = locks.try_shared("a").unwrap();
        assert!(other.is_some());
        assert!(locks.try_exclusive("a").unwrap().is_none());
        drop((reader, other));
        let writer = locks.try_exclusive("a").unwrap().unwrap();
        assert!(locks.try_shared("a").unwrap().is_none());
        assert!(locks.try_exclusive("b").unwrap().is_some());
        drop(writer);
        assert!(locks.try_exclusive("a").unwrap().is_some());
    }
}
