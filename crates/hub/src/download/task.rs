//! One download, from its row in the queue to a model in the library.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lilims_ipc::ConnectionPurpose;
use tokio::sync::{Mutex, mpsc};

use super::chunks::Chunks;
use super::rate::{Limiter, Meter};
use super::sink::{self, Hashed, Shared};
use super::steps::{self, Reserved};
use super::transfer::{Failure, Transfer};
use super::{PARALLEL_FROM_BYTES, WORKERS};
use crate::api::FileInfo;
use crate::blocking::blocking;
use crate::client::Client;
use crate::egress::Purpose;
use crate::library::{DownloadRow, Entry, Source};
use crate::{Error, Library};

/// How often the progress is stored, and the row checked for a pause or cancellation.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Capacity of the channel to the writing thread: some megabytes, to bound memory.
const MAX_QUEUED_BLOCKS: usize = 32;
/// How often a file may change at its source during one download.
const MAX_CHANGES: u32 = 3;
/// How often a file with a wrong hash is downloaded again.
const MAX_WRONG_HASHES: usize = 4;

/// The result of downloading the missing bytes.
enum Attempt {
    Complete(Hashed),
    Changed,
}

/// Runs the download of a row. Returns the model.
///
/// # Errors
/// [`Error::Stopped`] after a pause or cancellation; else why it failed.
pub(crate) async fn run(
    client: &Client,
    limiter: &Arc<Limiter>,
    row: DownloadRow,
) -> Result<Entry, Error> {
    let mut task = Task { client, limiter, row, turn: Arc::default() };
    if let Some(entry) = task.step(|library, row| library.recover_download(row)).await? {
        return Ok(entry);
    }
    for _ in 0..=MAX_CHANGES {
        let info = task.begin().await?;
        let present = {
            let info = info.clone();
            task.step(move |library, row| steps::finish_if_present(library, row, &info)).await?
        };
        if let Some(entry) = present {
            return Ok(entry);
        }
        task.reserve().await?;
        task.store_progress().await?;
        if let Attempt::Complete(hashed) = task.fetch(&info).await? {
            return task.step(move |library, row| steps::finish(library, row, &info, hashed)).await;
        }
    }
    let Source { repository, file, .. } = &task.row.source;
    let (url, purpose) =
        (client.url(repository), Purpose::of_file(ConnectionPurpose::Download, repository, file));
    Err(Error::invalid_response(&url, &purpose, "the file keeps changing"))
}

struct Task<'a> {
    client: &'a Client,
    limiter: &'a Arc<Limiter>,
    row: DownloadRow,
    /// Held by the current step: one whose caller stopped waiting ends before the next one begins,
    /// so that it cannot overwrite later progress.
    turn: Arc<Mutex<()>>,
}

impl Task<'_> {
    /// Runs a step with a copy of the row on a blocking thread.
    async fn step<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Library, &mut DownloadRow) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (library, mut row) = (Arc::clone(self.client.library()), self.row.clone());
        blocking(move || {
            let _turn = turn;
            work(&library, &mut row)
        })
        .await
    }

    /// Asks the hub for the file's version, and discards the chunks of another version.
    async fn begin(&mut self) -> Result<FileInfo, Error> {
        let source = self.row.source.clone();
        let mut info = self.file_info(&source).await?;
        if let (Some(expected), Some(got)) = (&source.sha256, &info.sha256)
            && expected != got
        {
            let (file, expected, got) = (source.file, expected.clone(), got.clone());
            return Err(Error::Changed { file, expected, got });
        }
        info.sha256 = info.sha256.or(source.sha256);
        let progress = &mut self.row.progress;
        let is_same = progress.etag == info.etag && progress.total_bytes == info.total_bytes;
        if !is_same {
            self.row.received.clear();
            self.row.digests.clear();
            progress.sender_etag = None;
        }
        progress.published = None;
        progress.commit.clone_from(&info.commit);
        progress.etag.clone_from(&info.etag);
        progress.sha256.clone_from(&info.sha256);
        progress.total_bytes = info.total_bytes;
        Ok(info)
    }

    /// Asks the hub for the file's version, with retries.
    async fn file_info(&mut self, source: &Source) -> Result<FileInfo, Error> {
        let client = self.client;
        let mut failures = 0;
        loop {
            let info = client.file_info(&source.repository, &source.revision, &source.file);
            let error = match self.until_stopped(info).await {
                Err(error) if error.is_transient() && failures < client.timeouts.max_retries => {
                    error
                }
                result => return result,
            };
            failures += 1;
            let wait = client.timeouts.backoff(failures, &error);
            self.row.progress.retrying = Some(((&error).into(), wait.as_secs()));
            let waited = async {
                tokio::time::sleep(wait).await;
                Ok(())
            };
            self.until_stopped(waited).await?;
            self.row.progress.retrying = None;
        }
    }

    /// Reserves disk space for the file. A repair starts with a copy of the damaged model, which
    /// stays until the repair is complete.
    async fn reserve(&mut self) -> Result<(), Error> {
        let reserved = self.step(|library, row| steps::reserve(library, row)).await?;
        let damaged = match reserved {
            Reserved::Resumed => return Ok(()),
            Reserved::Empty => {
                self.row.received.clear();
                return Ok(());
            }
            Reserved::Damaged(path) => path,
        };
        // Until the copy is complete, the stored progress must not claim any chunks.
        self.row.received.clear();
        let total_bytes = self.row.progress.total_bytes;
        let partial = self.client.library().folder.partial(self.row.id);
        let cancel = Arc::new(AtomicBool::new(false));
        let _cancel_on_drop = SetOnDrop(Arc::clone(&cancel));
        let copied =
            blocking(move || steps::copy_damaged(&damaged, &partial, total_bytes, &cancel));
        self.until_stopped(copied).await?;
        let mut chunks = Chunks::new(total_bytes);
        (0..chunks.len()).for_each(|idx| chunks.set_received(idx));
        self.row.received = chunks.to_bits();
        Ok(())
    }

    /// Downloads the file until its hash is right, or until that is hopeless.
    async fn fetch(&mut self, info: &FileInfo) -> Result<Attempt, Error> {
        let mut wrong_hashes = Vec::new();
        loop {
            let hashed = match self.attempt(info).await? {
                Attempt::Complete(hashed) => hashed,
                Attempt::Changed => return Ok(Attempt::Changed),
            };
            let is_right = info.sha256.as_ref().is_none_or(|it| *it == hashed.sha256);
            // The same wrong bytes twice are wrong at their source.
            let is_hopeless =
                wrong_hashes.len() == MAX_WRONG_HASHES || wrong_hashes.contains(&hashed.sha256);
            if is_right || is_hopeless {
                return Ok(Attempt::Complete(hashed));
            }
            // Only the hash of the whole file is known, so the whole file is downloaded again.
            wrong_hashes.push(hashed.sha256);
            self.start_over().await?;
        }
    }

    async fn start_over(&mut self) -> Result<(), Error> {
        self.row.received.clear();
        self.row.digests.clear();
        self.row.progress.sender_etag = None;
        self.store_progress().await
    }

    /// Downloads the missing chunks.
    async fn attempt(&mut self, info: &FileInfo) -> Result<Attempt, Error> {
        let chunks = Chunks::from_bits(info.total_bytes, &self.row.received);
        let shared = Arc::new(Shared::new(info.total_bytes, chunks));
        let (blocks, receiver) = mpsc::channel(MAX_QUEUED_BLOCKS);
        let path = self.client.library().folder.partial(self.row.id);
        let (digests, for_sink) = (std::mem::take(&mut self.row.digests), Arc::clone(&shared));
        let sink =
            tokio::task::spawn_blocking(move || sink::run(&path, &for_sink, digests, receiver));
        let sender_etag = self.row.progress.sender_etag.clone();
        let source = self.row.source.clone();
        let transfer =
            Transfer::new(self.client, &source, info, &shared, self.limiter, sender_etag);
        let worked = self.work(&transfer, blocks).await;
        // The workers have dropped the channel's sender, so the sink ends.
        let hashed = sink.await.map_err(Error::Task)?;
        self.report_progress(&transfer, &mut Meter::default()).await?;
        match (hashed?, worked) {
            (Some(hashed), _) => Ok(Attempt::Complete(hashed)),
            (None, Err(Failure::Changed)) => Ok(Attempt::Changed),
            (None, Err(Failure::Error(error))) => Err(error),
            (None, Ok(())) => Err(Error::Stopped),
        }
    }

    /// Runs the workers while reporting their progress.
    async fn work(
        &mut self,
        transfer: &Transfer<'_>,
        blocks: mpsc::Sender<sink::Block>,
    ) -> Result<(), Failure> {
        let n = if transfer.info.total_bytes < PARALLEL_FROM_BYTES { 1 } else { WORKERS };
        let workers = try_join_all((0..n).map(|worker| transfer.work(worker, &blocks)));
        tokio::select! {
            result = workers => result.map(drop),
            error = self.report_until_stopped(transfer) => Err(error.into()),
        }
    }

    /// Reports the progress at each tick. Returns [`Error::Stopped`] after a pause or cancellation.
    async fn report_until_stopped(&mut self, transfer: &Transfer<'_>) -> Error {
        let mut meter = Meter::default();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            match self.report_progress(transfer, &mut meter).await {
                Ok(true) => {}
                Ok(false) => return Error::Stopped,
                Err(error) => return error,
            }
        }
    }

    /// Stores the workers' progress and applies the current rate limit. Returns whether the download
    /// may go on.
    async fn report_progress(
        &mut self,
        transfer: &Transfer<'_>,
        meter: &mut Meter,
    ) -> Result<bool, Error> {
        let shared = transfer.shared;
        let progress = &mut self.row.progress;
        progress.done_bytes = shared.received_bytes();
        progress.bytes_per_second = meter.add(Instant::now(), progress.done_bytes);
        progress.is_checking = shared.chunks().all_received();
        progress.retrying = transfer.retrying();
        progress.sender_etag = transfer.sender_etag();
        (self.row.received, self.row.digests) = shared.snapshot();
        let limiter = Arc::clone(self.limiter);
        self.step(move |library, row| {
            limiter.set(library.limits()?.bytes_per_second);
            library.store_progress(row)
        })
        .await
    }

    async fn store_progress(&self) -> Result<(), Error> {
        self.step(|library, row| steps::store_progress(library, row)).await
    }

    /// Waits for `future`, but no longer than until the download is paused or cancelled.
    async fn until_stopped<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let stopped = async {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                if let Err(error) = self.store_progress().await {
                    return error;
                }
            }
        };
        tokio::select! {
            result = future => result,
            error = stopped => Err(error),
        }
    }
}

/// Sets a flag when dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
