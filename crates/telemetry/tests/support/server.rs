//! A server on loopback that takes envelopes as Sentry does, and answers as a test asks; and a sender
//! that reaches it through a socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lilims_telemetry::{Answer, Post, SendFailed, Sender};
use serde_json::Value;

/// How long the sender waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// Answers with a status and headers.
    Answer(u16, &'static str),
    /// Closes the connection without an answer.
    Cut,
    /// Does not answer before the sender has given up.
    Slow,
}

/// A server; every request without a reaction of its own is answered with 200.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    reactions: Mutex<VecDeque<Reaction>>,
    events: Mutex<Vec<Value>>,
    bodies: Mutex<Vec<Vec<u8>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let server = Self { address, state: state.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                state.answer(stream.unwrap());
            }
        });
        server
    }

    /// The address of its project 7.
    pub(crate) fn dsn(&self) -> String {
        format!("http://key@{}/7", self.address)
    }

    /// What it does with the next requests.
    pub(crate) fn react(&self, reactions: &[Reaction]) {
        self.state.reactions.lock().unwrap().extend(reactions);
    }

    /// The events that it accepted.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.state.events.lock().unwrap().clone()
    }

    /// The bodies of all requests.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.bodies.lock().unwrap().clone()
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) {
        let (head, body) = read_request(&stream);
        let event = check_head(&head).and_then(|()| parse_envelope(&body));
        self.bodies.lock().unwrap().push(body);
        let reaction = self.reactions.lock().unwrap().pop_front();
        let (status, headers) = match (reaction.unwrap_or(Reaction::Answer(200, "")), &event) {
            (Reaction::Cut, _) => return,
            (Reaction::Slow, _) => {
                // Until the sender closes the connection, one way or the other.
                let _closed = stream.read(&mut [0]);
                return;
            }
            (Reaction::Answer(200, _), Err(problem)) => panic!("{problem}"),
            (Reaction::Answer(status, headers), _) => (status, headers),
        };
        if let (200, Ok(event)) = (status, event) {
            self.events.lock().unwrap().push(event);
        }
        let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 2\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn read_request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let length = header(&head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
    })
}

/// Checks the request as Sentry does.
fn check_head(head: &str) -> Result<(), String> {
    if !head.starts_with("POST /api/7/envelope/ HTTP/1.1\r\n") {
        return Err(format!("the endpoint is wrong: {head}"));
    }
    if header(head, "content-type").as_deref() != Some("application/x-sentry-envelope") {
        return Err(format!("the type is wrong: {head}"));
    }
    let auth = header(head, "x-sentry-auth").unwrap_or_default();
    let fields: Vec<&str> = auth.strip_prefix("Sentry ").unwrap_or_default().split(", ").collect();
    for expected in ["sentry_key=key", "sentry_version=7", "sentry_client=lilims/0.1.0"] {
        if !fields.contains(&expected) {
            return Err(format!("{expected} is missing: {auth}"));
        }
    }
    Ok(())
}

/// Parses an envelope with one event, by the lengths that its items state.
fn parse_envelope(body: &[u8]) -> Result<Value, String> {
    let (header, rest) = split_line(body)?;
    let header: Value = serde_json::from_slice(header).map_err(|it| it.to_string())?;
    let (item, rest) = split_line(rest)?;
    let item: Value = serde_json::from_slice(item).map_err(|it| it.to_string())?;
    let length = item["length"].as_u64().and_then(|it| usize::try_from(it).ok());
    let payload = rest.get(..length.ok_or("no length")?).ok_or("the payload is short")?;
    if &rest[payload.len()..] != b"\n" || item["type"] != "event" {
        return Err("there is more than an event".to_string());
    }
    let event: Value = serde_json::from_slice(payload).map_err(|it| it.to_string())?;
    let id = |value: &Value| value.as_str().unwrap_or_default().replace('-', "");
    if id(&event["event_id"]).len() != 32 || id(&event["event_id"]) != id(&header["event_id"]) {
        return Err("the ids differ".to_string());
    }
    Ok(event)
}

fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("a line has no end")?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// Sends to an address, whatever address a request names.
pub(crate) struct SocketSender(pub(crate) SocketAddr);

impl Sender for SocketSender {
    async fn post(&self, post: Post) -> Result<Answer, SendFailed> {
        // Others go on in the meantime, as with a real connection.
        tokio::task::yield_now().await;
        self.exchange(&post).map_err(|_| SendFailed::NoAnswer)
    }
}

impl SocketSender {
    fn exchange(&self, post: &Post) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.0, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let (host, path) = post.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        write!(stream, "POST /{path} HTTP/1.1\r\nHost: {host}\r\n")?;
        for (name, value) in &post.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "Content-Length: {}\r\n\r\n", post.body.len())?;
        stream.write_all(&post.body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        Ok(Answer {
            status: status.ok_or(std::io::ErrorKind::InvalidData)?,
            retry_after: header(&answer, "retry-after"),
            rate_limits: header(&answer, "x-sentry-rate-limits"),
        })
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
