//! Carries out the queue: so many downloads at once as the user allows, over all processes.

use std::sync::Arc;
use std::time::Duration;

use lilims_ipc::Problem;
use tokio::task::JoinSet;

use super::rate::Limiter;
use super::task::{self, TICK};
use crate::library::{DownloadRow, DownloadState, Held, download_lock};
use crate::{Client, Entry, Error, Library};

/// How often an idle queue looks for downloads of other processes.
const IDLE_INTERVAL: Duration = Duration::from_secs(20);
/// How long a download waits whose end could not be written into the index.
const INDEX_PAUSE: Duration = Duration::from_secs(1);

/// Carries out downloads of a library's queue.
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
    /// Somebody paused it.
    Paused,
    /// Somebody cancelled it.
    Cancelled,
    /// It broke off.
    Failed(Box<lilims_ipc::Error>),
}

impl Downloader {
    /// Carries out downloads through `client`, for its library.
    pub fn new(client: Client) -> Self {
        Self { client, limiter: Arc::default() }
    }

    /// The same with at most `bytes_per_second`, also where the library's limits allow more.
    pub fn at_most(self, bytes_per_second: u64) -> Self {
        Self { limiter: Arc::new(Limiter::at_most(bytes_per_second)), ..self }
    }

    fn library(&self) -> &Arc<Library> {
        self.client.library()
    }

    /// Runs the queue for ever: downloads that wait, and those that a process which ended has left.
    /// While none waits or runs, it sleeps until this process changes one, and looks now and then
    /// whether another process did.
    ///
    /// `report` is called with all downloads when something changed, at most four times a second.
    pub async fn run(&self, mut report: impl FnMut(&[DownloadRow]) + Send) {
        let mut running = JoinSet::new();
        let mut reported = Vec::new();
        loop {
            while running.try_join_next().is_some() {}
            // An index that cannot be read now may be read at the next tick.
            let rows = self.read_rows().await;
            let is_active = !running.is_empty() || rows.iter().flatten().any(is_waiting);
            if let Ok(rows) = rows {
                for row in rows.iter().filter(|row| is_waiting(row)) {
                    if let Ok(Some(locks)) = self.try_take(row.id) {
                        let (this, id) = (self.clone(), row.id);
                        running.spawn(async move {
                            if this.run_one(id, &locks).await.is_err() {
                                // It is tried again after this.
                                tokio::time::sleep(INDEX_PAUSE).await;
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
                let changed = self.library().downloads_changed.notified();
                let _ = tokio::time::timeout(IDLE_INTERVAL, changed).await;
            }
        }
    }

    /// Reads the queue on a thread that may block.
    async fn read_rows(&self) -> Result<Vec<DownloadRow>, Error> {
        let library = Arc::clone(self.library());
        let rows = tokio::task::spawn_blocking(move || library.downloads()).await;
        rows.unwrap_or_else(|broken| Err(Error::io("")(std::io::Error::other(broken))))
    }

    /// Runs one download until it ended, or waits for the process that runs it and takes over
    /// where that ends. `tell` hears of it four times a second.
    ///
    /// # Errors
    /// [`Error::Index`]; [`Error::Io`] where the library's locks cannot be used.
    pub async fn run_until_done(
        &self,
        id: i64,
        mut tell: impl FnMut(&DownloadRow) + Send,
    ) -> Result<Outcome, Error> {
        let mut running = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(ended) = running.join_next() => {
                    ended.unwrap_or_else(|error| Err(Error::io("")(std::io::Error::other(error))))?;
                }
            }
            let Some(row) = self.library().download(id)? else {
                while running.join_next().await.is_some() {}
                return Ok(Outcome::Cancelled);
            };
            tell(&row);
            match row.state {
                DownloadState::Queued | DownloadState::Running => {
                    if let Some(locks) = self.try_take(id)? {
                        let this = self.clone();
                        running.spawn(async move { this.run_one(id, &locks).await });
                    }
                }
                state => {
                    // The task may still be putting things away.
                    running.join_all().await;
                    return self.outcome(row, state);
                }
            }
        }
    }

    fn outcome(&self, row: DownloadRow, state: DownloadState) -> Result<Outcome, Error> {
        Ok(match state {
            DownloadState::Done => {
                let name = row.model.unwrap_or_default();
                Outcome::Done(Box::new(self.library().entry(&name)?))
            }
            DownloadState::Paused => Outcome::Paused,
            _ => Outcome::Failed(Box::new(row.failure.unwrap_or(Problem::Unknown.into()))),
        })
    }

    /// Takes the download and one of the places, if both are free.
    fn try_take(&self, id: i64) -> Result<Option<[Held; 2]>, Error> {
        let library = self.library();
        let Some(writer) = library.locks.try_exclusive(&download_lock(id))? else {
            return Ok(None);
        };
        for place in 0..library.limits()?.at_once {
            if let Some(place) = library.locks.try_exclusive(&format!("place-{place}"))? {
                return Ok(Some([writer, place]));
            }
        }
        Ok(None)
    }

    /// Runs a download and writes down how it ended; an error is one of the index. Then its row
    /// says that it runs; without its lock, that means that it waits.
    async fn run_one(&self, id: i64, _locks: &[Held; 2]) -> Result<(), Error> {
        let library = self.library();
        if !library.begin(id)? {
            // Paused or cancelled a moment ago.
            return Ok(());
        }
        let Some(row) = library.download(id)? else { return Ok(()) };
        // A panic would leave a row that says it runs, which is begun again at each tick.
        let (this, mut task) = (self.clone(), JoinSet::new());
        task.spawn(async move { task::run(&this.client, &this.limiter, row).await });
        let ended = match task.join_next().await {
            Some(Ok(ended)) => ended.map(drop),
            Some(Err(broken)) => Err(Error::io("")(std::io::Error::other(broken))),
            None => Ok(()),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(Error::Stopped) => match library.download(id)? {
                None => library.remove_partial(id),
                Some(_) => Ok(()),
            },
            Err(error) => library.note_failure(id, &error),
        }
    }
}

/// Whether a row is to be run by the process that gets its lock.
fn is_waiting(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Queued | DownloadState::Running)
}
