//! Workers that run one program together (SPMD): a job is dispatched once, and workers meet at
//! barriers inside it.
//!
//! Waiting is a bounded spin and then sleep, so that a busy neighbour on one core costs a share
//! of the speed and not all of it.

#![expect(unsafe_code, reason = "a job borrows from the caller, who waits until it is done")]

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker spins before it sleeps: longer than the others need for a chunk, shorter than
/// a neighbour would miss.
const SPIN: Duration = Duration::from_micros(50);
/// Turns of the spin between two looks at the clock.
const TURNS: u32 = 32;

/// The share of one worker's time lost at barriers from which on there is one worker too many.
const MAX_LOST: f64 = 0.25;
/// How much the latest job counts in that share.
const NEW_SHARE: f64 = 0.5;
/// The rest of a worker at first, and at most; each time it comes back in vain, four times as long.
const MIN_REST: Duration = Duration::from_millis(50);
const MAX_REST: Duration = Duration::from_secs(3);

/// A worker takes one of so many parts of its own chunks at once.
const PART: usize = 4;

/// A counter that threads wait on.
struct Gate {
    epoch: AtomicU32,
    n_sleepers: AtomicU32,
    sleepers: Mutex<Vec<Thread>>,
}

impl Gate {
    /// With room for all who may sleep, so that nobody allocates while it waits.
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
        // Sequentially consistent with `n_sleepers` in `wait`: either the sleeper sees the new
        // epoch, or this thread sees the sleeper.
        self.epoch.fetch_add(1, Ordering::SeqCst);
        if self.n_sleepers.load(Ordering::SeqCst) > 0 {
            self.sleepers().iter().for_each(Thread::unpark);
        }
    }

    /// Waits until the gate opens after `seen`; tells for how long the thread slept.
    fn wait(&self, seen: u32) -> Duration {
        let mut start = None;
        loop {
            for _ in 0..TURNS {
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

/// How many of a worker's own chunks were taken: from the front by itself in the low half, from the
/// back by others in the high half. One addition takes chunks, and tells which were there.
///
/// On a line of its own, so that workers who take their own chunks do not wait for each other.
#[derive(Default)]
#[repr(align(128))]
struct Taken(AtomicU64);

impl Taken {
    /// Takes a part of what is left of `n` chunks from the front: few additions in all, since each waits
    /// for the memory, and a single chunk at the end, since others cannot help with what is taken.
    fn front(&self, n: usize) -> Range<usize> {
        let (front, back) = Self::halves(self.0.load(Ordering::Relaxed));
        let part = (n.saturating_sub(front + back) / PART).max(1);
        let (front, back) = Self::halves(self.0.fetch_add(part as u64, Ordering::Relaxed));
        front..(front + part).min(n.saturating_sub(back))
    }

    /// Takes the last chunk that is left of `n`, as its number.
    fn back(&self, n: usize) -> Option<usize> {
        let (front, back) = Self::halves(self.0.fetch_add(1 << 32, Ordering::Relaxed));
        (front + back < n).then(|| n - 1 - back)
    }

    fn halves(taken: u64) -> (usize, usize) {
        (taken as u32 as usize, (taken >> 32) as usize)
    }
}

type Job = dyn Fn(usize) + Sync + 'static;

struct Shared {
    n_workers: usize,
    /// One for each worker; opens when there is a job for it.
    starts: Box<[Gate]>,
    /// Opens each time a worker is done with a job.
    done: Gate,
    n_done: AtomicUsize,
    /// Opens when all workers have come to a barrier.
    barrier: Gate,
    n_arrived: AtomicUsize,
    /// For how long workers slept at the barriers of a job, together, in nanoseconds.
    slept_ns: AtomicU64,
    /// The chunks of the current phase that were taken, of each worker's own.
    taken: Box<[Taken]>,
    /// A worker panicked: nobody may wait for it.
    broken: AtomicBool,
    quit: AtomicBool,
    job: UnsafeCell<Option<&'static Job>>,
}

// SAFETY: `job` is written before `start` opens and read after, by the gate's ordering; the other
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
            // SAFETY: `run` set the job before it opened the start, and does not return before
            // this worker has counted itself done.
            let job = unsafe { *self.job.get() };
            let result = catch_unwind(AssertUnwindSafe(|| job.map(|job| job(worker_idx))));
            if result.is_err() {
                self.break_up();
            }
            self.n_done.fetch_add(1, Ordering::AcqRel);
            self.done.open();
        }
    }

    /// Starts a phase: no chunk is taken.
    fn put_back(&self) {
        self.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
    }

    /// Releases everybody who waits at a barrier.
    fn break_up(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.barrier.open();
    }
}

/// How many workers take part: fewer while another process keeps a core busy. A worker without a core
/// makes all others wait for it at each barrier, which costs more than its share of the work.
struct Strength {
    n_workers: usize,
    n_active: usize,
    /// The share of one worker's time that is slept away at barriers, over the last jobs.
    lost: f64,
    /// For how long a worker that was sent away stays away.
    rest: Duration,
    /// When the number last changed.
    since: Instant,
}

impl Strength {
    fn new(n_workers: usize) -> Self {
        Self { n_workers, n_active: n_workers, lost: 0.0, rest: MIN_REST, since: Instant::now() }
    }

    /// Takes a job's time and how much of it workers slept into account.
    fn adapt(&mut self, now: Instant, job: Duration, slept: Duration) {
        let lost = slept.as_secs_f64() / job.as_secs_f64().max(1e-9);
        self.lost += (lost - self.lost) * NEW_SHARE;
        let steady = now.saturating_duration_since(self.since);
        if self.lost > MAX_LOST && self.n_active > 1 {
            self.change(self.n_active - 1, now);
            self.rest = (self.rest * 4).min(MAX_REST);
        } else if self.n_active < self.n_workers && steady >= self.rest {
            self.change(self.n_active + 1, now);
        } else if self.n_active == self.n_workers && steady >= self.rest {
            self.rest = MIN_REST;
        }
    }

    fn change(&mut self, n_active: usize, now: Instant) {
        (self.n_active, self.lost, self.since) = (n_active, 0.0, now);
    }
}

/// A team of workers; the caller is worker 0.
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    strength: Strength,
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
            taken: (0..n_workers).map(|_| Taken::default()).collect(),
            broken: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            job: UnsafeCell::new(None),
        });
        let mut team = Self { shared, threads: Vec::new(), strength: Strength::new(n_workers) };
        for worker_idx in 1..n_workers {
            let shared = Arc::clone(&team.shared);
            let builder = std::thread::Builder::new().name(format!("lilims-cpu-{worker_idx}"));
            team.threads.push(builder.spawn(move || shared.work(worker_idx))?);
        }
        Ok(team)
    }

    /// How many workers there are.
    pub(crate) fn n_workers(&self) -> usize {
        self.shared.n_workers
    }

    /// Runs `job` on the workers that are worth it now ([`Strength`]) and returns when all are done. Once
    /// `cancel` is set, shares are empty and chunks are passed over: the job ends soon, and what it
    /// computed is not to be used.
    ///
    /// Panics if a worker panicked, now or before.
    pub(crate) fn run(&mut self, cancel: &AtomicBool, job: impl Fn(&Member<'_>) + Sync) {
        let shared = &*self.shared;
        assert!(!shared.broken.load(Ordering::SeqCst), "a worker panicked before");
        let n_workers = self.strength.n_active;
        let member_job = |worker_idx: usize| job(&Member { shared, worker_idx, n_workers, cancel });
        let job: &(dyn Fn(usize) + Sync) = &member_job;
        // SAFETY: only the lifetime changes. Workers use the job between their start and their count
        // in `n_done`, which this function awaits before it returns, also when it unwinds.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Job>(job) };
        shared.n_done.store(0, Ordering::Release);
        shared.put_back();
        // SAFETY: all workers wait for their start, so nobody reads the cell.
        unsafe { *shared.job.get() = Some(job) };
        let began = Instant::now();
        shared.starts[1..n_workers].iter().for_each(Gate::open);
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        if own.is_err() {
            shared.break_up();
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
        self.strength.adapt(Instant::now(), began.elapsed(), slept);
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

/// A worker's view of its team during a job.
pub(crate) struct Member<'a> {
    shared: &'a Shared,
    worker_idx: usize,
    /// Workers that take part in the job.
    n_workers: usize,
    cancel: &'a AtomicBool,
}

impl Member<'_> {
    /// This worker's number, from 0.
    pub(crate) fn idx(&self) -> usize {
        self.worker_idx
    }

    /// This worker's share of `total` things: the same for the same total.
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

    /// Waits until all workers are here. What any of them wrote before is visible to all after.
    pub(crate) fn barrier(&self) {
        let shared = self.shared;
        if self.n_workers == 1 {
            shared.put_back();
            return;
        }
        let seen = shared.barrier.epoch();
        // After `seen`: who breaks up the team sets the flag first and opens the gate then, so
        // either the flag shows here or the gate opens for the wait below.
        self.assert_whole();
        if shared.n_arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.n_workers {
            shared.n_arrived.store(0, Ordering::Relaxed);
            shared.put_back();
            shared.barrier.open();
        } else {
            let slept = shared.barrier.wait(seen);
            if !slept.is_zero() {
                shared.slept_ns.fetch_add(slept.as_nanos() as u64, Ordering::Relaxed);
            }
        }
        self.assert_whole();
    }

    fn assert_whole(&self) {
        assert!(!self.shared.broken.load(Ordering::SeqCst), "another worker panicked");
    }

    /// Does chunks `0..n_chunks`, each by one worker, then waits for all.
    ///
    /// A worker does its own share from the front, so that it knows what it reads next: the second
    /// argument of `work`, `None` after the last of its own. Then it takes from the back of the others'
    /// shares what they have not begun.
    pub(crate) fn chunks(&self, n_chunks: usize, mut work: impl FnMut(usize, Option<usize>)) {
        let n_workers = self.n_workers;
        let own = self.share_of(self.worker_idx, n_chunks);
        let mut work = |chunk, next| {
            if !self.is_cancelled() {
                work(chunk, next);
            }
        };
        loop {
            let taken = self.shared.taken[self.worker_idx].front(own.len());
            if taken.is_empty() {
                break;
            }
            for chunk in own.start + taken.start..own.start + taken.end {
                work(chunk, (chunk + 1 < own.end).then_some(chunk + 1));
            }
        }
        for worker_idx in (self.worker_idx + 1..n_workers).chain(0..self.worker_idx) {
            let share = self.share_of(worker_idx, n_chunks);
            while let Some(idx) = self.shared.taken[worker_idx].back(share.len()) {
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
    fn every_chunk_is_done_once_in_every_phase() {
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
    fn a_worker_that_others_wait_for_rests_and_comes_back() {
        let job = Duration::from_millis(10);
        let mut now = Instant::now();
        let mut strength = Strength::new(3);
        let mut run = |strength: &mut Strength, slept: Duration| {
            now += job;
            strength.adapt(now, job, slept);
            strength.n_active
        };
        // A short wait now and then is nobody's fault.
        assert!((0..100).all(|i| run(&mut strength, job * u32::from(i % 8 == 0) / 3) == 3));
        assert_eq!(run(&mut strength, job * 2), 2);
        let rest = strength.rest;
        assert!(rest > MIN_REST);
        let n_resting = (1..).find(|_| run(&mut strength, Duration::ZERO) == 3).unwrap();
        assert!(job * n_resting >= rest, "{n_resting} jobs");
        // Back in vain: it rests longer.
        assert_eq!(run(&mut strength, job * 2), 2);
        assert!(strength.rest > rest);
        // There is always one worker.
        let last = (0..10).map(|_| run(&mut strength, job)).last();
        assert_eq!(last, Some(1));
    }

    #[test]
    fn workers_that_rest_are_not_waited_for() {
        let mut team = Team::new(3).unwrap();
        for n_active in [3, 1, 2, 3] {
            team.strength.n_active = n_active;
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
    fn shares_cover_everything_once() {
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
    fn a_panic_reaches_the_caller() {
        for culprit in [0, 1] {
            let mut team = Team::new(2).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(&AtomicBool::new(false), |member| {
                    assert_ne!(member.idx(), culprit, "on purpose");
                    member.barrier();
                });
            }));
            assert!(result.is_err());
        }
    }
}
