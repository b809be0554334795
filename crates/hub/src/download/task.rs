//! One download, from its row in the queue to a model in the library.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fs4::fs_std::FileExt;
use tokio::sync::mpsc;

use super::chunks::Chunks;
use super::rate::{Limiter, Meter};
use super::sink::{self, Hashed, Shared};
use super::transfer::{Broken, Transfer};
use super::{PARALLEL_FROM_BYTES, WORKERS};
use crate::api::FileFacts;
use crate::client::Client;
use crate::library::describe::describe;
use crate::library::{DownloadRow, Entry, Published, Source, folder};
use crate::{Error, Library};

/// How often progress is written down and told, and the row looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Pieces that wait to be written: some MB, so that memory stays bounded.
const WAITING_PIECES: usize = 32;
/// How often a file may change at its source during one download.
const MAX_CHANGES: u32 = 3;

/// How often a file comes again whose hash does not hold.
const MAX_WRONG: usize = 4;

/// Names that are tried for a file whose own is taken.
const MAX_NAMES: u32 = 1000;

/// How an attempt at the whole file ended.
enum Attempt {
    Whole(Hashed),
    Changed,
}

/// Runs the download whose row this is. Returns the model.
///
/// # Errors
/// [`Error::Stopped`] where its row says that it is not to run any more; else why it broke off.
pub(crate) async fn run(
    client: &Client,
    limiter: &Limiter,
    row: DownloadRow,
) -> Result<Entry, Error> {
    let mut task = Task { client, library: client.library(), limiter, row };
    if let Some(entry) = task.library.settle(&task.row)? {
        return Ok(entry);
    }
    for _ in 0..=MAX_CHANGES {
        let facts = task.begin().await?;
        if let Some(entry) = task.already_here(&facts)? {
            return Ok(entry);
        }
        task.reserve().await?;
        task.note()?;
        if let Attempt::Whole(hashed) = task.fetch(&facts).await? {
            return task.finish(&facts, hashed);
        }
    }
    let Task { row, client, .. } = task;
    let url = client.page(&row.source.repository);
    Err(crate::client::senseless(&url, &row.source.file, "the file changes again and again"))
}

struct Task<'a> {
    client: &'a Client,
    library: &'a Library,
    limiter: &'a Limiter,
    row: DownloadRow,
}

impl Task<'_> {
    /// Asks the hub what the file is, and forgets what is here of another one.
    async fn begin(&mut self) -> Result<FileFacts, Error> {
        let source = self.row.source.clone();
        let mut facts = self.facts(&source).await?;
        if let (Some(expected), Some(got)) = (&source.sha256, &facts.sha256)
            && expected != got
        {
            let (file, expected, got) = (source.file, expected.clone(), got.clone());
            return Err(Error::Changed { file, expected, got });
        }
        facts.sha256 = facts.sha256.or(source.sha256);
        let journal = &mut self.row.journal;
        let is_same = journal.etag == facts.etag && journal.total_bytes == facts.total_bytes;
        if !is_same {
            self.row.received.clear();
            self.row.digests.clear();
            journal.sender_etag = None;
        }
        journal.published = None;
        journal.commit.clone_from(&facts.commit);
        journal.etag.clone_from(&facts.etag);
        journal.sha256.clone_from(&facts.sha256);
        journal.total_bytes = facts.total_bytes;
        Ok(facts)
    }

    /// Asks the hub what the file is, and again where that may help.
    async fn facts(&mut self, source: &Source) -> Result<FileFacts, Error> {
        let client = self.client;
        let mut failures = 0;
        loop {
            let facts = client.facts(&source.repository, &source.revision, &source.file);
            let error = match self.until_stopped(facts).await {
                Err(error) if error.is_transient() && failures < client.patience.retries => error,
                done => return done,
            };
            failures += 1;
            let wait = client.patience.wait(failures, &error);
            self.row.journal.retrying = Some(((&error).into(), wait.as_secs()));
            let waited = async {
                tokio::time::sleep(wait).await;
                Ok(())
            };
            self.until_stopped(waited).await?;
            self.row.journal.retrying = None;
        }
    }

    /// The model of ours that came from here before.
    fn old(&self) -> Result<Option<Entry>, Error> {
        let Source { repository, file, .. } = &self.row.source;
        let entries = self.library.entries()?.into_iter();
        let is_it = |entry: &Entry| {
            entry.owner.is_none()
                && entry.repository.as_ref() == Some(repository)
                && entry.file.as_ref() == Some(file)
        };
        Ok(entries.into_iter().find(is_it))
    }

    /// The model, where the library has this very file already.
    fn already_here(&self, facts: &FileFacts) -> Result<Option<Entry>, Error> {
        let DownloadRow { id, .. } = &self.row;
        let Some(mut entry) = self.old()? else { return Ok(None) };
        let is_same = entry.sha256.is_some() && entry.sha256 == facts.sha256 && !entry.is_damaged;
        if !(is_same && fs::metadata(&entry.path).is_ok_and(|it| it.len() == facts.total_bytes)) {
            return Ok(None);
        }
        self.library.remove_partial(*id)?;
        self.library.note_done(*id, &mut entry)?;
        Ok(Some(entry))
    }

    /// Takes the room that the file will need, so that nothing else does. What is good of a damaged
    /// model is copied: the model stays until its repair is here.
    async fn reserve(&mut self) -> Result<(), Error> {
        let DownloadRow { id, journal, received, .. } = &self.row;
        let (id, total_bytes) = (*id, journal.total_bytes);
        let partial = self.library.folder.partial(id);
        if partial.exists() {
            return self.library.reserve(id, total_bytes);
        }
        let is_whole = !received.is_empty() && Chunks::from_bits(total_bytes, received).all_here();
        let damaged = self.old()?.filter(|old| is_whole && old.is_damaged);
        self.row.received.clear();
        self.library.reserve(id, total_bytes)?;
        let Some(damaged) = damaged.filter(|old| old.path.is_file()) else { return Ok(()) };
        let cancel = Arc::new(AtomicBool::new(false));
        // Where the download stops, so does the copy.
        let _cancels = Cancels(Arc::clone(&cancel));
        let copied = tokio::task::spawn_blocking(move || {
            folder::copy(&damaged.path, &partial, &cancel)?;
            allocate(&partial, total_bytes).map_err(Error::io(&partial))
        });
        let copied =
            async { copied.await.map_err(|error| Error::io("")(io::Error::other(error)))? };
        self.until_stopped(copied).await?;
        let mut chunks = Chunks::new(total_bytes);
        (0..chunks.len()).for_each(|idx| chunks.set_here(idx));
        self.row.received = chunks.to_bits();
        Ok(())
    }

    /// Fetches the file until its hash holds, or until it is clear that it will not.
    async fn fetch(&mut self, facts: &FileFacts) -> Result<Attempt, Error> {
        let mut wrong = Vec::new();
        loop {
            let hashed = match self.attempt(facts).await? {
                Attempt::Whole(hashed) => hashed,
                Attempt::Changed => return Ok(Attempt::Changed),
            };
            let holds = facts.sha256.as_ref().is_none_or(|it| *it == hashed.sha256);
            // Bytes that are wrong twice in the same way are so at their source.
            let is_final = wrong.len() == MAX_WRONG || wrong.contains(&hashed.sha256);
            if holds || is_final {
                return Ok(Attempt::Whole(hashed));
            }
            // Only the hash of the whole is known, so the whole comes again.
            wrong.push(hashed.sha256);
            self.start_over()?;
        }
    }

    fn start_over(&mut self) -> Result<(), Error> {
        self.row.received.clear();
        self.row.digests.clear();
        self.row.journal.sender_etag = None;
        self.note()
    }

    /// Fetches what is missing.
    async fn attempt(&mut self, facts: &FileFacts) -> Result<Attempt, Error> {
        let chunks = Chunks::from_bits(facts.total_bytes, &self.row.received);
        let shared = Arc::new(Shared::new(facts.total_bytes, chunks));
        let (pieces, receiver) = mpsc::channel(WAITING_PIECES);
        let sink = {
            let (path, shared) = (self.library.folder.partial(self.row.id), shared.clone());
            let digests = std::mem::take(&mut self.row.digests);
            tokio::task::spawn_blocking(move || sink::run(&path, &shared, digests, receiver))
        };
        let sender_etag = self.row.journal.sender_etag.clone();
        let source = self.row.source.clone();
        let transfer =
            Transfer::new(self.client, &source, facts, &shared, self.limiter, sender_etag);
        let worked = self.work(&transfer, pieces).await;
        // The workers are gone, and with them the channel: the thread ends by itself.
        let hashed = sink.await.map_err(|error| Error::io("")(io::Error::other(error)))?;
        (self.row.received, self.row.digests) = shared.snapshot();
        self.tell(&transfer, &mut Meter::default())?;
        match (hashed?, worked) {
            (Some(hashed), _) => Ok(Attempt::Whole(hashed)),
            (None, Err(Broken::Changed)) => Ok(Attempt::Changed),
            (None, Err(Broken::Error(error))) => Err(error),
            (None, Ok(())) => Err(Error::Stopped),
        }
    }

    /// Runs the workers, and tells four times a second how far they are.
    async fn work(
        &mut self,
        transfer: &Transfer<'_>,
        pieces: mpsc::Sender<sink::Piece>,
    ) -> Result<(), Broken> {
        let n = if transfer.facts.total_bytes < PARALLEL_FROM_BYTES { 1 } else { WORKERS };
        let all = async {
            let work = |worker| {
                let pieces = &pieces;
                async move { if worker < n { transfer.work(worker, pieces).await } else { Ok(()) } }
            };
            tokio::try_join!(work(0), work(1), work(2), work(3)).map(|_| ())
        };
        tokio::pin!(all);
        let mut meter = Meter::default();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut all => return done,
                _ = ticks.tick() => {
                    if !self.tell(transfer, &mut meter)? {
                        return Err(Error::Stopped.into());
                    }
                }
            }
        }
    }

    /// Writes down how far the download is. Returns whether it is to go on.
    fn tell(&mut self, transfer: &Transfer<'_>, meter: &mut Meter) -> Result<bool, Error> {
        self.limiter.set(self.library.limits()?.bytes_per_second);
        let shared = transfer.shared;
        let journal = &mut self.row.journal;
        journal.done_bytes = shared.here_bytes();
        journal.bytes_per_second = meter.note(Instant::now(), journal.done_bytes);
        journal.is_checking = shared.chunks().all_here();
        journal.retrying.clone_from(&transfer.retrying());
        journal.sender_etag = transfer.sender_etag();
        let (received, digests) = shared.snapshot();
        self.library.note_progress(self.row.id, journal, &received, &digests)
    }

    /// Writes the journal down; [`Error::Stopped`] where the download is not to go on.
    fn note(&self) -> Result<(), Error> {
        let DownloadRow { id, journal, received, digests, .. } = &self.row;
        match self.library.note_progress(*id, journal, received, digests)? {
            true => Ok(()),
            false => Err(Error::Stopped),
        }
    }

    /// Waits for `future`, but not longer than the download is to run.
    async fn until_stopped<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::pin!(future);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut future => return done,
                _ = ticks.tick() => self.note()?,
            }
        }
    }

    /// Makes the whole file a model.
    fn finish(&mut self, facts: &FileFacts, hashed: Hashed) -> Result<Entry, Error> {
        let library = self.library;
        let (id, source) = (self.row.id, self.row.source.clone());
        let partial = library.folder.partial(id);
        if let Some(expected) = facts.sha256.clone().filter(|it| *it != hashed.sha256) {
            library.remove_partial(id)?;
            let (file, got) = (source.file, hashed.sha256);
            return Err(Error::Hash { file, expected, got });
        }
        describe(&partial, &source.file).inspect_err(|_| {
            // Nothing that a further attempt could use.
            let _ = library.remove_partial(id);
        })?;
        self.row.digests = hashed.digests;
        let wanted = library.folder.of_repository(&source.repository, &source.file)?;
        let path = match self.old()? {
            Some(old) => {
                self.note_place(&old.path, &hashed.sha256)?;
                library.folder.replace(&partial, &old.path)?;
                old.path
            }
            // Nothing that has the name already is ours to replace.
            None => self.publish(&partial, &wanted, &hashed.sha256)?,
        };
        let mut entry = library.brought(&self.row, &path, &hashed.sha256)?;
        library.note_done(id, &mut entry)?;
        Ok(entry)
    }

    /// Gives the whole file a free name.
    fn publish(&mut self, partial: &Path, wanted: &Path, sha256: &str) -> Result<PathBuf, Error> {
        for number in 1..=MAX_NAMES {
            let path = lilims_files::numbered_name(wanted, number);
            if path.exists() {
                continue;
            }
            self.note_place(&path, sha256)?;
            if self.library.folder.publish_new(partial, &path)? {
                return Ok(path);
            }
        }
        Err(Error::io(wanted)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Notes where the whole file goes, before it does.
    fn note_place(&mut self, path: &Path, sha256: &str) -> Result<(), Error> {
        let outside = || Error::Outside { path: path.to_owned() };
        let place = self.library.folder.relative(path).ok_or_else(outside)?;
        let (place, sha256) = (place.to_string_lossy().into_owned(), sha256.to_owned());
        self.row.journal.published = Some(Published { place, sha256 });
        self.note()
    }
}

/// Sets a flag when it is dropped.
struct Cancels(Arc<AtomicBool>);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Library {
    /// Takes the room that a download will need, so that nothing else does. Where the file system
    /// cannot promise that, at least the room is there now.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Quota`] where models would have to leave; [`Error::Io`].
    pub fn reserve(&self, id: i64, total_bytes: u64) -> Result<(), Error> {
        let path = self.folder.partial(id);
        let missing = total_bytes.saturating_sub(folder::disk_bytes(&path));
        if missing > 0 {
            let plan = self.plan(missing)?;
            self.check(&plan)?;
            if !plan.removes.is_empty() {
                let storage = self.storage()?;
                let (quota, kept) = (storage.quota_bytes, storage.used_bytes);
                return Err(Error::Quota { needed: missing, quota, kept });
            }
        }
        allocate(&path, total_bytes).map_err(Error::io(&path))
    }
}

fn allocate(path: &Path, total_bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if fs::metadata(path)?.len() > total_bytes {
        file.set_len(total_bytes)?;
    }
    if total_bytes == 0 {
        return Ok(());
    }
    match FileExt::allocate(&file, total_bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => file.set_len(total_bytes),
        done => done,
    }
}
