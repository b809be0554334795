//! The queue of downloads as rows, so that it outlasts crashes and several processes share it.
//!
//! What a download has to note of its progress, and the code and arguments of why it broke off, are
//! JSON of the caller's.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{Error, Model, Store, models};

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

impl DownloadState {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
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

/// A row of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedDownload {
    /// Its number, which no other download ever has.
    pub id: i64,
    /// What is downloaded.
    pub source: Source,
    /// What it does.
    pub state: DownloadState,
    /// Why it broke off: JSON of an error code and its arguments.
    pub failure: Option<String>,
    /// The short name of the model that it became.
    pub model: Option<String>,
    /// What the downloader notes of it, JSON.
    pub progress: String,
    /// A bit for each chunk that is here.
    pub received: Vec<u8>,
    /// SHA-256 of the file up to the end of each chunk, 32 bytes each.
    pub digests: Vec<u8>,
}

/// What changes in a row while it is put into the queue; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadChange {
    /// What the downloader notes of it, JSON.
    pub progress: Option<String>,
    /// The chunks that are here, and the digests.
    pub chunks: Option<(Vec<u8>, Vec<u8>)>,
    /// What it does.
    pub state: Option<DownloadState>,
}

pub(crate) const COLUMNS: &str = "id, repository, file, revision, wanted_sha256, state, failure, \
     model, progress, received, digests";

impl Store {
    /// Puts a download into the queue and returns its number. One of the same file that is there
    /// already goes on.
    ///
    /// `prepare` gets the number and the row as it was before, and says what is to change in it. No
    /// process sees the row before that is done.
    ///
    /// # Errors
    /// Those of the database and of `prepare`; then nothing has changed.
    pub fn enqueue<E: From<Error>>(
        &self,
        source: &Source,
        prepare: impl FnOnce(i64, Option<&QueuedDownload>) -> Result<DownloadChange, E>,
    ) -> Result<i64, E> {
        self.transaction(|transaction| {
            let before = find(transaction, &source.repository, &source.file)?;
            let id = insert(transaction, source)?;
            let change = prepare(id, before.as_ref())?;
            apply(transaction, id, &change)?;
            Ok(id)
        })
    }

    /// All downloads, in the order of the queue.
    ///
    /// # Errors
    /// Those of the database.
    pub fn downloads(&self) -> Result<Vec<QueuedDownload>, Error> {
        let reader = self.reader();
        let sql = format!("SELECT {COLUMNS} FROM downloads ORDER BY id");
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map([], download)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One download; `None` where it was cancelled.
    ///
    /// # Errors
    /// Those of the database.
    pub fn download(&self, id: i64) -> Result<Option<QueuedDownload>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM downloads WHERE id = ?1");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id], download).optional()?)
    }

    /// The download of `file` of `repository`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn download_of(
        &self,
        repository: &str,
        file: &str,
    ) -> Result<Option<QueuedDownload>, Error> {
        find(&self.reader(), repository, file)
    }

    /// Pauses a download that waits or runs.
    ///
    /// # Errors
    /// Those of the database.
    pub fn pause_download(&self, id: i64) -> Result<(), Error> {
        let sql = "UPDATE downloads SET state = 'paused'
             WHERE id = ?1 AND state IN ('queued', 'running')";
        self.writer().prepare_cached(sql)?.execute([id])?;
        Ok(())
    }

    /// Lets a download that was paused or broke off go on.
    ///
    /// # Errors
    /// Those of the database.
    pub fn resume_download(&self, id: i64) -> Result<(), Error> {
        let sql = "UPDATE downloads SET state = 'queued', failure = NULL
             WHERE id = ?1 AND state IN ('paused', 'failed')";
        self.writer().prepare_cached(sql)?.execute([id])?;
        Ok(())
    }

    /// Takes a download out of the queue.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove_download(&self, id: i64) -> Result<(), Error> {
        self.writer().execute("DELETE FROM downloads WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Notes that this process runs a download. Returns whether it is to run: it may have been paused
    /// or cancelled.
    ///
    /// # Errors
    /// Those of the database.
    pub fn begin_download(&self, id: i64) -> Result<bool, Error> {
        let sql = "UPDATE downloads SET state = 'running', failure = NULL
             WHERE id = ?1 AND state IN ('queued', 'running')";
        Ok(self.writer().prepare_cached(sql)?.execute([id])? > 0)
    }

    /// Writes down how far a download is. Returns whether it still is to run.
    ///
    /// # Errors
    /// Those of the database.
    pub fn note_download(
        &self,
        id: i64,
        progress: &str,
        received: &[u8],
        digests: &[u8],
    ) -> Result<bool, Error> {
        let sql = "UPDATE downloads SET progress = ?2, received = ?3, digests = ?4 WHERE id = ?1
             RETURNING state = 'running'";
        let writer = self.writer();
        let mut statement = writer.prepare_cached(sql)?;
        let is_running = statement
            .query_row(params![id, progress, received, digests], |row| row.get(0))
            .optional()?;
        Ok(is_running.unwrap_or(false))
    }

    /// Notes that a download broke off; `failure` is JSON of an error code and its arguments.
    ///
    /// # Errors
    /// Those of the database.
    pub fn fail_download(&self, id: i64, failure: &str) -> Result<(), Error> {
        let sql = "UPDATE downloads SET state = 'failed', failure = ?2
             WHERE id = ?1 AND state = 'running'";
        self.writer().execute(sql, params![id, failure])?;
        Ok(())
    }

    /// Writes a finished download down as a model, in one step. The model gets another name where its
    /// own is taken.
    ///
    /// # Errors
    /// Those of the database; [`Error::PathNotText`].
    pub fn finish_download(&self, id: i64, model: &mut Model) -> Result<(), Error> {
        self.transaction(|transaction| {
            models::put(transaction, model)?;
            transaction.execute(
                "UPDATE downloads SET state = 'done', model = ?2, received = x'', digests = x''
                 WHERE id = ?1",
                params![id, model.name],
            )?;
            Ok(())
        })
    }
}

fn find(
    connection: &Connection,
    repository: &str,
    file: &str,
) -> Result<Option<QueuedDownload>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM downloads WHERE repository = ?1 AND file = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([repository, file], download).optional()?)
}

fn insert(transaction: &Transaction<'_>, source: &Source) -> Result<i64, Error> {
    let Source { repository, file, revision, sha256 } = source;
    let sql = "INSERT INTO downloads (repository, file, revision, wanted_sha256)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository, file) DO UPDATE SET
             state = CASE state WHEN 'running' THEN state ELSE 'queued' END,
             failure = NULL, model = NULL, revision = ?3, wanted_sha256 = ?4
         RETURNING id";
    Ok(transaction.query_row(sql, params![repository, file, revision, sha256], |row| row.get(0))?)
}

fn apply(transaction: &Transaction<'_>, id: i64, change: &DownloadChange) -> Result<(), Error> {
    let DownloadChange { progress, chunks, state } = change;
    if let Some(progress) = progress {
        let sql = "UPDATE downloads SET progress = ?2 WHERE id = ?1";
        transaction.execute(sql, params![id, progress])?;
    }
    if let Some((received, digests)) = chunks {
        let sql = "UPDATE downloads SET received = ?2, digests = ?3 WHERE id = ?1";
        transaction.execute(sql, params![id, received, digests])?;
    }
    if let Some(state) = state {
        let sql = "UPDATE downloads SET state = ?2 WHERE id = ?1";
        transaction.execute(sql, params![id, state.as_str()])?;
    }
    Ok(())
}

fn download(row: &Row<'_>) -> rusqlite::Result<QueuedDownload> {
    Ok(QueuedDownload {
        id: row.get(0)?,
        source: Source {
            repository: row.get(1)?,
            file: row.get(2)?,
            revision: row.get(3)?,
            sha256: row.get(4)?,
        },
        state: DownloadState::parse(&row.get::<_, String>(5)?),
        failure: row.get(6)?,
        model: row.get(7)?,
        progress: row.get(8)?,
        received: row.get(9)?,
        digests: row.get(10)?,
    })
}
