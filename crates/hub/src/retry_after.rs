//! The pause that a server requests before the next request.
//!
//! Sources: RFC 9110, `Retry-After`; the IETF draft `ratelimit-headers` in its forms of 2023 and 2025,
//! the latter of which Hugging Face sends (`"resolvers";r=0;t=280`); `X-RateLimit-*`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::egress::HeaderMap;
use crate::egress::header::RETRY_AFTER;

/// The longest pause that is waited for; longer ones are errors.
pub(crate) const MAX_REQUESTED_WAIT: Duration = Duration::from_secs(3600);
/// Numbers of seconds from this on are Unix timestamps.
const FIRST_TIMESTAMP: u64 = 1_000_000_000;

/// The pause that the headers of an error response request.
pub(crate) fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(wait) = text(RETRY_AFTER.as_str()).and_then(retry_after) {
        return Some(wait);
    }
    if let Some(wait) = text("ratelimit").and_then(rate_limit) {
        return Some(wait);
    }
    ["ratelimit", "x-ratelimit"].iter().find_map(|start| {
        let is_exhausted = text(&format!("{start}-remaining"))
            .is_none_or(|left| left.split(',').any(|left| left.trim() == "0"));
        text(&format!("{start}-reset")).filter(|_| is_exhausted).and_then(reset)
    })
}

/// Parses `Retry-After`: seconds or a date.
fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => seconds_of(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            Some(until(at))
        }
    }
}

/// Parses `RateLimit`: `"name";r=0;t=280, "other";r=5;t=60`, or `limit=10, remaining=0, reset=280`.
fn rate_limit(text: &str) -> Option<Duration> {
    let waits = text.split(',').filter_map(|limit| {
        let parameter = |name: &str| {
            limit.split(';').find_map(|it| it.trim().strip_prefix(name)?.trim().parse::<f64>().ok())
        };
        let left = parameter("r=")?;
        if left > 0.0 { None } else { seconds_of(parameter("t=")?) }
    });
    waits.max().or_else(|| {
        let member = |name: &str| {
            text.split([',', ';']).find_map(|it| it.trim().strip_prefix(name)?.trim().parse().ok())
        };
        let left: f64 = member("remaining=")?;
        if left > 0.0 { None } else { seconds_of(member("reset=")?) }
    })
}

/// Parses a reset time: seconds from now, or a Unix timestamp.
fn reset(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split(',').next()?.trim().parse().ok()?;
    let wait = seconds_of(seconds)?;
    if wait.as_secs() < FIRST_TIMESTAMP {
        return Some(wait);
    }
    Some(until(UNIX_EPOCH + wait))
}

fn seconds_of(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}

/// The time until `at`, rounded up to whole seconds; zero if it has passed.
fn until(at: SystemTime) -> Duration {
    match at.duration_since(SystemTime::now()) {
        Ok(wait) => Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
        Err(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use crate::egress::HeaderValue;
    use crate::egress::header::HeaderName;

    use super::*;

    fn wait(headers: &[(&'static str, &str)]) -> Option<u64> {
        let map = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        requested_wait(&map.collect()).map(|wait| wait.as_secs())
    }

    #[test]
    fn l5_all_formats_are_understood() {
        for (headers, expected) in [
            (&[("retry-after", "77")][..], Some(77)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[("retry-after", "1.5")], Some(2)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-5")], None),
            (&[("ratelimit", "\"resolvers\";r=0;t=280")], Some(280)),
            (&[("ratelimit", "\"api\";r=12;t=280")], None),
            (&[("ratelimit", "\"api\";r=1;t=9, \"resolvers\"; r=0; t=30")], Some(30)),
            (&[("ratelimit", "limit=100, remaining=0, reset=50")], Some(50)),
            (&[("ratelimit", "limit=100, remaining=5, reset=50")], None),
            (&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")], Some(12)),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "12")], Some(12)),
            (&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "12")], None),
            (&[("x-ratelimit-reset", "1000000001")], Some(0)),
            (&[("ratelimit", "nonsense")], None),
            (&[], None),
        ] {
            assert_eq!(wait(headers), expected, "{headers:?}");
        }
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!((98..=101).contains(&wait(&[("retry-after", &date)]).unwrap()), "{date}");
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 100;
        let reset = wait(&[("x-ratelimit-reset", &at.to_string())]).unwrap();
        assert!((98..=101).contains(&reset));
    }
}
