//! The types that cross a door of the application: what commands take, return and stream.
//!
//! Every type is plain data. It crosses to the page in the form of [`wire`]; what rows of the store hold
//! has a fixed JSON form besides.

mod attachment;
mod command;
mod conversation;
mod conversation_list;
mod convert;
mod desktop;
mod error;
mod exact_prompt;
mod exchange;
mod library;
mod privacy;
mod settings;
mod text;
pub mod wire;

pub use attachment::{
    Attachment, AttachmentChange, AttachmentKind, AttachmentNote, AttachmentUse, Attachments,
    ForeignKind,
};
pub use command::{AppEvent, Command, Reply};
pub use conversation::{
    AttachmentId, ContextView, Conversation, ConversationId, DraftRefusal, Event, Finish, FolderId,
    Message, MessageId, MessageState, Outcome, Overflow, Phase, PromptNote, Reasoning, Request,
    Role, Stats,
};
pub use conversation_list::{
    BranchNode, ConversationChange, ConversationFolder, ConversationHead, ConversationList,
    ExcerptPiece, SearchHit,
};
pub use convert::{
    Caution, Conversion, ConversionOffer, ConversionRecord, ConversionRequest, ConversionStage,
    ConversionState, ConversionTarget, Measurement, Quality, Share, TensorProgress,
};
pub use desktop::{DesktopSettings, PageAction};
pub use error::{Error, Problem, TokenProblem};
pub use exact_prompt::{ExactPrompt, PromptPart, PromptSource, PromptToken};
pub use exchange::{ExportFormat, ImportReport, ItemSkipReason, SkippedItem};
pub use library::{
    Attempt, CacheShape, CatalogueModel, Condition, Download, DownloadPlan, DownloadState, Fit,
    FitPart, FitPartKind, ImportFailure, Library, LibraryModel, LibraryNote, Limits, MemorySource,
    Owner, Place, PlannedModel, Report, Repository, RepositoryFile, Search, SearchResult,
    SkipReason, SkippedFile, StayReason, Storage, Suggestion, Unsuitable, Verdict,
};
pub use privacy::{
    ConnectionAnswer, ConnectionAsker, ConnectionLog, ConnectionPurpose, LastConnection,
    LoggedConnections, Privacy, SealedBy, TelemetryPreview, TelemetryState,
};
use serde::{Deserialize, Serialize};
pub use settings::{
    Assistant, AssistantId, Assistants, Preset, Setting, SettingKind, SettingOrigin, SettingRow,
    SettingScope, SettingValue, Settings,
};
pub use text::{CodeClass, CodeRun, Formula, MathAttribute, MathClass, MathPiece, MathTag};

/// Where the model stands; the answer of the command `status`, and the event `model-status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
#[serde(rename_all = "kebab-case")]
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
    /// A part of Lilims that runs it failed.
    Failed,
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
            r#"{"text":{"text":"é","tokens":1,"tokens_per_second":2.0}}"#
        );
        let status =
            ModelStatus::Failed { error: Problem::ModelMissing { path: "m".into() }.into() };
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            r#"{"failed":{"error":{"code":"model-missing","args":{"path":"m"},"detail":null}}}"#
        );
        assert_eq!(serde_json::from_str::<ModelStatus>(&json).unwrap(), status);
    }

    #[test]
    fn views_of_other_versions_keep_what_is_known() {
        let text = r#"{"context_tokens":9,"used_tokens":3,"summary":null,"first_message":2,
            "notes":["the template leaves instructions out",{"note":"no-template"},"no-template","x"]}"#;
        let view: ContextView = serde_json::from_str(text).unwrap();
        assert_eq!((view.context_tokens, view.pinned_tokens, view.window_start), (9, 0, None));
        assert_eq!(view.notes, [PromptNote::NoTemplate]);
    }
}
