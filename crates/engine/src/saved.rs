//! Saved sessions: reopening a conversation costs reading a file instead of running the model.
//!
//! A file holds a JSON header, the tokens, and the keys and values as in the cache; checksums cover
//! all of it. The header has the fingerprint of model, chat template and settings: a file with a
//! different fingerprint is rejected, and so is a damaged one. The conversation itself can be shown
//! without this file. The format is described in `docs/formats.md`.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crc32fast::Hasher;
use lilims_files::{AtomicFile, AtomicFileOptions};
use serde::{Deserialize, Serialize};

use crate::window::Window;
use crate::{Error, Model, Session};

/// Magic bytes: name and version of the format.
const MAGIC: &[u8; 12] = b"LILIMS-KV\0\0\x01";
/// A header has a few hundred bytes; a longer one is damaged.
const MAX_HEADER: usize = 1 << 16;
/// Size of the I/O buffer.
const BUFFER: usize = 1 << 20;
/// The header before tokens and cache.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    /// SHA-256 of model, template and settings, in hexadecimal.
    fingerprint: String,
    n_tokens: usize,
    base: usize,
    n_sinks: usize,
    start: usize,
    written: usize,
    /// Length of the attached note, which follows the tokens.
    note_len: usize,
}

impl Session {
    /// Saves the session to `path`, replacing the file only when everything is written.
    ///
    /// # Errors
    /// [`Error::SavedIo`], [`Error::Candle`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.save_with(path, &[])
    }

    /// Like [`Session::save`], with an attached note.
    pub(crate) fn save_with(&self, path: &Path, note: &[u8]) -> Result<(), Error> {
        // The fingerprint is computed from the model file.
        self.model.check_unchanged()?;
        let options = AtomicFileOptions { is_private: true, ..AtomicFileOptions::default() };
        let mut file =
            AtomicFile::with_options(path, options).map_err(|e| Error::SavedIo(e.into()))?;
        let mut writer = BufWriter::with_capacity(BUFFER, file.file());
        self.write_to(&mut writer, note)?;
        writer.flush().map_err(Error::SavedIo)?;
        drop(writer);
        // Not synced: a session that a crash has damaged fails its checksums, and its text is read again.
        file.commit_unsynced().map_err(|error| Error::SavedIo(error.into()))
    }

    /// Loads the session that was saved at `path` with this model and settings.
    ///
    /// # Errors
    /// [`Error::SavedIo`] if the file cannot be read, [`Error::Saved`] if it is damaged or was
    /// saved with another model or other settings, and those of [`Model::session`].
    pub fn load(model: &Arc<Model>, path: &Path) -> Result<Self, Error> {
        Self::load_with(model, path).map(|(session, _)| session)
    }

    /// Like [`Session::load`], with the attached note.
    pub(crate) fn load_with(model: &Arc<Model>, path: &Path) -> Result<(Self, Vec<u8>), Error> {
        let file = lilims_files::open(path).map_err(|error| Error::SavedIo(error.into()))?;
        let len = file.metadata().map_err(Error::SavedIo)?.len();
        Self::read_from(model, BufReader::with_capacity(BUFFER, file), len)
    }

    fn write_to(&self, to: &mut dyn Write, note: &[u8]) -> Result<(), Error> {
        let Window { n_sinks, start, written, .. } = self.window;
        let (n_tokens, base) = (self.tokens.len(), self.base);
        let fingerprint = self.model.fingerprint().to_owned();
        let note_len = note.len();
        let header = Header { fingerprint, n_tokens, base, n_sinks, start, written, note_len };
        let header = serde_json::to_vec(&header).expect("plain data");
        let mut to = Checksummed { inner: to, sum: Hasher::new() };
        let write =
            |to: &mut Checksummed<_>, bytes: &[u8]| to.write_all(bytes).map_err(Error::SavedIo);
        write(&mut to, MAGIC)?;
        write(&mut to, &(header.len() as u32).to_le_bytes())?;
        write(&mut to, &header)?;
        to.write_sum()?;
        write(&mut to, bytemuck::cast_slice(&self.tokens))?;
        write(&mut to, note)?;
        self.runner.save(&self.window, n_tokens - base, &mut to)?;
        to.write_sum()
    }

    fn read_from(model: &Arc<Model>, from: impl Read, len: u64) -> Result<(Self, Vec<u8>), Error> {
        let mut from = Checksummed { inner: from, sum: Hasher::new() };
        let mut start = [0; MAGIC.len() + 4];
        from.read_exact(&mut start).map_err(Error::SavedIo)?;
        let (magic, header_len) = start.split_at(MAGIC.len());
        let header_len = u32::from_le_bytes(header_len.try_into().expect("four bytes")) as usize;
        ensure(magic == MAGIC, "not a saved session, or of another format version")?;
        ensure(header_len <= MAX_HEADER, "header too long")?;
        let mut header = vec![0; header_len];
        from.read_exact(&mut header).map_err(Error::SavedIo)?;
        from.check_sum()?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| Error::Saved { what: format!("invalid header: {error}") })?;
        ensure(
            header.fingerprint == model.fingerprint(),
            "saved with another model or other settings",
        )?;
        // A matching fingerprint does not make the rest trustworthy.
        let fits = header.n_tokens as u64 <= len / 4 && header.note_len as u64 <= len;
        ensure(fits, "file truncated")?;
        ensure(header.is_consistent(model.context()), "inconsistent header")?;

        let mut session = model.session()?;
        let mut tokens = vec![0u32; header.n_tokens];
        from.read_exact(bytemuck::cast_slice_mut(&mut tokens)).map_err(Error::SavedIo)?;
        let mut note = vec![0; header.note_len];
        from.read_exact(&mut note).map_err(Error::SavedIo)?;
        let n_vocab = model.spec().n_vocab;
        ensure(tokens.iter().all(|&id| (id as usize) < n_vocab), "unknown tokens")?;
        let Header { base, n_sinks, start, written, .. } = header;
        session.window = Window { n_sinks, start, written, ..session.window };
        let len = tokens.len() - base;
        ensure(len == 0 || session.can_resume(len), "incomplete cache")?;
        session.runner.load(&session.window, len, &mut from)?;
        from.check_sum()?;
        session.tokens.extend(tokens);
        session.base = base;
        Ok((session, note))
    }
}

impl Header {
    fn is_consistent(&self, context: usize) -> bool {
        let Self { n_tokens, base, n_sinks, start, written, .. } = *self;
        base <= n_tokens
            && n_sinks <= context / 2
            && start >= n_sinks
            && written >= n_tokens - base
            && (start == n_sinks || start <= n_tokens)
    }
}

fn ensure(condition: bool, what: &str) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Saved { what: what.to_owned() }) }
}

/// Computes the checksum of all bytes that pass through.
struct Checksummed<T> {
    inner: T,
    sum: Hasher,
}

impl<T: Write> Write for Checksummed<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Checksummed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.sum.update(&bytes[..read]);
        Ok(read)
    }
}

impl<T: Write> Checksummed<T> {
    /// Writes the checksum of everything written so far.
    fn write_sum(&mut self) -> Result<(), Error> {
        let sum = self.sum.clone().finalize();
        self.inner.write_all(&sum.to_le_bytes()).map_err(Error::SavedIo)
    }
}

impl<T: Read> Checksummed<T> {
    /// Reads a checksum and compares it.
    fn check_sum(&mut self) -> Result<(), Error> {
        let expected = self.sum.clone().finalize();
        let mut sum = [0; 4];
        self.inner.read_exact(&mut sum).map_err(Error::SavedIo)?;
        ensure(u32::from_le_bytes(sum) == expected, "checksum mismatch")
    }
}
