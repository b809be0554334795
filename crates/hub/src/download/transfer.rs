//! Gets ranges of one file from a server that may break off, stall, lie or change its mind.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::mpsc::Sender;

use super::rate::Limiter;
use super::sink::{Piece, Shared};
use super::{CHUNK_BYTES, PARALLEL_FROM_BYTES, WORKERS};
use crate::Error;
use crate::api::FileFacts;
use crate::client::{Ask, Client, answer, check_no_page, senseless};
use crate::library::Source;

/// Chunks that one request asks for at most.
const CHUNKS_PER_REQUEST: usize = 16;
/// The same answer that makes no sense may come this often in a row, without a byte in between.
const MAX_ODD: u32 = 4;

/// Why the workers ended without the whole file.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The source has another file now.
    Changed,
    /// It cannot go on.
    Error(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The transfer of one file.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) source: &'a Source,
    pub(crate) facts: &'a FileFacts,
    pub(crate) shared: &'a Shared,
    pub(crate) limiter: &'a Limiter,
    /// What the sender of the bytes calls this version of them.
    sender_etag: Mutex<Option<String>>,
    /// Where the bytes come from, after the hub's redirect.
    address: Mutex<Option<Url>>,
    /// Whether the server sends whole files whatever it is asked for: then one worker takes all.
    ranges_are_ignored: AtomicBool,
    /// What went wrong last, and in how many seconds it is tried again.
    retrying: Mutex<Option<(lilims_ipc::Error, u64)>>,
    purpose: String,
}

/// Which bytes an answer brings.
enum Brings {
    /// Those that were asked for.
    Range,
    /// All, from the beginning.
    Everything,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(
        client: &'a Client,
        source: &'a Source,
        facts: &'a FileFacts,
        shared: &'a Shared,
        limiter: &'a Limiter,
        sender_etag: Option<String>,
    ) -> Self {
        Self {
            client,
            source,
            facts,
            shared,
            limiter,
            sender_etag: Mutex::new(sender_etag),
            address: Mutex::default(),
            ranges_are_ignored: AtomicBool::new(false),
            retrying: Mutex::default(),
            purpose: format!("download {} of {}", source.file, source.repository),
        }
    }

    /// What went wrong last, and in how many seconds it is tried again.
    pub(crate) fn retrying(&self) -> Option<(lilims_ipc::Error, u64)> {
        lock(&self.retrying).clone()
    }

    /// What the sender of the bytes calls this version of them.
    pub(crate) fn sender_etag(&self) -> Option<String> {
        lock(&self.sender_etag).clone()
    }

    /// Fetches chunks until all are here and hashed.
    pub(crate) async fn work(&self, worker: usize, pieces: &Sender<Piece>) -> Result<(), Broken> {
        let mut news = self.shared.news.subscribe();
        loop {
            match self.claim(worker) {
                Some(claim) => {
                    // What it brings stays claimed until it is written.
                    self.fetch(worker, claim, pieces).await?;
                }
                None if news.borrow_and_update().is_complete => return Ok(()),
                // Its own error says why the thread that writes is gone.
                None if pieces.is_closed() => return Err(Error::Stopped.into()),
                // Another worker may return a claim without a notification.
                None => {
                    let _ = tokio::time::timeout(Duration::from_millis(100), news.changed()).await;
                }
            }
        }
    }

    /// Nothing while another worker is brought everything.
    fn claim(&self, worker: usize) -> Option<Range<u64>> {
        if self.ranges_are_ignored.load(Ordering::Relaxed) {
            return None;
        }
        let mut chunks = self.shared.chunks();
        let share = chunks.len().div_ceil(WORKERS).min(CHUNKS_PER_REQUEST);
        let is_alone = self.shared.total_bytes < PARALLEL_FROM_BYTES;
        chunks.claim(worker, if is_alone { CHUNKS_PER_REQUEST } else { share })
    }

    /// Fetches a claim, trying again as often as it has to.
    async fn fetch(
        &self,
        worker: usize,
        mut claim: Range<u64>,
        pieces: &Sender<Piece>,
    ) -> Result<(), Broken> {
        let (mut failures, mut odd) = (0, Odd::default());
        while !claim.is_empty() {
            let before = (claim.start, self.shared.chunks().here_bytes());
            match self.attempt(worker, &mut claim, pieces).await {
                Ok(()) => *lock(&self.retrying) = None,
                Err(Broken::Error(error)) if self.may_retry(&error) => {
                    if before != (claim.start, self.shared.chunks().here_bytes()) {
                        (failures, odd) = (0, Odd::default());
                    }
                    failures += 1;
                    if failures > self.client.patience.retries || odd.is_too_often(&error) {
                        return Err(error.into());
                    }
                    self.wait(failures, &error).await;
                }
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    /// Whether an error may pass. Addresses of senders expire: the hub is asked for a new one.
    fn may_retry(&self, error: &Error) -> bool {
        lock(&self.address).take();
        error.is_transient() || matches!(error, Error::Status { status: 401 | 403 | 404 | 410, .. })
    }

    /// Waits before the next attempt.
    async fn wait(&self, failures: u32, error: &Error) {
        let wait = self.client.patience.wait(failures, error);
        *lock(&self.retrying) = Some((error.into(), wait.as_secs()));
        tokio::time::sleep(wait).await;
    }

    /// One request for what is left of `claim`.
    async fn attempt(
        &self,
        worker: usize,
        claim: &mut Range<u64>,
        pieces: &Sender<Piece>,
    ) -> Result<(), Broken> {
        let (mut response, brings) = self.request(claim).await?;
        match brings {
            Brings::Range => self.take_range(&mut response, claim, pieces).await,
            Brings::Everything if self.ranges_are_ignored.swap(true, Ordering::Relaxed) => {
                // Another worker is brought it all.
                self.shared.chunks().release(worker, claim.start);
                *claim = claim.end..claim.end;
                Ok(())
            }
            Brings::Everything => {
                let taken = self.take_everything(worker, &mut response, pieces).await;
                self.ranges_are_ignored.store(false, Ordering::Relaxed);
                taken?;
                *claim = claim.end..claim.end;
                Ok(())
            }
        }
    }

    async fn request(&self, claim: &Range<u64>) -> Result<(Response, Brings), Broken> {
        let known = lock(&self.address).clone();
        let url = match known {
            Some(url) => url,
            None => {
                let Self { source, facts, .. } = self;
                self.client.file_url(&source.repository, &facts.commit, &source.file)?
            }
        };
        let mut headers = HeaderMap::new();
        let range = format!("bytes={}-{}", claim.start, claim.end - 1);
        headers.insert(RANGE, range.parse().expect("a range is a header's value"));
        let sender_etag = lock(&self.sender_etag).clone();
        if let Some(etag) = sender_etag.as_ref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_RANGE, etag);
        }
        let ask = Ask { method: Method::GET, url, headers, purpose: &self.purpose };
        let response = match self.client.follow(ask).await {
            // The file got shorter, or its commit is gone.
            Err(Error::Status { status: 416, .. } | Error::NotFound { .. }) => {
                return Err(self.look_again().await);
            }
            response => response?,
        };
        *lock(&self.address) = Some(response.url().clone());
        let etag = strong_etag(&response);
        match response.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {
                check_no_page(&response, &self.purpose)?;
            }
            status => {
                let message = format!("status {status}");
                return Err(senseless(response.url(), &self.purpose, &message).into());
            }
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                self.check_range(&response, claim)?;
                if sender_etag.is_none() {
                    *lock(&self.sender_etag) = etag;
                }
                Ok((response, Brings::Range))
            }
            _ if sender_etag.is_some() && etag != sender_etag => Err(self.look_again().await),
            _ => {
                if response.content_length().is_some_and(|len| len != self.facts.total_bytes) {
                    return Err(self.look_again().await);
                }
                Ok((response, Brings::Everything))
            }
        }
    }

    /// Asks the hub whether the file is still the one that was begun.
    async fn look_again(&self) -> Broken {
        lock(&self.sender_etag).take();
        lock(&self.address).take();
        let Source { repository, revision, file, .. } = self.source;
        match self.client.facts(repository, revision, file).await {
            Ok(facts) if facts.etag == self.facts.etag && facts.commit == self.facts.commit => {
                let url = self.client.page(repository);
                answer(&url, &self.purpose, "its sender serves another version").into()
            }
            Ok(_) => Broken::Changed,
            Err(error) => Broken::Error(error),
        }
    }

    /// Whether the answer says that it brings what was asked for.
    fn check_range(&self, response: &Response, claim: &Range<u64>) -> Result<(), Error> {
        let Some(header) = response.headers().get(CONTENT_RANGE) else {
            let message = "it sends a part of the file without saying which";
            return Err(senseless(response.url(), &self.purpose, message));
        };
        let header = String::from_utf8_lossy(header.as_bytes());
        let is_right = content_range(&header)
            .is_some_and(|(start, total)| start == claim.start && total == self.facts.total_bytes);
        if is_right {
            return Ok(());
        }
        let message = format!("it sends the range {header:?}");
        Err(answer(response.url(), &self.purpose, &message))
    }

    async fn take_range(
        &self,
        response: &mut Response,
        claim: &mut Range<u64>,
        pieces: &Sender<Piece>,
    ) -> Result<(), Broken> {
        while !claim.is_empty() {
            let Some(mut bytes) = self.client.next(response).await? else {
                return Err(self.too_short(response).into());
            };
            bytes.truncate(usize::try_from(claim.end - claim.start).unwrap_or(usize::MAX));
            let offset = claim.start;
            claim.start += bytes.len() as u64;
            self.pass(Piece { offset, bytes }, pieces).await?;
        }
        Ok(())
    }

    /// Takes all that is missing from an answer that brings the whole file.
    async fn take_everything(
        &self,
        worker: usize,
        response: &mut Response,
        pieces: &Sender<Piece>,
    ) -> Result<(), Broken> {
        let mut offset = 0;
        while offset < self.facts.total_bytes {
            let Some(bytes) = self.client.next(response).await? else {
                return Err(self.too_short(response).into());
            };
            let left = self.facts.total_bytes - offset;
            let mut bytes =
                bytes.slice(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            while !bytes.is_empty() {
                let in_chunk = usize::try_from(CHUNK_BYTES - offset % CHUNK_BYTES);
                let n = bytes.len().min(in_chunk.expect("a chunk is small"));
                let part = bytes.split_to(n);
                let idx = usize::try_from(offset / CHUNK_BYTES).expect("files fit memory");
                if offset.is_multiple_of(CHUNK_BYTES) {
                    // Others may have given it back since this began.
                    self.shared.chunks().claim_one(worker, idx);
                }
                if self.shared.chunks().is_claimed(idx, worker) {
                    self.pass(Piece { offset, bytes: part }, pieces).await?;
                }
                offset += n as u64;
            }
        }
        Ok(())
    }

    async fn pass(&self, piece: Piece, pieces: &Sender<Piece>) -> Result<(), Broken> {
        self.limiter.take(piece.bytes.len()).await;
        // Where the thread that writes is gone, its own error says why.
        pieces.send(piece).await.map_err(|_| Broken::Error(Error::Stopped))
    }

    fn too_short(&self, response: &Response) -> Error {
        Error::Network {
            host: crate::client::host(response.url()),
            message: "the connection ended early".to_owned(),
        }
    }
}

/// Counts answers of one kind that make no sense.
#[derive(Default)]
struct Odd {
    last: String,
    n: u32,
}

impl Odd {
    fn is_too_often(&mut self, error: &Error) -> bool {
        if !error.is_odd() {
            return false;
        }
        let text = error.to_string();
        if text == self.last {
            self.n += 1;
        } else {
            (self.last, self.n) = (text, 1);
        }
        self.n > MAX_ODD
    }
}

/// The start and the total of a `Content-Range`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// The answer's ETag, if it may be used to ask for ranges.
fn strong_etag(response: &Response) -> Option<String> {
    let etag = response.headers().get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for header in ["bytes */100", "5-9/100", "bytes 5/100", "bytes 5-9/*", ""] {
            assert_eq!(content_range(header), None, "{header}");
        }
    }
}
