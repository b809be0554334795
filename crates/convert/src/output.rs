//! The result's file: written beside its place under another name, and renamed when it is whole.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lilims_files::{AtomicFile, AtomicFileOptions};
use lilims_gguf::{TensorHeader, Writer};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::input_file::from_files;
use crate::manifest::FileHash;

/// How the names of files and folders begin that are not there to stay.
pub(crate) const PREFIX: &str = ".converting-";

/// A file in the making. Dropped before [`Output::publish`], it leaves nothing.
pub(crate) struct Output {
    path: PathBuf,
    to: BufWriter<AtomicFile>,
    hash: Sha256,
    size_bytes: u64,
}

impl Output {
    /// Starts the file that will be `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let options = AtomicFileOptions { prefix: PREFIX, ..AtomicFileOptions::default() };
        let file = AtomicFile::with_options(path, options).map_err(from_files)?;
        let to = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), to, hash: Sha256::new(), size_bytes: 0 })
    }

    /// Writes all of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// Writes the head of a GGUF file.
    pub(crate) fn write_header(
        &mut self,
        writer: &Writer,
        tensors: &[TensorHeader],
    ) -> Result<(), Error> {
        let path = self.path.clone();
        writer.write_header(tensors.iter(), self).map_err(Error::io(&path))
    }

    /// Fills up to where the next tensor starts.
    pub(crate) fn pad(&mut self) -> Result<(), Error> {
        self.put(Writer::padding(self.size_bytes))
    }

    /// Brings the file to the disk.
    pub(crate) fn finish(self) -> Result<Finished, Error> {
        let Self { path, to, hash, size_bytes } = self;
        let mut file = to.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.file().sync_all().map_err(Error::io(&path))?;
        Ok(Finished { hash: FileHash::new(&path, size_bytes, hash), file })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// A whole file that does not have its name yet.
pub(crate) struct Finished {
    file: AtomicFile,
    pub(crate) hash: FileHash,
}

impl Finished {
    /// Where it is for now.
    pub(crate) fn temporary_path(&self) -> &Path {
        self.file.temporary_path()
    }

    /// Gives it its name: in place of what has it, if that `replaces`, else where it is free.
    pub(crate) fn publish(self, replaces: bool) -> Result<(), Error> {
        let named = if replaces { self.file.commit() } else { self.file.commit_new() };
        named.map_err(from_files)
    }
}

/// Where the file at `path` lies.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
