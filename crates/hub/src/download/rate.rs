//! How fast bytes come, and how fast they may.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The speed that is shown is the mean over this time.
const WINDOW: Duration = Duration::from_secs(5);
/// Of a limit's bytes per second, this part may come at once.
const BURST: f64 = 0.25;

/// Bytes per second over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Notes that `done_bytes` are here at `now`, and returns the speed.
    pub(crate) fn note(&mut self, now: Instant, done_bytes: u64) -> Option<f64> {
        // A chunk that turned out to be damaged is missing again.
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

/// A bound on bytes per second that all downloads of a process share.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// The most that it can be set to.
    at_most: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes_per_second: Option<u64>,
    /// Until when the bytes that came have used the limit up.
    paid_until: Option<Instant>,
}

impl Limiter {
    /// One that stays below `bytes_per_second`, whatever it is set to.
    pub(crate) fn at_most(bytes_per_second: u64) -> Self {
        let at_most = Some(bytes_per_second);
        Self { at_most, state: Mutex::new(State { bytes_per_second: at_most, paid_until: None }) }
    }

    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        let bounds = [bytes_per_second, self.at_most];
        self.lock().bytes_per_second = bounds.into_iter().flatten().min();
    }

    /// Waits until `bytes` more may come.
    pub(crate) async fn take(&self, bytes: usize) {
        let wait = self.charge(Instant::now(), bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn charge(&self, now: Instant, bytes: usize) -> Duration {
        let mut state = self.lock();
        let Some(rate) = state.bytes_per_second.filter(|&rate| rate > 0) else {
            state.paid_until = None;
            return Duration::ZERO;
        };
        let start = state.paid_until.map_or(now, |paid| paid.max(now));
        let until = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        state.paid_until = Some(until);
        (until - now).saturating_sub(Duration::from_secs_f64(BURST))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_forgets() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(meter.note(start, 0), None);
        assert_eq!(meter.note(start + Duration::from_secs(1), 100), Some(100.0));
        assert_eq!(meter.note(start + Duration::from_secs(9), 100), None);
        assert_eq!(meter.note(start + Duration::from_secs(10), 150), Some(50.0));
        assert_eq!(meter.note(start + Duration::from_secs(11), 20), None);
    }

    #[test]
    fn the_limit_holds_over_time_and_lets_a_burst_through() {
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
    fn a_bound_of_its_own_holds_whatever_is_set() {
        let limiter = Limiter::at_most(1000);
        let now = Instant::now();
        for set in [None, Some(5000), Some(1000)] {
            limiter.set(set);
            assert_eq!(limiter.lock().bytes_per_second, Some(1000), "{set:?}");
        }
        limiter.set(Some(500));
        assert!(limiter.charge(now, 1000) > Duration::from_secs(1));
    }
}
