//! Writes the result's file under a temporary name beside its final path; renaming it publishes it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lilims_files::{AtomicFile, AtomicFileOptions};
use lilims_gguf::{TensorHeader, Writer};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::file_hash::FileHash;
use crate::input_file::from_files;

/// The prefix of the names of temporary files and folders.
pub(crate) const PREFIX: &str = ".converting-";

/// A file that is being written. Dropping it before [`Finished::publish`] removes it.
pub(crate) struct Output {
    path: PathBuf,
    writer: BufWriter<AtomicFile>,
    hash: Sha256,
    size_bytes: u64,
}

impl Output {
    /// Creates the temporary file that becomes `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let options = AtomicFileOptions { prefix: PREFIX, ..AtomicFileOptions::default() };
        let file = AtomicFile::with_options(path, options).map_err(from_files)?;
        let writer = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), writer, hash: Sha256::new(), size_bytes: 0 })
    }

    /// Writes all of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// Writes the header of a GGUF file.
    pub(crate) fn write_header(
        &mut self,
        writer: &Writer,
        tensors: &[TensorHeader],
    ) -> Result<(), Error> {
        let path = self.path.clone();
        writer.write_header(tensors.iter(), self).map_err(Error::io(&path))
    }

    /// Writes the padding in front of the next tensor.
    pub(crate) fn pad(&mut self) -> Result<(), Error> {
        self.put(Writer::padding(self.size_bytes))
    }

    /// Flushes the file to the disk.
    pub(crate) fn finish(self) -> Result<Finished, Error> {
        let Self { path, writer, hash, size_bytes } = self;
        let mut file = writer.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.file().sync_all().map_err(Error::io(&path))?;
        Ok(Finished { hash: FileHash::new(&path, size_bytes, hash), file })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.writer.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// A complete file that still has its temporary name.
pub(crate) struct Finished {
    file: AtomicFile,
    pub(crate) hash: FileHash,
}

impl Finished {
    pub(crate) fn temporary_path(&self) -> &Path {
        self.file.temporary_path()
    }

    /// Renames the file to its final path. With `replace_existing` it replaces a file there,
    /// otherwise an existing file is an error.
    pub(crate) fn publish(self, replace_existing: bool) -> Result<(), Error> {
        let renamed = if replace_existing { self.file.commit() } else { self.file.commit_new() };
        renamed.map_err(from_files)
    }
}

/// Returns the folder of the file at `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
