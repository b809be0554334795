//! Writes the conversation's file on a thread of its own: the thread that decodes never waits for the
//! disk. What is written is always the newest state; states in between may be skipped.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use lilims_ipc::Conversation;
use lilims_models::ConversationFile;

/// The thread that writes one conversation's file. It ends with this value, after its last write.
pub(crate) struct ConversationWriter {
    file: ConversationFile,
    jobs: Sender<Job>,
}

enum Job {
    Write(Box<Conversation>),
    /// Answered once everything before it is on disk.
    Flush(Sender<()>),
}

impl ConversationWriter {
    /// Starts the thread.
    pub(crate) fn start(file: ConversationFile) -> Self {
        let (jobs, queue) = channel();
        let of_thread = file.clone();
        let run = move || run(&of_thread, &queue);
        if let Err(error) = thread::Builder::new().name("conversation".to_owned()).spawn(run) {
            tracing::warn!(%error, "cannot start the thread that saves the conversation");
        }
        Self { file, jobs }
    }

    /// The file.
    pub(crate) fn file(&self) -> &ConversationFile {
        &self.file
    }

    /// Writes the conversation soon.
    pub(crate) fn write(&self, conversation: &Conversation) {
        let _ = self.jobs.send(Job::Write(Box::new(conversation.clone())));
    }

    /// Waits until everything is on disk.
    pub(crate) fn flush(&self) {
        let (done, wait) = channel();
        if self.jobs.send(Job::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Deletes the file and the session beside it, for good.
    ///
    /// # Errors
    /// When one of them stays.
    pub(crate) fn delete(&self) -> io::Result<()> {
        // A write that is on its way must not bring the file back.
        self.flush();
        self.file.remove()
    }
}

fn run(file: &ConversationFile, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        let (mut newest, mut flushes) = (None, Vec::new());
        for job in std::iter::once(job).chain(queue.try_iter()) {
            match job {
                Job::Write(conversation) => newest = Some(conversation),
                Job::Flush(done) => flushes.push(done),
            }
        }
        if let Some(Err(error)) = newest.map(|conversation| file.write(&*conversation)) {
            tracing::warn!(%error, "cannot save the conversation");
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{Message, Role};

    use super::*;

    fn conversation(text: &str) -> Conversation {
        Conversation { messages: vec![Message::new(Role::User, text)], ..Conversation::default() }
    }

    #[test]
    fn the_newest_state_is_on_disk_after_a_flush() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConversationFile::new(folder.path().join("chat.json"));
        let writer = ConversationWriter::start(file.clone());
        (0..100).for_each(|n| writer.write(&conversation(&n.to_string())));
        writer.flush();
        assert_eq!(file.read::<Conversation>().unwrap(), Some(conversation("99")));
    }

    #[test]
    fn a_deleted_conversation_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConversationFile::new(folder.path().join("chat.json"));
        for _ in 0..50 {
            let writer = ConversationWriter::start(file.clone());
            writer.write(&conversation("gone"));
            writer.delete().unwrap();
            writer.flush();
            assert_eq!(file.read::<Conversation>().unwrap(), None);
        }
    }
}
