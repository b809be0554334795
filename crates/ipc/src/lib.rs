//! The types that cross between the shell and the page: what commands take, return and stream.
//!
//! Every type is plain data with a fixed JSON form. Nothing here runs anything.

mod convert;
mod library;

pub use convert::{
    Conversion, ConversionOffer, ConversionRequest, ConversionStage, ConversionState,
    ConversionTarget, Figures, Made, Quality, Share, TensorProgress,
};
pub use library::{
    Attempt, Condition, Download, DownloadPlan, DownloadState, Fit, FitPart, Found, Library,
    LibraryModel, Limits, Place, PlanModel, Recommended, Report, Repository, RepositoryFile,
    Search, Storage, Verdict,
};
use serde::{Deserialize, Serialize};

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
    /// How the last prompt differed from what the messages ask for, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Where the model stands; the answer of the command `status`, and the event `model-status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
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
        /// Why, and what to do.
        error: Error,
    },
    /// The model gave its memory back; the next question loads it again.
    Unloaded {
        /// The model's display name.
        name: String,
        /// Why, such as `after 10 minutes without a question`.
        why: String,
    },
    /// The app ended while it loaded this model, so it was not loaded again by itself.
    Held {
        /// What happened.
        attempt: Attempt,
    },
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

/// What went wrong, as every command tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A stable code for programs.
    pub code: ErrorCode,
    /// A sentence that a user can act on.
    pub message: String,
    /// Technical detail; never text of a conversation.
    pub detail: Option<String>,
}

/// Stable codes of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// No model file where one was expected.
    ModelMissing,
    /// None was chosen, and none came with the app: the page offers to fetch one.
    NoModel,
    /// The model file is damaged.
    ModelDamaged,
    /// Lilims cannot run this model yet.
    ModelUnsupported,
    /// The model is still loading.
    ModelLoading,
    /// An answer is already being written.
    Busy,
    /// The conversation does not fit the context.
    ContextFull,
    /// The hub cannot be reached or does not answer as it should.
    Network,
    /// The repository asks for an account or for its terms to be accepted.
    Gated,
    /// There is no such repository, file or model.
    NotFound,
    /// The disk or the quota is too small.
    NoRoom,
    /// The file is not what its source says it is.
    HashMismatch,
    /// Anything else.
    Internal,
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
        let status = ModelStatus::Failed {
            error: Error { code: ErrorCode::ModelMissing, message: "m".into(), detail: None },
        };
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            r#"{"state":"failed","error":{"code":"model-missing","message":"m","detail":null}}"#
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
}
