//! Pauses between requests: after failures, and those that the server requests. They are kept in a file,
//! so that a restart does not end them.
//!
//! Sources: <https://develop.sentry.dev/sdk/expected-features/rate-limiting/>; RFC 9110, `Retry-After`.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::unix_ms;
use crate::folder::{Folder, write_private};
use crate::{Answer, Error, Pauses};

/// The longest pause that a server can request.
const MAX_REQUESTED: Duration = Duration::from_secs(24 * 3600);
/// The pause where a server requests one without a valid time, as the source above says.
const DEFAULT_REQUESTED: Duration = Duration::from_secs(60);
/// Categories of limits that hold for events; none holds for all categories.
const OUR_CATEGORIES: &[&str] = &["", "error", "default"];
const TOO_MANY_REQUESTS: u16 = 429;
const MAX_FILE_BYTES: u64 = 1000;

/// When the next request may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextRequest {
    /// Failed requests since the last one that succeeded.
    n_failures: u32,
    /// Milliseconds since 1970 before which none is sent.
    not_before_ms: u64,
}

impl NextRequest {
    /// Reads the file of the folder; without one, or with a damaged one, a request may be sent now.
    pub(crate) fn load(folder: &Folder) -> Self {
        let bytes = lilims_files::read(&folder.pauses(), MAX_FILE_BYTES).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes the file of the folder.
    pub(crate) fn save(self, folder: &Folder) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&self).map_err(|it| Error::Serialise(it.into()))?;
        folder.while_open(|| write_private(&folder.pauses(), &bytes))
    }

    /// How long to wait from `now` on; `None` if a request may be sent.
    pub(crate) fn pause(self, now: SystemTime) -> Option<Duration> {
        let pause = Duration::from_millis(self.not_before_ms.saturating_sub(unix_ms(now)));
        // A longer one comes from a clock that was wrong.
        (!pause.is_zero() && pause <= MAX_REQUESTED).then_some(pause)
    }

    /// After a request that succeeded.
    pub(crate) fn after_success(self, answer: &Answer, now: SystemTime) -> Self {
        match requested(answer, now) {
            Some(pause) => Self::starting(0, pause, now),
            None => Self::default(),
        }
    }

    /// After the server refused to take more for now.
    pub(crate) fn after_limit(self, answer: &Answer, now: SystemTime) -> Self {
        Self::starting(self.n_failures, requested(answer, now).unwrap_or(DEFAULT_REQUESTED), now)
    }

    /// After a request that failed, with the answer if there was one.
    pub(crate) fn after_failure(
        self,
        answer: Option<&Answer>,
        pauses: Pauses,
        now: SystemTime,
    ) -> Self {
        let doubled = pauses.first.saturating_mul(1 << self.n_failures.min(20));
        let requested = answer.and_then(|it| requested(it, now)).unwrap_or_default();
        let pause = doubled.min(pauses.longest).max(requested);
        Self::starting(self.n_failures.saturating_add(1), pause, now)
    }

    fn starting(n_failures: u32, pause: Duration, now: SystemTime) -> Self {
        Self { n_failures, not_before_ms: unix_ms(now.checked_add(pause).unwrap_or(now)) }
    }
}

/// The pause for events that an answer requests.
fn requested(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let pause = match &answer.rate_limits {
        // It says more than `Retry-After`, which then concerns other categories, too.
        Some(limits) => rate_limits(limits)?,
        None => {
            let text = answer.retry_after.as_deref();
            let is_stated = answer.status == TOO_MANY_REQUESTS || text.is_some();
            is_stated
                .then(|| text.and_then(|it| retry_after(it, now)))?
                .unwrap_or(DEFAULT_REQUESTED)
        }
    };
    Some(pause.min(MAX_REQUESTED))
}

/// The longest pause for events in `X-Sentry-Rate-Limits`: `60:error;transaction:organization, 5::key`.
fn rate_limits(text: &str) -> Option<Duration> {
    let pauses = text.split(',').filter_map(|limit| {
        let mut fields = limit.trim().split(':');
        let seconds = fields.next()?;
        let mut categories = fields.next()?.split(';').map(str::trim);
        categories
            .any(|it| OUR_CATEGORIES.contains(&it))
            .then(|| seconds_of(seconds).unwrap_or(DEFAULT_REQUESTED))
    });
    pauses.max()
}

/// Parses `Retry-After`: seconds or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    seconds_of(text).or_else(|| {
        let at = httpdate::parse_http_date(text.trim()).ok()?;
        Some(at.duration_since(now).unwrap_or_default())
    })
}

fn seconds_of(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn requested_s(status: u16, retry_after: Option<&str>, limits: Option<&str>) -> Option<u64> {
        let answer = Answer {
            status,
            retry_after: retry_after.map(str::to_string),
            rate_limits: limits.map(str::to_string),
        };
        requested(&answer, now()).map(|it| it.as_secs())
    }

    #[test]
    fn limits_hold_for_their_categories() {
        for (limits, expected) in [
            ("60:error:organization", Some(60)),
            ("60:transaction;error:key", Some(60)),
            ("60::organization", Some(60)),
            ("60:default:organization:reason", Some(60)),
            ("60:transaction:organization", None),
            ("60:transaction:key, 5:error:key, 7:error:project", Some(7)),
            ("1.5:error:key", Some(2)),
            ("soon:error:key", Some(60)),
            ("-1:error:key", Some(60)),
            ("999999999:error:key", Some(24 * 3600)),
            ("60", None),
            ("", None),
            ("nonsense, :, ::", Some(60)),
        ] {
            assert_eq!(requested_s(200, None, Some(limits)), expected, "{limits}");
        }
    }

    #[test]
    fn retry_after_is_read_without_limits() {
        assert_eq!(requested_s(429, Some("9"), None), Some(9));
        assert_eq!(requested_s(429, None, None), Some(60));
        assert_eq!(requested_s(429, Some("soon"), None), Some(60));
        assert_eq!(requested_s(503, Some("9"), None), Some(9));
        assert_eq!(requested_s(503, None, None), None);
        assert_eq!(requested_s(429, Some("9"), Some("5:transaction:key")), None);
        let date = httpdate::fmt_http_date(now() + Duration::from_secs(30));
        assert_eq!(requested_s(429, Some(&date), None), Some(30));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = Pauses { first: Duration::from_secs(60), longest: Duration::from_secs(200) };
        let mut next = NextRequest::default();
        assert_eq!(next.pause(now()), None);
        for expected in [60, 120, 200, 200] {
            next = next.after_failure(None, pauses, now());
            assert_eq!(next.pause(now()), Some(Duration::from_secs(expected)));
        }
        let answer = Answer { status: 200, ..Answer::default() };
        assert_eq!(next.after_success(&answer, now()).pause(now()), None);
        let after = next.after_success(&answer, now()).after_failure(None, pauses, now());
        assert_eq!(after.pause(now()), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_pause_of_a_wrong_clock_does_not_hold() {
        let later = now() + Duration::from_secs(400 * 24 * 3600);
        let next = NextRequest::default().after_failure(None, Pauses::default(), later);
        assert_eq!(next.pause(now()), None);
    }
}
