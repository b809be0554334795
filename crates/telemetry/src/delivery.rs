//! Sends the queue: one envelope at a time, the oldest first, until the server or a failure stops it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use sentry::types::Dsn;

use crate::folder::Folder;
use crate::pauses::NextRequest;
use crate::queue::Queue;
use crate::{Answer, Delivery, Error, Pauses, Post, SendFailed, Sender};

/// Where envelopes are sent, and under which version.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) dsn: Dsn,
    pub(crate) version: &'static str,
    pub(crate) pauses: Pauses,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The server has the envelope.
    Accepted,
    /// The server will never take it.
    Rejected,
    /// The server takes none for now.
    Limited,
    /// The envelope can be sent again later.
    Failed,
}

impl Verdict {
    fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted,
            429 => Self::Limited,
            408 => Self::Failed,
            400..=499 => Self::Rejected,
            _ => Self::Failed,
        }
    }
}

impl Target {
    fn post(&self, body: Vec<u8>) -> Post {
        let client = format!("lilims/{}", self.version);
        let auth = self.dsn.to_auth(Some(&client)).to_string();
        let headers = [("Content-Type", "application/x-sentry-envelope"), ("X-Sentry-Auth", &auth)];
        Post {
            url: self.dsn.envelope_api_url().to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), value.to_string())).to_vec(),
            body,
        }
    }
}

/// Sends what waits in the queue; `is_running` keeps a second call from sending the same.
pub(crate) async fn deliver(
    folder: &Folder,
    queue: &Queue,
    target: &Target,
    is_running: &AtomicBool,
    sender: &impl Sender,
) -> Result<Delivery, Error> {
    let mut delivery = Delivery::default();
    if let Some(_running) = Running::start(is_running) {
        delivery.n_dropped = queue.remove_old()?;
        while send_next(folder, queue, target, sender, &mut delivery).await? {}
    }
    if folder.is_open() {
        delivery.pause = NextRequest::load(folder).pause(SystemTime::now());
        delivery.n_waiting = queue.entries()?.len();
    }
    Ok(delivery)
}

/// Sends the oldest envelope, and returns whether the next one may follow.
async fn send_next(
    folder: &Folder,
    queue: &Queue,
    target: &Target,
    sender: &impl Sender,
    delivery: &mut Delivery,
) -> Result<bool, Error> {
    let next = NextRequest::load(folder);
    if !folder.is_open() || next.pause(SystemTime::now()).is_some() {
        return Ok(false);
    }
    let Some((entry, bytes)) = queue.next()? else { return Ok(false) };
    let answer = sender.post(target.post(bytes)).await;
    if !folder.is_open() {
        return Ok(false);
    }
    let verdict = match &answer {
        Ok(answer) => Verdict::of(answer.status),
        Err(SendFailed::NotAllowed) => return Ok(false),
        Err(SendFailed::NoAnswer) => Verdict::Failed,
    };
    match verdict {
        Verdict::Accepted => delivery.n_sent += 1,
        Verdict::Rejected => delivery.n_dropped += 1,
        Verdict::Limited | Verdict::Failed => {}
    }
    if matches!(verdict, Verdict::Accepted | Verdict::Rejected) {
        queue.remove(&entry)?;
    }
    let after = next_after(next, verdict, answer.as_ref().ok(), target.pauses);
    if after != next {
        after.save(folder)?;
    }
    Ok(matches!(verdict, Verdict::Accepted | Verdict::Rejected))
}

fn next_after(
    next: NextRequest,
    verdict: Verdict,
    answer: Option<&Answer>,
    pauses: Pauses,
) -> NextRequest {
    let now = SystemTime::now();
    match (verdict, answer) {
        (Verdict::Accepted | Verdict::Rejected, Some(answer)) => next.after_success(answer, now),
        (Verdict::Limited, Some(answer)) => next.after_limit(answer, now),
        (_, answer) => next.after_failure(answer, pauses, now),
    }
}

/// Marks a delivery as running until it is dropped.
struct Running<'a>(&'a AtomicBool);

impl<'a> Running<'a> {
    fn start(is_running: &'a AtomicBool) -> Option<Self> {
        (!is_running.swap(true, Ordering::Acquire)).then(|| Self(is_running))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
