//! The endpoints that serve files: the hub's `resolve`, which redirects, its cache of small files,
//! and the CDN with ranges and `If-Range`. Follows RFC 9110 and the behaviour of the real servers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, Method};
use axum::routing::get;
use futures_util::StreamExt;

use super::answers::{
    Answer, Outcome, Refusal, answer, entry_not_found, find_repo, gated, reject_unknown_token,
    require_revision, set_header,
};
use super::content::Content;
use super::faults::{Fault, Injected, RangeLie};
use super::log::text;
use super::repo::{Lfs, StoredFile, StoredRepo};
use super::state::{Caller, Shared};

const LAST_MODIFIED: &str = "Mon, 01 Sep 2025 12:00:00 GMT";
const URL_LIFETIME: Duration = Duration::from_secs(3600);
/// The path prefix of cached small files.
pub(super) const RESOLVE_CACHE: &str = "/api/resolve-cache/";

pub(super) fn hub_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/{owner}/{name}/resolve/{revision}/{*path}", get(resolve))
        .route("/api/resolve-cache/models/{owner}/{name}/{commit}/{*path}", get(cached))
        .route("/loop/{side}", get(redirect_loop))
}

pub(super) fn cdn_routes() -> Router<Arc<Shared>> {
    Router::new().route("/xet-bridge-us/{repo}/{sha256}", get(blob))
}

type FilePath = Path<(String, String, String, String)>;

async fn resolve(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision, path)): FilePath,
    request: Request,
) -> Outcome {
    let repo = readable_repo(&shared, &format!("{owner}/{name}"), &request)?;
    require_revision(&repo, &revision)?;
    let commit = repo.repo.commit.as_str();
    let Some(file) = repo.file(&path) else {
        let mut missing = entry_not_found();
        set_header(&mut missing.0, "x-repo-commit", commit);
        return Err(missing);
    };
    if let Some(lfs) = &file.lfs {
        return Ok(to_cdn(&shared, &repo, file, lfs));
    }
    if !shared.small_files_redirect.load(Ordering::SeqCst) {
        return Ok(serve_small(&shared, commit, file, &request));
    }
    let asked = request.uri().path();
    let raw_path = asked.splitn(6, '/').last().unwrap_or_default();
    let query: String = form_urlencoded::byte_serialize(asked.as_bytes()).collect();
    let location = format!(
        "{RESOLVE_CACHE}models/{}/{commit}/{raw_path}?{query}=&etag=%22{}%22",
        repo.repo.id, file.oid
    );
    let body = format!("Temporary Redirect. Redirecting to {location}");
    Ok(redirect(307, &location, commit, (file.content.len_bytes(), &file.oid), body))
}

async fn cached(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, commit, path)): FilePath,
    request: Request,
) -> Outcome {
    let repo = readable_repo(&shared, &format!("{owner}/{name}"), &request)?;
    if commit != repo.repo.commit {
        return Err(entry_not_found());
    }
    let file = repo.file(&path).filter(|file| file.lfs.is_none()).ok_or_else(entry_not_found)?;
    Ok(serve_small(&shared, &commit, file, &request))
}

fn readable_repo(shared: &Shared, id: &str, request: &Request) -> Result<Arc<StoredRepo>, Refusal> {
    let caller = shared.caller(request.headers());
    let repo = find_repo(shared, &caller, id, request.uri())?;
    match (&repo.repo.gate, &caller) {
        (None, _) => reject_unknown_token(&caller)?,
        (Some(gate), Caller::User { token, .. }) if gate.tokens.contains(token) => {}
        (Some(_), Caller::User { .. }) => return Err(gated(403, &repo.repo.id)),
        (Some(_), Caller::Anonymous | Caller::UnknownToken) => {
            return Err(gated(401, &repo.repo.id));
        }
    }
    Ok(repo)
}

fn to_cdn(shared: &Shared, repo: &StoredRepo, file: &StoredFile, lfs: &Lfs) -> Answer {
    let path = format!("/xet-bridge-us/{}/{}", &repo.repo.commit[..24], file.sha256);
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let disposition: String =
        form_urlencoded::byte_serialize(format!("inline; filename=\"{name}\";").as_bytes())
            .collect();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let expires = (since_epoch + URL_LIFETIME).as_secs().to_string();
    let signature = shared.signature(&path, &expires);
    let location = format!(
        "http://{}{path}?X-Xet-Cas-Uid=public&response-content-disposition={disposition}\
         &Expires={expires}&Policy=eyJ9&Signature={signature}&Key-Pair-Id=K2L8F4GPSG1IFC",
        shared.cdn
    );
    let body = format!("Found. Redirecting to {location}");
    let linked = (file.content.len_bytes(), file.sha256.as_str());
    let mut found = redirect(302, &location, &repo.repo.commit, linked, body);
    set_header(&mut found, "x-xet-hash", &lfs.xet_hash);
    found
}

fn redirect(
    status: u16,
    location: &str,
    commit: &str,
    linked: (u64, &str),
    body: String,
) -> Answer {
    let headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("location", location),
        ("vary", "Origin, Accept"),
        ("x-repo-commit", commit),
        ("accept-ranges", "bytes"),
        ("x-linked-size", &linked.0.to_string()),
        ("x-linked-etag", &format!("\"{}\"", linked.1)),
    ];
    answer(status, &headers, body)
}

/// The endpoint of [`Fault::RedirectLoop`].
async fn redirect_loop(Path(side): Path<String>) -> Answer {
    let other = if side == "0" { "/loop/1" } else { "/loop/0" };
    answer(302, &[("location", other)], format!("Found. Redirecting to {other}"))
}

async fn blob(
    State(shared): State<Arc<Shared>>,
    Path((_, sha256)): Path<(String, String)>,
    request: Request,
) -> Outcome {
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    if value("Signature") != shared.signature(request.uri().path(), &value("Expires")) {
        return Err(storage_error(403, "AccessDenied", "Access denied").into());
    }
    let Some(file) = shared.blob(&sha256) else {
        return Err(storage_error(404, "NoSuchKey", "The specified key does not exist.").into());
    };
    let mut served = serve(&shared, &file, &request);
    set_header(&mut served, "cache-control", "public, max-age=31536000");
    Ok(served)
}

/// An error in the format of the storage behind the CDN.
pub(super) fn storage_error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    answer(status, &[("content-type", "application/xml")], body)
}

fn serve_small(shared: &Shared, commit: &str, file: &StoredFile, request: &Request) -> Answer {
    let mut served = serve(shared, file, request);
    set_header(&mut served, "x-repo-commit", commit);
    served
}

/// The requested part of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// A range outside the file.
    Beyond,
}

fn serve(shared: &Shared, file: &StoredFile, request: &Request) -> Answer {
    let injected = request.extensions().get::<Injected>();
    let fault = injected.map(|injected| injected.fault);
    if let Some(Fault::NewEtag { other_bytes }) = fault {
        shared.change(&file.sha256, other_bytes);
    }
    let (content, etag) = shared.current_content(file);
    let headers = request.headers();
    let mut served = match (wanted(headers, &etag, content.len_bytes()), fault) {
        _ if text(headers, IF_NONE_MATCH).as_ref() == Some(&etag) => {
            answer(304, &[], Body::empty())
        }
        (Wanted::Part(_) | Wanted::Beyond, Some(Fault::IgnoreRange)) => all_of(content, fault),
        (Wanted::All, fault) => all_of(content, fault),
        (Wanted::Part(range), fault) => part_of(content, range, fault),
        (Wanted::Beyond, _) => {
            let range = format!("bytes */{}", content.len_bytes());
            let mut beyond = storage_error(416, "InvalidRange", "The range is not satisfiable");
            set_header(&mut beyond, "content-range", &range);
            beyond
        }
    };
    set_header(&mut served, "etag", &etag);
    set_header(&mut served, "last-modified", LAST_MODIFIED);
    set_header(&mut served, "accept-ranges", "bytes");
    if request.method() == Method::HEAD {
        *served.body_mut() = Body::empty();
    }
    served
}

fn wanted(headers: &HeaderMap, etag: &str, total: u64) -> Wanted {
    let Some(range) = text(headers, RANGE) else { return Wanted::All };
    let is_same = text(headers, IF_RANGE).is_none_or(|it| it == etag || it == LAST_MODIFIED);
    if is_same { parse_range(&range, total) } else { Wanted::All }
}

/// Parses a `Range` header. Invalid headers and several ranges are ignored, as RFC 9110 allows.
fn parse_range(header: &str, total: u64) -> Wanted {
    let parts = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let (start, end) = match parts {
        Some(("", length)) => match length.parse::<u64>() {
            Ok(length) => (total.saturating_sub(length), if length == 0 { 0 } else { total }),
            Err(_) => return Wanted::All,
        },
        Some((start, "")) => match start.parse() {
            Ok(start) => (start, total),
            Err(_) => return Wanted::All,
        },
        Some((start, last)) => match (start.parse::<u64>(), last.parse::<u64>()) {
            (Ok(start), Ok(last)) if start <= last => (start, total.min(last.saturating_add(1))),
            _ => return Wanted::All,
        },
        None => return Wanted::All,
    };
    if start < end { Wanted::Part(start..end) } else { Wanted::Beyond }
}

fn all_of(content: Content, fault: Option<Fault>) -> Answer {
    let range = 0..content.len_bytes();
    let extra_bytes = extra_bytes_of(fault);
    let len_bytes = (range.end + extra_bytes).to_string();
    let headers =
        [("content-type", "application/octet-stream"), ("content-length", len_bytes.as_str())];
    answer(200, &headers, body(content, range, extra_bytes))
}

fn part_of(content: Content, range: Range<u64>, fault: Option<Fault>) -> Answer {
    let extra_bytes = extra_bytes_of(fault);
    let len_bytes = range.end - range.start + extra_bytes;
    let (mut start, mut end) = (range.start, range.end);
    let mut total = content.len_bytes();
    match fault {
        Some(Fault::TooLong { is_stated: true, .. }) => end += extra_bytes,
        Some(Fault::WrongRange(RangeLie::Total)) => total += 1,
        // Downwards if possible, so that the claimed range exists.
        Some(Fault::WrongRange(RangeLie::Offset)) if start > 0 => {
            (start, end) = (start - 1, end - 1)
        }
        Some(Fault::WrongRange(RangeLie::Offset)) => (start, end) = (start + 1, end + 1),
        _ => {}
    }
    let headers = [
        ("content-type", "application/octet-stream"),
        ("content-length", &len_bytes.to_string()),
        ("content-range", &format!("bytes {start}-{}/{total}", end - 1)),
    ];
    let mut part = answer(206, &headers, body(content, range, extra_bytes));
    if fault == Some(Fault::WrongRange(RangeLie::Absent)) {
        part.headers_mut().remove("content-range");
    }
    part
}

fn extra_bytes_of(fault: Option<Fault>) -> u64 {
    match fault {
        Some(Fault::TooLong { extra_bytes, .. }) => extra_bytes,
        _ => 0,
    }
}

/// The bytes of `range` and `extra_bytes` more: the following ones, then generated ones.
fn body(content: Content, range: Range<u64>, extra_bytes: u64) -> Body {
    if extra_bytes == 0 {
        return Body::from_stream(content.stream(range));
    }
    let end = content.len_bytes().min(range.end + extra_bytes);
    let made_up_bytes = range.end + extra_bytes - end;
    let made_up = Content::generated(extra_bytes, made_up_bytes).stream(0..made_up_bytes);
    Body::from_stream(content.stream(range.start..end).chain(made_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_as_in_rfc_9110() {
        for (header, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=5-100", Wanted::Part(5..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=5-4", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(parse_range(header, 10), wanted, "{header}");
        }
    }
}
