//! Runs the queue of downloads, as many at once as the user allows, across all processes.

use std::sync::Arc;
use std::time::Duration;

use lilims_ipc::Problem;
use tokio::task::JoinSet;

use super::rate::Limiter;
use super::task::{self, TICK};
use crate::blocking::blocking;
use crate::library::{DownloadRow, DownloadState, LockGuard, download_lock};
use crate::{Client, Entry, Error, Library};

/// How often an idle queue looks for downloads that other processes added.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);
/// The wait before a download is tried again whose result could not be stored.
const DATABASE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the downloads of a library's queue.
#[derive(Clone)]
pub struct Downloader {
    client: Client,
    limiter: Arc<Limiter>,
}

/// How a download ended.
#[derive(Debug)]
pub enum Outcome {
    /// The model is in the library.
    Done(Box<Entry>),
    /// It was paused.
    Paused,
    /// It was cancelled.
    Cancelled,
    /// It failed.
    Failed(Box<lilims_ipc::Error>),
}

impl Downloader {
    /// Creates a downloader for the library of `client`.
    pub fn new(client: Client) -> Self {
        Self { client, limiter: Arc::default() }
    }

    /// Limits the rate to `bytes_per_second`, even if the library's limit is higher.
    #[must_use]
    pub fn with_rate_limit(self, bytes_per_second: u64) -> Self {
        Self { limiter: Arc::new(Limiter::at_most(bytes_per_second)), ..self }
    }

    /// Runs the queue forever: waiting downloads, and those whose process has ended. When idle, it
    /// sleeps until this process changes a download, and checks now and then whether another one did.
    ///
    /// Calls `report` with all downloads after a change, at most four times a second.
    pub async fn run(&self, mut report: impl FnMut(&[DownloadRow]) + Send) {
        let mut running = JoinSet::new();
        let mut reported = Vec::new();
        loop {
            while running.try_join_next().is_some() {}
            // If the database cannot be read now, it is read at the next tick.
            let rows = self.on_library(Library::downloads).await;
            // Sealed, downloads wait.
            let is_open = matches!(self.on_library(Library::sealed).await, Ok(None));
            let may_start = |row: &&DownloadRow| is_open && is_waiting(row);
            let is_active = !running.is_empty() || rows.iter().flatten().any(|row| may_start(&row));
            if let Ok(rows) = rows {
                for row in rows.iter().filter(may_start) {
                    if let Ok(Some(locks)) = self.try_lock(row.id).await {
                        let (this, id) = (self.clone(), row.id);
                        running.spawn(async move {
                            if this.run_one(id, locks).await.is_err() {
                                // The row still says that it runs, so the queue tries it again.
                                tokio::time::sleep(DATABASE_RETRY_INTERVAL).await;
                            }
                        });
                    }
                }
                if rows != reported {
                    report(&rows);
                    reported = rows;
                }
            }
            if is_active {
                tokio::time::sleep(TICK).await;
            } else {
                let changed = self.client.library().downloads_changed.notified();
                let _ = tokio::time::timeout(IDLE_INTERVAL, changed).await;
            }
        }
    }

    /// Runs one download to its end, or waits for the process that runs it and takes over if that
    /// ends. Calls `report` four times a second.
    ///
    /// # Errors
    /// [`Error::Database`]; [`Error::Io`] if the locks cannot be used; [`Error::Sealed`].
    pub async fn run_until_done(
        &self,
        id: i64,
        mut report: impl FnMut(&DownloadRow) + Send,
    ) -> Result<Outcome, Error> {
        let mut running = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(ended) = running.join_next() => ended.map_err(Error::Task)??,
            }
            let Some(row) = self.on_library(move |it| it.download(id)).await? else {
                while running.join_next().await.is_some() {}
                return Ok(Outcome::Cancelled);
            };
            report(&row);
            if is_waiting(&row) {
                if let Some(by) = self.on_library(Library::sealed).await? {
                    return Err(Error::Sealed { by });
                }
                if let Some(locks) = self.try_lock(id).await? {
                    let this = self.clone();
                    running.spawn(async move { this.run_one(id, locks).await });
                }
                continue;
            }
            // The task may still be cleaning up.
            running.join_all().await;
            return self.outcome(row).await;
        }
    }

    async fn outcome(&self, row: DownloadRow) -> Result<Outcome, Error> {
        Ok(match row.state {
            DownloadState::Done => {
                let name = row.model.unwrap_or_default();
                Outcome::Done(Box::new(self.on_library(move |it| it.entry(&name)).await?))
            }
            DownloadState::Paused => Outcome::Paused,
            _ => Outcome::Failed(Box::new(row.failure.unwrap_or(Problem::Unknown.into()))),
        })
    }

    /// Locks the download and one of the slots, if both are free.
    async fn try_lock(&self, id: i64) -> Result<Option<[LockGuard; 2]>, Error> {
        let try_lock = move |library: &Library| {
            let Some(download) = library.locks.try_exclusive(&download_lock(id))? else {
                return Ok(None);
            };
            for slot in 0..library.limits()?.at_once {
                if let Some(slot) = library.locks.try_exclusive(&format!("place-{slot}"))? {
                    return Ok(Some([download, slot]));
                }
            }
            Ok(None)
        };
        self.on_library(try_lock).await
    }

    /// Runs a download that this process has locked, and stores how it ended. If that cannot be
    /// stored, or Lilims was sealed, the row still says that it runs; without its lock, that means that
    /// it waits.
    async fn run_one(&self, id: i64, _locks: [LockGuard; 2]) -> Result<(), Error> {
        let begin = move |library: &Library| match library.begin_download(id)? {
            true => library.download(id),
            false => Ok(None),
        };
        // `None` if it was paused or cancelled a moment ago.
        let Some(row) = self.on_library(begin).await? else { return Ok(()) };
        // In a task of its own, so that a panic is stored as a failure. Otherwise the row would still
        // say that it runs, and the queue would start it again at each tick.
        let (this, mut task) = (self.clone(), JoinSet::new());
        task.spawn(async move { task::run(&this.client, &this.limiter, row).await });
        let error = match task.join_next().await {
            None | Some(Ok(Ok(_))) => return Ok(()),
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => Error::Task(panic),
        };
        let store = move |library: &Library| match error {
            Error::Stopped => match library.download(id)? {
                None => library.remove_partial(id),
                Some(_) => Ok(()),
            },
            Error::Sealed { .. } => Ok(()),
            error => library.fail_download(id, &error),
        };
        self.on_library(store).await
    }

    /// Runs `work` on a blocking thread.
    async fn on_library<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Library) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let library = Arc::clone(self.client.library());
        blocking(move || work(&library)).await
    }
}

/// Whether the download is to be run by the process that gets its lock.
fn is_waiting(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Queued | DownloadState::Running)
}
