//! The thread that the model lives on: it loads the model, then answers one question at a time.
//!
//! Whatever a job does, panics included, the thread goes on and the page learns how the job
//! ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lilims_ipc::{
    Attempt, ContextView, Error, Event, Finish, ModelInfo, ModelStatus, Overflow, Request, Stats,
};

use crate::answer_stream::{AnswerStream, Ending};
use crate::errors;

/// How long closing the window waits for the thread: longer than a token takes, shorter than
/// a user's patience.
const SHUT_DOWN_WAIT: Duration = Duration::from_secs(2);

/// After so long without a question, what the model has read is saved.
const SAVE_AFTER: Duration = Duration::from_secs(4);

/// How often an idle model looks whether memory runs short.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(5);

/// What the window says of a model whose file is not found yet.
const UNNAMED: &str = "the model";

/// Something that answers: the model, or a stand-in for it in tests.
pub(crate) trait Talk {
    /// Answers `request` into `stream` until it ends or `cancel` is set.
    fn answer(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error>;

    /// Drops what the model has read, which an answer left in an unknown state.
    fn give_up(&mut self);

    /// Forgets the conversation.
    fn forget(&mut self);

    /// Says what happens when the conversation outgrows the context.
    fn set_overflow(&mut self, overflow: Overflow);

    /// Saves what the model has read, if that is not saved yet.
    fn save(&mut self);
}

/// What loading yields.
pub(crate) type Loaded = (ModelInfo, Box<dyn Talk>);

/// Which model to load, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The model's short name in the library; `None` is the one of the last visit, or the bundled one.
    pub(crate) name: Option<String>,
    /// The context in tokens; `None` is the model's own.
    pub(crate) context_tokens: Option<u32>,
}

/// Loads the target, and calls its second argument with the model's name as soon as it knows it.
type Load = dyn FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error>;

/// When an idle model gives its memory back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// After so long without a question.
    pub(crate) after: Duration,
    /// Whether memory runs short.
    pub(crate) is_short: fn() -> bool,
}

/// The thread as the commands see it.
pub(crate) struct ModelThread {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// What the commands and the thread both touch.
struct Shared {
    status: Mutex<ModelStatus>,
    /// The flag that cancels the answer that was accepted and has not ended.
    answering: Mutex<Option<Arc<AtomicBool>>>,
    tell: Box<dyn Fn(&ModelStatus) + Send + Sync>,
}

enum Job {
    Load,
    Use(Target),
    Unload,
    Answer { request: Request, cancel: Arc<AtomicBool>, stream: AnswerStream },
    Forget,
    SetOverflow(Overflow),
    End,
}

impl ModelThread {
    /// Starts the thread, which loads the model at once, unless the last process ended while it did.
    /// `tell` hears of each change of the status.
    pub(crate) fn start(
        tell: impl Fn(&ModelStatus) + Send + Sync + 'static,
        load: impl FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error> + Send + 'static,
        idle: Idle,
        held: Option<Attempt>,
    ) -> Self {
        let is_held = held.is_some();
        let status = held.map_or_else(|| loading(UNNAMED), |attempt| ModelStatus::Held { attempt });
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            answering: Mutex::new(None),
            tell: Box::new(tell),
        });
        let (jobs, queue) = channel();
        let (ends, ended) = channel::<()>();
        let of_worker = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("model".to_owned()).spawn(move || {
            // Moved in so that it closes when the thread ends.
            let _ends = ends;
            let (load, target) = (Box::new(load), Target::default());
            let mut worker = Worker { shared: of_worker, load, target, talk: None, idle };
            if !is_held {
                worker.load();
            }
            worker.work(&queue);
        });
        if let Err(error) = spawned {
            shared.set_status(ModelStatus::Failed { error: errors::internal(&error.to_string()) });
        }
        Self { shared, jobs, ended: Mutex::new(ended) }
    }

    /// Where the model stands.
    pub(crate) fn status(&self) -> ModelStatus {
        lock(&self.shared.status).clone()
    }

    /// Accepts a question; its answer goes to `sink`. While the model loads the question waits.
    ///
    /// *Errors*: the model's own where it failed to load, `Busy` where an answer is under way.
    pub(crate) fn send(
        &self,
        request: Request,
        sink: impl Fn(Event) + Send + 'static,
    ) -> Result<(), Error> {
        if request.messages.is_empty() {
            return Err(errors::no_question());
        }
        match self.status() {
            ModelStatus::Failed { error } => return Err(error),
            ModelStatus::Held { .. } => return Err(errors::held()),
            _ => {}
        }
        let cancel = self.shared.begin_answer()?;
        let stream = AnswerStream::new(sink);
        // Where the thread is gone, the job comes back and its stream ends as it is dropped.
        let _ = self.jobs.send(Job::Answer { request, cancel, stream });
        Ok(())
    }

    /// Stops the answer that is under way, if there is one.
    pub(crate) fn stop(&self) {
        if let Some(cancel) = &*lock(&self.shared.answering) {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Loads the model if that failed, was held, or if it was unloaded; otherwise there is nothing to
    /// do.
    pub(crate) fn retry_load(&self) -> Result<(), Error> {
        {
            let mut status = lock(&self.shared.status);
            if matches!(*status, ModelStatus::Loading { .. } | ModelStatus::Ready { .. }) {
                return Ok(());
            }
            *status = loading(UNNAMED);
        }
        (self.shared.tell)(&loading(UNNAMED));
        self.pass(Job::Load)
    }

    /// Loads another model in place of the one that is loaded, once the answer that is under way has
    /// been stopped. The conversation stays.
    pub(crate) fn use_model(&self, target: Target) -> Result<(), Error> {
        self.stop();
        self.pass(Job::Use(target))
    }

    /// Has the model give its memory back; the next question loads it again.
    pub(crate) fn unload(&self) -> Result<(), Error> {
        self.stop();
        self.pass(Job::Unload)
    }

    /// Begins a new conversation, once the answer that is under way has ended.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        self.pass(Job::Forget)
    }

    /// Says what happens when the conversation outgrows the context.
    pub(crate) fn set_overflow(&self, overflow: Overflow) -> Result<(), Error> {
        self.pass(Job::SetOverflow(overflow))
    }

    fn pass(&self, job: Job) -> Result<(), Error> {
        self.jobs.send(job).map_err(|_| errors::internal("the model's thread ended"))
    }

    /// Stops the answer that is under way and waits a little for the thread to end, which saves the
    /// session.
    pub(crate) fn shut_down(&self) {
        self.stop();
        if self.jobs.send(Job::End).is_ok() {
            // A thread that is busy longer dies with the process; the text is saved already.
            let _ = lock(&self.ended).recv_timeout(SHUT_DOWN_WAIT);
        }
    }
}

impl Shared {
    fn set_status(&self, status: ModelStatus) {
        lock(&self.status).clone_from(&status);
        (self.tell)(&status);
    }

    fn begin_answer(&self) -> Result<Arc<AtomicBool>, Error> {
        let mut answering = lock(&self.answering);
        if answering.is_some() {
            return Err(errors::busy());
        }
        Ok(Arc::clone(answering.insert(Arc::default())))
    }
}

/// The thread's own side.
struct Worker {
    shared: Arc<Shared>,
    load: Box<Load>,
    target: Target,
    talk: Option<Box<dyn Talk>>,
    idle: Idle,
}

impl Worker {
    fn work(mut self, queue: &Receiver<Job>) {
        while let Some(job) = self.next(queue) {
            match job {
                Job::Load => self.load(),
                Job::Use(target) => {
                    self.target = target;
                    self.load();
                }
                Job::Unload => self.unload("at your wish"),
                Job::Forget => self.tell_talk(|talk| talk.forget()),
                Job::SetOverflow(overflow) => self.tell_talk(|talk| talk.set_overflow(overflow)),
                Job::Answer { request, cancel, mut stream } => {
                    let result = self.answer(&request, &cancel, &mut stream);
                    // Before the page hears of the end, since it may ask the next question then.
                    lock(&self.shared.answering).take();
                    stream.end(result);
                }
                Job::End => break,
            }
        }
        self.tell_talk(|talk| talk.save());
    }

    /// The next job. While there is none for long, the session is saved, and then the model unloaded.
    fn next(&mut self, queue: &Receiver<Job>) -> Option<Job> {
        match queue.recv_timeout(SAVE_AFTER) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => self.tell_talk(|talk| talk.save()),
        }
        let start = Instant::now();
        while self.talk.is_some() {
            let left = self.idle.after.saturating_sub(start.elapsed());
            match queue.recv_timeout(left.min(PRESSURE_INTERVAL)) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if (self.idle.is_short)() => {
                    self.unload("because memory runs short");
                }
                Err(RecvTimeoutError::Timeout) if start.elapsed() >= self.idle.after => {
                    self.unload(&after(self.idle.after));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        queue.recv().ok()
    }

    /// Saves what the model has read and drops it.
    fn unload(&mut self, why: &str) {
        self.tell_talk(|talk| talk.save());
        self.talk = None;
        let status = lock(&self.shared.status).clone();
        if let ModelStatus::Ready { model } = status {
            let why = why.to_owned();
            self.shared.set_status(ModelStatus::Unloaded { name: model.name, why });
        }
    }

    /// Does something with the model, if there is one. A panic leaves the thread alive.
    fn tell_talk(&mut self, what: impl FnOnce(&mut dyn Talk)) {
        let Some(talk) = &mut self.talk else { return };
        if catch_unwind(AssertUnwindSafe(|| what(talk.as_mut()))).is_err() {
            talk.give_up();
        }
    }

    fn load(&mut self) {
        // The memory of the one before may be what this one needs.
        self.tell_talk(|talk| talk.save());
        self.talk = None;
        let Self { shared, load, target, .. } = self;
        if !matches!(*lock(&shared.status), ModelStatus::Loading { .. }) {
            shared.set_status(loading(UNNAMED));
        }
        let found = |name: String| shared.set_status(loading(&name));
        let loaded = catch_unwind(AssertUnwindSafe(|| load(target, &found)))
            .unwrap_or_else(|_| Err(errors::internal("a panic while loading")));
        let status = match loaded {
            Ok((model, talk)) => {
                self.talk = Some(talk);
                ModelStatus::Ready { model }
            }
            Err(error) => ModelStatus::Failed { error },
        };
        self.shared.set_status(status);
    }

    fn answer(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        if cancel.load(Ordering::Relaxed) {
            return Ok(stopped_early());
        }
        let is_unloaded = matches!(*lock(&self.shared.status), ModelStatus::Unloaded { .. });
        if is_unloaded {
            self.load();
        }
        let Some(talk) = &mut self.talk else {
            return Err(match lock(&self.shared.status).clone() {
                ModelStatus::Failed { error } => error,
                _ => errors::internal("no model"),
            });
        };
        // The panic's own words are not passed on: they may quote the conversation.
        catch_unwind(AssertUnwindSafe(|| talk.answer(request, cancel, stream))).unwrap_or_else(
            |_| {
                talk.give_up();
                Err(errors::internal("a panic while answering"))
            },
        )
    }
}

/// The end of an answer that was stopped before the model saw the question.
fn stopped_early() -> Ending {
    let stats = Stats {
        prompt_tokens: 0,
        prefilled_tokens: 0,
        tokens: 0,
        first_token_ms: 0.0,
        tokens_per_second: 0.0,
    };
    Ending { finish: Finish::Stopped, stats, view: ContextView::default() }
}

/// `after 10 minutes without a question`.
fn after(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 120 => format!("after {seconds} seconds without a question"),
        seconds => format!("after {} minutes without a question", seconds / 60),
    }
}

fn loading(name: &str) -> ModelStatus {
    ModelStatus::Loading { name: name.to_owned() }
}

/// Locks, also after a panic elsewhere: each value behind these locks is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "model_thread_tests.rs"]
mod tests;
