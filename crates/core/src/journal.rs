//! Writes growing answers to the database on a thread of its own, so that the thread that decodes never
//! waits for the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lilims_ipc::Error;
use lilims_store::{Delta, Ending, Error as StoreError, MessageId, PartKind, Store};
use serde_json::{Value, json};

use crate::database::from_store;

/// How often growing answers are written: what the end of the process may lose of one.
const INTERVAL: Duration = Duration::from_millis(250);

/// The thread that writes growing answers. It ends with this value and the records that came from it.
pub(crate) struct Journal {
    jobs: Sender<Job>,
}

/// Records one answer.
pub(crate) struct AnswerRecord {
    message: MessageId,
    jobs: Sender<Job>,
}

enum Job {
    Grow(MessageId, Growth),
    /// Answered once the message with everything before it is written.
    Finish(MessageId, Box<Ending>, Sender<Result<(), StoreError>>),
}

/// What an answer has grown by.
struct Growth {
    kind: PartKind,
    text: String,
    data: Option<Value>,
}

impl Journal {
    /// Starts the thread, which writes to `store`.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(crate) fn start(store: Arc<Store>) -> Result<Self, Error> {
        let (jobs, queue) = channel();
        let run = move || run(&store, &queue);
        let spawned = thread::Builder::new().name("journal".to_owned()).spawn(run);
        spawned.map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self { jobs })
    }

    /// Records the answer that was begun as `message`.
    pub(crate) fn record(&self, message: MessageId) -> AnswerRecord {
        AnswerRecord { message, jobs: self.jobs.clone() }
    }
}

impl AnswerRecord {
    /// Adds text.
    pub(crate) fn text(&self, text: &str) {
        self.grow(Growth { kind: PartKind::Text, text: text.to_owned(), data: None });
    }

    /// Adds reasoning, and sets how long it took so far.
    pub(crate) fn reasoning(&self, text: &str, elapsed_ms: u32) {
        let data = Some(json!({ "elapsed_ms": elapsed_ms }));
        self.grow(Growth { kind: PartKind::Reasoning, text: text.to_owned(), data });
    }

    fn grow(&self, growth: Growth) {
        // If the thread is gone, `finish` reports it.
        let _ = self.jobs.send(Job::Grow(self.message.clone(), growth));
    }

    /// Writes the rest and the end, and waits until that is done.
    ///
    /// # Errors
    /// If the answer could not be written.
    pub(crate) fn finish(&self, ending: Ending) -> Result<(), Error> {
        let (done, wait) = channel();
        let _ = self.jobs.send(Job::Finish(self.message.clone(), Box::new(ending), done));
        let ended = wait.recv().map_err(|_| Error::internal("the journal's thread ended"))?;
        ended.map_err(from_store)
    }
}

fn run(store: &Store, queue: &Receiver<Job>) {
    let mut pending = Pending::default();
    loop {
        let job = match pending.due {
            Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(Job::Grow(message, growth)) => pending.add(message, growth),
            Ok(Job::Finish(message, ending, done)) => {
                let _ = done.send(pending.finish(store, &message, &ending));
            }
            Err(RecvTimeoutError::Timeout) => pending.write_all(store),
            Err(RecvTimeoutError::Disconnected) => return pending.write_all(store),
        }
    }
}

/// What is not written yet.
#[derive(Default)]
struct Pending {
    answers: HashMap<MessageId, Vec<Growth>>,
    due: Option<Instant>,
}

impl Pending {
    fn add(&mut self, message: MessageId, growth: Growth) {
        let answer = self.answers.entry(message).or_default();
        match answer.last_mut().filter(|last| last.kind == growth.kind) {
            Some(last) => {
                last.text.push_str(&growth.text);
                last.data = growth.data.or(last.data.take());
            }
            None => answer.push(growth),
        }
        self.due.get_or_insert_with(|| Instant::now() + INTERVAL);
    }

    /// Writes everything. What cannot be written is tried again in a while, and is an error at the end
    /// of its answer.
    fn write_all(&mut self, store: &Store) {
        self.due = None;
        self.answers.retain(|message, growths| match write(store, message, growths) {
            Ok(()) | Err(StoreError::NotWriting { .. }) => false,
            Err(error) => {
                tracing::warn!(%error, "cannot write a growing answer yet");
                true
            }
        });
        if !self.answers.is_empty() {
            self.due = Some(Instant::now() + INTERVAL);
        }
    }

    fn finish(
        &mut self,
        store: &Store,
        message: &MessageId,
        ending: &Ending,
    ) -> Result<(), StoreError> {
        let growths = self.answers.remove(message).unwrap_or_default();
        if self.answers.is_empty() {
            self.due = None;
        }
        match write(store, message, &growths).and_then(|()| store.finish_message(message, ending)) {
            // Its conversation was deleted meanwhile.
            Err(StoreError::NotWriting { .. }) => Ok(()),
            result => result,
        }
    }
}

fn write(store: &Store, message: &MessageId, growths: &[Growth]) -> Result<(), StoreError> {
    if growths.is_empty() {
        return Ok(());
    }
    let deltas: Vec<Delta<'_>> = growths
        .iter()
        .map(|Growth { kind, text, data }| Delta { kind: *kind, text, data: data.as_ref() })
        .collect();
    store.append(message, &deltas)
}
