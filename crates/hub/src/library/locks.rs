//! Locks between processes, which the system releases when a process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::Error;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// The folder of the lock files.
#[derive(Clone, Debug)]
pub(crate) struct Locks {
    folder: PathBuf,
}

impl Locks {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(Self { folder })
    }

    /// Takes `name` for oneself, if nobody has it.
    pub(crate) fn try_exclusive(&self, name: &str) -> Result<Option<Held>, Error> {
        self.take(name, File::try_lock)
    }

    /// Takes `name` together with others who share it, if nobody has it for himself.
    pub(crate) fn try_shared(&self, name: &str) -> Result<Option<Held>, Error> {
        self.take(name, File::try_lock_shared)
    }

    fn take(
        &self,
        name: &str,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<Held>, Error> {
        let path = self.folder.join(format!("{name}.lock"));
        let file = open(&path).map_err(Error::io(&path))?;
        match lock(&file) {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io(&path)(source)),
        }
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
