//! The types that cross between the shell and the page: what commands take, return and stream.
//!
//! Every type is plain data with a fixed JSON form. Nothing here runs anything.

mod command;
mod convert;
mod error;
mod library;

pub use command::{AppEvent, Command, Reply};
pub use convert::{
    Caution, Conversion, ConversionOffer, ConversionRecord, ConversionRequest, ConversionStage,
    ConversionState, ConversionTarget, Measurement, Quality, Share, TensorProgress,
};
pub use error::{Error, Problem};
pub use library::{
    Attempt, CacheShape, CatalogueModel, Condition, Download, DownloadPlan, DownloadState, Fit,
    FitPart, FitPartKind, ImportFailure, Library, LibraryModel, LibraryNote, Limits, MemorySource,
    Owner, Place, PlannedModel, Report, Repository, RepositoryFile, Search, SearchResult,
    SkipReason, SkippedFile, StayReason, Storage, Suggestion, Unsuitable, Verdict,
};
use serde::{Deserialize, Deserializer, Serialize};

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The person at the keyboard.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// Its text, Markdown as written.
    pub content: String,
    /// What the model wrote for itself before the text; answers alone have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Reasoning>,
}

impl Message {
    /// A message without reasoning.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), reasoning: None }
    }
}

/// What a model wrote for itself before an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// Its text, Markdown as written, without the marks around it.
    pub text: String,
    /// How long that took in milliseconds, where it was measured.
    #[serde(default)]
    pub elapsed_ms: Option<u32>,
}

/// How the next answer is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// 0 picks the likeliest token each time; larger values vary more. 0 to 2.
    pub temperature: f32,
    /// Samples from the likeliest tokens that together hold this probability. 0 to 1; 1 is off.
    pub top_p: f32,
    /// The answer ends after this many tokens.
    pub max_tokens: u32,
    /// Fixes the random numbers; `None` draws a new seed for each answer.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { temperature: 0.7, top_p: 0.95, max_tokens: 1024, seed: None }
    }
}

/// What the command `send` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation so far, the question last.
    pub messages: Vec<Message>,
    /// How to sample the answer.
    pub options: Options,
    /// What happens when the conversation outgrows the context.
    #[serde(default)]
    pub overflow: Overflow,
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

/// A conversation as it is kept between visits; the answer of the command `conversation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// Its messages, oldest first; a question whose answer broke off may be the last.
    pub messages: Vec<Message>,
    /// What happens when it outgrows the context.
    #[serde(default)]
    pub overflow: Overflow,
    /// What the model saw of it after the last answer.
    #[serde(default)]
    pub view: Option<ContextView>,
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
    /// The first message that is wholly in the window, an index into the messages of the
    /// request; 0 where none has left it.
    pub first_message: u32,
    /// The model's summary of what left, where that was asked for.
    pub summary: Option<String>,
    /// How the last prompt differed from the messages.
    #[serde(default, deserialize_with = "known_notes")]
    pub notes: Vec<PromptNote>,
}

/// How a prompt differs from the messages that it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
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
}

/// Notes of the version before were sentences, those of a later one may be unknown: both are dropped.
fn known_notes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PromptNote>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Note {
        Known(PromptNote),
        Other(serde::de::IgnoredAny),
    }
    let notes = Vec::<Note>::deserialize(deserializer)?;
    let known = |note| match note {
        Note::Known(note) => Some(note),
        Note::Other(_) => None,
    };
    Ok(notes.into_iter().filter_map(known).collect())
}

/// Where the model stands; the answer of the command `status`, and the event `model-status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ModelStatus {
    /// The file is being opened.
    Loading {
        /// The model's display name.
        name: String,
    },
    /// Questions can be answered.
    Ready {
        /// What was loaded.
        model: ModelInfo,
    },
    /// The model could not be loaded.
    Failed {
        /// Why.
        error: Error,
    },
    /// The model gave its memory back; the next question loads it again.
    Unloaded {
        /// The model's display name.
        name: String,
        /// Why.
        reason: UnloadReason,
    },
    /// The app ended while it loaded this model, so it was not loaded again by itself.
    LoadSuspended {
        /// What happened.
        attempt: Attempt,
    },
}

/// Why a model gave its memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum UnloadReason {
    /// The user unloaded it.
    Requested,
    /// There was no question for a while.
    Idle {
        /// For so long.
        seconds: u64,
    },
    /// The system ran short of memory.
    MemoryShort,
    /// Its file was changed while it was in use.
    FileChanged,
}

/// What the page shows of a loaded model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Display name, such as `SmolLM2 135M Instruct`.
    pub name: String,
    /// Family, such as `llama`.
    pub family: String,
    /// Quantisation, such as `Q4_1`.
    pub quantisation: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The most tokens that a conversation may hold.
    pub context_tokens: u32,
    /// Backend, such as `cpu (avx2, 2 threads)`.
    pub backend: String,
    /// The most memory that the keys and values of a conversation take, in bytes.
    pub cache_bytes: u64,
    /// Whether the context can slide. Models with learned positions re-read the recent half.
    pub can_slide: bool,
}

/// What `send` streams to the page, at most one a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
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
        /// Why it ended.
        finish: Finish,
        /// What it took.
        stats: Stats,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_fixed() {
        let event = Event::Text { text: "é".into(), tokens: 1, tokens_per_second: 2.0 };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"text","text":"é","tokens":1,"tokens_per_second":2.0}"#
        );
        let event = Event::Reasoning {
            text: "hm".into(),
            elapsed_ms: 3,
            tokens: 1,
            tokens_per_second: 2.0,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"reasoning","text":"hm","elapsed_ms":3,"tokens":1,"tokens_per_second":2.0}"#
        );
        let status =
            ModelStatus::Failed { error: Problem::ModelMissing { path: "m".into() }.into() };
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            r#"{"state":"failed","error":{"code":"model-missing","args":{"path":"m"},"detail":null}}"#
        );
        assert_eq!(serde_json::from_str::<ModelStatus>(&json).unwrap(), status);
    }

    #[test]
    fn t10_a_message_of_before_reasoning_is_read_and_written_as_it_was() {
        let json = r#"{"role":"assistant","content":"Yes."}"#;
        let message: Message = serde_json::from_str(json).unwrap();
        assert_eq!(message, Message::new(Role::Assistant, "Yes."));
        assert_eq!(serde_json::to_string(&message).unwrap(), json);
        let reasoning = Reasoning { text: "Is it?".into(), elapsed_ms: Some(1200) };
        let message = Message { reasoning: Some(reasoning), ..message };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
    }

    #[test]
    fn settings_and_conversations_of_older_versions_keep_what_they_say() {
        // As the versions before `seed` and before the context's view wrote them.
        let options: Options = serde_json::from_str(r#"{"temperature":0.2,"top_p":0.5}"#).unwrap();
        assert_eq!((options.temperature, options.top_p), (0.2, 0.5));
        assert_eq!(options.max_tokens, Options::default().max_tokens);
        let text = r#"{"messages":[{"role":"user","content":"a"}],"overflow":"stop",
            "view":{"context_tokens":9,"used_tokens":3,"summary":null,
            "notes":["the template leaves instructions out",{"note":"no-template"},{"note":"x"}]}}"#;
        let conversation: Conversation = serde_json::from_str(text).unwrap();
        assert_eq!(conversation.overflow, Overflow::Stop);
        let view = conversation.view.unwrap();
        assert_eq!((view.context_tokens, view.pinned_tokens), (9, 0));
        assert_eq!(view.notes, [PromptNote::NoTemplate]);
    }
}
