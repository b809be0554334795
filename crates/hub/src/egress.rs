//! The door out: every connection of Lilims is made here, and nowhere else.
//!
//! A connection is in the log before it is made; where it cannot be logged, it is not made. While
//! Lilims is sealed ([`Library::sealed`]), nothing passes, and what is on its way ends. Redirects are
//! not followed: each is a connection of its own. What requests mean is not decided here.

mod log;

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use lilims_ipc::{ConnectionAsker, ConnectionPurpose};
use lilims_store::{ConnectionEnd, NewConnection};
pub(crate) use reqwest::header::{self, HeaderMap, HeaderValue};
pub(crate) use reqwest::{Method, StatusCode, Url};

use self::log::ConnectionLog;
use crate::timeouts::Timeouts;
use crate::{Error, Library};

/// How Lilims names itself to servers.
const USER_AGENT: &str = concat!("lilims/", env!("CARGO_PKG_VERSION"));
/// The longest answer to [`Egress::post`] that is read.
const MAX_POST_ANSWER_BYTES: usize = 64 << 10;

/// The door out. Clones share the connections, and the log's thread.
#[derive(Clone)]
pub struct Egress {
    http: reqwest::Client,
    log: Arc<ConnectionLog>,
    library: Arc<Library>,
    asker: ConnectionAsker,
    timeouts: Timeouts,
}

/// Why a connection is made, and what about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) kind: ConnectionPurpose,
    /// Such as `owner/name/file.gguf`; may be empty.
    pub(crate) subject: String,
}

/// A request before it is sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) purpose: &'a Purpose,
}

/// The answer to a request. Its log entry is completed when it is dropped.
pub(crate) struct Answer {
    response: reqwest::Response,
    record: Record,
    library: Arc<Library>,
    timeouts: Timeouts,
}

/// The answer to [`Egress::post`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers, with names in lower case; those that are not text are left out.
    pub headers: Vec<(String, String)>,
}

impl Purpose {
    pub(crate) fn new(kind: ConnectionPurpose, subject: impl Into<String>) -> Self {
        Self { kind, subject: subject.into() }
    }

    /// A purpose that concerns a file of a repository.
    pub(crate) fn of_file(kind: ConnectionPurpose, repository: &str, file: &str) -> Self {
        Self::new(kind, format!("{repository}/{file}"))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            ConnectionPurpose::Search => "search",
            ConnectionPurpose::Repository | ConnectionPurpose::FileInfo => "look at ",
            ConnectionPurpose::Header => "read the header of ",
            ConnectionPurpose::Card => "read the card of ",
            ConnectionPurpose::Download => "download ",
            ConnectionPurpose::Telemetry => "telemetry",
            ConnectionPurpose::Other => "",
        };
        write!(f, "{verb}{}", self.subject)
    }
}

impl Egress {
    /// Creates the door; connections are logged in the database of `library`, as asked for by `asker`.
    /// Proxies come from the environment.
    ///
    /// # Errors
    /// [`Error::Network`] if TLS is not available.
    pub fn new(
        library: Arc<Library>,
        asker: ConnectionAsker,
        timeouts: Timeouts,
    ) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeouts.connect)
            // Several ranges of a file over one HTTP/2 connection would share its flow control.
            .http1_only()
            .build()
            .map_err(|error| Error::Network { host: String::new(), message: innermost(&error) })?;
        let log = Arc::new(ConnectionLog::start(Arc::clone(&library)));
        Ok(Self { http, log, library, asker, timeouts })
    }

    /// The same door, used on behalf of `asker`.
    #[must_use]
    pub fn asked_by(&self, asker: ConnectionAsker) -> Self {
        Self { asker, ..self.clone() }
    }

    /// The library whose database has the log.
    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Posts `body` to `url`, for telemetry. Redirects are returned, not followed.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::Network`]; [`Error::Endpoint`] if `url` is not one, or a header has a
    /// character that is not allowed; [`Error::Database`] if it cannot be logged.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<PostAnswer, Error> {
        let invalid = || Error::Endpoint { endpoint: url.to_owned() };
        let url = Url::parse(url).map_err(|_| invalid())?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().map_err(|_| invalid())?;
            map.insert(name, value.parse().map_err(|_| invalid())?);
        }
        let purpose = Purpose::new(ConnectionPurpose::Telemetry, "");
        let (method, headers) = (Method::POST, map);
        let outgoing = Outgoing { method, url: &url, headers, body, purpose: &purpose };
        let mut answer = self.send(outgoing).await?;
        let mut n_bytes = 0;
        // Only head and status matter; a body that was read lets the connection be used again.
        while n_bytes < MAX_POST_ANSWER_BYTES
            && let Some(part) = answer.chunk().await?
        {
            n_bytes += part.len();
        }
        let text = |(name, value): (&header::HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = answer.headers().iter().filter_map(text).collect();
        Ok(PostAnswer { status: answer.status().as_u16(), headers })
    }

    /// Logs a request and sends it.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::Network`], also after [`Timeouts::read`]; [`Error::Database`] if it
    /// cannot be logged.
    pub(crate) async fn send(&self, outgoing: Outgoing<'_>) -> Result<Answer, Error> {
        let Outgoing { method, url, headers, body, purpose } = outgoing;
        let new = NewConnection {
            host: host(url),
            purpose: log::code(&purpose.kind),
            subject: purpose.subject.clone(),
            asker: log::code(&self.asker),
        };
        let mut record = Record::begin(&self.log, new).await?;
        let sent = self.http.request(method, url.clone()).header(header::USER_AGENT, USER_AGENT);
        let request = sent.headers(headers).body(body).build();
        let request = request.map_err(|error| network_error(url, &error))?;
        record.end.sent_bytes = request_bytes(&request);
        let answered = tokio::time::timeout(self.timeouts.read, self.http.execute(request)).await;
        let result = match answered {
            Ok(result) => result.map_err(|error| network_error(url, &error)),
            Err(_) => Err(timeout(url)),
        };
        match result {
            Ok(response) => {
                record.end.address = response.remote_addr().as_ref().map(SocketAddr::to_string);
                record.end.outcome = response.status().as_u16().to_string();
                record.end.received_bytes = head_bytes(&response);
                record.note();
                let library = Arc::clone(&self.library);
                Ok(Answer { response, record, library, timeouts: self.timeouts })
            }
            Err(error) => {
                record.end.outcome = log::code(&lilims_ipc::Error::from(&error).problem);
                Err(error)
            }
        }
    }
}

impl Answer {
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The length of the body, if the server states it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// [`Error::Network`], also after [`Timeouts::read`]; [`Error::Sealed`] if Lilims was sealed
    /// meanwhile.
    pub(crate) async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        self.library.check_not_sealed_here()?;
        let result = match tokio::time::timeout(self.timeouts.read, self.response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(network_error(self.url(), &error)),
            Err(_) => Err(timeout(self.url())),
        };
        if let Ok(Some(bytes)) = &result {
            self.record.end.received_bytes += bytes.len() as u64;
        }
        result
    }
}

/// A row of the log, completed when it is dropped.
struct Record {
    log: Arc<ConnectionLog>,
    id: i64,
    end: ConnectionEnd,
}

impl Record {
    async fn begin(log: &Arc<ConnectionLog>, new: NewConnection) -> Result<Self, Error> {
        let id = log.begin(new).await?;
        Ok(Self { log: Arc::clone(log), id, end: ConnectionEnd::default() })
    }

    fn note(&self) {
        self.log.note(self.id, self.end.clone());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.note();
    }
}

/// Bytes of a request as HTTP/1.1 writes it, without TLS.
fn request_bytes(request: &reqwest::Request) -> u64 {
    let url = request.url();
    let target = url.path().len() + url.query().map_or(0, |query| query.len() + 1);
    let line = request.method().as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
    let host = "host: \r\n".len() + host(url).len() + "accept: */*\r\n".len();
    let body = request.body().and_then(|body| body.as_bytes()).map_or(0, <[u8]>::len);
    (line + host + headers_bytes(request.headers()) + body) as u64
}

/// Bytes of an answer before its body.
fn head_bytes(response: &reqwest::Response) -> u64 {
    let reason = response.status().canonical_reason().unwrap_or_default();
    ("HTTP/1.1 200 \r\n".len() + reason.len() + headers_bytes(response.headers())) as u64
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() + 2
}

/// Host, and port unless it is the default.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The error of a connection that failed.
fn network_error(url: &Url, error: &reqwest::Error) -> Error {
    Error::Network { host: host(url), message: innermost(error) }
}

/// The innermost cause, such as `connection refused` or `dns error`: the others repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// No bytes arrived in time.
fn timeout(url: &Url) -> Error {
    Error::Network { host: host(url), message: "timed out".to_owned() }
}
