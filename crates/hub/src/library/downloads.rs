//! The queue of downloads as it is written down, so that it outlasts crashes and restarts, and so
//! that several processes see the same one.
//!
//! States are the only way to steer a download: whoever runs it looks at its row four times a
//! second.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::describe::describe;
use super::{Entry, Library, index};
use crate::Error;
use crate::download::here_bytes;

/// What is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The SHA-256 that the file must have, where a certain file is wanted.
    pub sha256: Option<String>,
}

/// What a download does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadState {
    /// It waits for its turn, or a process that ran it ended.
    Queued,
    /// A process works on it.
    Running,
    /// The user paused it.
    Paused,
    /// It broke off and waits for the user.
    Failed,
    /// The model is in the library.
    Done,
}

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
    /// The ETag of whoever sends the bytes.
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

pub(super) const COLUMNS: &str = "id, repository, file, revision, wanted_sha256, state, failure, model, \
     progress, received, digests";

impl DownloadState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Queued, Self::Running, Self::Paused, Self::Done]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or(Self::Failed)
    }
}

impl Library {
    /// Puts a download into the queue and returns its number. One that is there already goes on.
    ///
    /// # Errors
    /// [`Error::RepositoryName`], [`Error::FileName`], [`Error::Index`].
    pub fn enqueue(&self, source: &Source) -> Result<i64, Error> {
        self.folder.of_repository(&source.repository, &source.file)?;
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = find(&transaction, &source.repository, &source.file)?;
        let id = enqueue(&transaction, source)?;
        // A download that is not running has nothing to report of an earlier run.
        let writer = self.locks.try_exclusive(&download_lock(id))?;
        if let Some(before) = before.filter(|_| writer.is_some()) {
            let journal = match before.state {
                // Nothing of it is here any more, or all of it as a model.
                DownloadState::Done => Journal::default(),
                _ if self.folder.partial(id).exists() => before.journal.at_rest(&before.received),
                _ => before.journal.at_rest(&[]),
            };
            let journal = serde_json::to_string(&journal).expect("a journal is plain data");
            transaction.execute(
                "UPDATE downloads SET progress = ?2 WHERE id = ?1",
                params![id, journal],
            )?;
        }
        transaction.commit()?;
        self.downloads_changed.notify_one();
        Ok(id)
    }

    /// All downloads, in the order of the queue.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn downloads(&self) -> Result<Vec<DownloadRow>, Error> {
        let index = self.index();
        let sql = format!("SELECT {COLUMNS} FROM downloads ORDER BY id");
        let mut statement = index.prepare_cached(&sql)?;
        let rows = statement.query_map([], download)?;
        Ok(rows.collect::<Result<_, _>>()?)
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
        let row = find(&self.index(), repository, file)?;
        let here = row.map_or(0, |row| super::folder::disk_bytes(&self.folder.partial(row.id)));
        Ok(total_bytes.saturating_sub(here))
    }

    /// One download; `None` where it was cancelled.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn download(&self, id: i64) -> Result<Option<DownloadRow>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM downloads WHERE id = ?1");
        let index = self.index();
        Ok(index.prepare_cached(&sql)?.query_row([id], download).optional()?)
    }

    /// Pauses a download that waits or runs.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn pause(&self, id: i64) -> Result<(), Error> {
        self.change(
            "UPDATE downloads SET state = 'paused' WHERE id = ?1 AND state IN ('queued', 'running')",
            id,
        )
    }

    /// Lets a download that was paused or broke off go on.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn resume(&self, id: i64) -> Result<(), Error> {
        self.change(
            "UPDATE downloads SET state = 'queued', failure = NULL
             WHERE id = ?1 AND state IN ('paused', 'failed')",
            id,
        )
    }

    /// Takes a download out of the queue, with what is here of its file. A model that it became
    /// stays.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::Io`].
    pub fn cancel(&self, id: i64) -> Result<(), Error> {
        self.change("DELETE FROM downloads WHERE id = ?1", id)?;
        // Where it runs, whoever runs it removes the file.
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

    fn change(&self, sql: &str, id: i64) -> Result<(), Error> {
        self.index().prepare_cached(sql)?.execute([id])?;
        self.downloads_changed.notify_one();
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
        let sql = "UPDATE downloads SET state = 'running', failure = NULL
             WHERE id = ?1 AND state IN ('queued', 'running')";
        Ok(self.index().prepare_cached(sql)?.execute([id])? > 0)
    }

    /// Writes the journal down. Returns whether the download still is to run.
    pub(crate) fn note_progress(
        &self,
        id: i64,
        journal: &Journal,
        received: &[u8],
        digests: &[u8],
    ) -> Result<bool, Error> {
        let progress = serde_json::to_string(journal).expect("a journal is plain data");
        let index = self.index();
        index
            .prepare_cached(
                "UPDATE downloads SET progress = ?2, received = ?3, digests = ?4 WHERE id = ?1",
            )?
            .execute(params![id, progress, received, digests])?;
        let state: Option<String> = index
            .prepare_cached("SELECT state FROM downloads WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(state.is_some_and(|state| DownloadState::parse(&state) == DownloadState::Running))
    }

    /// Notes why it broke off.
    pub(crate) fn note_failure(&self, id: i64, failure: &Error) -> Result<(), Error> {
        let sql = "UPDATE downloads SET state = 'failed', failure = ?2
             WHERE id = ?1 AND state = 'running'";
        self.index().execute(sql, params![id, failure_json(&failure.into())])?;
        Ok(())
    }

    /// Writes a finished download down as a model, whose name changes where it is taken.
    pub(crate) fn note_done(&self, id: i64, entry: &mut Entry) -> Result<(), Error> {
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        index::put(&transaction, &self.folder, entry)?;
        transaction.execute(
            "UPDATE downloads SET state = 'done', model = ?2, received = x'', digests = x''
             WHERE id = ?1",
            params![id, entry.name],
        )?;
        Ok(transaction.commit()?)
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
        let progress = serde_json::to_string(journal).expect("a journal is plain data");
        let mut index = self.index();
        // The row is not visible before it says what is here.
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = enqueue(&transaction, source)?;
        let Some(_writer) = self.locks.try_exclusive(&download_lock(id))? else {
            // The file is being fetched already.
            transaction.commit()?;
            return Ok(id);
        };
        transaction.execute(
            "UPDATE downloads SET progress = ?2, received = ?3, digests = ?4, state = 'queued'
             WHERE id = ?1",
            params![id, progress, received, entry.digests],
        )?;
        transaction.commit()?;
        // What an earlier download left is of another version.
        self.remove_partial(id)?;
        self.downloads_changed.notify_one();
        Ok(id)
    }
}

/// The download of `file` of `repository`.
fn find(index: &Connection, repository: &str, file: &str) -> Result<Option<DownloadRow>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM downloads WHERE repository = ?1 AND file = ?2");
    Ok(index.prepare_cached(&sql)?.query_row([repository, file], download).optional()?)
}

/// Those rows of a damaged index that can be read.
pub(super) fn readable_downloads(index: &Connection) -> Vec<DownloadRow> {
    let Ok(mut statement) = index.prepare(&format!("SELECT {COLUMNS} FROM downloads")) else {
        return Vec::new();
    };
    let Ok(rows) = statement.query_map([], download) else { return Vec::new() };
    rows.map_while(Result::ok).collect()
}

/// Puts a download of another index into this one.
pub(super) fn put_download(index: &Transaction<'_>, row: &DownloadRow) -> Result<(), Error> {
    let progress = serde_json::to_string(&row.journal).expect("a journal is plain data");
    let source = &row.source;
    let sql = format!(
        "INSERT OR IGNORE INTO downloads ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    );
    index.execute(
        &sql,
        params![
            row.id,
            source.repository,
            source.file,
            source.revision,
            source.sha256,
            row.state.as_str(),
            row.failure.as_ref().map(failure_json),
            row.model,
            progress,
            row.received,
            row.digests
        ],
    )?;
    Ok(())
}

fn enqueue(index: &Connection, source: &Source) -> Result<i64, Error> {
    let Source { repository, file, revision, sha256 } = source;
    let sql = "INSERT INTO downloads (repository, file, revision, wanted_sha256)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository, file) DO UPDATE SET
             state = CASE state WHEN 'running' THEN state ELSE 'queued' END,
             failure = NULL, model = NULL, revision = ?3, wanted_sha256 = ?4
         RETURNING id";
    Ok(index.query_row(sql, params![repository, file, revision, sha256], |row| row.get(0))?)
}

/// The lock of whoever runs a download.
pub(crate) fn download_lock(id: i64) -> String {
    format!("download-{id}")
}

fn failure_json(failure: &lilims_ipc::Error) -> String {
    serde_json::to_string(failure).expect("an error is plain data")
}

/// The failure that a row holds. Rows of earlier versions hold a sentence, which becomes the detail.
fn failure(text: String) -> lilims_ipc::Error {
    serde_json::from_str(&text)
        .unwrap_or_else(|_| lilims_ipc::Error::new(lilims_ipc::Problem::Unknown, text))
}

fn download(row: &Row<'_>) -> rusqlite::Result<DownloadRow> {
    let progress: String = row.get(8)?;
    Ok(DownloadRow {
        id: row.get(0)?,
        source: Source {
            repository: row.get(1)?,
            file: row.get(2)?,
            revision: row.get(3)?,
            sha256: row.get(4)?,
        },
        state: DownloadState::parse(&row.get::<_, String>(5)?),
        failure: row.get::<_, Option<String>>(6)?.map(failure),
        model: row.get(7)?,
        // One of another version begins anew: its chunks are checked in any case.
        journal: serde_json::from_str(&progress).unwrap_or_default(),
        received: row.get(9)?,
        digests: row.get(10)?,
    })
}
