//! What the hub's unsuccessful responses mean: status, error code, and the hub's own message.

use std::time::Instant;

use lilims_ipc::TokenProblem;

use super::{Client, Request, pause_key};
use crate::Error;
use crate::egress::header::{CONTENT_TYPE, LOCATION};
use crate::egress::{Answer, HeaderMap, Method, Purpose, StatusCode, Url, host};
use crate::retry_after::{MAX_REQUESTED_WAIT, requested_wait};

/// How much of an error's body is read.
const MAX_MESSAGE_BYTES: usize = 8 << 10;
/// How much of the hub's message is shown.
const MAX_MESSAGE_CHARS: usize = 200;

impl Client {
    /// Passes successful responses and redirects on; turns others into errors and notes a requested
    /// pause.
    pub(super) async fn check_status(
        &self,
        mut response: Answer,
        request: &Request<'_>,
    ) -> Result<Answer, Error> {
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        let retry_after = requested_wait(response.headers());
        if let Some(wait) = retry_after {
            let until = Instant::now() + wait.min(MAX_REQUESTED_WAIT);
            self.pauses.lock().insert(pause_key(&request.url), (until, status.as_u16()));
        }
        let (url, what) = (response.url().clone(), request.purpose.to_string());
        let host = host(&url);
        let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok());
        let code = header("x-error-code").unwrap_or_default().to_owned();
        // The endpoint may redirect to another hub, which sends these headers, too.
        let is_hub =
            self.is_endpoint(&url) || !code.is_empty() || header("x-error-message").is_some();
        if !is_hub {
            return Err(Error::Status { what, host, status: status.as_u16(), retry_after });
        }
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let message = match is_refusal {
            true => self.message(&mut response, request).await,
            false => String::new(),
        };
        let target = Target::of(&url);
        Err(match (status, &*code) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, "GatedRepo") => Error::Gated {
                page: self.url(&target.repository).to_string(),
                repository: target.repository,
                reason: message,
                token: self.token_problem(&url),
                is_known: status == StatusCode::FORBIDDEN,
            },
            (_, "RevisionNotFound") => {
                Error::NotFound { what: target.revision_or_repository(), host }
            }
            (_, "RepoNotFound") => Error::NotFound { what: target.repository, host },
            (_, "EntryNotFound") | (StatusCode::NOT_FOUND, _) => {
                Error::NotFound { what: target.file_or_repository(), host }
            }
            // Without a token, the hub responds 401 for private and for missing repositories.
            (StatusCode::UNAUTHORIZED, _)
                if self.token.known().is_none() && !self.token.is_rejected() =>
            {
                Error::NotFound { what: target.repository, host }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Error::Refused { what, host, message, token: self.token_problem(&url) }
            }
            _ => Error::Status { what, host, status: status.as_u16(), retry_after },
        })
    }

    /// What this client knows about the token when `url` refuses access.
    fn token_problem(&self, url: &Url) -> Option<TokenProblem> {
        if !self.is_endpoint(url) {
            Some(TokenProblem::NotSent)
        } else {
            self.token.is_rejected().then_some(TokenProblem::Rejected)
        }
    }

    /// The hub's message: from the header, else from the body.
    async fn message(&self, response: &mut Answer, request: &Request<'_>) -> String {
        let header = response.headers().get("x-error-message");
        let header = header.map(|it| clean(&String::from_utf8_lossy(it.as_bytes())));
        if let Some(message) = header.filter(|it| !it.is_empty()) {
            return message;
        }
        // Responses to `HEAD` have no body: `GET` has the same error with one.
        let mut repeated = None;
        if request.method == Method::HEAD {
            let (url, token) = (request.url.clone(), self.token.known());
            let (method, headers) = (Method::GET, HeaderMap::new());
            let get = Request { method, url, headers, purpose: request.purpose };
            repeated = self.send_once(&get, token.as_deref()).await.ok();
        }
        let response = repeated.as_mut().unwrap_or(response);
        if is_html(response) || response.status().is_success() {
            return String::new();
        }
        let mut bytes = Vec::new();
        while bytes.len() < MAX_MESSAGE_BYTES
            && let Ok(Some(part)) = response.chunk().await
        {
            bytes.extend_from_slice(&part);
        }
        bytes.truncate(MAX_MESSAGE_BYTES);
        let text = String::from_utf8_lossy(&bytes);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let message = json
            .as_ref()
            .and_then(|json| ["error", "message"].iter().find_map(|key| json.get(key)?.as_str()));
        clean(message.unwrap_or(if json.is_some() { "" } else { &text }))
    }
}

/// The hub's text as one short line without control and formatting characters.
fn clean(text: &str) -> String {
    let is_format = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let plain: String = text
        .chars()
        .filter(|c| !is_format(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_MESSAGE_CHARS {
        return line;
    }
    line.chars().take(MAX_MESSAGE_CHARS - 1).chain(['…']).collect()
}

fn is_html(response: &Answer) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    content_type.is_some_and(|it| it.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// Rejects a web page in place of data, as networks with a sign-in page send it.
pub(crate) fn check_not_html(response: &Answer, purpose: &Purpose) -> Result<(), Error> {
    match is_html(response) {
        true => Err(Error::invalid_response(
            response.url(),
            purpose,
            "it is a web page; the network may have a sign-in page, open it in a browser",
        )),
        false => Ok(()),
    }
}

/// The URL that a redirect leads to.
pub(crate) fn redirect_target(response: &Answer, purpose: &Purpose) -> Result<Url, Error> {
    let from = response.url();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let to =
        to.ok_or_else(|| Error::invalid_response(from, purpose, "a redirect has no target"))?;
    match (from.scheme(), to.scheme()) {
        ("http", "http") | (_, "https") => Ok(to),
        _ => Err(Error::invalid_response(from, purpose, "a redirect leads away from https")),
    }
}

/// What a URL of the hub refers to.
struct Target {
    repository: String,
    revision: Option<String>,
    file: Option<String>,
}

impl Target {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l15_messages_are_one_short_plain_line() {
        assert_eq!(clean("a\u{1b}[31m\n b\u{202e}\u{9b}c\t "), "a [31m b c");
        let long = clean(&"é".repeat(500));
        assert_eq!((long.chars().count(), long.ends_with('…')), (200, true));
    }

    #[test]
    fn targets_of_urls() {
        let target = |text: &str| Target::of(&Url::parse(text).unwrap());
        let (file, revision) = (Target::file_or_repository, Target::revision_or_repository);
        let url = "https://h/a/b/resolve/v2/c/d.gguf";
        assert_eq!(file(target(url)), "c/d.gguf in a/b");
        assert_eq!(revision(target(url)), "revision v2 of a/b");
        assert_eq!(target(url).repository, "a/b");
        assert_eq!(file(target("https://h/api/models/a/b/revision/main")), "a/b");
        assert_eq!(file(target("https://h/a/b")), "a/b");
        assert_eq!(revision(target("https://h/a/b")), "a/b");
    }
}
