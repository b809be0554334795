//! Downloads ranges of one file from a server that may disconnect, stall, send wrong ranges or change
//! the file.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lilims_ipc::ConnectionPurpose;
use parking_lot::Mutex;
use tokio::sync::mpsc::Sender;

use super::rate::Limiter;
use super::sink::{Block, Shared};
use super::{CHUNK_BYTES, PARALLEL_FROM_BYTES, WORKERS};
use crate::Error;
use crate::api::FileInfo;
use crate::client::{Client, Request, check_not_html};
use crate::egress::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use crate::egress::{Answer, HeaderMap, HeaderValue, Method, Purpose, StatusCode, Url, host};
use crate::library::Source;

/// The most chunks that one request covers.
const CHUNKS_PER_REQUEST: usize = 16;
/// How often the same invalid response is accepted in a row without a byte received.
const MAX_INVALID: u32 = 4;

/// Why the workers ended before the file was complete.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The source has another file now.
    Changed,
    /// An error that no retry helps.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The download of one file's chunks by several workers.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) source: &'a Source,
    pub(crate) info: &'a FileInfo,
    pub(crate) shared: &'a Shared,
    pub(crate) limiter: &'a Limiter,
    /// The ETag of the sending server.
    sender_etag: Mutex<Option<String>>,
    /// Where the hub redirected to.
    sender_url: Mutex<Option<Url>>,
    /// Whether the server ignores ranges and sends whole files: then one worker receives everything.
    ranges_are_ignored: AtomicBool,
    /// The last error, and the seconds until the retry.
    retrying: Mutex<Option<(lilims_ipc::Error, u64)>>,
    purpose: Purpose,
}

/// Which bytes a response contains.
enum Body {
    /// The requested range.
    Range,
    /// The whole file.
    WholeFile,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(
        client: &'a Client,
        source: &'a Source,
        info: &'a FileInfo,
        shared: &'a Shared,
        limiter: &'a Limiter,
        sender_etag: Option<String>,
    ) -> Self {
        Self {
            client,
            source,
            info,
            shared,
            limiter,
            sender_etag: Mutex::new(sender_etag),
            sender_url: Mutex::default(),
            ranges_are_ignored: AtomicBool::new(false),
            retrying: Mutex::default(),
            purpose: Purpose::of_file(
                ConnectionPurpose::Download,
                &source.repository,
                &source.file,
            ),
        }
    }

    /// The last error, and the seconds until the retry.
    pub(crate) fn retrying(&self) -> Option<(lilims_ipc::Error, u64)> {
        self.retrying.lock().clone()
    }

    /// The ETag of the sending server.
    pub(crate) fn sender_etag(&self) -> Option<String> {
        self.sender_etag.lock().clone()
    }

    /// Downloads chunks until the file is complete and hashed.
    pub(crate) async fn work(&self, worker: usize, blocks: &Sender<Block>) -> Result<(), Failure> {
        let mut status = self.shared.status.subscribe();
        loop {
            match self.claim(worker) {
                Some(claim) => {
                    self.fetch(worker, claim, blocks).await?;
                }
                None if status.borrow_and_update().is_complete => return Ok(()),
                // The sink ended; its error is reported instead.
                None if blocks.is_closed() => return Err(Error::Stopped.into()),
                // Another worker may return a claim without a notification.
                None => {
                    let _ =
                        tokio::time::timeout(Duration::from_millis(100), status.changed()).await;
                }
            }
        }
    }

    /// Claims chunks for a worker; none while another worker receives the whole file.
    fn claim(&self, worker: usize) -> Option<Range<u64>> {
        if self.ranges_are_ignored.load(Ordering::Relaxed) {
            return None;
        }
        let mut chunks = self.shared.chunks();
        let share = chunks.len().div_ceil(WORKERS).min(CHUNKS_PER_REQUEST);
        let is_alone = self.shared.total_bytes < PARALLEL_FROM_BYTES;
        chunks.claim(worker, if is_alone { CHUNKS_PER_REQUEST } else { share })
    }

    /// Downloads a claimed range, with retries.
    async fn fetch(
        &self,
        worker: usize,
        mut claim: Range<u64>,
        blocks: &Sender<Block>,
    ) -> Result<(), Failure> {
        let (mut failures, mut repeats) = (0, Repeats::default());
        while !claim.is_empty() {
            let before = (claim.start, self.shared.chunks().received_bytes());
            match self.attempt(worker, &mut claim, blocks).await {
                Ok(()) => *self.retrying.lock() = None,
                Err(Failure::Error(error)) if self.may_retry(&error) => {
                    if before != (claim.start, self.shared.chunks().received_bytes()) {
                        (failures, repeats) = (0, Repeats::default());
                    }
                    failures += 1;
                    if failures > self.client.timeouts.max_retries || repeats.are_too_many(&error) {
                        return Err(error.into());
                    }
                    self.wait(failures, &error).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether a retry may help. Since sender URLs expire, the retry gets a new one from the hub.
    fn may_retry(&self, error: &Error) -> bool {
        self.sender_url.lock().take();
        error.is_transient() || matches!(error, Error::Status { status: 401 | 403 | 404 | 410, .. })
    }

    /// Waits before a retry.
    async fn wait(&self, failures: u32, error: &Error) {
        let wait = self.client.timeouts.backoff(failures, error);
        *self.retrying.lock() = Some((error.into(), wait.as_secs()));
        tokio::time::sleep(wait).await;
    }

    /// Sends one request for the rest of `claim`.
    async fn attempt(
        &self,
        worker: usize,
        claim: &mut Range<u64>,
        blocks: &Sender<Block>,
    ) -> Result<(), Failure> {
        let (mut response, body) = self.request(claim).await?;
        match body {
            Body::Range => self.receive_range(&mut response, claim, blocks).await,
            Body::WholeFile if self.ranges_are_ignored.swap(true, Ordering::Relaxed) => {
                // Another worker receives it.
                self.shared.chunks().release(worker, claim.start);
                *claim = claim.end..claim.end;
                Ok(())
            }
            Body::WholeFile => {
                let received = self.receive_file(worker, &mut response, blocks).await;
                self.ranges_are_ignored.store(false, Ordering::Relaxed);
                received?;
                *claim = claim.end..claim.end;
                Ok(())
            }
        }
    }

    async fn request(&self, claim: &Range<u64>) -> Result<(Answer, Body), Failure> {
        let known = self.sender_url.lock().clone();
        let url = match known {
            Some(url) => url,
            None => {
                let Self { source, info, .. } = self;
                self.client.file_url(&source.repository, &info.commit, &source.file)?
            }
        };
        let mut headers = HeaderMap::new();
        let range = format!("bytes={}-{}", claim.start, claim.end - 1);
        headers.insert(RANGE, range.parse().expect("a range is a header's value"));
        let sender_etag = self.sender_etag.lock().clone();
        if let Some(etag) = sender_etag.as_ref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_RANGE, etag);
        }
        let request = Request { method: Method::GET, url, headers, purpose: &self.purpose };
        let response = match self.client.send_following(request).await {
            // The file became shorter, or its commit is gone.
            Err(Error::Status { status: 416, .. } | Error::NotFound { .. }) => {
                return Err(self.check_version().await);
            }
            response => response?,
        };
        *self.sender_url.lock() = Some(response.url().clone());
        let etag = strong_etag(&response);
        match response.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {
                check_not_html(&response, &self.purpose)?;
            }
            status => {
                let message = format!("status {status}");
                return Err(Error::invalid_response(response.url(), &self.purpose, &message).into());
            }
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                self.check_range(&response, claim)?;
                if sender_etag.is_none() {
                    *self.sender_etag.lock() = etag;
                }
                Ok((response, Body::Range))
            }
            _ if sender_etag.is_some() && etag != sender_etag => Err(self.check_version().await),
            _ => {
                if response.content_length().is_some_and(|len| len != self.info.total_bytes) {
                    return Err(self.check_version().await);
                }
                Ok((response, Body::WholeFile))
            }
        }
    }

    /// Asks the hub whether the file has changed since the download began.
    async fn check_version(&self) -> Failure {
        self.sender_etag.lock().take();
        self.sender_url.lock().take();
        let Source { repository, revision, file, .. } = self.source;
        match self.client.file_info(repository, revision, file).await {
            Ok(info) if info.etag == self.info.etag && info.commit == self.info.commit => {
                let url = self.client.url(repository);
                let message = "its sender has another version";
                Error::transient_response(&url, &self.purpose, message).into()
            }
            Ok(_) => Failure::Changed,
            Err(error) => Failure::Error(error),
        }
    }

    /// Checks that the response contains the requested range.
    fn check_range(&self, response: &Answer, claim: &Range<u64>) -> Result<(), Error> {
        let Some(header) = response.headers().get(CONTENT_RANGE) else {
            let message = "it sends a range without saying which";
            return Err(Error::invalid_response(response.url(), &self.purpose, message));
        };
        let header = String::from_utf8_lossy(header.as_bytes());
        let is_right = content_range(&header)
            .is_some_and(|(start, total)| start == claim.start && total == self.info.total_bytes);
        if is_right {
            return Ok(());
        }
        let message = format!("it sends the range {header:?}");
        Err(Error::transient_response(response.url(), &self.purpose, &message))
    }

    async fn receive_range(
        &self,
        response: &mut Answer,
        claim: &mut Range<u64>,
        blocks: &Sender<Block>,
    ) -> Result<(), Failure> {
        while !claim.is_empty() {
            let Some(mut bytes) = response.chunk().await? else {
                return Err(ended_early(response).into());
            };
            bytes.truncate(usize::try_from(claim.end - claim.start).unwrap_or(usize::MAX));
            let offset = claim.start;
            claim.start += bytes.len() as u64;
            self.send(Block { offset, bytes }, blocks).await?;
        }
        Ok(())
    }

    /// Receives the missing chunks from a response with the whole file.
    async fn receive_file(
        &self,
        worker: usize,
        response: &mut Answer,
        blocks: &Sender<Block>,
    ) -> Result<(), Failure> {
        let mut offset = 0;
        while offset < self.info.total_bytes {
            let Some(bytes) = response.chunk().await? else {
                return Err(ended_early(response).into());
            };
            let left = self.info.total_bytes - offset;
            let mut bytes =
                bytes.slice(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            while !bytes.is_empty() {
                let in_chunk = usize::try_from(CHUNK_BYTES - offset % CHUNK_BYTES);
                let n = bytes.len().min(in_chunk.expect("a chunk is small"));
                let part = bytes.split_to(n);
                let idx = usize::try_from(offset / CHUNK_BYTES).expect("files fit memory");
                if offset.is_multiple_of(CHUNK_BYTES) {
                    // Another worker may have returned its claim.
                    self.shared.chunks().claim_one(worker, idx);
                }
                if self.shared.chunks().is_claimed(idx, worker) {
                    self.send(Block { offset, bytes: part }, blocks).await?;
                }
                offset += n as u64;
            }
        }
        Ok(())
    }

    async fn send(&self, block: Block, blocks: &Sender<Block>) -> Result<(), Failure> {
        self.limiter.acquire(block.bytes.len()).await;
        // If the sink has ended, its error is reported instead.
        blocks.send(block).await.map_err(|_| Failure::Error(Error::Stopped))
    }
}

fn ended_early(response: &Answer) -> Error {
    let message = "the connection ended early".to_owned();
    Error::Network { host: host(response.url()), message }
}

/// Counts consecutive equal invalid responses.
#[derive(Default)]
struct Repeats {
    last: String,
    n: u32,
}

impl Repeats {
    fn are_too_many(&mut self, error: &Error) -> bool {
        if !error.is_invalid_response() {
            return false;
        }
        let text = error.to_string();
        if text == self.last {
            self.n += 1;
        } else {
            (self.last, self.n) = (text, 1);
        }
        self.n > MAX_INVALID
    }
}

/// Parses the start and the total size of a `Content-Range`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// The response's ETag, if it is valid in `If-Range`.
fn strong_etag(response: &Answer) -> Option<String> {
    let etag = response.headers().get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_parsed() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for header in ["bytes */100", "5-9/100", "bytes 5/100", "bytes 5-9/*", ""] {
            assert_eq!(content_range(header), None, "{header}");
        }
    }
}
