//! The client of a hub: URLs, redirects, the access token. Its connections pass [`Egress`].
//!
//! Redirects are followed here, so that each is logged, loops and downgrades from `https` to `http` are
//! rejected, and the token is sent to the hub alone. The token is sent only after the hub has refused a
//! request without it. While a hub requests a pause, no request is sent to it.
//!
//! [`response`] decides what an unsuccessful response means.

mod response;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hf_hub::{Repo, RepoType};
use lilims_ipc::ConnectionAsker;
use parking_lot::Mutex;

use crate::egress::header::AUTHORIZATION;
use crate::egress::{Answer, Egress, HeaderMap, Method, Outgoing, Purpose, StatusCode, Url, host};
use crate::library::folder::check_repository;
use crate::timeouts::Timeouts;
use crate::token::AccessToken;
use crate::{Error, Library};

pub(crate) use response::{check_not_html, redirect_target};

/// The hub, unless `HF_ENDPOINT` names another one.
const ENDPOINT: &str = "https://huggingface.co";
/// The most redirects that one request follows.
const MAX_REDIRECTS: usize = 8;
/// The longest response that is not a model file.
const MAX_RESPONSE_BYTES: usize = 32 << 20;

/// A client of one hub. Clones share the connection pool, the access token and the pauses, so a
/// process should have only one.
#[derive(Clone)]
pub struct Client {
    egress: Egress,
    endpoint: Url,
    token: Arc<AccessToken>,
    /// Requested pauses by [`pause_key`]: when each ends, and the status of the response.
    pauses: Arc<Mutex<HashMap<String, (Instant, u16)>>>,
    pub(crate) timeouts: Timeouts,
}

/// A request before it is sent.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) purpose: &'a Purpose,
}

impl Client {
    /// Creates a client of the hub that `HF_ENDPOINT` names, by default Hugging Face, for requests of
    /// `asker`.
    ///
    /// # Errors
    /// [`Error::Endpoint`]; [`Error::Network`] if TLS is not available.
    pub fn from_env(library: Arc<Library>, asker: ConnectionAsker) -> Result<Self, Error> {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty());
        let endpoint = endpoint.as_deref().unwrap_or(ENDPOINT);
        let client = Self::new(library, endpoint, Timeouts::default())?;
        Ok(client.asked_by(asker))
    }

    /// Creates a client of the hub at `endpoint`.
    ///
    /// # Errors
    /// As for [`Client::from_env`].
    pub fn new(library: Arc<Library>, endpoint: &str, timeouts: Timeouts) -> Result<Self, Error> {
        let invalid = || Error::Endpoint { endpoint: endpoint.to_owned() };
        let endpoint = Url::parse(endpoint.trim_end_matches('/')).map_err(|_| invalid())?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(invalid());
        }
        let egress = Egress::new(library, ConnectionAsker::Other, timeouts)?;
        let token = Arc::new(AccessToken::new(endpoint.origin().ascii_serialization(), None));
        Ok(Self { egress, endpoint, token, pauses: Arc::default(), timeouts })
    }

    /// Uses `token`, or no token at all, instead of the one that this machine stores.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        let origin = self.endpoint.origin().ascii_serialization();
        Self { token: Arc::new(AccessToken::new(origin, Some(token))), ..self }
    }

    /// The same client, with requests of `asker`.
    #[must_use]
    pub fn asked_by(&self, asker: ConnectionAsker) -> Self {
        Self { egress: self.egress.asked_by(asker), ..self.clone() }
    }

    /// The door that its connections pass.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The library whose log records the connections.
    pub fn library(&self) -> &Arc<Library> {
        self.egress.library()
    }

    /// The hub's host name.
    pub fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// Looks the access token up again when one is needed next: the stored one has changed.
    pub fn forget_token(&self) {
        self.token.forget();
    }

    /// Whether the hub has rejected the access token since the last call. Requests continue without
    /// it.
    pub fn take_token_rejection(&self) -> bool {
        self.token.take_rejection()
    }

    /// The URL of `path` below the endpoint.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// The URL of a repository's file.
    pub(crate) fn file_url(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<Url, Error> {
        let repo = repo(repository, revision)?;
        Ok(self.url(&format!("{}/resolve/{}/{file}", repo.url(), repo.url_revision())))
    }

    /// The URL of the hub's API for a repository.
    pub(crate) fn api_url(&self, repository: &str, revision: &str) -> Result<Url, Error> {
        Ok(self.url(&format!("api/{}", repo(repository, revision)?.api_url())))
    }

    /// Whether the URL is on the hub itself: same scheme, host and port.
    pub(crate) fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// Fetches a text, following redirects.
    pub(crate) async fn get_text(&self, url: Url, purpose: &Purpose) -> Result<String, Error> {
        let request = Request { method: Method::GET, url, headers: HeaderMap::new(), purpose };
        let mut response = self.send_following(request).await?;
        check_not_html(&response, purpose)?;
        let url = response.url().clone();
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await? {
            if bytes.len() + part.len() > MAX_RESPONSE_BYTES {
                return Err(Error::invalid_response(&url, purpose, "it is too long"));
            }
            bytes.extend_from_slice(&part);
        }
        String::from_utf8(bytes)
            .map_err(|_| Error::invalid_response(&url, purpose, "it is not UTF-8"))
    }

    /// Sends a request and follows redirects.
    ///
    /// # Errors
    /// As for [`Client::send`]; [`Error::Answer`] for too many redirects.
    pub(crate) async fn send_following(&self, mut request: Request<'_>) -> Result<Answer, Error> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(&request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            request.url = redirect_target(&response, request.purpose)?;
        }
        Err(Error::invalid_response(&request.url, request.purpose, "too many redirects"))
    }

    /// Sends a request, and again with or without the access token where that may help. Returns
    /// redirects.
    ///
    /// # Errors
    /// What [`response`] makes of an error status; [`Error::Network`]; [`Error::Status`] while the
    /// hub requests a pause.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        self.check_pause(request)?;
        let token = self.token.known().filter(|_| self.is_endpoint(&request.url));
        let first = self.send_once(request, token.as_deref()).await?;
        let response = match token {
            Some(token) => self.retry_without_token(request, &token, first).await?,
            None => self.retry_with_token(request, first).await?,
        };
        self.check_status(response, request).await
    }

    /// After the response `first` to a request without a token: the response to one with a token, if
    /// the token may help.
    async fn retry_with_token(
        &self,
        request: &Request<'_>,
        first: Answer,
    ) -> Result<Answer, Error> {
        let may_help = matches!(first.status().as_u16(), 401 | 403 | 429);
        if !may_help || !self.is_endpoint(&request.url) {
            return Ok(first);
        }
        let Some(token) = self.token.find().await else { return Ok(first) };
        let second = self.send_once(request, Some(&token)).await?;
        if second.status() == StatusCode::UNAUTHORIZED {
            self.token.reject(token);
            return Ok(first);
        }
        Ok(second)
    }

    /// After the response `first` to a request with `token`: the response to one without it, if the
    /// hub has rejected the token.
    async fn retry_without_token(
        &self,
        request: &Request<'_>,
        token: &str,
        first: Answer,
    ) -> Result<Answer, Error> {
        match first.status() {
            StatusCode::UNAUTHORIZED => {
                self.token.reject(token.to_owned());
                self.send_once(request, None).await
            }
            // A valid token may allow less than no token does.
            StatusCode::FORBIDDEN => {
                let second = self.send_once(request, None).await?;
                let helps = second.status().is_success() || second.status().is_redirection();
                Ok(if helps { second } else { first })
            }
            _ => Ok(first),
        }
    }

    /// Fails while the host requests a pause.
    fn check_pause(&self, request: &Request<'_>) -> Result<(), Error> {
        let mut pauses = self.pauses.lock();
        let key = pause_key(&request.url);
        let Some((until, status)) = pauses.get(&key).copied() else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            pauses.remove(&key);
            return Ok(());
        }
        let (what, host) = (request.purpose.to_string(), host(&request.url));
        // Whole seconds, and no earlier than the pause ends.
        let retry_after = Some(Duration::from_secs(left.as_secs() + 1));
        Err(Error::Status { what, host, status, retry_after })
    }

    /// Sends a request, with `token` if it goes to the hub itself.
    async fn send_once(&self, request: &Request<'_>, token: Option<&str>) -> Result<Answer, Error> {
        let url = &request.url;
        let mut headers = request.headers.clone();
        let token = token.filter(|_| self.is_endpoint(url));
        // A token with other characters cannot be sent.
        if let Some(value) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
            headers.insert(AUTHORIZATION, value);
        }
        let (method, purpose) = (request.method.clone(), request.purpose);
        self.egress.send(Outgoing { method, url, headers, body: Vec::new(), purpose }).await
    }
}

fn repo(repository: &str, revision: &str) -> Result<Repo, Error> {
    check_repository(repository)?;
    Ok(Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned()))
}

/// The host, and which of its rate limits applies: the hub counts API requests and file requests
/// separately.
fn pause_key(url: &Url) -> String {
    let part = if url.path().contains("/api/") { "api" } else { "files" };
    format!("{} {part}", host(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Result<Client, Error> {
        let folder = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(folder.path()).unwrap());
        Client::new(library, endpoint, Timeouts::default())
    }

    #[test]
    fn urls_are_below_the_endpoint() {
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
    fn endpoints_are_http_urls() {
        for endpoint in ["", "huggingface.co", "file:///etc", "ftp://x"] {
            assert!(matches!(client(endpoint), Err(Error::Endpoint { .. })), "{endpoint}");
        }
    }
}
