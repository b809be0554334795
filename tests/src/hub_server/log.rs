//! A log of the received requests, so that tests can check what was requested and how.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::header::{AUTHORIZATION, IF_RANGE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::faults::Fault;
use super::locked;

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The server at the endpoint.
    Hub,
    /// The server of signed URLs.
    Cdn,
}

/// A received request and the response to it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// The server that received it.
    pub host: Host,
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path as it was sent; on the CDN it ends with the file's SHA-256.
    pub path: String,
    /// The query as it was sent; empty if there was none.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// The status of the response; 0 if there is none yet or it is not HTTP.
    pub status: u16,
    /// The number of body bytes written to the connection.
    pub body_bytes: u64,
    /// The injected fault.
    pub fault: Option<Fault>,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    request: LoggedRequest,
    body_bytes: Arc<AtomicU64>,
}

/// A reference to a request in the log.
#[derive(Debug)]
pub(super) struct LogIndex {
    index: usize,
    pub(super) body_bytes: Arc<AtomicU64>,
}

impl Log {
    pub(super) fn add(&self, host: Host, parts: &Parts, fault: Option<Fault>) -> LogIndex {
        let request = LoggedRequest {
            host,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            range: text(&parts.headers, RANGE),
            if_range: text(&parts.headers, IF_RANGE),
            authorization: parts.headers.contains_key(AUTHORIZATION),
            status: 0,
            body_bytes: 0,
            fault,
        };
        let body_bytes = Arc::new(AtomicU64::new(0));
        let mut entries = locked(&self.0);
        entries.push(Entry { request, body_bytes: Arc::clone(&body_bytes) });
        LogIndex { index: entries.len() - 1, body_bytes }
    }

    pub(super) fn set_status(&self, log_index: &LogIndex, status: u16) {
        let mut entries = locked(&self.0);
        // The log may have been cleared in the meantime.
        let entry = entries.get_mut(log_index.index);
        if let Some(entry) = entry.filter(|e| Arc::ptr_eq(&e.body_bytes, &log_index.body_bytes)) {
            entry.request.status = status;
        }
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        let entries = locked(&self.0);
        let now = |entry: &Entry| LoggedRequest {
            body_bytes: entry.body_bytes.load(Ordering::SeqCst),
            ..entry.request.clone()
        };
        entries.iter().map(now).collect()
    }

    pub(super) fn clear(&self) {
        locked(&self.0).clear();
    }
}

/// A header's value, if it is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
