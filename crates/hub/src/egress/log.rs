//! The thread that writes the log of connections, so that nothing asynchronous waits for the disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use lilims_store::{ConnectionEnd, NewConnection};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::{Error, Library};

/// Writes the log. All entries are written when it is dropped.
pub(super) struct ConnectionLog {
    entries: Option<Sender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

enum Entry {
    Begin(NewConnection, oneshot::Sender<Result<i64, Error>>),
    Note(i64, ConnectionEnd),
}

impl ConnectionLog {
    pub(super) fn start(library: Arc<Library>) -> Self {
        let (entries, received) = channel();
        let write = move || write(&library, &received);
        let spawned = thread::Builder::new().name("connection-log".to_owned()).spawn(write);
        let thread = Some(spawned.expect("a process that makes connections has threads"));
        Self { entries: Some(entries), thread }
    }

    /// Logs a connection that is about to be made, unless Lilims is sealed.
    pub(super) async fn begin(&self, new: NewConnection) -> Result<i64, Error> {
        let (reply, id) = oneshot::channel();
        self.send(Entry::Begin(new, reply));
        // The thread ends only if it panicked.
        id.await.unwrap_or(Err(Error::Stopped))
    }

    /// Notes what came of a connection.
    pub(super) fn note(&self, id: i64, end: ConnectionEnd) {
        self.send(Entry::Note(id, end));
    }

    fn send(&self, entry: Entry) {
        let entries = self.entries.as_ref().expect("it is there until the drop");
        let _ = entries.send(entry);
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        self.entries.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(library: &Library, entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Begin(new, reply) => {
                let _ = reply.send(library.begin_connection(&new));
            }
            Entry::Note(id, end) => {
                // The row is there; without its end, it says that there was no answer.
                let _ = library.store.note_connection(id, &end);
            }
        }
        library.connections_changed.notify_one();
    }
}

/// The stored form of a code: its name if it has no facts, else JSON.
pub(super) fn code(code: &impl Serialize) -> String {
    match serde_json::to_value(code).expect("a code is plain data") {
        serde_json::Value::String(name) => name,
        json => json.to_string(),
    }
}
