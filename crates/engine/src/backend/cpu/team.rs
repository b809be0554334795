//! Workers that run one program together (SPMD): a job is dispatched once, and the workers
//! synchronise at barriers inside it.
//!
//! A wait spins for a bounded time and then sleeps, so that another process on one core costs a
//! share of the speed and not all of it.

#![expect(unsafe_code, reason = "a job borrows from the caller, who waits until it is done")]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker spins before it sleeps: longer than the other workers need for a chunk, short
/// enough not to disturb other processes.
const SPIN: Duration = Duration::from_micros(50);
/// Spin iterations between two reads of the clock.
const SPINS_PER_CHECK: u32 = 32;

/// The share of one worker's time lost at barriers above which one worker is dropped.
const MAX_LOST_SHARE: f64 = 0.25;
/// The weight of the latest job in the moving average of that share.
const LOST_SHARE_WEIGHT: f64 = 0.5;
/// The shortest and the longest pause of a dropped worker; the pause is four times as long each
/// time the worker returns in vain.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// A worker claims this fraction of its remaining chunks at once.
const CLAIM_DIVISOR: usize = 4;

/// A counter that threads wait on.
struct Gate {
    epoch: AtomicU32,
    n_sleepers: AtomicU32,
    sleepers: Mutex<Vec<Thread>>,
}

impl Gate {
    /// Reserves space for all sleepers, so that waiting never allocates.
    fn new(n_workers: usize) -> Self {
        Self {
            epoch: AtomicU32::new(0),
            n_sleepers: AtomicU32::new(0),
            sleepers: Mutex::new(Vec::with_capacity(n_workers)),
        }
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    fn open(&self) {
        // Sequentially consistent with `n_sleepers` in `wait`: either the sleeper reads the new
        // epoch, or this thread reads the sleeper.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.n_sleepers.load(Ordering::SeqCst) > 0 {
            self.sleepers().iter().for_each(Thread::unpark);
        }
    }

    /// Waits until the epoch differs from `seen`; returns how long the thread slept.
    fn wait(&self, seen: u32) -> Duration {
        let mut start = None;
        loop {
            for _ in 0..SPINS_PER_CHECK {
                if self.epoch() != seen {
                    return Duration::ZERO;
                }
                std::hint::spin_loop();
            }
            if start.get_or_insert_with(Instant::now).elapsed() >= SPIN {
                break;
            }
        }
        let asleep = Instant::now();
        let this = std::thread::current();
        self.sleepers().push(this.clone());
        self.n_sleepers.fetch_add(1, Ordering::SeqCst);
        while self.epoch.load(Ordering::SeqCst) == seen {
            std::thread::park();
        }
        self.n_sleepers.fetch_sub(1, Ordering::SeqCst);
        self.sleepers().retain(|sleeper| sleeper.id() != this.id());
        asleep.elapsed()
    }

    fn sleepers(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many chunks of a worker's share are claimed: from the front by the worker itself in the low
/// half, from the back by other workers in the high half. One atomic addition claims chunks and
/// returns which ones.
///
/// Aligned to its own cache lines, so that workers that claim their own chunks do not wait for each
/// other.
#[derive(Default)]
#[repr(align(128))]
struct ClaimedChunks(AtomicU64);

impl ClaimedChunks {
    /// Claims part of the remaining chunks of `n` from the front: few additions, since each waits
    /// for the memory, and single chunks at the end, since other workers cannot help with claimed
    /// chunks.
    fn front(&self, n: usize) -> Range<usize> {
        let (front, back) = Self::halves(self.0.load(Ordering::Relaxed));
        let part = (n.saturating_sub(front + back) / CLAIM_DIVISOR).max(1);
        let (front, back) = Self::halves(self.0.fetch_add(part as u64, Ordering::Relaxed));
        front..(front + part).min(n.saturating_sub(back))
    }

    /// Claims the last unclaimed chunk of `n`, and returns its number.
    fn back(&self, n: usize) -> Option<usize> {
        let (front, back) = Self::halves(self.0.fetch_add(1 << 32, Ordering::Relaxed));
        (front + back < n).then(|| n - 1 - back)
    }

    fn halves(claimed: u64) -> (usize, usize) {
        (claimed as u32 as usize, (claimed >> 32) as usize)
    }
}

type Job = dyn Fn(usize) + Sync + 'static;

struct Shared {
    n_workers: usize,
    /// One per worker; opens when there is a job for it.
    starts: Box<[Gate]>,
    /// Opens each time a worker finishes a job.
    done: Gate,
    n_done: AtomicUsize,
    /// Opens when all workers have reached the barrier.
    barrier: Gate,
    n_arrived: AtomicUsize,
    /// Total time that workers slept at the barriers of a job, in nanoseconds.
    slept_ns: AtomicU64,
    /// The claimed chunks of the current phase, per share.
    claimed: Box<[ClaimedChunks]>,
    /// A worker panicked: no other worker may wait for it.
    broken: AtomicBool,
    quit: AtomicBool,
    job: UnsafeCell<Option<&'static Job>>,
}

// SAFETY: `job` is written before `start` opens and read after, ordered by the gate; the other
// fields synchronise themselves.
unsafe impl Send for Shared {}
// SAFETY: as for `Send`.
unsafe impl Sync for Shared {}

impl Shared {
    fn work(&self, worker_idx: usize) {
        let mut seen = 0;
        loop {
            self.starts[worker_idx].wait(seen);
            seen = seen.wrapping_add(1);
            if self.quit.load(Ordering::Acquire) {
                return;
            }
            // SAFETY: `run` set the job before it opened the start gate, and does not return before
            // this worker has counted itself in `n_done`.
            let job = unsafe { *self.job.get() };
            let result = catch_unwind(AssertUnwindSafe(|| job.map(|job| job(worker_idx))));
            if result.is_err() {
                self.abort();
            }
            self.n_done.fetch_add(1, Ordering::AcqRel);
            self.done.open();
        }
    }

    /// Starts a new phase with no chunk claimed.
    fn reset_claims(&self) {
        self.claimed.iter().for_each(|claimed| claimed.0.store(0, Ordering::Relaxed));
    }

    /// Marks the team as broken and releases all workers that wait at a barrier.
    fn abort(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.barrier.open();
    }
}

/// Reduces the number of active workers while another process keeps a core busy. A worker without a
/// core makes all others wait at each barrier, which costs more than its share of the work.
struct WorkerThrottle {
    n_workers: usize,
    n_active: usize,
    /// Moving average of the share of one worker's time that is slept at barriers.
    lost_share: f64,
    /// How long a dropped worker stays away.
    pause: Duration,
    /// When `n_active` last changed.
    since: Instant,
}

impl WorkerThrottle {
    fn new(n_workers: usize) -> Self {
        Self {
            n_workers,
            n_active: n_workers,
            lost_share: 0.0,
            pause: MIN_PAUSE,
            since: Instant::now(),
        }
    }

    /// Updates the average with the duration of a job and the time slept in it, and changes the
    /// number of active workers.
    fn adapt(&mut self, now: Instant, job: Duration, slept: Duration) {
        let lost_share = slept.as_secs_f64() / job.as_secs_f64().max(1e-9);
        self.lost_share += (lost_share - self.lost_share) * LOST_SHARE_WEIGHT;
        let steady = now.saturating_duration_since(self.since);
        if self.lost_share > MAX_LOST_SHARE && self.n_active > 1 {
            self.change(self.n_active - 1, now);
            self.pause = (self.pause * 4).min(MAX_PAUSE);
        } else if self.n_active < self.n_workers && steady >= self.pause {
            self.change(self.n_active + 1, now);
        } else if self.n_active == self.n_workers && steady >= self.pause {
            self.pause = MIN_PAUSE;
        }
    }

    fn change(&mut self, n_active: usize, now: Instant) {
        (self.n_active, self.lost_share, self.since) = (n_active, 0.0, now);
    }
}

/// A team of workers; the caller is worker 0.
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    throttle: WorkerThrottle,
}

impl Team {
    /// Starts `n_workers - 1` threads.
    pub(crate) fn new(n_workers: usize) -> std::io::Result<Self> {
        let n_workers = n_workers.max(1);
        let shared = Arc::new(Shared {
            n_workers,
            starts: (0..n_workers).map(|_| Gate::new(1)).collect(),
            done: Gate::new(1),
            n_done: AtomicUsize::new(0),
            barrier: Gate::new(n_workers),
            n_arrived: AtomicUsize::new(0),
            slept_ns: AtomicU64::new(0),
            claimed: (0..n_workers).map(|_| ClaimedChunks::default()).collect(),
            broken: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            job: UnsafeCell::new(None),
        });
        let mut team =
            Self { shared, threads: Vec::new(), throttle: WorkerThrottle::new(n_workers) };
        for worker_idx in 1..n_workers {
            let shared = Arc::clone(&team.shared);
            let builder = std::thread::Builder::new().name(format!("lilims-cpu-{worker_idx}"));
            team.threads.push(builder.spawn(move || shared.work(worker_idx))?);
        }
        Ok(team)
    }

    /// The number of workers, active or not.
    pub(crate) fn n_workers(&self) -> usize {
        self.shared.n_workers
    }

    /// Runs `job` on the active workers ([`WorkerThrottle`]) and returns when all are done. Once
    /// `cancel` is set, shares are empty and chunks are skipped: the job ends soon, and its results
    /// are invalid.
    ///
    /// # Panics
    /// If a worker panicked, now or before.
    pub(crate) fn run(&mut self, cancel: &AtomicBool, job: impl Fn(&Member<'_>) + Sync) {
        let shared = &*self.shared;
        assert!(!shared.broken.load(Ordering::SeqCst), "a worker panicked before");
        let n_workers = self.throttle.n_active;
        let member_job = |worker_idx: usize| job(&Member { shared, worker_idx, n_workers, cancel });
        let job: &(dyn Fn(usize) + Sync) = &member_job;
        // SAFETY: only the lifetime changes. Workers use the job between their start and their
        // count in `n_done`, which this function awaits before it returns or unwinds.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Job>(job) };
        shared.n_done.store(0, Ordering::Release);
        shared.reset_claims();
        // SAFETY: all workers wait at their start gate, so none reads the cell.
        unsafe { *shared.job.get() = Some(job) };
        let began = Instant::now();
        shared.starts[1..n_workers].iter().for_each(Gate::open);
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        if own.is_err() {
            shared.abort();
        }
        loop {
            let seen = shared.done.epoch();
            if shared.n_done.load(Ordering::Acquire) == n_workers - 1 {
                break;
            }
            shared.done.wait(seen);
        }
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!shared.broken.load(Ordering::SeqCst), "a worker panicked");
        let slept = Duration::from_nanos(shared.slept_ns.swap(0, Ordering::Relaxed));
        self.throttle.adapt(Instant::now(), began.elapsed(), slept);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::Release);
        self.shared.starts.iter().for_each(Gate::open);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A worker's handle to its team during a job.
pub(crate) struct Member<'a> {
    shared: &'a Shared,
    worker_idx: usize,
    /// Active workers in this job.
    n_workers: usize,
    cancel: &'a AtomicBool,
}

impl Member<'_> {
    /// This worker's index, from 0.
    pub(crate) fn idx(&self) -> usize {
        self.worker_idx
    }

    /// This worker's contiguous share of `0..total`, always the same for the same total; empty once
    /// cancelled.
    pub(crate) fn share(&self, total: usize) -> Range<usize> {
        if self.is_cancelled() { 0..0 } else { self.share_of(self.worker_idx, total) }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn share_of(&self, worker_idx: usize, total: usize) -> Range<usize> {
        let n = self.n_workers;
        total * worker_idx / n..total * (worker_idx + 1) / n
    }

    /// Waits until all workers have arrived. All writes before the barrier are visible after it.
    pub(crate) fn barrier(&self) {
        let shared = self.shared;
        if self.n_workers == 1 {
            shared.reset_claims();
            return;
        }
        let seen = shared.barrier.epoch();
        // After reading `seen`: `abort` sets the flag first and opens the gate then, so either the
        // flag is visible here or the gate opens for the wait below.
        self.assert_not_broken();
        if shared.n_arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.n_workers {
            shared.n_arrived.store(0, Ordering::Relaxed);
            shared.reset_claims();
            shared.barrier.open();
        } else {
            let slept = shared.barrier.wait(seen);
            if !slept.is_zero() {
                shared.slept_ns.fetch_add(slept.as_nanos() as u64, Ordering::Relaxed);
            }
        }
        self.assert_not_broken();
    }

    fn assert_not_broken(&self) {
        assert!(!self.shared.broken.load(Ordering::SeqCst), "another worker panicked");
    }

    /// Processes chunks `0..n_chunks`, each by one worker, then waits for all workers.
    ///
    /// A worker processes its own share from the front, so it can prefetch the next chunk, which is
    /// the second argument of `work` (`None` after the last of its own). Then it claims chunks from
    /// the back of other shares.
    pub(crate) fn chunks(&self, n_chunks: usize, mut work: impl FnMut(usize, Option<usize>)) {
        let n_workers = self.n_workers;
        let own = self.share_of(self.worker_idx, n_chunks);
        let mut work = |chunk, next| {
            if !self.is_cancelled() {
                work(chunk, next);
            }
        };
        loop {
            let claimed = self.shared.claimed[self.worker_idx].front(own.len());
            if claimed.is_empty() {
                break;
            }
            for chunk in own.start + claimed.start..own.start + claimed.end {
                work(chunk, (chunk + 1 < own.end).then_some(chunk + 1));
            }
        }
        for worker_idx in (self.worker_idx + 1..n_workers).chain(0..self.worker_idx) {
            let share = self.share_of(worker_idx, n_chunks);
            while let Some(idx) = self.shared.claimed[worker_idx].back(share.len()) {
                work(share.start + idx, None);
            }
        }
        self.barrier();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_runs_once_in_every_phase() {
        for n_workers in [1, 2, 3, 5] {
            let mut team = Team::new(n_workers).unwrap();
            for _ in 0..50 {
                let done: Vec<AtomicU64> = (0..100).map(|_| AtomicU64::new(0)).collect();
                team.run(&AtomicBool::new(false), |member| {
                    for phase in 0..20u64 {
                        member.chunks(done.len(), |chunk, _| {
                            let before = done[chunk].fetch_add(1, Ordering::Relaxed);
                            assert_eq!(before, phase);
                        });
                    }
                });
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 20));
            }
        }
    }

    #[test]
    fn drops_a_slow_worker_and_restores_it() {
        let job = Duration::from_millis(10);
        let mut now = Instant::now();
        let mut throttle = WorkerThrottle::new(3);
        let mut run = |throttle: &mut WorkerThrottle, slept: Duration| {
            now += job;
            throttle.adapt(now, job, slept);
            throttle.n_active
        };
        // An occasional short wait drops no worker.
        assert!((0..100).all(|i| run(&mut throttle, job * u32::from(i % 8 == 0) / 3) == 3));
        assert_eq!(run(&mut throttle, job * 2), 2);
        let pause = throttle.pause;
        assert!(pause > MIN_PAUSE);
        let n_resting = (1..).find(|_| run(&mut throttle, Duration::ZERO) == 3).unwrap();
        assert!(job * n_resting >= pause, "{n_resting} jobs");
        // Dropped again at once: the pause grows.
        assert_eq!(run(&mut throttle, job * 2), 2);
        assert!(throttle.pause > pause);
        // One worker always remains.
        let last = (0..10).map(|_| run(&mut throttle, job)).last();
        assert_eq!(last, Some(1));
    }

    #[test]
    fn does_not_wait_for_dropped_workers() {
        let mut team = Team::new(3).unwrap();
        for n_active in [3, 1, 2, 3] {
            team.throttle.n_active = n_active;
            let done: Vec<AtomicU64> = (0..50).map(|_| AtomicU64::new(0)).collect();
            let members = AtomicU64::new(0);
            team.run(&AtomicBool::new(false), |member| {
                members.fetch_add(1, Ordering::Relaxed);
                member.chunks(done.len(), |chunk, _| {
                    done[chunk].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(members.load(Ordering::Relaxed), n_active as u64);
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn shares_cover_the_range_once() {
        let mut team = Team::new(3).unwrap();
        let seen: Vec<AtomicU64> = (0..10).map(|_| AtomicU64::new(0)).collect();
        team.run(&AtomicBool::new(false), |member| {
            for idx in member.share(seen.len()) {
                seen[idx].fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn propagates_worker_panics() {
        for panicking_worker in [0, 1] {
            let mut team = Team::new(2).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(&AtomicBool::new(false), |member| {
                    assert_ne!(member.idx(), panicking_worker, "on purpose");
                    member.barrier();
                });
            }));
            assert!(result.is_err());
        }
    }
}
