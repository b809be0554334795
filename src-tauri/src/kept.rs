//! The conversation as it is kept between visits: its text at once, the model's session when idle.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lilims_ipc::{ContextView, Conversation, Message, Overflow, Role};
use lilims_models::{ConversationFile, bound_sessions, data_dir};

/// The most that saved sessions take on disk.
const SESSION_QUOTA_BYTES: u64 = 2 << 30;
/// How often a growing answer is written down.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// The current conversation and its files. Where they cannot be written the conversation lasts as long
/// as the app.
pub(crate) struct Kept {
    file: Option<ConversationFile>,
    conversation: Conversation,
    written_at: Instant,
}

/// Where conversations are.
fn folder() -> Option<PathBuf> {
    data_dir().ok().map(|folder| folder.join("conversations"))
}

/// The file of the current conversation.
fn current() -> Option<ConversationFile> {
    folder().map(|folder| ConversationFile::new(folder.join("current.json")))
}

/// What is kept. A conversation that cannot be read is put aside, so that nothing overwrites it.
pub(crate) fn read() -> Option<Conversation> {
    let file = current()?;
    match file.read() {
        Ok(conversation) => conversation,
        Err(error) => {
            let aside =
                file.put_aside().map_or_else(|_| "it stays".into(), |to| to.display().to_string());
            eprintln!("Lilims cannot read the last conversation ({error}); {aside}");
            None
        }
    }
}

impl Kept {
    /// What the last visit left.
    pub(crate) fn open() -> Self {
        let conversation = read().unwrap_or_default();
        Self { file: current(), conversation, written_at: Instant::now() }
    }

    /// Where the session is saved, if there is a conversation.
    pub(crate) fn session_path(&self) -> Option<PathBuf> {
        let file = self.file.as_ref().filter(|_| self.conversation.messages.len() > 1)?;
        Some(file.session_path())
    }

    /// Notes a question with all before it.
    pub(crate) fn ask(&mut self, messages: &[Message], overflow: Overflow) {
        let view = self.conversation.view.take();
        self.conversation = Conversation { messages: messages.to_vec(), overflow, view };
        self.write();
    }

    /// Notes more of the answer.
    pub(crate) fn grow(&mut self, text: &str) {
        match self.conversation.messages.last_mut() {
            Some(message) if message.role == Role::Assistant => message.content.push_str(text),
            _ => {
                let message = Message { role: Role::Assistant, content: text.to_owned() };
                self.conversation.messages.push(message);
            }
        }
        if self.written_at.elapsed() >= WRITE_INTERVAL {
            self.write();
        }
    }

    /// Notes that the answer ended, and what the model sees then.
    pub(crate) fn end(&mut self, view: Option<ContextView>) {
        self.conversation.view = view.or(self.conversation.view.take());
        self.write();
    }

    /// Notes what happens when the context is full.
    pub(crate) fn set_overflow(&mut self, overflow: Overflow) {
        self.conversation.overflow = overflow;
        if !self.conversation.messages.is_empty() {
            self.write();
        }
    }

    /// Begins a new conversation.
    pub(crate) fn forget(&mut self) {
        self.conversation = Conversation::default();
        if let Some(Err(error)) = self.file.as_ref().map(ConversationFile::remove) {
            eprintln!("Lilims cannot remove the last conversation: {error}");
        }
    }

    fn write(&mut self) {
        self.written_at = Instant::now();
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.write(&self.conversation)) {
            eprintln!("Lilims cannot keep the conversation: {error}");
        }
    }
}

/// Keeps saved sessions within their quota.
pub(crate) fn bound(session: &Path) {
    if let Some(folder) = session.parent()
        && let Err(error) = bound_sessions(folder, SESSION_QUOTA_BYTES)
    {
        eprintln!("Lilims cannot tidy up saved sessions: {error}");
    }
}
