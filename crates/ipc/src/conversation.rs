//! Conversations and messages, the questions of a door, and the events of an answer.

#[cfg(not(target_arch = "wasm32"))]
use serde::Deserializer;
use serde::{Deserialize, Serialize};

use crate::{AssistantId, Attachment, Error};

/// Defines the type of an id, which is text in JSON.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);
    };
}

id! {
    /// Names a conversation.
    ConversationId
}

id! {
    /// Names a message among those of all conversations.
    MessageId
}

id! {
    /// Names a folder of conversations.
    FolderId
}

id! {
    /// Names a document among those of a draft or of a question.
    AttachmentId
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions at the beginning of the conversation.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Who wrote it.
    pub role: Role,
    /// Its text, Markdown as written.
    pub content: String,
    /// The documents that were sent with it; only questions have some.
    pub attachments: Vec<Attachment>,
    /// The model's reasoning before the text; only answers have it.
    pub reasoning: Option<Reasoning>,
    /// How far it is.
    pub state: MessageState,
    /// All versions of it, itself among them, in the order in which they were written; empty where there
    /// is one alone.
    pub versions: Vec<MessageId>,
}

/// What a model wrote for itself before an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// Its text, Markdown as written, without the marks around it.
    pub text: String,
    /// How long it took in milliseconds, where it was measured.
    pub elapsed_ms: Option<u32>,
}

/// How far a message is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// The model writes it.
    Writing,
    /// It is complete.
    Done {
        /// Why the model ended it, and its statistics; unknown for questions, and for answers of
        /// earlier versions.
        outcome: Option<Outcome>,
    },
    /// The user stopped it, or the app ended while it was written.
    Stopped {
        /// As for [`MessageState::Done`].
        outcome: Option<Outcome>,
    },
    /// It ended with an error.
    Failed {
        /// The error.
        error: Error,
    },
}

/// Why an answer ended, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub finish: Finish,
    /// What it took.
    pub stats: Stats,
}

/// A question, or the wish for another answer to one or for more of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation.
    pub conversation: ConversationId,
    /// The message that the question follows; `None` begins the conversation. Without a text, the
    /// question that is answered again, or the answer that is continued.
    pub parent: Option<MessageId>,
    /// The question; `None` answers `parent` again, or continues it.
    pub text: Option<String>,
    /// The question whose documents are sent again: the one that this is another version of. `None`
    /// sends those of the draft.
    pub attachments_of: Option<MessageId>,
}

/// What happens when a conversation outgrows the context; each conversation has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The oldest tokens leave, those pinned at the beginning stay.
    #[default]
    Slide,
    /// Answers end there, and no question is taken any more.
    Stop,
    /// The model writes a summary of the messages that leave, and it is pinned.
    Summarise,
}

/// A conversation with the branch that is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The messages of the branch, oldest first; a question whose answer broke off may be the last.
    pub messages: Vec<Message>,
    /// What happens when it outgrows the context.
    pub overflow: Overflow,
    /// Its assistant.
    pub assistant: Option<AssistantId>,
    /// What the model saw of it after the last answer.
    pub view: Option<ContextView>,
    /// What was typed and not sent.
    pub draft: String,
    /// Why conversations last only as long as the app: the database cannot be opened. `None` if they
    /// are saved.
    pub unsaved: Option<Error>,
}

/// What the model sees of a conversation, in tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextView {
    /// What the context holds in all.
    pub context_tokens: u32,
    /// What is used of it: `pinned_tokens` and the window.
    pub used_tokens: u32,
    /// At the beginning, always seen (attention sinks): the system prompt, or the first tokens.
    pub pinned_tokens: u32,
    /// How many of the conversation's tokens have left the window.
    pub left_tokens: u32,
    /// The first message that is completely in the window, or the last one if none is; `None` while
    /// the window holds the whole conversation.
    pub window_start: Option<MessageId>,
    /// The model's summary of what left, where that was asked for.
    pub summary: Option<String>,
    /// How the last prompt differed from the messages.
    #[cfg_attr(not(target_arch = "wasm32"), serde(deserialize_with = "known_notes"))]
    pub notes: Vec<PromptNote>,
}

/// How a prompt differs from the messages that it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptNote {
    /// The file has no chat template: each message stands on lines of its own after its role.
    NoTemplate,
    /// The template has no place for instructions: they stand before the next question.
    InstructionsInQuestion,
    /// The template leaves instructions out.
    InstructionsLeftOut,
    /// The template requires alternating roles: messages of one role in a row were joined.
    RolesJoined,
    /// The template sends reasoning back to the model.
    ReasoningKept,
    /// The template leaves out some or all reasoning.
    ReasoningLeftOut,
    /// The template leaves out other messages.
    MessagesLeftOut {
        /// How many.
        count: u64,
    },
    /// The template does not begin the answer.
    NoGenerationPrompt,
    /// Texts are longer than the context: their middle was not read.
    TextLeftOut {
        /// How much.
        size_bytes: u64,
    },
    /// The model wrote without the draft model.
    DraftNotUsed {
        /// Why.
        why: DraftRefusal,
    },
}

/// Why a draft model is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DraftRefusal {
    /// It is not on this device.
    Missing,
    /// It could not be loaded: its file is damaged, or memory is short.
    NotLoaded,
    /// Its vocabulary is not that of the model.
    OtherVocabulary,
    /// What runs the model cannot check drafts exactly.
    Backend,
}

/// Reads notes from JSON. Those of earlier versions had other forms, those of a later one may be unknown:
/// both are dropped.
#[cfg(not(target_arch = "wasm32"))]
fn known_notes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PromptNote>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Note {
        Known(PromptNote),
        Other(serde::de::IgnoredAny),
    }
    if !deserializer.is_human_readable() {
        return Vec::deserialize(deserializer);
    }
    let notes = Vec::<Note>::deserialize(deserializer)?;
    let known = |note| match note {
        Note::Known(note) => Some(note),
        Note::Other(_) => None,
    };
    Ok(notes.into_iter().filter_map(known).collect())
}

/// What happens while a question is answered. Text is sent at most once a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The question is stored; comes first.
    Asked {
        /// The id of the question.
        question: MessageId,
        /// The id of the answer.
        answer: MessageId,
    },
    /// The question waits until a model is loaded.
    Loading,
    /// The question is being read; comes before any text.
    Reading {
        /// What is read.
        phase: Phase,
        /// Tokens read so far.
        read_tokens: u32,
        /// Tokens to be read, those in the cache not counted.
        total_tokens: u32,
    },
    /// More of what the model writes for itself before the answer.
    Reasoning {
        /// Whole characters that follow what was sent before.
        text: String,
        /// Milliseconds since the first of it.
        elapsed_ms: u32,
        /// Tokens generated so far.
        tokens: u32,
        /// Decoding speed so far, in tokens per second.
        tokens_per_second: f32,
    },
    /// More of the answer.
    Text {
        /// Whole characters that follow what was sent before.
        text: String,
        /// Tokens generated so far.
        tokens: u32,
        /// Decoding speed so far, in tokens per second.
        tokens_per_second: f32,
    },
    /// The answer is complete; nothing follows.
    Done {
        /// Why it ended, and what it took.
        outcome: Outcome,
        /// What the model sees now.
        view: ContextView,
    },
    /// The answer broke off; nothing follows.
    Failed {
        /// Why, and what to do.
        error: Error,
    },
}

/// What a model does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It reads the question.
    Prompt,
    /// It writes the summary of the messages that leave the window.
    Summary,
    /// It reads again what it had read before: the window moved on, or the conversation changed.
    Again,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// The limit of tokens was reached.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The user stopped it.
    Stopped,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Tokens of the prompt that had to be read; the rest was still in the cache.
    pub prefilled_tokens: u32,
    /// Tokens generated.
    pub tokens: u32,
    /// Milliseconds from the question to the first token.
    pub first_token_ms: f32,
    /// Decoding speed in tokens per second.
    pub tokens_per_second: f32,
}
