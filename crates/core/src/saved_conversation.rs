//! The current conversation on disk: its text at once, the model's session when idle.
//!
//! It lives as long as the app, whether a model is loaded or not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lilims_ipc::{ContextView, Conversation, Message, Overflow, Reasoning, Role};
use lilims_models::{ConversationFile, data_dir, enforce_session_quota};

use crate::conversation_writer::ConversationWriter;

/// The most that saved sessions take on disk.
const SESSION_QUOTA_BYTES: u64 = 2 << 30;
/// How often a growing answer is saved.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// The current conversation and its files. If they cannot be written, the conversation lasts as long as
/// the app.
pub struct SavedConversation {
    writer: Option<ConversationWriter>,
    conversation: Conversation,
    written_at: Instant,
}

/// The folder of conversations.
fn folder() -> Option<PathBuf> {
    data_dir().ok().map(|folder| folder.join("conversations"))
}

/// The file of the current conversation.
fn current() -> Option<ConversationFile> {
    folder().map(|folder| ConversationFile::new(folder.join("current.json")))
}

/// Reads the file. A conversation that cannot be read is moved aside, so that nothing overwrites it.
fn read(file: &ConversationFile) -> Option<Conversation> {
    match file.read() {
        Ok(conversation) => conversation,
        Err(error) => {
            let moved_to = file.rename_damaged().ok();
            tracing::warn!(%error, ?moved_to, "cannot read the last conversation");
            None
        }
    }
}

impl SavedConversation {
    /// The conversation of the last visit, or an empty one.
    pub fn open() -> Self {
        current().map_or_else(Self::without_file, Self::of_file)
    }

    fn of_file(file: ConversationFile) -> Self {
        let conversation = read(&file).unwrap_or_default();
        let writer = Some(ConversationWriter::start(file));
        Self { writer, conversation, written_at: Instant::now() }
    }

    fn without_file() -> Self {
        Self { writer: None, conversation: Conversation::default(), written_at: Instant::now() }
    }

    /// The conversation whose file is at `path`, for tests.
    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::of_file(ConversationFile::new(path))
    }

    /// A conversation without a file, for tests.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::without_file()
    }

    /// Reads the conversation of the last visit, if there is one.
    pub fn read() -> Option<Conversation> {
        read(&current()?)
    }

    /// Where the session is saved, if there is a conversation.
    pub(crate) fn session_path(&self) -> Option<PathBuf> {
        let writer = self.writer.as_ref().filter(|_| self.conversation.messages.len() > 1)?;
        Some(writer.file().session_path())
    }

    /// Saves a question with everything before it.
    pub(crate) fn ask(&mut self, messages: &[Message], overflow: Overflow) {
        let view = self.conversation.view.take();
        self.conversation = Conversation { messages: messages.to_vec(), overflow, view };
        self.write();
        self.flush();
    }

    /// Adds to the answer.
    pub(crate) fn grow(&mut self, text: &str) {
        self.answer().content.push_str(text);
        self.write_if_due();
    }

    /// Adds to the reasoning before the answer, and sets how long it took so far.
    pub(crate) fn grow_reasoning(&mut self, text: &str, elapsed_ms: u32) {
        let reasoning = self.answer().reasoning.get_or_insert_with(Reasoning::default);
        reasoning.text.push_str(text);
        reasoning.elapsed_ms = Some(elapsed_ms);
        self.write_if_due();
    }

    /// The answer: the last message.
    fn answer(&mut self) -> &mut Message {
        let messages = &mut self.conversation.messages;
        if messages.last().is_none_or(|message| message.role != Role::Assistant) {
            messages.push(Message::new(Role::Assistant, ""));
        }
        messages.last_mut().expect("an answer was pushed if there was none")
    }

    fn write_if_due(&mut self) {
        if self.written_at.elapsed() >= WRITE_INTERVAL {
            self.write();
        }
    }

    /// Saves that the answer ended, and the view of the context then.
    pub(crate) fn end(&mut self, view: Option<ContextView>) {
        self.conversation.view = view.or(self.conversation.view.take());
        self.write();
        self.flush();
    }

    /// Sets what happens when the context is full.
    pub(crate) fn set_overflow(&mut self, overflow: Overflow) {
        self.conversation.overflow = overflow;
        if !self.conversation.messages.is_empty() {
            self.write();
            self.flush();
        }
    }

    /// Deletes the conversation with its session, for good, and begins a new one.
    pub(crate) fn forget(&mut self) {
        self.conversation = Conversation::default();
        if let Some(Err(error)) = self.writer.as_ref().map(ConversationWriter::delete) {
            tracing::warn!(%error, "cannot delete the conversation");
        }
    }

    fn write(&mut self) {
        self.written_at = Instant::now();
        if let Some(writer) = &self.writer {
            writer.write(&self.conversation);
        }
    }

    /// Waits until the file is on disk; not while an answer is decoded.
    fn flush(&self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }
}

/// Keeps saved sessions within their quota.
pub(crate) fn bound_saved_sessions(session: &Path) {
    if let Some(folder) = session.parent()
        && let Err(error) = enforce_session_quota(folder, SESSION_QUOTA_BYTES)
    {
        tracing::warn!(%error, "cannot remove old saved sessions");
    }
}
