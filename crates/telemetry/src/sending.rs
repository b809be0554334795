//! The door to the network that the caller gives, and what a delivery did.

use std::time::Duration;

/// Sends requests. The caller implements it with its own connection.
///
/// An implementation follows no redirects, has a time limit, and reads no more of the answer's body
/// than it must: nothing here uses it.
pub trait Sender {
    /// Sends one request and waits for the answer's status and headers.
    fn post(&self, post: Post) -> impl Future<Output = Result<Answer, SendFailed>> + Send;
}

/// A `POST` request to the server of telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The address of the project's envelope endpoint.
    pub url: String,
    /// Names and values of the headers to send; `Content-Length` and `Host` are the sender's.
    pub headers: Vec<(String, String)>,
    /// The envelope, exactly the bytes that [`QueuedEnvelope::bytes`] showed.
    ///
    /// [`QueuedEnvelope::bytes`]: crate::QueuedEnvelope::bytes
    pub body: Vec<u8>,
}

/// What the server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The header `X-Sentry-Rate-Limits`.
    pub rate_limits: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailed {
    /// The caller allows no connections now: the envelope stays, and no pause follows.
    #[error("connections are not allowed now")]
    NotAllowed,
    /// The server was not reached, or did not answer in time.
    #[error("the server did not answer")]
    NoAnswer,
}

/// Pauses after failed requests: the first one, doubled with each further failure up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_secs(60), longest: Duration::from_secs(3600) }
    }
}

/// What one call of [`Telemetry::deliver`] did.
///
/// [`Telemetry::deliver`]: crate::Telemetry::deliver
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Envelopes that the server accepted.
    pub n_sent: usize,
    /// Envelopes that were deleted without being accepted: rejected by the server or too old.
    pub n_dropped: usize,
    /// Envelopes that wait.
    pub n_waiting: usize,
    /// How long to wait before the next call, where a failure or the server requires it. An earlier
    /// call sends nothing.
    pub pause: Option<Duration>,
}
