//! The types that cross a door of the application: what commands take, return and stream.
//!
//! Every type is plain data with a fixed JSON form. Nothing here runs anything.

mod attachment;
mod command;
mod conversation;
mod conversation_list;
mod convert;
mod error;
mod exchange;
mod library;
mod text;

pub use attachment::{
    Attachment, AttachmentChange, AttachmentKind, AttachmentNote, AttachmentUse, Attachments,
    ForeignKind,
};
pub use command::{AppEvent, Command, Reply};
pub use conversation::{
    AttachmentId, ContextView, Conversation, ConversationId, Event, Finish, FolderId, Message,
    MessageId, MessageState, Outcome, Overflow, Phase, PromptNote, Reasoning, Request, Role, Stats,
};
pub use conversation_list::{
    BranchNode, ConversationChange, ConversationFolder, ConversationHead, ConversationList,
    ExcerptPiece, SearchHit,
};
pub use convert::{
    Caution, Conversion, ConversionOffer, ConversionRecord, ConversionRequest, ConversionStage,
    ConversionState, ConversionTarget, Measurement, Quality, Share, TensorProgress,
};
pub use error::{Error, Problem, TokenProblem};
pub use exchange::{ExportFormat, ImportReport, ItemSkipReason, SkippedItem};
pub use library::{
    Attempt, CacheShape, CatalogueModel, Condition, Download, DownloadPlan, DownloadState, Fit,
    FitPart, FitPartKind, ImportFailure, Library, LibraryModel, LibraryNote, Limits, MemorySource,
    Owner, Place, PlannedModel, Report, Repository, RepositoryFile, Search, SearchResult,
    SkipReason, SkippedFile, StayReason, Storage, Suggestion, Unsuitable, Verdict,
};
use serde::{Deserialize, Serialize};
pub use text::{CodeClass, CodeRun, Formula, MathAttribute, MathClass, MathPiece, MathTag};

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
    fn options_and_views_of_other_versions_keep_what_is_known() {
        // As the version before `seed` wrote them.
        let options: Options = serde_json::from_str(r#"{"temperature":0.2,"top_p":0.5}"#).unwrap();
        assert_eq!((options.temperature, options.top_p), (0.2, 0.5));
        assert_eq!(options.max_tokens, Options::default().max_tokens);
        let text = r#"{"context_tokens":9,"used_tokens":3,"summary":null,"first_message":2,
            "notes":["the template leaves instructions out",{"note":"no-template"},{"note":"x"}]}"#;
        let view: ContextView = serde_json::from_str(text).unwrap();
        assert_eq!((view.context_tokens, view.pinned_tokens, view.window_start), (9, 0, None));
        assert_eq!(view.notes, [PromptNote::NoTemplate]);
    }
}
