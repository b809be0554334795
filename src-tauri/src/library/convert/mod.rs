//! Conversions of models in the library: one at a time, on a thread of its own, so that chatting and
//! the page go on.
//!
//! The conversion is kept here, not in the page: whoever asks later hears how far it is or how it
//! ended.

pub(crate) mod commands;
mod errors;
mod job;
mod offer;
mod shown;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lilims_ipc::{Conversion, ConversionRequest, ConversionStage, ConversionState, Error};

pub(super) use shown::made;

/// The page hears of a step that goes on at most this often.
const TELL_INTERVAL: Duration = Duration::from_millis(250);
/// How long closing the window waits for a conversion to remove what it has written.
const SHUT_DOWN_WAIT: Duration = Duration::from_secs(2);
/// A step tells how long it will take after this long, and this share of it.
const FORESIGHT: (Duration, f64) = (Duration::from_secs(1), 0.02);

/// The conversion that runs, or ended last.
pub(crate) struct Converter(Arc<Shared>);

struct Shared {
    current: Mutex<Option<Current>>,
    ended: Condvar,
    tell: Box<dyn Fn(Option<Conversion>) + Send + Sync>,
}

struct Current {
    conversion: Conversion,
    cancel: Arc<AtomicBool>,
}

impl Current {
    fn is_running(&self) -> bool {
        matches!(self.conversion.state, ConversionState::Running { .. })
    }
}

/// What is converted.
pub(super) struct Task {
    pub(super) request: ConversionRequest,
    /// The name of the source to show.
    pub(super) title: String,
    pub(super) source_bytes: u64,
}

impl Converter {
    /// Nothing was converted yet. `tell` hears of each change.
    pub(crate) fn new(tell: impl Fn(Option<Conversion>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            current: Mutex::default(),
            ended: Condvar::new(),
            tell: Box::new(tell),
        }))
    }

    /// The conversion that runs, or the one that ended last.
    pub(super) fn conversion(&self) -> Option<Conversion> {
        self.0.lock().as_ref().map(|current| current.conversion.clone())
    }

    /// Refuses while a conversion runs.
    pub(super) fn check_free(&self) -> Result<(), Error> {
        match self.0.lock().as_ref().filter(|current| current.is_running()) {
            Some(current) => Err(errors::busy(&current.conversion)),
            None => Ok(()),
        }
    }

    /// Whether the model with this short name is being converted.
    pub(super) fn converts(&self, name: &str) -> bool {
        let current = self.0.lock();
        current.as_ref().is_some_and(|it| it.is_running() && it.conversion.request.name == name)
    }

    /// Starts the task, which `work` carries out: it gets the flag that cancels it, and whom to tell
    /// how far it is.
    pub(super) fn start(
        &self,
        task: Task,
        work: impl FnOnce(
            &AtomicBool,
            &mut dyn FnMut(ConversionStage),
        ) -> Result<ConversionState, Error>
        + Send
        + 'static,
    ) -> Result<(), Error> {
        let (shared, cancel) = (Arc::clone(&self.0), Arc::new(AtomicBool::new(false)));
        {
            let mut current = shared.lock();
            if let Some(current) = current.as_ref().filter(|current| current.is_running()) {
                return Err(errors::busy(&current.conversion));
            }
            let id = current.as_ref().map_or(1, |before| before.conversion.id + 1);
            let state = running(&task.request, ConversionStage::Starting, None, false);
            let Task { request, title, source_bytes } = task;
            let conversion = Conversion { id, request, title, source_bytes, state };
            *current = Some(Current { conversion, cancel: Arc::clone(&cancel) });
        }
        shared.tell();
        let run = move || {
            let mut pace = Pace::default();
            let mut on_stage = |stage| shared.advance(stage, &mut pace);
            let done = catch_unwind(AssertUnwindSafe(|| work(&cancel, &mut on_stage)));
            let done = done.unwrap_or_else(|_| Err(crate::errors::internal("the thread panicked")));
            shared.end(done.unwrap_or_else(|error| ConversionState::Failed { error }));
        };
        let started = thread::Builder::new().name("conversion".to_owned()).spawn(run);
        if let Err(error) = started {
            let error = crate::errors::internal(&error.to_string());
            self.0.end(ConversionState::Failed { error });
        }
        Ok(())
    }

    /// Has the conversion that runs end.
    pub(super) fn cancel(&self) {
        if let Some(current) = self.0.lock().as_mut() {
            current.cancel.store(true, Ordering::Relaxed);
            if let ConversionState::Running { is_ending, .. } = &mut current.conversion.state {
                *is_ending = true;
            }
        }
        self.0.tell();
    }

    /// Forgets a conversion that has ended. Its model stays.
    pub(super) fn clear(&self) {
        self.0.lock().take_if(|current| !current.is_running());
        self.0.tell();
    }

    /// Cancels the conversion, and waits a little until it has removed what it has written; the next
    /// start removes the rest.
    pub(crate) fn shut_down(&self) {
        self.cancel();
        let is_running = |current: &mut Option<Current>| {
            current.as_ref().is_some_and(|current| current.is_running())
        };
        let _ = self.0.ended.wait_timeout_while(self.0.lock(), SHUT_DOWN_WAIT, is_running);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let conversion = self.lock().as_ref().map(|current| current.conversion.clone());
        (self.tell)(conversion);
    }

    /// Notes how far it is.
    fn advance(&self, stage: ConversionStage, pace: &mut Pace) {
        let is_new = pace.advance(&stage);
        if let Some(Current { conversion, cancel }) = self.lock().as_mut() {
            let is_ending = cancel.load(Ordering::Relaxed);
            let left = pace.seconds_left(&stage);
            conversion.state = running(&conversion.request, stage, left, is_ending);
        }
        if is_new {
            self.tell();
        }
    }

    fn end(&self, state: ConversionState) {
        if let Some(current) = self.lock().as_mut() {
            current.conversion.state = state;
        }
        self.ended.notify_all();
        self.tell();
    }
}

/// How fast a step goes, and when the page heard of it last.
#[derive(Default)]
struct Pace {
    step: Option<std::mem::Discriminant<ConversionStage>>,
    started: Option<Instant>,
    told: Option<Instant>,
}

impl Pace {
    /// Whether the page should hear of it.
    fn advance(&mut self, stage: &ConversionStage) -> bool {
        let (step, now) = (std::mem::discriminant(stage), Instant::now());
        let is_new = self.step.replace(step) != Some(step);
        if is_new {
            self.started = Some(now);
        }
        let is_due = is_new || self.told.is_none_or(|told| now - told >= TELL_INTERVAL);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }

    /// How long the step will still take.
    fn seconds_left(&self, stage: &ConversionStage) -> Option<u64> {
        let (elapsed, share) = (self.started?.elapsed(), share(stage));
        let is_known = elapsed >= FORESIGHT.0 && share >= FORESIGHT.1;
        is_known.then(|| (elapsed.as_secs_f64() * (1.0 - share) / share).ceil() as u64)
    }
}

/// How much of a step is done, 0 to 1.
fn share(stage: &ConversionStage) -> f64 {
    let (done, total) = match stage {
        ConversionStage::Starting => (0, 1),
        ConversionStage::Preparing(it) | ConversionStage::Converting(it) => {
            (it.written_bytes, it.total_bytes)
        }
        ConversionStage::Calibrating(it) | ConversionStage::Measuring(it) => {
            (it.done.into(), it.total.into())
        }
    };
    done.min(total) as f64 / total.max(1) as f64
}

fn running(
    request: &ConversionRequest,
    stage: ConversionStage,
    seconds_left: Option<u64>,
    is_ending: bool,
) -> ConversionState {
    let before = u32::from(request.is_weighed);
    let n_steps = before + 1 + u32::from(request.is_measured);
    let step = match stage {
        ConversionStage::Starting
        | ConversionStage::Preparing(_)
        | ConversionStage::Calibrating(_) => 1,
        ConversionStage::Converting(_) => before + 1,
        ConversionStage::Measuring(_) => n_steps,
    };
    ConversionState::Running { stage, step, n_steps, seconds_left, is_ending }
}

#[cfg(test)]
mod tests;
