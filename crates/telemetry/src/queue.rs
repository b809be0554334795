//! The queue on disk: one file per envelope, bounded in number, size and age; the oldest go first.
//!
//! A file's name is the time it was queued, a number, and the event's id, so that names sort by age.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use sentry::types::Uuid;

use crate::Error;
use crate::clock::unix_ms;
use crate::folder::{Folder, TEMPORARY, ignore_missing, write_private};
use crate::pipeline::Sink;

/// Bounds of the queue.
pub(crate) const MAX_FILES: usize = 30;
pub(crate) const MAX_QUEUE_BYTES: u64 = 1 << 20;
pub(crate) const MAX_ENVELOPE_BYTES: usize = 64 << 10;
/// Older envelopes are deleted: the server would not take them.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A temporary file of this age is not being written any more.
const MAX_TEMPORARY_AGE: Duration = Duration::from_secs(3600);
const EXTENSION: &str = ".envelope";

/// The queue of a folder.
#[derive(Debug)]
pub(crate) struct Queue {
    folder: Arc<Folder>,
    /// Orders envelopes of one millisecond.
    next_number: AtomicU64,
}

/// An envelope of the queue.
#[derive(Debug)]
pub(crate) struct QueueEntry {
    path: PathBuf,
    queued_ms: u64,
    size_bytes: u64,
}

impl Queue {
    /// The queue of `folder`, without files that are too old or half written.
    pub(crate) fn open(folder: Arc<Folder>) -> Result<Self, Error> {
        let queue = Self { folder, next_number: AtomicU64::new(0) };
        queue.remove_stale()?;
        Ok(queue)
    }

    /// The envelopes, the oldest first.
    pub(crate) fn entries(&self) -> Result<Vec<QueueEntry>, Error> {
        let folder = self.folder.queue();
        let names = match fs::read_dir(&folder) {
            // Another process has switched off.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(Error::folder(&folder))?,
        };
        let mut entries = Vec::new();
        for name in names {
            // A file that is gone was sent or deleted in the meantime.
            let entry = name.map_err(Error::folder(&folder))?;
            if let Ok(metadata) = entry.metadata() {
                entries.extend(QueueEntry::of(&entry.path(), metadata.len()));
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The oldest envelope with its bytes. Files that cannot be read are deleted.
    pub(crate) fn next(&self) -> Result<Option<(QueueEntry, Vec<u8>)>, Error> {
        for entry in self.entries()? {
            match lilims_files::read(&entry.path, MAX_ENVELOPE_BYTES as u64) {
                Ok(bytes) if !bytes.is_empty() => return Ok(Some((entry, bytes))),
                Err(error) if error.is_not_found() => {}
                Ok(_) | Err(_) => self.remove(&entry)?,
            }
        }
        Ok(None)
    }

    /// Deletes an envelope; one that is gone is no error.
    pub(crate) fn remove(&self, entry: &QueueEntry) -> Result<(), Error> {
        ignore_missing(fs::remove_file(&entry.path)).map_err(Error::folder(&entry.path))
    }

    /// Deletes envelopes that are too old, and returns how many.
    pub(crate) fn remove_old(&self) -> Result<usize, Error> {
        let now_ms = unix_ms(SystemTime::now());
        let max_age_ms = u64::try_from(MAX_AGE.as_millis()).unwrap_or(u64::MAX);
        let entries = self.entries()?;
        let old = entries.iter().filter(|it| now_ms.saturating_sub(it.queued_ms) > max_age_ms);
        old.map(|entry| self.remove(entry)).collect::<Result<Vec<()>, _>>().map(|it| it.len())
    }

    /// Deletes the oldest envelopes until the rest is within the bounds.
    fn trim(&self) -> Result<(), Error> {
        let entries = self.entries()?;
        let mut total_bytes = 0;
        for (idx, entry) in entries.iter().rev().enumerate() {
            total_bytes += entry.size_bytes;
            if idx >= MAX_FILES || total_bytes > MAX_QUEUE_BYTES {
                self.remove(entry)?;
            }
        }
        Ok(())
    }

    fn remove_stale(&self) -> Result<(), Error> {
        let folder = self.folder.queue();
        for entry in fs::read_dir(&folder).map_err(Error::folder(&folder))? {
            let entry = entry.map_err(Error::folder(&folder))?;
            let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let age = entry.metadata().and_then(|it| it.modified()).map(|it| it.elapsed());
            if is_temporary && matches!(age, Ok(Ok(age)) if age > MAX_TEMPORARY_AGE) {
                ignore_missing(fs::remove_file(entry.path())).map_err(Error::folder(&folder))?;
            }
        }
        self.remove_old()?;
        self.trim()
    }

    fn new_path(&self, event_id: Uuid) -> PathBuf {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let now_ms = unix_ms(SystemTime::now());
        let name = format!("{now_ms:015}-{number:06}-{}{EXTENSION}", event_id.as_simple());
        self.folder.queue().join(name)
    }
}

impl Sink for Queue {
    fn store(&self, event_id: Uuid, envelope: Vec<u8>) -> Result<(), Error> {
        if envelope.len() > MAX_ENVELOPE_BYTES {
            let size_bytes = envelope.len();
            return Err(Error::TooLarge { size_bytes, limit_bytes: MAX_ENVELOPE_BYTES });
        }
        self.folder.while_open(|| {
            write_private(&self.new_path(event_id), &envelope)?;
            self.trim()
        })
    }
}

impl QueueEntry {
    /// The entry of a file with a name of ours.
    fn of(path: &Path, size_bytes: u64) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
        let queued_ms = name.split_once('-')?.0.parse().ok()?;
        Some(Self { path: path.to_owned(), queued_ms, size_bytes })
    }
}

#[cfg(test)]
mod tests;
