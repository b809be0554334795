//! The queue of downloads as it is written down, so that it outlasts crashes and restarts, and so
//! that several processes see the same one.
//!
//! States are the only way to control a download: the process that runs it reads its row four times a
//! second.

use lilims_store::{DownloadChange, QueuedDownload};
use serde::{Deserialize, Serialize};

use super::describe::describe;
use super::{DownloadState, Entry, Library, Source, index};
use crate::Error;
use crate::download::here_bytes;

/// What is known of a download that has begun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// The commit that the file is taken from.
    pub commit: String,
    /// What identifies the content at the hub: for models, their SHA-256.
    pub etag: String,
    /// The SHA-256 that the hub states.
    pub sha256: Option<String>,
    /// The ETag that the sending server gives.
    pub sender_etag: Option<String>,
    /// The file's size; 0 until that is known.
    pub total_bytes: u64,
    /// What is here of it.
    pub done_bytes: u64,
    /// Bytes per second at the moment.
    pub bytes_per_second: Option<f64>,
    /// What went wrong, while it tries again by itself, and in how many seconds it does.
    pub retrying: Option<(lilims_ipc::Error, u64)>,
    /// Whether all bytes are here and only the hash is missing.
    pub is_checking: bool,
    /// The licence of the weights.
    pub licence: Option<String>,
    /// What is noted just before the whole file gets its name, so that a process that ends then
    /// leaves a model and no riddle.
    pub published: Option<Published>,
}

/// A whole file that is about to get its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its place, relative to our folder.
    pub place: String,
    /// The SHA-256 that was computed of it.
    pub sha256: String,
}

impl Journal {
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a journal is plain data")
    }

    /// The same without what only a download that runs has to tell.
    fn at_rest(self, received: &[u8]) -> Self {
        Self {
            done_bytes: here_bytes(self.total_bytes, received),
            bytes_per_second: None,
            retrying: None,
            is_checking: false,
            ..self
        }
    }
}

/// A download in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct DownloadRow {
    /// Its number.
    pub id: i64,
    /// What is downloaded.
    pub source: Source,
    /// What it does.
    pub state: DownloadState,
    /// Why it broke off.
    pub failure: Option<lilims_ipc::Error>,
    /// The short name of the model that it became.
    pub model: Option<String>,
    /// What is known of it.
    pub journal: Journal,
    /// A bit for each chunk that is here.
    pub(crate) received: Vec<u8>,
    /// SHA-256 of the file up to the end of each chunk, 32 bytes each.
    pub(crate) digests: Vec<u8>,
}

impl DownloadRow {
    /// Whether it is to replace or repair this model.
    pub(super) fn brings(&self, entry: &Entry) -> bool {
        self.state != DownloadState::Done
            && entry.repository.as_ref() == Some(&self.source.repository)
            && entry.file.as_ref() == Some(&self.source.file)
    }
}

impl Library {
    /// Puts a download into the queue and returns its number. One that is there already goes on.
    ///
    /// # Errors
    /// [`Error::RepositoryName`], [`Error::FileName`], [`Error::Index`].
    pub fn enqueue(&self, source: &Source) -> Result<i64, Error> {
        self.folder.of_repository(&source.repository, &source.file)?;
        let id = self.store.enqueue::<Error>(source, |id, before| {
            // A download that is not running has nothing to report of an earlier run.
            let writer = self.locks.try_exclusive(&download_lock(id))?;
            let Some(before) = before.filter(|_| writer.is_some()) else {
                return Ok(DownloadChange::default());
            };
            let before = DownloadRow::from(before.clone());
            let journal = match before.state {
                // Nothing of it is here any more, or all of it as a model.
                DownloadState::Done => Journal::default(),
                _ if self.folder.partial(id).exists() => before.journal.at_rest(&before.received),
                _ => before.journal.at_rest(&[]),
            };
            Ok(DownloadChange { progress: Some(journal.to_json()), ..DownloadChange::default() })
        })?;
        self.downloads_changed.notify_one();
        Ok(id)
    }

    /// All downloads, in the order of the queue.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn downloads(&self) -> Result<Vec<DownloadRow>, Error> {
        Ok(self.store.downloads()?.into_iter().map(DownloadRow::from).collect())
    }

    /// What the disk has yet to hold of a file of `total_bytes`, of which an earlier download may have
    /// left something.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn missing_bytes(
        &self,
        repository: &str,
        file: &str,
        total_bytes: u64,
    ) -> Result<u64, Error> {
        let row = self.store.download_of(repository, file)?;
        let here = row.map_or(0, |row| super::folder::disk_bytes(&self.folder.partial(row.id)));
        Ok(total_bytes.saturating_sub(here))
    }

    /// One download; `None` where it was cancelled.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn download(&self, id: i64) -> Result<Option<DownloadRow>, Error> {
        Ok(self.store.download(id)?.map(DownloadRow::from))
    }

    /// Pauses a download that waits or runs.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn pause(&self, id: i64) -> Result<(), Error> {
        self.store.pause_download(id)?;
        self.downloads_changed.notify_one();
        Ok(())
    }

    /// Lets a download that was paused or broke off go on.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn resume(&self, id: i64) -> Result<(), Error> {
        self.store.resume_download(id)?;
        self.downloads_changed.notify_one();
        Ok(())
    }

    /// Takes a download out of the queue, with what is here of its file. A model that it became
    /// stays.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`].
    pub fn cancel(&self, id: i64) -> Result<(), Error> {
        self.store.remove_download(id)?;
        self.downloads_changed.notify_one();
        // If it is running, the process that runs it removes the file.
        if let Some(_held) = self.locks.try_exclusive(&download_lock(id))? {
            self.remove_partial(id)?;
        }
        Ok(())
    }

    pub(crate) fn remove_partial(&self, id: i64) -> Result<(), Error> {
        self.folder.remove_file(&self.folder.partial(id))
    }

    /// Removes what downloads have left that are no longer in the queue: they were cancelled while
    /// a process ran them, and that process ended before it could do it.
    pub(super) fn remove_orphans(&self) -> Result<(), Error> {
        for id in self.folder.unfinished() {
            if let Some(_held) = self.locks.try_exclusive(&download_lock(id))?
                && self.download(id)?.is_none()
            {
                self.remove_partial(id)?;
            }
        }
        Ok(())
    }

    /// Writes down the models of all downloads that ended between the name of their file and its
    /// entry. What cannot be settled now is left for the next time.
    pub(super) fn settle_all(&self) {
        let Ok(rows) = self.downloads() else { return };
        for row in rows.iter().filter(|row| row.journal.published.is_some()) {
            if row.state != DownloadState::Done
                && let Ok(Some(_held)) = self.locks.try_exclusive(&download_lock(row.id))
            {
                let _ = self.settle(row);
            }
        }
    }

    /// Writes down the model of a download whose file has its name already, if it has.
    pub(crate) fn settle(&self, row: &DownloadRow) -> Result<Option<Entry>, Error> {
        let Some(Published { place, sha256 }) = &row.journal.published else { return Ok(None) };
        let path = self.root().join(place);
        let is_there = path.metadata().is_ok_and(|it| it.len() == row.journal.total_bytes);
        if self.folder.partial(row.id).exists() || !is_there || !self.folder.owns(&path) {
            return Ok(None);
        }
        let mut entry = self.brought(row, &path, sha256)?;
        self.note_done(row.id, &mut entry)?;
        Ok(Some(entry))
    }

    /// The entry of the file at `path`, which the download has brought.
    pub(crate) fn brought(
        &self,
        row: &DownloadRow,
        path: &std::path::Path,
        sha256: &str,
    ) -> Result<Entry, Error> {
        let DownloadRow { source, journal, .. } = row;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let description = describe(path, &name)?;
        let fresh = self.new_entry(path, description, journal.total_bytes)?;
        Ok(Entry {
            repository: Some(source.repository.clone()),
            file: Some(source.file.clone()),
            revision: Some(journal.commit.clone()),
            sha256: Some(sha256.to_owned()),
            licence: journal.licence.clone().or(fresh.licence),
            digests: row.digests.clone(),
            ..fresh
        })
    }

    /// Notes that this process runs it, unless it was paused or cancelled meanwhile.
    pub(crate) fn begin(&self, id: i64) -> Result<bool, Error> {
        Ok(self.store.begin_download(id)?)
    }

    /// Writes the journal down. Returns whether the download still is to run.
    pub(crate) fn note_progress(
        &self,
        id: i64,
        journal: &Journal,
        received: &[u8],
        digests: &[u8],
    ) -> Result<bool, Error> {
        Ok(self.store.note_download(id, &journal.to_json(), received, digests)?)
    }

    /// Notes why it broke off.
    pub(crate) fn note_failure(&self, id: i64, failure: &Error) -> Result<(), Error> {
        let failure = lilims_ipc::Error::from(failure);
        let failure = serde_json::to_string(&failure).expect("an error is plain data");
        Ok(self.store.fail_download(id, &failure)?)
    }

    /// Writes a finished download down as a model, whose name changes where it is taken.
    pub(crate) fn note_done(&self, id: i64, entry: &mut Entry) -> Result<(), Error> {
        index::put(&self.folder, entry, |model| self.store.finish_download(id, model))
    }

    /// Makes a download of a damaged model of which the chunks in `received` may be good. The model
    /// stays until its repair is here. Returns the download's number.
    pub(crate) fn note_repair(
        &self,
        entry: &Entry,
        source: &Source,
        journal: &Journal,
        received: &[u8],
    ) -> Result<i64, Error> {
        let mut writer = None;
        // The row is not visible before it says what is here.
        let id = self.store.enqueue(source, |id, _| {
            writer = self.locks.try_exclusive(&download_lock(id))?;
            Ok::<_, Error>(match writer {
                Some(_) => DownloadChange {
                    progress: Some(journal.to_json()),
                    chunks: Some((received.to_vec(), entry.digests.clone())),
                    state: Some(DownloadState::Queued),
                },
                // The file is being fetched already.
                None => DownloadChange::default(),
            })
        })?;
        if writer.is_none() {
            return Ok(id);
        }
        // What an earlier download left is of another version.
        self.remove_partial(id)?;
        self.downloads_changed.notify_one();
        Ok(id)
    }
}

/// The lock of a running download.
pub(crate) fn download_lock(id: i64) -> String {
    format!("download-{id}")
}

impl From<QueuedDownload> for DownloadRow {
    fn from(row: QueuedDownload) -> Self {
        // A sentence of an earlier version becomes the detail of an unknown code.
        let failure = row.failure.map(|text| {
            serde_json::from_str(&text)
                .unwrap_or_else(|_| lilims_ipc::Error::new(lilims_ipc::Problem::Unknown, text))
        });
        Self {
            id: row.id,
            source: row.source,
            state: row.state,
            failure,
            model: row.model,
            // A journal of another version is dropped: the chunks are checked in any case.
            journal: serde_json::from_str(&row.progress).unwrap_or_default(),
            received: row.received,
            digests: row.digests,
        }
    }
}
