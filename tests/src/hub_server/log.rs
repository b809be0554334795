//! The requests that came, so that a test can say what was fetched and with which headers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::header::{AUTHORIZATION, IF_RANGE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::faults::Fault;
use super::locked;

/// Which of the two servers was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The one that the endpoint names.
    Hub,
    /// The one that signed addresses name.
    Cdn,
}

/// A request that came, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// Which server was asked.
    pub host: Host,
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path as it was sent; on the CDN it ends with the file's SHA-256.
    pub path: String,
    /// The query as it was sent; empty where there was none.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorization: bool,
    /// The status of the answer; 0 while there is none, and for answers that are not HTTP.
    pub status: u16,
    /// How much of the body was handed to the connection.
    pub body_bytes: u64,
    /// What went wrong on purpose.
    pub fault: Option<Fault>,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    request: LoggedRequest,
    body_bytes: Arc<AtomicU64>,
}

/// The place of a request in the log.
#[derive(Debug)]
pub(super) struct LogPlace {
    index: usize,
    pub(super) body_bytes: Arc<AtomicU64>,
}

impl Log {
    pub(super) fn add(&self, host: Host, parts: &Parts, fault: Option<Fault>) -> LogPlace {
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
        LogPlace { index: entries.len() - 1, body_bytes }
    }

    pub(super) fn set_status(&self, place: &LogPlace, status: u16) {
        let mut entries = locked(&self.0);
        // The log may have been cleared since.
        let entry = entries.get_mut(place.index);
        if let Some(entry) = entry.filter(|e| Arc::ptr_eq(&e.body_bytes, &place.body_bytes)) {
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

/// A header's value, where it is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
