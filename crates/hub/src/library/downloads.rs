//! The queue of downloads in the database, which survives crashes and is shared by all processes.
//!
//! A download is controlled only by the state in its row: the process that runs it reads the row four
//! times a second.

use lilims_store::{DownloadChange, QueuedDownload};
use serde::{Deserialize, Serialize};

use super::describe::describe;
use super::{DownloadState, Entry, Library, Source, index};
use crate::Error;
use crate::download::received_bytes;

/// The progress of a download, stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DownloadProgress {
    /// The commit of the file.
    pub commit: String,
    /// The hub's ETag of the content; for models, their SHA-256.
    pub etag: String,
    /// The SHA-256 according to the hub.
    pub sha256: Option<String>,
    /// The ETag of the server that sends the bytes.
    pub sender_etag: Option<String>,
    /// The file's size; 0 until it is known.
    pub total_bytes: u64,
    /// The number of received bytes.
    pub done_bytes: u64,
    /// The current rate.
    pub bytes_per_second: Option<f64>,
    /// The last error and the seconds until the retry, while it waits for one.
    pub retrying: Option<(lilims_ipc::Error, u64)>,
    /// Whether all bytes are received and only the hash is missing.
    pub is_checking: bool,
    /// The licence of the model.
    pub licence: Option<String>,
    /// Stored just before the complete file is renamed, so that a crash after that loses nothing.
    pub published: Option<Published>,
}

/// A complete file that is being renamed to its final path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The final path, relative to the library's folder.
    pub place: String,
    /// Its computed SHA-256.
    pub sha256: String,
}

impl DownloadProgress {
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("progress is plain data")
    }

    /// Removes what is known only while the download runs.
    fn when_stopped(self, received: &[u8]) -> Self {
        Self {
            done_bytes: received_bytes(self.total_bytes, received),
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
    /// Its ID.
    pub id: i64,
    /// What is downloaded.
    pub source: Source,
    /// Its state.
    pub state: DownloadState,
    /// Why it failed.
    pub failure: Option<lilims_ipc::Error>,
    /// The short name of the resulting model.
    pub model: Option<String>,
    /// Its progress.
    pub progress: DownloadProgress,
    /// One bit per chunk: whether it has been received.
    pub(crate) received: Vec<u8>,
    /// SHA-256 of the file up to the end of each chunk, 32 bytes each.
    pub(crate) digests: Vec<u8>,
}

impl DownloadRow {
    /// Whether it will replace or repair this model.
    pub(super) fn replaces(&self, entry: &Entry) -> bool {
        self.state != DownloadState::Done
            && entry.repository.as_ref() == Some(&self.source.repository)
            && entry.file.as_ref() == Some(&self.source.file)
    }
}

impl Library {
    /// Adds a download to the queue and returns its ID. One of the same file is resumed.
    ///
    /// # Errors
    /// [`Error::RepositoryName`], [`Error::FileName`], [`Error::Database`].
    pub fn enqueue(&self, source: &Source) -> Result<i64, Error> {
        self.folder.of_repository(&source.repository, &source.file)?;
        let id = self.store.enqueue::<Error>(source, |id, before| {
            // Progress of a download that is not running is from an earlier run.
            let writer = self.locks.try_exclusive(&download_lock(id))?;
            let Some(before) = before.filter(|_| writer.is_some()) else {
                return Ok(DownloadChange::default());
            };
            let before = DownloadRow::from(before.clone());
            let progress = match before.state {
                // Its unfinished file is gone.
                DownloadState::Done => DownloadProgress::default(),
                _ if self.folder.partial(id).exists() => {
                    before.progress.when_stopped(&before.received)
                }
                _ => before.progress.when_stopped(&[]),
            };
            Ok(DownloadChange { progress: Some(progress.to_json()), ..DownloadChange::default() })
        })?;
        self.downloads_changed.notify_one();
        Ok(id)
    }

    /// All downloads in queue order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn downloads(&self) -> Result<Vec<DownloadRow>, Error> {
        Ok(self.store.downloads()?.into_iter().map(DownloadRow::from).collect())
    }

    /// The disk space that a file of `total_bytes` still needs, less what an earlier download has
    /// reserved.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn missing_bytes(
        &self,
        repository: &str,
        file: &str,
        total_bytes: u64,
    ) -> Result<u64, Error> {
        let row = self.store.download_of(repository, file)?;
        let reserved = row.map_or(0, |row| super::folder::disk_bytes(&self.folder.partial(row.id)));
        Ok(total_bytes.saturating_sub(reserved))
    }

    /// One download; `None` if it was cancelled.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn download(&self, id: i64) -> Result<Option<DownloadRow>, Error> {
        Ok(self.store.download(id)?.map(DownloadRow::from))
    }

    /// Pauses a waiting or running download.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn pause(&self, id: i64) -> Result<(), Error> {
        self.store.pause_download(id)?;
        self.downloads_changed.notify_one();
        Ok(())
    }

    /// Resumes a paused or failed download.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn resume(&self, id: i64) -> Result<(), Error> {
        self.store.resume_download(id)?;
        self.downloads_changed.notify_one();
        Ok(())
    }

    /// Removes a download from the queue, with its unfinished file. A resulting model stays.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Io`].
    pub fn cancel(&self, id: i64) -> Result<(), Error> {
        self.store.remove_download(id)?;
        self.downloads_changed.notify_one();
        // If it is running, the process that runs it removes the file.
        if let Some(_lock) = self.locks.try_exclusive(&download_lock(id))? {
            self.remove_partial(id)?;
        }
        Ok(())
    }

    pub(crate) fn remove_partial(&self, id: i64) -> Result<(), Error> {
        self.folder.remove_file(&self.folder.partial(id))
    }

    /// Removes unfinished files without a download: those were cancelled while a process ran them that
    /// crashed before it removed the file.
    pub(super) fn remove_orphans(&self) -> Result<(), Error> {
        for id in self.folder.unfinished() {
            if let Some(_lock) = self.locks.try_exclusive(&download_lock(id))?
                && self.download(id)?.is_none()
            {
                self.remove_partial(id)?;
            }
        }
        Ok(())
    }

    /// Adds the models of downloads that a crash interrupted between the renaming of the file and its
    /// entry. Errors are left for the next time.
    pub(super) fn recover_downloads(&self) {
        let Ok(rows) = self.downloads() else { return };
        for row in rows.iter().filter(|row| row.progress.published.is_some()) {
            if row.state != DownloadState::Done
                && let Ok(Some(_lock)) = self.locks.try_exclusive(&download_lock(row.id))
            {
                let _ = self.recover_download(row);
            }
        }
    }

    /// Adds the model of a download whose file has already been renamed; `None` if it has not.
    pub(crate) fn recover_download(&self, row: &DownloadRow) -> Result<Option<Entry>, Error> {
        let Some(Published { place, sha256 }) = &row.progress.published else { return Ok(None) };
        let path = self.root().join(place);
        let is_complete = path.metadata().is_ok_and(|it| it.len() == row.progress.total_bytes);
        if self.folder.partial(row.id).exists() || !is_complete || !self.folder.owns(&path) {
            return Ok(None);
        }
        let mut entry = self.downloaded_entry(row, &path, sha256)?;
        self.finish_download(row.id, &mut entry)?;
        Ok(Some(entry))
    }

    /// The entry of the downloaded file at `path`.
    pub(crate) fn downloaded_entry(
        &self,
        row: &DownloadRow,
        path: &std::path::Path,
        sha256: &str,
    ) -> Result<Entry, Error> {
        let DownloadRow { source, progress, .. } = row;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let description = describe(path, &name)?;
        let new = self.new_entry(path, description, progress.total_bytes)?;
        Ok(Entry {
            repository: Some(source.repository.clone()),
            file: Some(source.file.clone()),
            revision: Some(progress.commit.clone()),
            sha256: Some(sha256.to_owned()),
            licence: progress.licence.clone().or(new.licence),
            digests: row.digests.clone(),
            ..new
        })
    }

    /// Marks a download as running, unless it was paused or cancelled meanwhile; returns whether.
    pub(crate) fn begin_download(&self, id: i64) -> Result<bool, Error> {
        Ok(self.store.begin_download(id)?)
    }

    /// Stores the progress of a running download. Returns whether it may go on.
    pub(crate) fn store_progress(&self, row: &DownloadRow) -> Result<bool, Error> {
        let progress = row.progress.to_json();
        Ok(self.store.note_download(row.id, &progress, &row.received, &row.digests)?)
    }

    /// Stores why a download failed.
    pub(crate) fn fail_download(&self, id: i64, failure: &Error) -> Result<(), Error> {
        let failure = lilims_ipc::Error::from(failure);
        let failure = serde_json::to_string(&failure).expect("an error is plain data");
        Ok(self.store.fail_download(id, &failure)?)
    }

    /// Adds the model of a finished download. Its short name changes if it is in use.
    pub(crate) fn finish_download(&self, id: i64, entry: &mut Entry) -> Result<(), Error> {
        index::put(&self.folder, entry, |model| self.store.finish_download(id, model))
    }

    /// Enqueues the repair of a damaged model of which the chunks in `received` may be good. The model
    /// stays until the repair is complete. Returns the ID of the download.
    pub(crate) fn enqueue_repair(
        &self,
        entry: &Entry,
        source: &Source,
        progress: &DownloadProgress,
        received: &[u8],
    ) -> Result<i64, Error> {
        let mut writer = None;
        // The transaction hides the row from other processes until it has its chunks.
        let id = self.store.enqueue(source, |id, _| {
            writer = self.locks.try_exclusive(&download_lock(id))?;
            Ok::<_, Error>(match writer {
                Some(_) => DownloadChange {
                    progress: Some(progress.to_json()),
                    chunks: Some((received.to_vec(), entry.digests.clone())),
                    state: Some(DownloadState::Queued),
                },
                // The file is already being downloaded.
                None => DownloadChange::default(),
            })
        })?;
        if writer.is_none() {
            return Ok(id);
        }
        // The file of an earlier download has another version.
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
        // Earlier versions stored sentences.
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
            // Progress of another version is dropped: the chunks are checked in any case.
            progress: serde_json::from_str(&row.progress).unwrap_or_default(),
            received: row.received,
            digests: row.digests,
        }
    }
}
