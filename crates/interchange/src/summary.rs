//! What was taken of a file, and what was not.

use crate::formats::Format;

/// What was taken of a file, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The formats that were recognised, each once.
    pub formats: Vec<Format>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// Whether the callback ended the reading.
    pub is_stopped: bool,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Why.
    pub reason: SkipReason,
    /// The title of the conversation that it was in; `None` if it has none or was in none.
    pub conversation: Option<String>,
    /// How many times.
    pub count: u64,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It is not a conversation.
    NotAConversation,
    /// A conversation without messages.
    Empty,
    /// A conversation that is too large.
    ConversationTooLarge,
    /// A message that the other program does not show, such as its own instructions.
    HiddenMessage,
    /// Messages or parts beyond the largest number.
    TooMany,
    /// A value that is nested too deeply.
    TooDeep,
    /// The content of an attachment, which is not in the file; its name was taken.
    AttachmentContent,
    /// The rest of the file, or an entry of the archive: it is damaged.
    Damaged,
    /// The rest of the file, or an entry of the archive: it is larger than what is read.
    BeyondLimit,
}

/// Collects what is left out; equal entries are counted.
pub(crate) struct Skips {
    skipped: Vec<Skipped>,
    max: usize,
}

impl Skips {
    pub(crate) fn new(max: usize) -> Self {
        Self { skipped: Vec::new(), max }
    }

    pub(crate) fn add(&mut self, reason: SkipReason, conversation: Option<&str>, count: u64) {
        if count == 0 {
            return;
        }
        // What is equal follows each other: conversations come one after another.
        let same =
            |it: &&mut Skipped| it.reason == reason && it.conversation.as_deref() == conversation;
        if let Some(entry) = self.skipped.iter_mut().rev().take(16).find(same) {
            entry.count += count;
            return;
        }
        if self.skipped.len() < self.max {
            let conversation = conversation.map(str::to_owned);
            self.skipped.push(Skipped { reason, conversation, count });
            return;
        }
        // One more entry for each reason, without the conversation.
        let rest = |it: &&mut Skipped| it.reason == reason && it.conversation.is_none();
        match self.skipped.iter_mut().skip(self.max).find(rest) {
            Some(entry) => entry.count += count,
            None => self.skipped.push(Skipped { reason, conversation: None, count }),
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        for Skipped { reason, conversation, count } in other.skipped {
            self.add(reason, conversation.as_deref(), count);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Skipped> {
        self.skipped
    }
}
