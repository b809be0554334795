//! Measures and limits the rate of downloads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The reported rate is the mean over this time.
const WINDOW: Duration = Duration::from_secs(5);
/// Seconds of the limited rate that may be received at once.
const BURST_SECONDS: f64 = 0.25;

/// The rate over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Adds a sample and returns the rate in bytes per second.
    pub(crate) fn add(&mut self, now: Instant, done_bytes: u64) -> Option<f64> {
        // A damaged chunk is missing again.
        if self.samples.back().is_some_and(|&(_, before)| before > done_bytes) {
            self.samples.clear();
        }
        self.samples.push_back((now, done_bytes));
        while self.samples.front().is_some_and(|&(at, _)| now - at > WINDOW) {
            self.samples.pop_front();
        }
        let &(start, before) = self.samples.front()?;
        let seconds = (now - start).as_secs_f64();
        (seconds > 0.0).then(|| (done_bytes - before) as f64 / seconds)
    }
}

/// A rate limit that all downloads of a process share.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// The highest limit that can be set.
    at_most: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes_per_second: Option<u64>,
    /// When the received bytes would have arrived at exactly the limited rate.
    due: Option<Instant>,
}

impl Limiter {
    /// A limiter that stays below `bytes_per_second`, whatever limit is set.
    pub(crate) fn at_most(bytes_per_second: u64) -> Self {
        let at_most = Some(bytes_per_second);
        Self { at_most, state: Mutex::new(State { bytes_per_second: at_most, due: None }) }
    }

    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        let bounds = [bytes_per_second, self.at_most];
        self.state.lock().bytes_per_second = bounds.into_iter().flatten().min();
    }

    /// Waits until `bytes` more may be received.
    pub(crate) async fn acquire(&self, bytes: usize) {
        let wait = self.charge(Instant::now(), bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn charge(&self, now: Instant, bytes: usize) -> Duration {
        let mut state = self.state.lock();
        let Some(rate) = state.bytes_per_second.filter(|&rate| rate > 0) else {
            state.due = None;
            return Duration::ZERO;
        };
        let start = state.due.map_or(now, |due| due.max(now));
        let until = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        state.due = Some(until);
        (until - now).saturating_sub(Duration::from_secs_f64(BURST_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_uses_recent_samples_only() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(meter.add(start, 0), None);
        assert_eq!(meter.add(start + Duration::from_secs(1), 100), Some(100.0));
        assert_eq!(meter.add(start + Duration::from_secs(9), 100), None);
        assert_eq!(meter.add(start + Duration::from_secs(10), 150), Some(50.0));
        assert_eq!(meter.add(start + Duration::from_secs(11), 20), None);
    }

    #[test]
    fn limit_holds_over_time_and_allows_a_burst() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.charge(start, 1 << 30), Duration::ZERO);
        limiter.set(Some(1000));
        assert_eq!(limiter.charge(start, 250), Duration::ZERO);
        assert_eq!(limiter.charge(start, 1000), Duration::from_secs(1));
        assert_eq!(limiter.charge(start, 1000), Duration::from_secs(2));
        limiter.set(None);
        assert_eq!(limiter.charge(start, 1000), Duration::ZERO);
    }

    #[test]
    fn own_limit_holds_whatever_is_set() {
        let limiter = Limiter::at_most(1000);
        let now = Instant::now();
        for set in [None, Some(5000), Some(1000)] {
            limiter.set(set);
            assert_eq!(limiter.state.lock().bytes_per_second, Some(1000), "{set:?}");
        }
        limiter.set(Some(500));
        assert!(limiter.charge(now, 1000) > Duration::from_secs(1));
    }
}
