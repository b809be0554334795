//! Conversions of models in the library: one at a time, on its own thread, so that chatting goes on.
//!
//! The state of the conversion is kept here, not at a door: a page that opens later gets its progress
//! or its result.

mod job;
mod offer;
mod present;
mod to_file;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lilims_hub::Library;
use lilims_ipc::{Conversion, ConversionRequest, ConversionStage, ConversionState, Error, Problem};
use parking_lot::{Condvar, Mutex};

use crate::problem;

pub use lilims_convert::{Manifest, Mix, Options, Override};
pub(crate) use offer::offer;
pub(crate) use present::record;
pub use to_file::{ConvertedFile, FileConversion};

/// A running step is reported at most this often.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// How long shutting down waits for a conversion to remove what it has written.
const SHUT_DOWN_WAIT: Duration = Duration::from_secs(2);
/// The remaining time of a step is predicted after this long, and after this share of it.
const PREDICT_AFTER: (Duration, f64) = (Duration::from_secs(1), 0.02);

/// The conversion that runs, or the one that ended last.
pub(crate) struct Converter(Arc<Shared>);

struct Shared {
    current: Mutex<Option<Current>>,
    ended: Condvar,
    notify: Box<dyn Fn(Option<Conversion>) + Send + Sync>,
}

struct Current {
    conversion: Conversion,
    cancel: Arc<AtomicBool>,
}

/// Whether a conversion runs.
pub(crate) fn is_running(conversion: &Conversion) -> bool {
    matches!(conversion.state, ConversionState::Running { .. })
}

impl Current {
    fn is_running(&self) -> bool {
        matches!(self.conversion.state, ConversionState::Running { .. })
    }
}

/// The model that is converted.
struct Task {
    request: ConversionRequest,
    /// The name of the source to show.
    title: String,
    source_bytes: u64,
}

impl Converter {
    /// A converter that has converted nothing yet. `notify` is called at each change.
    pub(crate) fn new(notify: impl Fn(Option<Conversion>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            current: Mutex::default(),
            ended: Condvar::new(),
            notify: Box::new(notify),
        }))
    }

    /// The conversion that runs, or the one that ended last.
    pub(crate) fn conversion(&self) -> Option<Conversion> {
        self.0.current.lock().as_ref().map(|current| current.conversion.clone())
    }

    /// Makes room as agreed, takes it, and starts the conversion. Reads files: blocks.
    ///
    /// # Errors
    /// [`Problem::Converting`] while one runs, [`Problem::PlanChanged`] where other models would have to
    /// be removed than those of the request; others where the source cannot be read or there is no room.
    pub(crate) fn convert(
        &self,
        library: Arc<Library>,
        request: ConversionRequest,
    ) -> Result<(), Error> {
        self.check_free()?;
        let unknown = |_| Problem::UnknownType { name: request.target.clone() };
        let mix: Mix = request.target.parse().map_err(unknown)?;
        let entry = library.entry(&request.name)?;
        let size_bytes = offer::size(&entry, mix, request.is_weighed)
            .map_err(|error| problem::not_converted(&error))?;
        let converting = library.begin_conversion(
            &entry.name,
            &request.target,
            size_bytes,
            &request.agreed_removals,
        )?;
        let (title, source_bytes) = (entry.title, entry.size_bytes);
        let task = Task { request: request.clone(), title, source_bytes };
        self.start(task, move |cancel, on_stage| {
            job::run(&library, &converting, &request, mix, cancel, on_stage)
        })
    }

    /// # Errors
    /// Where the model with this short name must stay, since it is being converted.
    pub(crate) fn check_not_source(&self, name: &str) -> Result<(), Error> {
        match self.conversion() {
            Some(conversion) if self.converts(name) => {
                Err(Problem::SourceOfConversion { title: conversion.title }.into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses while a conversion runs.
    fn check_free(&self) -> Result<(), Error> {
        match self.0.current.lock().as_ref().filter(|current| current.is_running()) {
            Some(current) => Err(busy(&current.conversion)),
            None => Ok(()),
        }
    }

    /// Whether the model with this short name is being converted.
    fn converts(&self, name: &str) -> bool {
        let current = self.0.current.lock();
        current.as_ref().is_some_and(|it| it.is_running() && it.conversion.request.name == name)
    }

    /// Starts the task, which `work` carries out: it gets the cancel flag and a callback for its stages.
    fn start(
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
            let mut current = shared.current.lock();
            if let Some(current) = current.as_ref().filter(|current| current.is_running()) {
                return Err(busy(&current.conversion));
            }
            let id = current.as_ref().map_or(1, |before| before.conversion.id + 1);
            let state = running(&task.request, ConversionStage::Starting, None, false);
            let Task { request, title, source_bytes } = task;
            let conversion = Conversion { id, request, title, source_bytes, state };
            *current = Some(Current { conversion, cancel: Arc::clone(&cancel) });
        }
        shared.notify();
        let run = move || {
            let mut pace = Pace::default();
            let mut on_stage = |stage| shared.advance(stage, &mut pace);
            let done = catch_unwind(AssertUnwindSafe(|| work(&cancel, &mut on_stage)));
            let done = done.unwrap_or_else(|_| Err(Error::internal("the thread panicked")));
            shared.end(done.unwrap_or_else(|error| ConversionState::Failed { error }));
        };
        let started = thread::Builder::new().name("conversion".to_owned()).spawn(run);
        if let Err(error) = started {
            let error = Error::internal(error.to_string());
            self.0.end(ConversionState::Failed { error });
        }
        Ok(())
    }

    /// Cancels the running conversion. One whose model is made already ends without its figures.
    pub(crate) fn cancel(&self) {
        if let Some(current) = self.0.current.lock().as_mut() {
            current.cancel.store(true, Ordering::Relaxed);
            if let ConversionState::Running { is_ending, .. } = &mut current.conversion.state {
                *is_ending = true;
            }
        }
        self.0.notify();
    }

    /// Forgets a conversion that has ended. Its model stays.
    pub(crate) fn clear(&self) {
        self.0.current.lock().take_if(|current| !current.is_running());
        self.0.notify();
    }

    /// Cancels the conversion, and waits a little until it has removed what it has written; the next
    /// start removes the rest.
    pub(crate) fn shut_down(&self) {
        self.cancel();
        let is_running = |current: &mut Option<Current>| {
            current.as_ref().is_some_and(|current| current.is_running())
        };
        self.0.ended.wait_while_for(&mut self.0.current.lock(), is_running, SHUT_DOWN_WAIT);
    }
}

/// The error of a second conversion.
fn busy(running: &Conversion) -> Error {
    let (title, target) = (running.title.clone(), running.request.target.clone());
    Problem::Converting { title: Some(title), target: Some(target) }.into()
}

impl Shared {
    fn notify(&self) {
        let conversion = self.current.lock().as_ref().map(|current| current.conversion.clone());
        (self.notify)(conversion);
    }

    /// Records the stage.
    fn advance(&self, stage: ConversionStage, pace: &mut Pace) {
        let is_new = pace.advance(&stage);
        if let Some(Current { conversion, cancel }) = self.current.lock().as_mut() {
            let is_ending = cancel.load(Ordering::Relaxed);
            let left = pace.seconds_left(&stage);
            conversion.state = running(&conversion.request, stage, left, is_ending);
        }
        if is_new {
            self.notify();
        }
    }

    fn end(&self, state: ConversionState) {
        if let Some(current) = self.current.lock().as_mut() {
            current.conversion.state = state;
        }
        self.ended.notify_all();
        self.notify();
    }
}

/// The speed of a step, and when it was reported last.
#[derive(Default)]
struct Pace {
    step: Option<std::mem::Discriminant<ConversionStage>>,
    started: Option<Instant>,
    reported: Option<Instant>,
}

impl Pace {
    /// Whether the stage should be reported now.
    fn advance(&mut self, stage: &ConversionStage) -> bool {
        let (step, now) = (std::mem::discriminant(stage), Instant::now());
        let is_new = self.step.replace(step) != Some(step);
        if is_new {
            self.started = Some(now);
        }
        let is_due =
            is_new || self.reported.is_none_or(|reported| now - reported >= REPORT_INTERVAL);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }

    /// Seconds that the step will still take.
    fn seconds_left(&self, stage: &ConversionStage) -> Option<u64> {
        let (elapsed, share) = (self.started?.elapsed(), share(stage));
        let is_known = elapsed >= PREDICT_AFTER.0 && share >= PREDICT_AFTER.1;
        is_known.then(|| (elapsed.as_secs_f64() * (1.0 - share) / share).ceil() as u64)
    }
}

/// The done share of a step, 0 to 1.
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
