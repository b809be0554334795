//! Timeouts, and the waits between retries.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::Error;
use crate::retry_after::MAX_REQUESTED_WAIT;

/// The longest wait before a retry, unless the server requests more.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest wait before a retry after an invalid response.
const MAX_WAIT_AFTER_INVALID: Duration = Duration::from_secs(1);

/// Timeouts and retries of a [`Client`](crate::Client).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For establishing a connection.
    pub connect: Duration,
    /// For the next bytes of a response.
    pub read: Duration,
    /// The wait before the first retry; it about doubles with each further one.
    pub first_retry: Duration,
    /// Consecutive failures without a byte received before a download fails.
    pub max_retries: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            first_retry: Duration::from_millis(500),
            max_retries: 8,
        }
    }
}

impl Timeouts {
    /// The wait after this many consecutive failures: exponential backoff with jitter, so that
    /// clients that failed together do not retry together.
    pub(crate) fn backoff(&self, failures: u32, error: &Error) -> Duration {
        let longest = self.first_retry.saturating_mul(1 << failures.min(12) >> 1).min(MAX_WAIT);
        let longest = match error.is_invalid_response() {
            true => longest.min(MAX_WAIT_AFTER_INVALID),
            false => longest,
        };
        let requested = error.retry_after().unwrap_or_default().min(MAX_REQUESTED_WAIT);
        longest.mul_f64(0.5 + 0.5 * random_fraction()).max(requested)
    }
}

/// A number in 0..1 that differs between calls and processes.
fn random_fraction() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_varies_and_obeys_the_server() {
        let timeouts = Timeouts { first_retry: Duration::from_secs(1), ..Timeouts::default() };
        let error = |retry_after| {
            let (what, host) = (String::new(), String::new());
            Error::Status { what, host, status: 429, retry_after }
        };
        let waits: Vec<_> = (0..8).map(|_| timeouts.backoff(4, &error(None))).collect();
        let range = Duration::from_secs(4)..=Duration::from_secs(8);
        assert!(waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
        assert!(timeouts.backoff(1, &error(None)) <= Duration::from_secs(1));
        let requested = Duration::from_secs(30);
        assert_eq!(timeouts.backoff(1, &error(Some(requested))), requested);
    }
}
