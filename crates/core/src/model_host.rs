//! The thread of the model: it loads the model, then answers one question at a time.
//!
//! If a job panics, the door gets the end of the job, and the thread goes on without the model and its
//! workers, whose state is not known; the next question loads it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lilims_engine::Model;
use lilims_ipc::{
    Attempt, ContextView, ConversationId, Error, Finish, ModelInfo, ModelStatus, Outcome, Problem,
    Settings, Stats, UnloadReason,
};
use parking_lot::Mutex;

use crate::answer_stream::{AnswerStream, Ending};
use crate::conversations::Question;
use crate::token_count::{CountTokens, TokenCounter};

/// How long shutting down waits for the thread: longer than a token takes, shorter than a user's
/// patience.
const SHUT_DOWN_WAIT: Duration = Duration::from_secs(2);

/// The session is saved after this long without a question.
const SAVE_AFTER: Duration = Duration::from_secs(4);

/// How often free memory is checked while a model idles.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(20);

/// The name of a model whose file is not found yet: the doors have a word for it.
const UNNAMED: &str = "";

/// A loaded model that answers, or a stand-in for it in tests.
pub trait ChatBackend {
    /// The settings that the model recommends.
    fn recommended(&self) -> Settings;

    /// The model, to make prompts with.
    fn model(&self) -> Option<Arc<Model>>;

    /// Answers `question` into `stream` until the answer ends or `cancel` is set.
    ///
    /// # Errors
    /// When the answer broke off.
    fn answer(
        &mut self,
        question: &Question,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error>;

    /// A short title for a conversation that begins with `question` and `answer`; `None` if the model has
    /// no good one, or once `cancel` is set.
    fn title(&mut self, question: &str, answer: &str, cancel: &AtomicBool) -> Option<String>;

    /// What counts tokens in the model's vocabulary on other threads, as long as the model is loaded.
    fn count_tokens(&self) -> Option<CountTokens>;

    /// Drops the session, which a panic may have left in an unknown state.
    fn discard(&mut self);

    /// Drops the session of a conversation that was deleted.
    fn forget(&mut self, conversation: &ConversationId);

    /// Saves the session, if that was not done since the last answer.
    fn save(&mut self);
}

/// The result of loading.
pub type Loaded = (ModelInfo, Box<dyn ChatBackend>);

/// Which model to load, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The model's short name in the library; `None` is the last one used, or the bundled one.
    pub name: Option<String>,
    /// The context in tokens; `None` is the model's own.
    pub context_tokens: Option<u32>,
    /// The short name of the model that drafts for it.
    pub draft: Option<String>,
}

/// Loads the target, and calls its last argument with the model's name as soon as it is known.
type Load = dyn FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error>;

/// What a loaded model does while it is idle. It ends soon after the flag is set.
type IdleWork = dyn FnMut(&mut dyn ChatBackend, &AtomicBool) + Send;

/// When an idle model gives its memory back.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// After so long without a question.
    pub after: Duration,
    /// Whether memory runs short.
    pub is_short: fn() -> bool,
}

/// The handle of the thread.
pub struct ModelHost {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// State of the handle and the thread.
struct Shared {
    status: Mutex<ModelStatus>,
    /// What the model that was loaded last recommends.
    recommended: Mutex<Settings>,
    /// The target that was loaded last.
    target: Mutex<Target>,
    /// The model, while it is loaded.
    model: Mutex<Option<Arc<Model>>>,
    /// Set when there is a job: idle work ends.
    has_job: AtomicBool,
    /// The answer that was accepted and has not ended.
    answering: Mutex<Option<Answering>>,
    /// The question that waits for the thread, or for a model.
    waiting: Mutex<Option<Waiting>>,
    /// Of the model that was loaded last.
    counter: Mutex<TokenCounter>,
    notify: Box<dyn Fn(&ModelStatus) + Send + Sync>,
}

/// An answer that was accepted.
struct Answering {
    conversation: ConversationId,
    cancel: Arc<AtomicBool>,
}

/// A question that waits.
struct Waiting {
    question: Question,
    turn: Turn,
    stream: AnswerStream,
}

/// The right to answer: there is one at a time. Dropping it ends the turn.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    cancel: Arc<AtomicBool>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.answering.lock().take();
    }
}

/// The conversations whose session is dropped.
enum Forgotten {
    All,
    One {
        conversation: ConversationId,
        /// Where its session is saved.
        session: PathBuf,
    },
}

enum Job {
    Load,
    Use(Target),
    Unload,
    /// There is a question that waits.
    Answer,
    /// Conversations were deleted.
    Forget(Forgotten),
    End,
}

impl ModelHost {
    /// Starts the thread, which asks for the `first` target and loads it at once, unless `suspended` says that the last process
    /// ended while it did. `notify` is called at each change of the status, `idle_work` with a loaded model
    /// each time that it begins to idle.
    pub fn start(
        first: impl FnOnce() -> Target + Send + 'static,
        notify: impl Fn(&ModelStatus) + Send + Sync + 'static,
        load: impl FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error> + Send + 'static,
        idle: Idle,
        idle_work: impl FnMut(&mut dyn ChatBackend, &AtomicBool) + Send + 'static,
        suspended: Option<Attempt>,
    ) -> Self {
        let is_suspended = suspended.is_some();
        let status = match suspended {
            Some(attempt) => ModelStatus::LoadSuspended { attempt },
            None => loading(UNNAMED),
        };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            recommended: Mutex::default(),
            target: Mutex::default(),
            model: Mutex::default(),
            has_job: AtomicBool::new(false),
            answering: Mutex::new(None),
            waiting: Mutex::new(None),
            counter: Mutex::default(),
            notify: Box::new(notify),
        });
        let (jobs, queue) = channel();
        let (ends, ended) = channel::<()>();
        let of_worker = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("model".to_owned()).spawn(move || {
            // Moved in so that it closes when the thread ends.
            let _ends = ends;
            let mut worker = Worker {
                shared: of_worker,
                load: Box::new(load),
                target: first(),
                backend: None,
                idle,
                idle_work: Box::new(idle_work),
            };
            if !is_suspended {
                worker.load();
            }
            while catch_unwind(AssertUnwindSafe(|| worker.work(&queue))).is_err() {
                worker.start_afresh();
            }
        });
        if let Err(error) = spawned {
            shared.set_status(ModelStatus::Failed { error: Error::internal(error.to_string()) });
        }
        Self { shared, jobs, ended: Mutex::new(ended) }
    }

    /// The status of the model.
    pub fn status(&self) -> ModelStatus {
        self.shared.status.lock().clone()
    }

    /// The settings that the model recommends which was loaded last.
    pub(crate) fn recommended(&self) -> Settings {
        self.shared.recommended.lock().clone()
    }

    /// The model, while it is loaded.
    pub(crate) fn model(&self) -> Option<Arc<Model>> {
        self.shared.model.lock().clone()
    }

    /// The target that was loaded last.
    pub(crate) fn target(&self) -> Target {
        self.shared.target.lock().clone()
    }

    /// What counts tokens in the vocabulary of the model that was loaded last.
    pub(crate) fn token_counter(&self) -> TokenCounter {
        self.shared.counter.lock().clone()
    }

    /// Begins a turn, in which one question of a conversation is answered.
    ///
    /// # Errors
    /// The model's own if it failed to load; [`Problem::Answering`] during another turn.
    pub(crate) fn begin_turn(&self, conversation: &ConversationId) -> Result<Turn, Error> {
        match self.status() {
            ModelStatus::Failed { error } => return Err(error),
            ModelStatus::LoadSuspended { .. } => return Err(Problem::LoadSuspended.into()),
            _ => {}
        }
        let cancel = self.shared.begin_answer(conversation)?;
        Ok(Turn { shared: Arc::clone(&self.shared), cancel })
    }

    /// Answers `question` in `turn`; the answer goes to `stream`. Until a model is loaded, the question
    /// waits.
    pub(crate) fn send(&self, turn: Turn, question: Question, stream: AnswerStream) {
        if !matches!(self.status(), ModelStatus::Ready { .. }) {
            stream.loading();
        }
        let mut waiting = self.shared.waiting.lock();
        if turn.cancel.load(Ordering::Relaxed) {
            // Stopped while it was stored.
            drop(waiting);
            drop(turn);
            return stream.end(Ok(stopped_early()));
        }
        *waiting = Some(Waiting { question, turn, stream });
        drop(waiting);
        if self.pass(Job::Answer).is_err() {
            // The thread is gone: dropping the stream sends a failure.
            self.shared.take_waiting();
        }
    }

    /// Stops the current answer, if there is one. A question that waits ends at once.
    pub fn stop(&self) {
        let waiting = {
            let mut waiting = self.shared.waiting.lock();
            if waiting.is_none() {
                self.shared.cancel_answer();
            }
            waiting.take()
        };
        if let Some(Waiting { turn, stream, .. }) = waiting {
            drop(turn);
            stream.end(Ok(stopped_early()));
        }
    }

    /// Stops the answer to a question of this conversation, if there is one.
    pub(crate) fn stop_in(&self, conversation: &ConversationId) {
        let answering = self.shared.answering.lock();
        let is_own = answering.as_ref().is_some_and(|it| it.conversation == *conversation);
        drop(answering);
        if is_own {
            self.stop();
        }
    }

    /// Stops the answer that is being written, and not a question that waits.
    fn interrupt(&self) {
        let waiting = self.shared.waiting.lock();
        if waiting.is_none() {
            self.shared.cancel_answer();
        }
    }

    /// Loads the model if that failed or was suspended, or if the model was unloaded.
    ///
    /// # Errors
    /// When the thread has ended, as for all jobs.
    pub fn retry_load(&self) -> Result<(), Error> {
        {
            let mut status = self.shared.status.lock();
            if matches!(*status, ModelStatus::Loading { .. } | ModelStatus::Ready { .. }) {
                return Ok(());
            }
            *status = loading(UNNAMED);
        }
        (self.shared.notify)(&loading(UNNAMED));
        self.pass(Job::Load)
    }

    /// Stops the current answer and loads another model. A question that waits is answered by it.
    ///
    /// # Errors
    /// As for [`ModelHost::retry_load`].
    pub fn use_model(&self, target: Target) -> Result<(), Error> {
        self.interrupt();
        self.pass(Job::Use(target))
    }

    /// Loads another model for the question that is [sent](Self::send) next.
    ///
    /// # Errors
    /// As for [`ModelHost::retry_load`].
    pub(crate) fn change_model(&self, target: Target) -> Result<(), Error> {
        self.pass(Job::Use(target))
    }

    /// Stops the current answer and unloads the model; the next question loads it again.
    ///
    /// # Errors
    /// As for [`ModelHost::retry_load`].
    pub fn unload(&self) -> Result<(), Error> {
        self.interrupt();
        self.pass(Job::Unload)
    }

    /// Drops the session of a deleted conversation, and removes it from `session` where it may have been
    /// saved meanwhile.
    ///
    /// # Errors
    /// As for [`ModelHost::retry_load`].
    pub(crate) fn forget(
        &self,
        conversation: ConversationId,
        session: PathBuf,
    ) -> Result<(), Error> {
        self.pass(Job::Forget(Forgotten::One { conversation, session }))
    }

    /// Drops the session, whichever conversation it is of: all were deleted with their files.
    ///
    /// # Errors
    /// As for [`ModelHost::retry_load`].
    pub(crate) fn forget_all(&self) -> Result<(), Error> {
        self.pass(Job::Forget(Forgotten::All))
    }

    fn pass(&self, job: Job) -> Result<(), Error> {
        self.shared.has_job.store(true, Ordering::Relaxed);
        self.jobs.send(job).map_err(|_| Error::internal("the model's thread ended"))
    }

    /// Stops the current answer and waits a little for the thread, which saves the session, to end.
    pub fn shut_down(&self) {
        self.stop();
        if self.pass(Job::End).is_ok() {
            // A thread that is busy longer dies with the process; the text is saved already.
            let _ = self.ended.lock().recv_timeout(SHUT_DOWN_WAIT);
        }
    }
}

impl Shared {
    fn set_status(&self, status: ModelStatus) {
        self.status.lock().clone_from(&status);
        (self.notify)(&status);
    }

    fn begin_answer(&self, conversation: &ConversationId) -> Result<Arc<AtomicBool>, Error> {
        let mut answering = self.answering.lock();
        if answering.is_some() {
            return Err(Problem::Answering.into());
        }
        let (conversation, cancel) = (conversation.clone(), Arc::default());
        Ok(Arc::clone(&answering.insert(Answering { conversation, cancel }).cancel))
    }

    /// Sets the cancel flag of the current turn, if there is one. Called with `waiting` locked.
    fn cancel_answer(&self) {
        if let Some(Answering { cancel, .. }) = &*self.answering.lock() {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    fn take_waiting(&self) -> Option<Waiting> {
        self.waiting.lock().take()
    }
}

/// State of the thread alone.
struct Worker {
    shared: Arc<Shared>,
    load: Box<Load>,
    target: Target,
    backend: Option<Box<dyn ChatBackend>>,
    idle: Idle,
    idle_work: Box<IdleWork>,
}

impl Worker {
    fn work(&mut self, queue: &Receiver<Job>) {
        while let Some(job) = self.next(queue) {
            match job {
                Job::Load => self.load(),
                Job::Use(target) => {
                    self.target = target;
                    self.load();
                }
                Job::Unload => self.unload(UnloadReason::Requested),
                Job::Answer => {
                    if matches!(*self.shared.status.lock(), ModelStatus::Unloaded { .. }) {
                        self.load();
                    }
                }
                Job::Forget(Forgotten::One { conversation, session }) => {
                    self.forget(&conversation, &session);
                }
                Job::Forget(Forgotten::All) => self.with_backend(|backend| backend.discard()),
                Job::End => break,
            }
            self.answer_waiting();
        }
        self.save_session();
    }

    /// The next job. After a while without one, the session is saved, and later the model unloaded.
    fn next(&mut self, queue: &Receiver<Job>) -> Option<Job> {
        // Before waiting: a job that comes later sets it again.
        self.shared.has_job.store(false, Ordering::Relaxed);
        match queue.recv_timeout(SAVE_AFTER) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => self.save_session(),
        }
        self.work_while_idle();
        let start = Instant::now();
        while self.backend.is_some() {
            let left = self.idle.after.saturating_sub(start.elapsed());
            if (self.idle.is_short)() {
                self.unload(UnloadReason::MemoryShort);
            } else if left.is_zero() {
                self.unload(UnloadReason::Idle { seconds: self.idle.after.as_secs() });
            } else {
                match queue.recv_timeout(left.min(PRESSURE_INTERVAL)) {
                    Ok(job) => return Some(job),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        }
        queue.recv().ok()
    }

    fn work_while_idle(&mut self) {
        let Self { shared, backend, idle_work, .. } = self;
        let Some(backend) = backend else { return };
        let work = || idle_work(backend.as_mut(), &shared.has_job);
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            backend.discard();
        }
    }

    /// After a panic outside of a job.
    fn start_afresh(&mut self) {
        // Its stream tells the door.
        self.shared.take_waiting();
        self.drop_backend(UnloadReason::Failed);
        if matches!(*self.shared.status.lock(), ModelStatus::Loading { .. }) {
            let error = Error::internal("a panic in the model's thread");
            self.shared.set_status(ModelStatus::Failed { error });
        }
    }

    /// Saves the session and drops the model.
    fn unload(&mut self, reason: UnloadReason) {
        self.save_session();
        self.drop_backend(reason);
    }

    /// Drops the model. The next question loads it again.
    fn drop_backend(&mut self, reason: UnloadReason) {
        let backend = self.backend.take();
        // After a panic, its own end may panic, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(backend)));
        self.shared.model.lock().take();
        let status = self.shared.status.lock().clone();
        if let ModelStatus::Ready { model } = status {
            self.shared.set_status(ModelStatus::Unloaded { name: model.name, reason });
        }
    }

    fn save_session(&mut self) {
        self.with_backend(|backend| backend.save());
    }

    fn forget(&mut self, conversation: &ConversationId, session: &Path) {
        self.with_backend(|backend| backend.forget(conversation));
        match std::fs::remove_file(session) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // The next start tries again.
                tracing::warn!(%error, "cannot remove the session of a deleted conversation");
            }
            _ => {}
        }
    }

    /// Calls `action` with the model, if one is loaded. A panic discards its session.
    fn with_backend(&mut self, action: impl FnOnce(&mut dyn ChatBackend)) {
        let Some(backend) = &mut self.backend else { return };
        if catch_unwind(AssertUnwindSafe(|| action(backend.as_mut()))).is_err() {
            backend.discard();
        }
    }

    fn load(&mut self) {
        // The next model may need the memory of this one.
        self.save_session();
        self.backend = None;
        self.shared.model.lock().take();
        let Self { shared, load, target, .. } = self;
        if !matches!(*shared.status.lock(), ModelStatus::Loading { .. }) {
            shared.set_status(loading(UNNAMED));
        }
        shared.target.lock().clone_from(target);
        let on_name = |name: String| shared.set_status(loading(&name));
        let loaded = catch_unwind(AssertUnwindSafe(|| load(target, &on_name)))
            .unwrap_or_else(|_| Err(Error::internal("a panic while loading")));
        let status = match loaded {
            Ok((model, backend)) => {
                *shared.recommended.lock() = backend.recommended();
                *shared.model.lock() = backend.model();
                let (name, context_tokens) = (model.name.clone(), model.context_tokens as usize);
                let counter = TokenCounter::new(name, context_tokens, backend.count_tokens());
                *shared.counter.lock() = counter;
                self.backend = Some(backend);
                ModelStatus::Ready { model }
            }
            Err(error) => ModelStatus::Failed { error },
        };
        self.shared.set_status(status);
    }

    /// Answers the question that waits, if there is one and a model is loaded.
    fn answer_waiting(&mut self) {
        let ModelStatus::Ready { model } = self.shared.status.lock().clone() else { return };
        let Some(Waiting { question, turn, mut stream }) = self.shared.take_waiting() else {
            return;
        };
        stream.set_model(&model.name);
        let result = self.answer(&question, &turn.cancel, &mut stream);
        // Before the door gets the end, since it may ask the next question then.
        drop(turn);
        stream.end(result);
    }

    fn answer(
        &mut self,
        question: &Question,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        if cancel.load(Ordering::Relaxed) {
            return Ok(stopped_early());
        }
        let Some(backend) = &mut self.backend else { return Err(Error::internal("no model")) };
        // The panic's own message is not passed on: it may quote the conversation.
        let answer = catch_unwind(AssertUnwindSafe(|| backend.answer(question, cancel, stream)))
            .unwrap_or_else(|_| Err(Error::internal("a panic while answering")));
        match answer.as_ref().map_err(|error| &error.problem) {
            // The next question loads the file as it is then.
            Err(Problem::ModelChanged { .. }) => self.drop_backend(UnloadReason::FileChanged),
            // A panic, here or in a worker: the next question loads the model with new workers.
            Err(Problem::Internal) => self.drop_backend(UnloadReason::Failed),
            _ => {}
        }
        answer
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
    let outcome = Outcome { finish: Finish::Stopped, stats };
    Ending { outcome, view: ContextView::default() }
}

fn loading(name: &str) -> ModelStatus {
    ModelStatus::Loading { name: name.to_owned() }
}

#[cfg(test)]
#[path = "model_host_tests.rs"]
mod tests;
