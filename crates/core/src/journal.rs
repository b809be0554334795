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
                let _ = done.send(pending.finish(store, &message, ending));
            }
            Err(RecvTimeoutError::Timeout) => pending.write_all(store),
            Err(RecvTimeoutError::Disconnected) => return pending.write_all(store),
        }
    }
}

/// Where answers are written.
trait Answers {
    fn append(&self, message: &MessageId, deltas: &[Delta<'_>]) -> Result<(), StoreError>;
    fn finish(&self, message: &MessageId, ending: &Ending) -> Result<(), StoreError>;
}

impl Answers for Store {
    fn append(&self, message: &MessageId, deltas: &[Delta<'_>]) -> Result<(), StoreError> {
        Self::append(self, message, deltas)
    }

    fn finish(&self, message: &MessageId, ending: &Ending) -> Result<(), StoreError> {
        self.finish_message(message, ending)
    }
}

/// What is not written yet.
#[derive(Default)]
struct Pending {
    answers: HashMap<MessageId, Unwritten>,
    due: Option<Instant>,
}

/// What is not written yet of one answer.
#[derive(Default)]
struct Unwritten {
    growths: Vec<Growth>,
    /// The end, where it could not be written: until it is, the message counts as being written, and
    /// could be neither edited nor deleted.
    ending: Option<Box<Ending>>,
}

impl Pending {
    fn add(&mut self, message: MessageId, growth: Growth) {
        let answer = &mut self.answers.entry(message).or_default().growths;
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
    fn write_all(&mut self, store: &impl Answers) {
        self.due = None;
        self.answers.retain(|message, answer| match answer.write(store, message) {
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

    /// Writes the rest of an answer and its end. Where that fails, it is tried again as growing answers
    /// are: what was seen of the answer is kept once there is space.
    fn finish(
        &mut self,
        store: &impl Answers,
        message: &MessageId,
        ending: Box<Ending>,
    ) -> Result<(), StoreError> {
        let mut answer = self.answers.remove(message).unwrap_or_default();
        answer.ending = Some(ending);
        let written = match answer.write(store, message) {
            // Its conversation was deleted meanwhile.
            Err(StoreError::NotWriting { .. }) => Ok(()),
            result => result,
        };
        if written.is_err() {
            self.answers.insert(message.clone(), answer);
            self.due.get_or_insert_with(|| Instant::now() + INTERVAL);
        } else if self.answers.is_empty() {
            self.due = None;
        }
        written
    }
}

impl Unwritten {
    fn write(&mut self, store: &impl Answers, message: &MessageId) -> Result<(), StoreError> {
        write(store, message, &self.growths)?;
        self.growths.clear();
        self.ending.as_deref().map_or(Ok(()), |ending| store.finish(message, ending))
    }
}

fn write(store: &impl Answers, message: &MessageId, growths: &[Growth]) -> Result<(), StoreError> {
    if growths.is_empty() {
        return Ok(());
    }
    let deltas: Vec<Delta<'_>> = growths
        .iter()
        .map(|Growth { kind, text, data }| Delta { kind: *kind, text, data: data.as_ref() })
        .collect();
    store.append(message, &deltas)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use lilims_store::MessageState;

    use super::*;

    /// A disk that may be full, and what was written to it.
    #[derive(Default)]
    struct Disk {
        is_full: Cell<bool>,
        refuses_endings: Cell<bool>,
        written: RefCell<String>,
    }

    impl Disk {
        fn write(&self, text: &str, is_refused: bool) -> Result<(), StoreError> {
            if self.is_full.get() || is_refused {
                return Err(StoreError::DiskFull);
            }
            self.written.borrow_mut().push_str(text);
            Ok(())
        }
    }

    impl Answers for Disk {
        fn append(&self, _: &MessageId, deltas: &[Delta<'_>]) -> Result<(), StoreError> {
            let text: String = deltas.iter().map(|delta| delta.text).collect();
            self.write(&text, false)
        }

        fn finish(&self, _: &MessageId, _: &Ending) -> Result<(), StoreError> {
            self.write(".", self.refuses_endings.get())
        }
    }

    fn growth(text: &str) -> Growth {
        Growth { kind: PartKind::Text, text: text.to_owned(), data: None }
    }

    #[test]
    fn an_answer_that_ends_while_the_disk_is_full_is_written_when_there_is_space() {
        for (is_full, refuses_endings) in [(true, false), (false, true)] {
            let (disk, mut pending) = (Disk::default(), Pending::default());
            let message = MessageId::from("a");
            pending.add(message.clone(), growth("one "));
            pending.write_all(&disk);
            disk.is_full.set(is_full);
            disk.refuses_endings.set(refuses_endings);
            pending.add(message.clone(), growth("two"));
            let ending = Box::new(Ending::of(MessageState::Done));
            assert!(pending.finish(&disk, &message, ending).is_err());
            pending.write_all(&disk);
            assert!(pending.due.is_some(), "it is tried again");
            disk.is_full.set(false);
            disk.refuses_endings.set(false);
            pending.write_all(&disk);
            assert_eq!(*disk.written.borrow(), "one two.");
            assert!(pending.answers.is_empty() && pending.due.is_none());
        }
    }
}
