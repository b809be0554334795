//! What went wrong, as a code with its facts. The sentences are in the catalogues of the page and
//! of the command line; nothing here or in a stored row is a sentence.

use serde::{Deserialize, Serialize};

use crate::{ForeignKind, Owner, SealedBy, Unsuitable};

#[cfg(not(target_arch = "wasm32"))]
mod stored;

/// The longest detail of an error, in characters.
const MAX_DETAIL_CHARS: usize = 4000;

/// An error that crosses from the application to one of its doors.
///
/// As JSON: `{"code": "disk-full", "args": {"needed_bytes": 5, "free_bytes": 3}, "detail": null}`;
/// codes without facts have no `args`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(target_arch = "wasm32", derive(Serialize, Deserialize))]
pub struct Error {
    /// What went wrong.
    pub problem: Problem,
    /// Paths and causes for a report: stays on this device, never holds text of a conversation.
    pub detail: Option<String>,
}

impl Error {
    /// Creates an error with a detail.
    pub fn new(problem: Problem, detail: impl Into<String>) -> Self {
        Self { problem, detail: Some(detail.into()) }
    }

    /// Creates an error whose detail is `error` and its causes, outermost first, in at most 4,000
    /// characters.
    pub fn caused_by(problem: Problem, error: &dyn std::error::Error) -> Self {
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            detail.push_str(": ");
            detail.push_str(&error.to_string());
            cause = error.source();
        }
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL_CHARS) {
            detail.replace_range(end.., "…");
        }
        Self::new(problem, detail)
    }

    /// Creates an error that should not happen.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Problem::Internal, detail)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problem, detail: None }
    }
}

/// What is wrong with the access token of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenProblem {
    /// The hub rejected it: it may have expired.
    Rejected,
    /// The hub's address redirects to another host, which does not get it.
    NotSent,
}

/// What went wrong: one variant for each thing that a person can do something about.
///
/// Codes are never renamed, since rows of the store hold them. A fact that is added later has a
/// `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), serde(tag = "code", content = "args"))]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// There is no model on this device.
    NoModel,
    /// The model's file is missing.
    ModelMissing {
        /// Its path.
        path: String,
    },
    /// The model's file cannot be read.
    ModelUnreadable {
        /// The file.
        path: String,
    },
    /// The chosen model is no longer in the library, or its file is gone.
    ModelGone {
        /// The model's short name.
        name: String,
    },
    /// The file is damaged or incomplete.
    ModelDamaged,
    /// The file was changed or cut short while it was in use.
    ModelChanged {
        /// The file.
        path: String,
    },
    /// The engine cannot run this model: its family, a tensor type or its tokenizer.
    ModelUnsupported,
    /// The file is one part of a split model.
    SplitModel {
        /// Which part, from 1.
        part: u64,
        /// Of how many.
        count: u64,
    },
    /// The context needs more memory than there is.
    MemoryTooSmall {
        /// Tokens of the context.
        context_tokens: u64,
        /// Bytes that it needs.
        needed_bytes: u64,
        /// Bytes that are available.
        available_bytes: u64,
    },
    /// The system refused memory.
    OutOfMemory,
    /// The model could not be started for another reason.
    ModelNotStarted,
    /// The model computes values that are not finite numbers.
    NotFinite,
    /// The model is not loaded, because the app ended during the last load.
    LoadSuspended,
    /// The conversation does not fit into the context.
    ContextFull {
        /// Tokens that it needs.
        needed_tokens: u64,
        /// Tokens that the context holds.
        context_tokens: u64,
    },
    /// The model's chat template fails on this conversation.
    TemplateFailed,
    /// The model's tokenizer fails on this text.
    TokenizerFailed,
    /// An answer is already being written.
    Answering,
    /// The request contains no question.
    NoQuestion,
    /// The conversation, or a message of it, was deleted.
    ConversationGone,
    /// What was asked for needs a loaded model, and there is none.
    ModelNotLoaded,
    /// The folder of conversations was removed.
    ConversationFolderGone,
    /// The assistant or the preset was deleted.
    AssistantGone,
    /// The JSON schema for answers cannot be used.
    SchemaInvalid {
        /// What is wrong with it, in technical terms.
        what: String,
    },
    /// The file has no conversations in a format that is known.
    NotAnExport {
        /// The file's name.
        file: String,
    },
    /// The file, or a text in it, is larger than what is read of an export.
    ExportTooLarge {
        /// The file's name.
        file: String,
        /// The most that is read, in bytes.
        limit_bytes: u64,
    },
    /// The file of an export is damaged, and nothing of it was taken.
    ExportDamaged {
        /// The file's name.
        file: String,
    },
    /// A later version of Lilims wrote the export.
    ExportNewer {
        /// The file's name.
        file: String,
        /// The version that it states.
        found: u64,
        /// The newest version that this program reads.
        known: u64,
    },

    /// Lilims is sealed: no connection is made.
    Sealed {
        /// By what.
        by: SealedBy,
    },
    /// Telemetry cannot be switched on or off.
    TelemetryUnusable,
    /// What was given is not an access token.
    NotAnAccessToken,
    /// The hub cannot be reached.
    HubUnreachable {
        /// Its host name.
        host: String,
    },
    /// The server is not a hub, such as a network's sign-in page.
    NotAHub {
        /// Its host name.
        host: String,
    },
    /// The hub requests a pause.
    HubBusy {
        /// Its host name.
        host: String,
        /// Its length, if the hub states it.
        seconds: Option<u64>,
    },
    /// The hub responded with an HTTP error.
    HubStatus {
        /// Its host name.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The configured address of the hub is not a URL.
    HubAddress {
        /// The address.
        address: String,
    },
    /// The repository's terms have to be accepted first.
    TermsNotAccepted {
        /// `owner/name`.
        repository: String,
        /// The address of its page.
        page: String,
        /// What is wrong with the access token, if that is known.
        #[serde(default)]
        token: Option<TokenProblem>,
    },
    /// The account has no access to the repository.
    NoAccess {
        /// `owner/name`.
        repository: String,
        /// The address of its page.
        page: String,
        /// The hub's message; may be empty.
        reason: String,
        /// What is wrong with the access token, if that is known.
        #[serde(default)]
        token: Option<TokenProblem>,
    },
    /// The hub refuses access: the token is missing or invalid.
    AccessRefused {
        /// Its host name.
        host: String,
        /// The hub's message; may be empty.
        reason: String,
        /// What is wrong with the access token, if that is known.
        #[serde(default)]
        token: Option<TokenProblem>,
    },
    /// The hub has no such repository, revision or file.
    NotOnHub {
        /// What was requested.
        what: String,
        /// The hub's host name.
        host: String,
    },
    /// The text is not the name of a repository.
    NotARepository {
        /// The text.
        name: String,
    },
    /// The downloaded file does not have the hash that the repository states.
    HashMismatch {
        /// The file.
        file: String,
    },
    /// The repository now has another file than the requested one.
    SourceChanged {
        /// The file.
        file: String,
    },

    /// The disk has too little free space.
    DiskFull {
        /// Bytes that are needed.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// The models' quota is too small.
    OverQuota {
        /// Bytes that are needed.
        needed_bytes: u64,
        /// The quota.
        quota_bytes: u64,
        /// Bytes that cannot be removed.
        kept_bytes: u64,
    },
    /// Other models would be removed than the user agreed to: show the plan again.
    PlanChanged,
    /// The library has no model of this name.
    NoSuchModel {
        /// The name.
        name: String,
    },
    /// The model is loaded, in this or another process.
    ModelInUse {
        /// Its short name.
        name: String,
    },
    /// The model belongs to another program or to the user.
    NotOurs {
        /// Its short name.
        name: String,
        /// Its owner.
        owner: Owner,
    },
    /// The file is not a GGUF model, or it is damaged.
    NotAModel {
        /// The file's name.
        file: String,
    },
    /// The file is GGUF but not a model by itself.
    UnsuitableFile {
        /// The file's name.
        file: String,
        /// What it is instead.
        why: Unsuitable,
    },
    /// A file name that the library does not store.
    FileName {
        /// The name.
        file: String,
    },
    /// A link in the library's folder leads out of it.
    OutsideLibrary {
        /// The path.
        path: String,
    },
    /// A file or folder cannot be read or written.
    FileUnusable {
        /// The path.
        path: String,
    },
    /// Other processes of Lilims held the library's locks for too long.
    LibraryBusy,
    /// The database is damaged and in use by another process.
    StoreDamaged,
    /// The database was written by a later version of Lilims.
    StoreNewer {
        /// The version of the file.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The database cannot be used.
    StoreUnusable,

    /// A model is already being converted.
    Converting {
        /// The title of the model, if this process converts it.
        title: Option<String>,
        /// The type that it is converted to.
        target: Option<String>,
    },
    /// The model cannot be removed while it is being converted.
    SourceOfConversion {
        /// Its title.
        title: String,
    },
    /// There is no such quantisation.
    UnknownType {
        /// The requested name.
        name: String,
    },
    /// Parts of the model cannot be written in this type.
    NoQuantiser {
        /// The type.
        tensor_type: String,
    },
    /// The model cannot be converted.
    CannotConvert {
        /// Why, in technical terms.
        what: String,
    },
    /// The disk became full during a conversion; no file is left.
    ConversionDiskFull,
    /// A conversion failed; no file is left.
    ConversionFailed,
    /// The model is converted and in the library, but could not be measured.
    NotMeasured,

    /// The file has no text, or none that Lilims reads.
    DocumentUnsupported {
        /// The file's name.
        file: String,
        /// What it is.
        what: ForeignKind,
    },
    /// The document needs a password.
    DocumentEncrypted {
        /// The file's name.
        file: String,
    },
    /// The document has no text: it is empty, drawn or scanned.
    DocumentWithoutText {
        /// The file's name.
        file: String,
    },
    /// The document is damaged.
    DocumentDamaged {
        /// The file's name.
        file: String,
    },
    /// The file, or what is packed in it, is too large.
    DocumentTooLarge {
        /// The file's name.
        file: String,
        /// The most bytes that are read.
        limit_bytes: u64,
    },
    /// The document's text is too long.
    DocumentTextTooLong {
        /// The file's name.
        file: String,
        /// The most bytes of text that are taken.
        limit_bytes: u64,
    },
    /// Reading the document takes too long.
    DocumentTooSlow {
        /// The file's name.
        file: String,
        /// The longest time, in seconds.
        seconds: u64,
    },
    /// Reading the document takes too much memory.
    DocumentTooMuchMemory {
        /// The file's name.
        file: String,
        /// The most memory, in bytes.
        limit_bytes: u64,
    },

    /// Something that should not happen.
    Internal,
    /// A code or a fact that this version does not know.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(error: &Error) -> String {
        serde_json::to_string(error).unwrap()
    }

    #[test]
    fn json_has_a_code_and_its_facts() {
        let error = Error::from(Problem::DiskFull { needed_bytes: 5, free_bytes: 3 });
        let text = r#"{"code":"disk-full","args":{"needed_bytes":5,"free_bytes":3},"detail":null}"#;
        assert_eq!(json(&error), text);
        assert_eq!(serde_json::from_str::<Error>(text).unwrap(), error);
        let error = Error::new(Problem::ModelDamaged, "x.gguf");
        let text = r#"{"code":"model-damaged","detail":"x.gguf"}"#;
        assert_eq!(json(&error), text);
        assert_eq!(serde_json::from_str::<Error>(text).unwrap(), error);
    }

    #[test]
    fn sentence_of_an_earlier_version_is_a_detail() {
        let error: Error = serde_json::from_str(r#""the disk is full""#).unwrap();
        assert_eq!(error, Error::new(Problem::Unknown, "the disk is full"));
    }

    #[test]
    fn code_of_a_later_version_is_unknown() {
        for text in [
            r#"{"code":"moon-full","args":{"phase":3},"detail":"d"}"#,
            r#"{"code":"moon-full"}"#,
            r#"{"code":"disk-full","args":{"other":3}}"#,
        ] {
            assert_eq!(serde_json::from_str::<Error>(text).unwrap().problem, Problem::Unknown);
        }
    }
}
