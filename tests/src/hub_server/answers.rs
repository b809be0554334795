//! Responses shared by several endpoints, with the wording and headers of the real hub.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::repo::StoredRepo;
use super::state::{Caller, Found, Shared};

pub(super) type Answer = Response<Body>;
/// An endpoint's response, or an error response that ended it early.
pub(super) type Outcome = Result<Answer, Refusal>;

/// An error response that ends an endpoint early.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Box<Answer>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Answer {
        *self.0
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self(Box::new(answer))
    }
}

pub(super) fn answer(
    status: u16,
    headers: &[(&'static str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).expect("the status has three digits");
    for (name, value) in headers {
        set_header(&mut answer, name, value);
    }
    answer
}

pub(super) fn set_header(answer: &mut Answer, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("the value is visible ASCII");
    answer.headers_mut().insert(HeaderName::from_static(name), value);
}

pub(super) fn json_answer(body: &Value) -> Answer {
    answer(200, &[("content-type", "application/json; charset=utf-8")], body.to_string())
}

pub(super) fn error(status: u16, code: Option<&str>, message: &str) -> Refusal {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-error-message", message),
        ("x-error-code", code.unwrap_or_default()),
    ];
    let sent = if code.is_some() { &headers[..] } else { &headers[..2] };
    answer(status, sent, json!({ "error": message }).to_string()).into()
}

pub(super) fn gated(status: u16, id: &str) -> Refusal {
    let message = if status == 401 {
        format!(
            "Access to model {id} is restricted. You must have access to it and be authenticated \
             to access it. Please log in."
        )
    } else {
        format!(
            "Access to model {id} is restricted and you are not in the authorized list. Visit \
             https://huggingface.co/{id} to ask for access."
        )
    };
    error(status, Some("GatedRepo"), &message)
}

pub(super) fn entry_not_found() -> Refusal {
    error(404, Some("EntryNotFound"), "Entry not found")
}

/// The repository `owner/name`, regardless of the caller's access to it; redirects former ids.
pub(super) fn find_repo(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    uri: &Uri,
) -> Result<Arc<StoredRepo>, Refusal> {
    match shared.find(id) {
        Found::Here(repo) => Ok(repo),
        Found::Moved(now) => {
            let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
            let location = asked.replacen(id, &now, 1);
            let body = format!("Temporary Redirect. Redirecting to {location}");
            Err(answer(307, &[("location", &location)], body).into())
        }
        // Without a valid token, the hub does not reveal whether the repository exists.
        Found::Missing if matches!(caller, Caller::User { .. }) => {
            Err(error(404, Some("RepoNotFound"), "Repository not found"))
        }
        Found::Missing => Err(error(401, None, "Invalid username or password.")),
    }
}

/// Rejects an unknown token, even if none is needed.
pub(super) fn reject_unknown_token(caller: &Caller) -> Result<(), Refusal> {
    match caller {
        Caller::UnknownToken => {
            Err(error(401, None, "Invalid credentials in Authorization header"))
        }
        Caller::Anonymous | Caller::User { .. } => Ok(()),
    }
}

pub(super) fn require_revision(repo: &StoredRepo, revision: &str) -> Result<(), Refusal> {
    if repo.has_revision(revision) {
        return Ok(());
    }
    Err(error(404, Some("RevisionNotFound"), &format!("Invalid rev id: {revision}")))
}
