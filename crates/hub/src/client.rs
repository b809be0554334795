//! HTTP to a hub: addresses, redirects, the access token, errors in words, the log of connections.
//!
//! Redirects are followed here and not by `reqwest`, so that each connection is logged, circles and
//! steps from `https` down to `http` are refused, and the token never leaves the hub it is for. The
//! token is sent only after the hub refused without it; one that the hub refuses is put aside for as
//! long as this process lives. A hub that asks for a pause is not asked before that is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hf_hub::{Repo, RepoType};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use crate::library::folder::check_repository;
use crate::pause::{MAX_ASKED_WAIT, asked_wait};
use crate::token::AccessToken;
use crate::{Error, Library};

/// Where models come from, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// Redirects that one request may go through.
const MAX_REDIRECTS: usize = 8;
/// An answer that is not a file is at most this long.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The longest wait before a retry, unless the server asks for more.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest wait before a retry after an answer that makes no sense.
const MAX_ODD_WAIT: Duration = Duration::from_secs(1);
/// What is read of an error's text, in bytes, and shown of it, in characters.
const MAX_REASON_BYTES: usize = 8 << 10;
const MAX_REASON_CHARS: usize = 200;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub stall: Duration,
    /// Before the first retry; each further one waits about twice as long.
    pub retry: Duration,
    /// Failures in a row, without a byte in between, after which a download breaks off.
    pub retries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            retry: Duration::from_millis(500),
            retries: 8,
        }
    }
}

impl Patience {
    /// How long to wait after so many failures in a row: longer each time, and not everybody who
    /// failed at one moment until the same moment.
    pub(crate) fn wait(&self, failures: u32, error: &Error) -> Duration {
        let longest = self.retry.saturating_mul(1 << failures.min(12) >> 1).min(MAX_WAIT);
        let longest = if error.is_odd() { longest.min(MAX_ODD_WAIT) } else { longest };
        let asked = error.retry_after().unwrap_or_default().min(MAX_ASKED_WAIT);
        longest.mul_f64(0.5 + 0.5 * random_share()).max(asked)
    }
}

/// A number in 0..1 that differs between calls and processes.
fn random_share() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// A connection to a hub.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    library: Arc<Library>,
    token: Arc<AccessToken>,
    /// Until when which part of which host is not asked, and with which status it said so.
    pauses: Arc<Mutex<HashMap<String, (Instant, u16)>>>,
    pub(crate) patience: Patience,
}

/// A request, before it is sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// For the log and for errors, such as `download owner/name/file.gguf`.
    pub(crate) purpose: &'a str,
}

impl Client {
    /// A client of the hub that `HF_ENDPOINT` names, else of Hugging Face.
    ///
    /// # Errors
    /// [`Error::Endpoint`]; [`Error::Network`] where there is no TLS.
    pub fn from_env(library: Arc<Library>) -> Result<Self, Error> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty());
        Self::new(library, endpoint.as_deref().unwrap_or(ENDPOINT), Patience::default())
    }

    /// A client of the hub at `endpoint`. Proxies come from the environment.
    ///
    /// # Errors
    /// As [`Client::from_env`].
    pub fn new(library: Arc<Library>, endpoint: &str, patience: Patience) -> Result<Self, Error> {
        let wrong = || Error::Endpoint { endpoint: endpoint.to_owned() };
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| wrong())?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(wrong());
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("lilims/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(patience.connect)
            // Files are compressed already, and ranges are of what is stored.
            .http1_only()
            .build()
            .map_err(|error| network(&endpoint, &error))?;
        let token = Arc::new(AccessToken::new(endpoint.origin().ascii_serialization(), None));
        Ok(Self { http, endpoint, library, token, pauses: Arc::default(), patience })
    }

    /// Uses this access token, or none, and not the one that the environment or the keychain has.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        let origin = self.endpoint.origin().ascii_serialization();
        Self { token: Arc::new(AccessToken::new(origin, Some(token))), ..self }
    }

    /// The library that connections are logged in.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// The hub's host, to show.
    pub fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// The address of a page of the hub, `path` segments below the endpoint.
    pub(crate) fn page(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// The address of a file of a repository.
    pub(crate) fn file_url(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<Url, Error> {
        check_repository(repository)?;
        let repo = Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned());
        Ok(self.page(&format!("{}/resolve/{}/{file}", repo.url(), repo.url_revision())))
    }

    /// The address of what the hub knows of a repository.
    pub(crate) fn api_url(&self, repository: &str, revision: &str) -> Result<Url, Error> {
        check_repository(repository)?;
        let repo = Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned());
        Ok(self.page(&format!("api/{}", repo.api_url())))
    }

    /// Gets a whole answer that is not a model, following redirects.
    pub(crate) async fn text(&self, url: Url, purpose: &str) -> Result<(String, HeaderMap), Error> {
        let ask = Ask { method: Method::GET, url, headers: HeaderMap::new(), purpose };
        let mut response = self.follow(ask).await?;
        check_no_page(&response, purpose)?;
        let (headers, url) = (response.headers().clone(), response.url().clone());
        let mut bytes = Vec::new();
        while let Some(piece) = self.next(&mut response).await? {
            if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(senseless(&url, purpose, "it is too long"));
            }
            bytes.extend_from_slice(&piece);
        }
        let text =
            String::from_utf8(bytes).map_err(|_| senseless(&url, purpose, "it is no text"))?;
        Ok((text, headers))
    }

    /// The next bytes of an answer; a stall is an error.
    pub(crate) async fn next(
        &self,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let url = response.url().clone();
        match tokio::time::timeout(self.patience.stall, response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(network(&url, &error)),
            Err(_) => Err(stalled(&url)),
        }
    }

    /// Sends a request and follows redirects; an answer that is no success is an error.
    pub(crate) async fn follow(&self, mut ask: Ask<'_>) -> Result<Response, Error> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(&ask).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            ask.url = redirected(&response, ask.purpose)?;
        }
        Err(senseless(&ask.url, ask.purpose, "it redirects in circles"))
    }

    /// Sends a request. Redirects are returned; an error of the server is an error.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        self.check_pause(ask)?;
        let token = self.token.known().filter(|_| self.is_endpoint(&ask.url));
        let first = self.send_once(ask, token.as_deref()).await?;
        let response = match token {
            Some(token) => self.without_refused(ask, &token, first).await?,
            None => self.with_needed(ask, first).await?,
        };
        self.checked(response, ask).await
    }

    /// After the answer to a request without a token: the answer to one with it, where that may help.
    async fn with_needed(&self, ask: &Ask<'_>, first: Response) -> Result<Response, Error> {
        let may_help = matches!(first.status().as_u16(), 401 | 403 | 429);
        if !may_help || !self.is_endpoint(&ask.url) {
            return Ok(first);
        }
        let Some(token) = self.token.get() else { return Ok(first) };
        let second = self.send_once(ask, Some(&token)).await?;
        if second.status() == StatusCode::UNAUTHORIZED {
            self.token.put_aside(token);
            return Ok(first);
        }
        Ok(second)
    }

    /// After the answer to a request with a token: the answer to one without, where the token itself
    /// was refused.
    async fn without_refused(
        &self,
        ask: &Ask<'_>,
        token: &str,
        first: Response,
    ) -> Result<Response, Error> {
        match first.status() {
            StatusCode::UNAUTHORIZED => {
                self.token.put_aside(token.to_owned());
                self.send_once(ask, None).await
            }
            // A token may be good and allow less than none does.
            StatusCode::FORBIDDEN => {
                let second = self.send_once(ask, None).await?;
                let helps = second.status().is_success() || second.status().is_redirection();
                Ok(if helps { second } else { first })
            }
            _ => Ok(first),
        }
    }

    /// The error that the host has asked for a pause, while it lasts.
    fn check_pause(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let mut pauses = lock(&self.pauses);
        let key = pause_key(&ask.url);
        let Some((until, status)) = pauses.get(&key).copied() else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            pauses.remove(&key);
            return Ok(());
        }
        let (what, host) = (ask.purpose.to_owned(), host(&ask.url));
        // Whole seconds, and no earlier than the pause ends.
        let retry_after = Some(Duration::from_secs(left.as_secs() + 1));
        Err(Error::Status { what, host, status, retry_after })
    }

    async fn send_once(&self, ask: &Ask<'_>, token: Option<&str>) -> Result<Response, Error> {
        let mut request =
            self.http.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
        if let Some(token) = token.filter(|_| self.is_endpoint(&ask.url)) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let sent = tokio::time::timeout(self.patience.stall, request.send()).await;
        let result = match sent {
            Ok(result) => result.map_err(|error| network(&ask.url, &error)),
            Err(_) => Err(stalled(&ask.url)),
        };
        let outcome = match &result {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => code(error),
        };
        self.library.log_connection(&host(&ask.url), ask.purpose, &outcome);
        result
    }

    /// Whether the hub has refused the access token since this was last asked. Requests go on
    /// without it.
    pub fn take_token_refusal(&self) -> bool {
        self.token.take_refusal()
    }

    /// Whether the address is the hub's own, host and port.
    pub(crate) fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    async fn checked(&self, mut response: Response, ask: &Ask<'_>) -> Result<Response, Error> {
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        let (url, what) = (response.url().clone(), ask.purpose.to_owned());
        let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok());
        let code = header("x-error-code").unwrap_or_default().to_owned();
        // Another hub, where the endpoint redirects there.
        let is_hub = self.is_endpoint(&url)
            || header("x-error-code").or(header("x-error-message")).is_some();
        let retry_after = asked_wait(response.headers());
        let host = host(&url);
        let other = |retry_after| Error::Status {
            what: what.clone(),
            host: host.clone(),
            status: status.as_u16(),
            retry_after,
        };
        if let Some(wait) = retry_after {
            let until = Instant::now() + wait.min(MAX_ASKED_WAIT);
            lock(&self.pauses).insert(pause_key(&ask.url), (until, status.as_u16()));
        }
        if !is_hub {
            return Err(other(retry_after));
        }
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let message = match is_refusal {
            true => self.reason(&mut response, ask).await,
            false => String::new(),
        };
        let named = Named::of(&url);
        Err(match (status, &*code) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, "GatedRepo") => {
                let repository = named.repository;
                let page = self.page(&repository).to_string();
                let is_known = status == StatusCode::FORBIDDEN;
                Error::Gated { repository, page, reason: self.refusal(&url, message), is_known }
            }
            // The hub says 401 for repositories that are private or not there.
            (_, "RevisionNotFound") => {
                Error::NotFound { what: named.revision_or_repository(), host }
            }
            (_, "RepoNotFound") => Error::NotFound { what: named.repository, host },
            (_, "EntryNotFound") | (StatusCode::NOT_FOUND, _) => {
                Error::NotFound { what: named.file_or_repository(), host }
            }
            (StatusCode::UNAUTHORIZED, _)
                if self.token.known().is_none() && !self.token.is_refused() =>
            {
                Error::NotFound { what: named.repository, host }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Error::Refused { what, host, message: self.refusal(&url, message) }
            }
            _ => other(retry_after),
        })
    }

    /// What the hub says of a refusal, with what it does not know.
    fn refusal(&self, url: &Url, reason: String) -> String {
        let ours = if !self.is_endpoint(url) {
            Some("HF_ENDPOINT leads there: set it to that address for the access token to be sent")
        } else if self.token.is_refused() {
            Some("the access token that Lilims has is refused, it may have expired")
        } else {
            None
        };
        match (reason.trim_end_matches('.'), ours) {
            (_, None) => reason,
            ("", Some(ours)) => ours.to_owned(),
            (reason, Some(ours)) => format!("{reason}; {ours}"),
        }
    }

    /// The hub's own words, cleaned: those of the header, else those of the body.
    async fn reason(&self, response: &mut Response, ask: &Ask<'_>) -> String {
        let header = response.headers().get("x-error-message");
        let header = header.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        if let Some(reason) = header.map(|it| clean(&it)).filter(|it| !it.is_empty()) {
            return reason;
        }
        // An answer to `HEAD` has no body, so the hub is asked for the beginning of the file.
        let mut whole = None;
        if ask.method == Method::HEAD {
            let (url, token) = (ask.url.clone(), self.token.known());
            let ask = Ask { method: Method::GET, url, headers: HeaderMap::new(), ..*ask };
            whole = self.send_once(&ask, token.as_deref()).await.ok();
        }
        let response = whole.as_mut().unwrap_or(response);
        if is_page(response) || response.status().is_success() {
            return String::new();
        }
        let mut bytes = Vec::new();
        while bytes.len() < MAX_REASON_BYTES
            && let Ok(Some(piece)) = self.next(response).await
        {
            bytes.extend_from_slice(&piece);
        }
        bytes.truncate(MAX_REASON_BYTES);
        let text = String::from_utf8_lossy(&bytes);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let said = json
            .as_ref()
            .and_then(|json| ["error", "message"].iter().find_map(|key| json.get(key)?.as_str()));
        clean(said.unwrap_or(if json.is_some() { "" } else { &text }))
    }
}

/// A hub's words as one short line without anything that a terminal or a page would obey.
fn clean(text: &str) -> String {
    let is_format = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let plain: String = text
        .chars()
        .filter(|c| !is_format(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_REASON_CHARS {
        return line;
    }
    line.chars().take(MAX_REASON_CHARS - 1).chain(['…']).collect()
}

/// What is paused together: the hub counts requests to its API and for files apart.
fn pause_key(url: &Url) -> String {
    let part = if url.path().contains("/api/") { "api" } else { "files" };
    format!("{} {part}", host(url))
}

/// Whether an answer is a page for people.
fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// Refuses a page for people in place of data, as networks with a sign-in page send it.
pub(crate) fn check_no_page(response: &Response, purpose: &str) -> Result<(), Error> {
    match is_page(response) {
        true => Err(senseless(
            response.url(),
            purpose,
            "it is a web page; the network may have a sign-in page, open it in a browser",
        )),
        false => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a redirect leads.
pub(crate) fn redirected(response: &Response, purpose: &str) -> Result<Url, Error> {
    let from = response.url();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let to = to.ok_or_else(|| senseless(from, purpose, "a redirect leads nowhere"))?;
    match (from.scheme(), to.scheme()) {
        ("http", "http") | (_, "https") => Ok(to),
        _ => Err(senseless(from, purpose, "a redirect leads away from https")),
    }
}

/// What an address of the hub names.
struct Named {
    repository: String,
    revision: Option<String>,
    file: Option<String>,
}

impl Named {
    fn of(url: &Url) -> Self {
        let segments = url.path_segments().into_iter().flatten();
        let segments: Vec<_> = segments.skip_while(|it| matches!(*it, "api" | "models")).collect();
        let is_verb = |it: &&str| matches!(*it, "resolve" | "revision" | "tree");
        let end = segments.iter().position(is_verb).unwrap_or(segments.len());
        let file = segments.get(end + 2..).filter(|file| !file.is_empty());
        Self {
            repository: segments[..end].join("/"),
            revision: segments.get(end + 1).map(|&it| it.to_owned()),
            file: file.map(|file| file.join("/")),
        }
    }

    fn file_or_repository(self) -> String {
        match self.file {
            Some(file) => format!("{file} in {}", self.repository),
            None => self.repository,
        }
    }

    fn revision_or_repository(self) -> String {
        match self.revision {
            Some(revision) => format!("revision {revision} of {}", self.repository),
            None => self.repository,
        }
    }
}

/// The code of an error with its facts, for the log.
fn code(error: &Error) -> String {
    let problem = lilims_ipc::Error::from(error).problem;
    serde_json::to_string(&problem).expect("a problem is plain data")
}

/// Host and, where it is not the usual one, port.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn network(url: &Url, error: &reqwest::Error) -> Error {
    // The innermost cause says most: `connection refused`, `dns error`.
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Network { host: host(url), message: cause.to_string() }
}

fn stalled(url: &Url) -> Error {
    Error::Network { host: host(url), message: "nothing came for too long".to_owned() }
}

/// The error that an answer makes no sense, and that another may.
pub(crate) fn answer(url: &Url, what: &str, message: &str) -> Error {
    let (what, message) = (what.to_owned(), message.to_owned());
    Error::Answer { what, host: host(url), message, is_permanent: false }
}

/// The error that an answer makes no sense, and that asking again is no use.
pub(crate) fn senseless(url: &Url, what: &str, message: &str) -> Error {
    let (what, message) = (what.to_owned(), message.to_owned());
    Error::Answer { what, host: host(url), message, is_permanent: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Result<Client, Error> {
        let folder = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(folder.path()).unwrap());
        Client::new(library, endpoint, Patience::default())
    }

    #[test]
    fn addresses_are_below_the_endpoint() {
        let client = client("https://mirror.example/hub/").unwrap();
        let url = client.file_url("a/b", "main", "Q4 x/m#1.gguf").unwrap();
        assert_eq!(url.as_str(), "https://mirror.example/hub/a/b/resolve/main/Q4%20x/m%231.gguf");
        let url = client.api_url("a/b", "refs/pr/1").unwrap();
        assert!(
            url.as_str().starts_with("https://mirror.example/hub/api/models/a/b/revision/refs")
        );
        assert!(client.file_url("a/../b", "main", "x").is_err());
        assert!(client.is_endpoint(&Url::parse("https://mirror.example/x").unwrap()));
        assert!(!client.is_endpoint(&Url::parse("https://mirror.example:8080/x").unwrap()));
    }

    #[test]
    fn endpoints_are_addresses() {
        for endpoint in ["", "huggingface.co", "file:///etc", "ftp://x"] {
            assert!(matches!(client(endpoint), Err(Error::Endpoint { .. })), "{endpoint}");
        }
    }

    #[test]
    fn waits_differ_grow_and_obey_the_server() {
        let patience = Patience { retry: Duration::from_secs(1), ..Patience::default() };
        let error = |retry_after| {
            let (what, host) = (String::new(), String::new());
            Error::Status { what, host, status: 429, retry_after }
        };
        let waits: Vec<_> = (0..8).map(|_| patience.wait(4, &error(None))).collect();
        let range = Duration::from_secs(4)..=Duration::from_secs(8);
        assert!(waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
        assert!(patience.wait(1, &error(None)) <= Duration::from_secs(1));
        let asked = Duration::from_secs(30);
        assert_eq!(patience.wait(1, &error(Some(asked))), asked);
    }

    #[test]
    fn l15_reasons_are_one_short_plain_line() {
        assert_eq!(clean("a\u{1b}[31m\n b\u{202e}\u{9b}c\t "), "a [31m b c");
        let long = clean(&"é".repeat(500));
        assert_eq!((long.chars().count(), long.ends_with('…')), (200, true));
    }

    #[test]
    fn what_is_missing_is_named() {
        let named = |text: &str| Named::of(&Url::parse(text).unwrap());
        let (file, revision) = (Named::file_or_repository, Named::revision_or_repository);
        let url = "https://h/a/b/resolve/v2/c/d.gguf";
        assert_eq!(file(named(url)), "c/d.gguf in a/b");
        assert_eq!(revision(named(url)), "revision v2 of a/b");
        assert_eq!(named(url).repository, "a/b");
        assert_eq!(file(named("https://h/api/models/a/b/revision/main")), "a/b");
        assert_eq!(file(named("https://h/a/b")), "a/b");
        assert_eq!(revision(named("https://h/a/b")), "a/b");
    }
}
