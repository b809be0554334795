//! Injects faults around the endpoints: before them, into their responses, and into the connection.
//! Faults in the choice of bytes are in `files.rs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use serde_json::json;
use tokio::time::sleep;

use super::answers::{Answer, answer, entry_not_found, gated, set_header};
use super::content::Content;
use super::faults::{Fault, Injected, RequestFacts, Target, WaitHeader};
use super::files::{RESOLVE_CACHE, storage_error};
use super::log::{Host, text};
use super::state::Shared;
use super::wire::Wire;

const GARBAGE_BYTES: u64 = 512;

/// The state of one of the two servers.
#[derive(Clone)]
pub(super) struct ServerState {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
}

/// Logs a request, lets the endpoint respond, and injects the plan's fault into the response.
pub(super) async fn handle_request(
    State(server): State<ServerState>,
    mut request: Request,
    next: Next,
) -> Answer {
    let shared = &server.shared;
    let asked = server.asked(&request);
    // Another fault would break a redirect loop.
    let is_loop = request.uri().path().starts_with("/loop/");
    let injected = if is_loop { None } else { shared.next_fault(asked) };
    let (parts, body) = request.into_parts();
    let log_index = shared.log.add(server.host, &parts, injected.as_ref().map(|it| it.fault));
    let wire = parts.extensions.get::<ConnectInfo<Wire>>().cloned();
    let ConnectInfo(wire) = wire.expect("the servers are started with connection info");
    let id: String = parts.uri.path().splitn(4, '/').skip(1).take(2).collect::<Vec<_>>().join("/");
    request = Request::from_parts(parts, body);
    wire.pass();

    let moved = shared.moved_to().filter(|_| server.host == Host::Hub);
    let instead = match &injected {
        _ if let Some(other) = moved => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            Some(answer(308, &[("location", &format!("{other}{path}"))], Body::empty()))
        }
        Some(injected) => server.answer_instead(injected, asked, &id, &wire).await,
        None => None,
    };
    let mut answer = match instead {
        Some(answer) => answer,
        None => {
            if let Some(injected) = &injected {
                request.extensions_mut().insert(injected.clone());
            }
            next.run(request).await
        }
    };
    server.state_limits(&mut answer, asked);
    state_length(&mut answer);
    if let Some(injected) = &injected {
        answer = inject_fault(answer, injected, &wire, shared);
    }
    if !matches!(injected.map(|it| it.fault), Some(Fault::Garbage | Fault::Silence(_))) {
        shared.log.set_status(&log_index, answer.status().as_u16());
    }
    let counted = move |piece: &Bytes| {
        log_index.body_bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
    };
    answer.map(|body| Body::from_stream(pieces(body).inspect_ok(counted)))
}

impl ServerState {
    fn asked(&self, request: &Request) -> RequestFacts {
        let path = request.uri().path();
        let is_cdn = self.host == Host::Cdn;
        let target = if is_cdn || path.starts_with(RESOLVE_CACHE) {
            Target::Bytes
        } else if path.starts_with("/api/") {
            Target::Api
        } else {
            Target::Resolve
        };
        let has_range = request.headers().contains_key("range");
        RequestFacts { target, is_head: request.method() == Method::HEAD, has_range, is_cdn }
    }

    /// A response in place of the endpoint's, for faults that need one.
    async fn answer_instead(
        &self,
        injected: &Injected,
        asked: RequestFacts,
        id: &str,
        wire: &Wire,
    ) -> Option<Answer> {
        match injected.fault {
            Fault::Status(404) if self.host == Host::Hub => Some(entry_not_found().into_response()),
            Fault::Status(status) if self.host == Host::Hub => Some(hub_failure(status)),
            Fault::Status(404) => Some(storage_error(404, "NoSuchKey", "No such key")),
            Fault::Status(status) => Some(storage_error(status, "Failure", "Please try again")),
            Fault::TooManyRequests { retry_after_s } => {
                Some(too_many_requests(bucket(asked.target), retry_after_s))
            }
            Fault::RateLimited(how, seconds) => Some(rate_limited(how, seconds)),
            Fault::NoLocation => Some(answer(302, &[("content-length", "0")], Body::empty())),
            Fault::Portal => {
                let page = "<!DOCTYPE html><html><body>Welcome! Please sign in.</body></html>";
                Some(answer(200, &[("content-type", "text/html; charset=utf-8")], page))
            }
            Fault::GatedBecause(reason) => {
                let body = json!({ "error": reason }).to_string();
                let headers = [("content-type", "application/json"), ("x-error-code", "GatedRepo")];
                Some(answer(403, &headers, body))
            }
            Fault::Gated(status) => Some(gated(status, id).into_response()),
            Fault::Silence(pause) => {
                sleep(pause).await;
                wire.replace_response(Bytes::new());
                Some(answer(200, &[], Body::empty()))
            }
            Fault::Garbage => {
                let noise = Content::generated(
                    injected.offset(super::BodyOffset::Random, u64::MAX),
                    GARBAGE_BYTES,
                );
                wire.replace_response(noise.read(0..GARBAGE_BYTES).unwrap_or_default());
                Some(answer(200, &[], Body::empty()))
            }
            Fault::ExpireUrls => {
                self.shared.expire_urls();
                None
            }
            _ => None,
        }
    }

    /// Adds the rate limit headers that the hub sends with each response.
    fn state_limits(&self, answer: &mut Answer, asked: RequestFacts) {
        if self.host == Host::Cdn || answer.headers().contains_key("ratelimit") {
            return;
        }
        let (name, quota) = bucket(asked.target);
        set_header(answer, "ratelimit", &format!("\"{name}\";r={};t=295", quota - 1));
        set_header(answer, "ratelimit-policy", &policy(name, quota));
    }
}

/// The rate limit bucket of a request, with its quota.
fn bucket(target: Target) -> (&'static str, u64) {
    if target == Target::Api { ("api", 500) } else { ("resolvers", 3000) }
}

fn policy(name: &str, quota: u64) -> String {
    format!("\"fixed window\";\"{name}\";q={quota};w=300")
}

fn too_many_requests((name, quota): (&str, u64), retry_after_s: u64) -> Answer {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("retry-after", &retry_after_s.to_string()),
        ("ratelimit", &format!("\"{name}\";r=0;t={retry_after_s}")),
        ("ratelimit-policy", &policy(name, quota)),
    ];
    let message = "We had to rate limit you. To continue using our service, please log in.";
    answer(429, &headers, json!({ "error": message }).to_string())
}

fn rate_limited(how: WaitHeader, seconds: u64) -> Answer {
    let text = seconds.to_string();
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
    let limit = format!("\"resolvers\";r=0;t={seconds}");
    let headers = match how {
        WaitHeader::RateLimit => [("ratelimit", &*limit), ("vary", "Origin")],
        // The usual header reports a limit that is not used up.
        WaitHeader::Date => [("retry-after", &*date), ("ratelimit", "\"resolvers\";r=9;t=9")],
        WaitHeader::XRateLimit => [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*text)],
    };
    answer(429, &headers, json!({ "error": "too many requests" }).to_string())
}

fn hub_failure(status: u16) -> Answer {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    if status == 500 {
        let message = "Internal Error - We're working hard to fix this as soon as possible!";
        let headers = [("content-type", "application/json"), ("x-error-message", message)];
        return answer(500, &headers, json!({ "error": message }).to_string());
    }
    let body = format!("<html><body><h1>{status} {}</h1></body></html>", reason.unwrap_or("Error"));
    answer(status, &[("content-type", "text/html")], body)
}

/// Sets `Content-Length` if it is known, since it is lost when the body becomes a stream.
fn state_length(answer: &mut Answer) {
    if answer.headers().contains_key(CONTENT_LENGTH) {
        return;
    }
    if let Some(len_bytes) = answer.body().size_hint().exact() {
        set_header(answer, "content-length", &len_bytes.to_string());
    }
}

fn inject_fault(mut answer: Answer, injected: &Injected, wire: &Wire, shared: &Shared) -> Answer {
    let length = text(answer.headers(), CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let length: u64 = length.unwrap_or(0);
    match injected.fault {
        Fault::Reset(offset) => wire.cut_after(injected.offset(offset, length), true),
        Fault::Truncate(offset) => wire.cut_after(injected.offset(offset, length), false),
        Fault::Stall(offset, pause) => {
            let offset = injected.offset(offset, length);
            answer = answer.map(|body| stalled(body, offset, pause));
        }
        Fault::HeadersOnly(pause) => answer = answer.map(|body| stalled(body, 0, pause)),
        Fault::Drip { piece_bytes, pause, slow_bytes } => {
            answer = answer.map(|body| dripping(body, piece_bytes.max(1), pause, slow_bytes));
        }
        Fault::EmptyBody => {
            set_header(&mut answer, "content-length", "0");
            answer = answer.map(|_| Body::empty());
        }
        Fault::FlipBit(offset) => {
            let offset = injected.offset(offset, length);
            answer = answer.map(|body| flipped(body, offset));
        }
        Fault::RedirectLoop => redirect_to(&mut answer, &format!("http://{}/loop/0", shared.hub)),
        Fault::RedirectToNowhere => {
            redirect_to(&mut answer, &format!("http://{}/file", shared.nowhere));
        }
        _ => {}
    }
    answer
}

/// Changes a redirect's target but keeps its headers about the file.
fn redirect_to(answer: &mut Answer, location: &str) {
    if !answer.status().is_redirection() {
        *answer = super::answers::answer(302, &[("content-length", "0")], Body::empty());
    }
    set_header(answer, "location", location);
}

fn pieces(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    body.into_data_stream().map_err(io::Error::other)
}

fn stalled(body: Body, offset: u64, pause: Duration) -> Body {
    let before = pieces(body).scan(offset, |left, piece| {
        let cut = piece.map(|piece| piece.slice(..piece.len().min(*left as usize)));
        *left -= cut.as_ref().map_or(0, |piece| piece.len() as u64);
        future::ready(Some(cut).filter(|cut| !cut.as_ref().is_ok_and(Bytes::is_empty)))
    });
    let end = stream::once(async move {
        sleep(pause).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    Body::from_stream(before.chain(end))
}

fn dripping(body: Body, piece_bytes: u64, pause: Duration, slow_bytes: u64) -> Body {
    let start = (Box::pin(pieces(body)), Bytes::new(), slow_bytes);
    let drops = stream::try_unfold(start, move |(mut pieces, mut piece, slow_left)| async move {
        if piece.is_empty() {
            match pieces.try_next().await? {
                Some(next) => piece = next,
                None => return Ok::<_, io::Error>(None),
            }
        }
        if slow_left == 0 {
            return Ok(Some((piece, (pieces, Bytes::new(), 0))));
        }
        if slow_left < slow_bytes {
            sleep(pause).await;
        }
        let drop_bytes = piece_bytes.min(slow_left).min(piece.len() as u64);
        let drop = piece.split_to(drop_bytes as usize);
        Ok(Some((drop, (pieces, piece, slow_left - drop_bytes))))
    });
    Body::from_stream(drops)
}

fn flipped(body: Body, offset: u64) -> Body {
    let mut start = 0;
    Body::from_stream(pieces(body).map_ok(move |piece| {
        let within = offset.wrapping_sub(start) as usize;
        start += piece.len() as u64;
        if within >= piece.len() {
            return piece;
        }
        let mut wrong = piece.to_vec();
        wrong[within] ^= 1;
        wrong.into()
    }))
}
