//! Writes the result's file under a temporary name beside its final path; renaming it publishes it.
//!
//! A long file is flushed to the disk while it is written, so that flushing at the end is short.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lilims_files::{AtomicFile, AtomicFileOptions, BackgroundFlush};
use lilims_gguf::{TensorHeader, Writer};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::file_hash::FileHash;
use crate::input_file::from_files;

/// The prefix of the names of temporary files and folders.
pub(crate) const PREFIX: &str = ".converting-";

/// Smaller writes are gathered up to this size, in bytes; larger ones are not copied.
const BUFFER_BYTES: usize = 1 << 16;
/// What is written between two flushes to the disk, in bytes.
const FLUSH_BYTES: u64 = 8 << 20;

/// A file that is being written. Dropping it before [`Finished::publish`] removes it.
pub(crate) struct Output {
    path: PathBuf,
    writer: BufWriter<AtomicFile>,
    hash: Sha256,
    size_bytes: u64,
    /// From the first flush on.
    background_flush: Option<BackgroundFlush>,
}

impl Output {
    /// Creates the temporary file that becomes `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let options = AtomicFileOptions { prefix: PREFIX, ..AtomicFileOptions::default() };
        let file = AtomicFile::with_options(path, options).map_err(from_files)?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        let (path, hash) = (path.to_owned(), Sha256::new());
        Ok(Self { path, writer, hash, size_bytes: 0, background_flush: None })
    }

    /// Writes all of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })?;
        if self.size_bytes / FLUSH_BYTES > (self.size_bytes - bytes.len() as u64) / FLUSH_BYTES {
            self.flush_in_background();
        }
        Ok(())
    }

    fn flush_in_background(&mut self) {
        if self.background_flush.is_none() {
            // Without a thread, only `finish` flushes.
            self.background_flush = BackgroundFlush::start(self.writer.get_mut().file()).ok();
        }
        if let Some(flush) = &self.background_flush {
            flush.request();
        }
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
        let Self { path, writer, hash, size_bytes, background_flush } = self;
        background_flush.map_or(Ok(()), BackgroundFlush::finish).map_err(Error::io(&path))?;
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
