//! A folder for files that must exist, in memory where the system has that.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is removed with its files.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("lilims-fuzz-");
        let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
        Self(folder.expect("a temporary folder can be made"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        write(&path, content);
        path
    }
}

/// Writes a file, and the folder that it is in.
pub(crate) fn write(path: &Path, content: &[u8]) {
    let folder = path.parent().expect("a file is in a folder");
    std::fs::create_dir_all(folder).expect("a folder can be made");
    std::fs::write(path, content).expect("a file can be written");
}
