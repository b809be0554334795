//! The model library: what is on this device, what can be downloaded, and what that takes.
//!
//! Times are milliseconds since 1970, sizes bytes.

use serde::{Deserialize, Serialize};

use crate::{Error, Made};

/// The library; the answer of the command `library`, and the event `library-changed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Library {
    /// The models on this device, the last used first.
    pub models: Vec<LibraryModel>,
    /// What they take.
    pub storage: Storage,
    /// The short name of the model that is loaded or loading.
    pub loaded: Option<String>,
    /// How downloads are bounded.
    pub limits: Limits,
    /// Folders whose models are used in place, those that the user added.
    pub folders: Vec<String>,
    /// What happened to the library without the user asking for it, sentences: an index that was
    /// rebuilt, an access token that was refused.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A model on this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LibraryModel {
    /// Its short name, unique in the library; what commands take.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// Where its file is.
    pub path: String,
    /// Whose file it is.
    pub place: Place,
    /// The file's length.
    pub size_bytes: u64,
    /// What the file takes of the disk.
    pub disk_bytes: u64,
    /// Quantisation, such as `Q4_K_M`; empty where unknown.
    pub quantisation: String,
    /// Family, such as `llama`; empty where unknown.
    pub family: String,
    /// The context that it was trained for, in tokens.
    pub context_tokens: Option<u32>,
    /// The licence of the weights, where known.
    pub licence: Option<String>,
    /// The Hugging Face repository that it came from, `owner/name`.
    pub repository: Option<String>,
    /// The commit of that repository.
    pub revision: Option<String>,
    /// The file's SHA-256 in hexadecimal, where it was computed.
    pub sha256: Option<String>,
    /// Whether it is never removed to make room.
    pub is_pinned: bool,
    /// When it was last loaded.
    pub last_used_ms: Option<u64>,
    /// Whether its file can be used.
    pub condition: Condition,
    /// Whether it will run, as estimated now.
    pub fit: Option<Fit>,
    /// How it was made, where it was converted on this device.
    pub made: Option<Made>,
}

/// Whose file a model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "kebab-case")]
pub enum Place {
    /// In our own folder: counts towards the quota and may be removed to make room.
    Ours,
    /// Ships with the app.
    Bundled,
    /// Another program's or the user's, used where it is and never removed.
    InPlace {
        /// Whose, such as `LM Studio`, `Ollama`, `Hugging Face` or a folder.
        owner: String,
    },
}

/// Whether a model's file can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "condition", rename_all = "kebab-case")]
pub enum Condition {
    /// It can.
    Good,
    /// Its hash no longer holds: `verify_model` repairs it where it came from a repository.
    Damaged,
    /// The file is not there at the moment.
    Missing,
    /// The engine cannot run it.
    Unsupported {
        /// Why.
        why: String,
    },
}

/// What models take on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Our folder.
    pub folder: String,
    /// What our folder takes of the disk, unfinished downloads included.
    pub used_bytes: u64,
    /// What of it belongs to unfinished downloads.
    pub unfinished_bytes: u64,
    /// The most that our folder may take.
    pub quota_bytes: u64,
    /// Whether that is the default.
    pub is_default_quota: bool,
    /// What is free on that disk.
    pub free_bytes: u64,
    /// What models in other folders take; not in the quota.
    pub in_place_bytes: u64,
}

/// How downloads are bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How many run at once.
    pub at_once: u32,
    /// The most bytes per second, all downloads together; `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

/// Whether a model will run here, with the arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The short answer.
    pub verdict: Verdict,
    /// For how many tokens of context.
    pub context_tokens: u32,
    /// The memory that it will take.
    pub needed_bytes: u64,
    /// The memory that it may take now.
    pub available_bytes: u64,
    /// What `needed_bytes` is the sum of.
    pub parts: Vec<FitPart>,
    /// Where `available_bytes` comes from, such as `free now, less a reserve of 512 MiB`.
    pub available_from: String,
    /// The smallest change that would make it fit, such as `Use a context of 4,096 tokens`.
    pub suggestion: Option<String>,
    /// The decoding speed to expect, in tokens per second.
    pub tokens_per_second: Option<f32>,
    /// Whether a run on this machine corrected the estimate.
    pub is_measured: bool,
}

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// With room to spare.
    Fits,
    /// It takes most of what is free.
    Tight,
    /// It does not.
    TooLarge,
}

/// One summand of the memory that a model takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitPart {
    /// What it is, such as `Weights`.
    pub label: String,
    /// How large.
    pub bytes: u64,
    /// How that comes about, such as `30 layers × 2 × 3 heads × 64 × 8,192 tokens × 2 bytes`.
    pub how: String,
}

/// A download; the command `downloads` answers with all, and the event `downloads-changed`
/// carries all, at most four times a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// What commands take.
    pub id: i64,
    /// The repository, `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// What it does.
    pub state: DownloadState,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes in all; 0 until that is known.
    pub total_bytes: u64,
    /// How fast it is, while it runs.
    pub bytes_per_second: Option<f64>,
    /// How long it will take, while it runs.
    pub seconds_left: Option<u64>,
}

/// What a download does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum DownloadState {
    /// It waits for its turn.
    Queued,
    /// Bytes arrive.
    Running,
    /// Something went wrong; it tries again by itself.
    Retrying {
        /// What went wrong.
        why: String,
        /// In how many seconds.
        in_seconds: u64,
    },
    /// All bytes are here and their hash is computed.
    Checking,
    /// The user paused it.
    Paused,
    /// It broke off; `resume_download` tries again from where it is.
    Failed {
        /// Why, and what to do.
        error: Error,
    },
    /// The model is in the library.
    Done {
        /// Its short name.
        name: String,
    },
}

/// What the command `search_hub` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Words of the name; empty finds what is popular.
    pub text: String,
    /// The largest model, in parameters.
    pub max_parameters: Option<u64>,
    /// A licence's identifier, such as `apache-2.0`.
    pub licence: Option<String>,
    /// Only repositories with a file that fits the memory here.
    pub only_fitting: bool,
}

/// A repository that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// `owner/name`.
    pub repository: String,
    /// How often it was downloaded in the last month.
    pub downloads: u64,
    /// How many like it.
    pub likes: u64,
    /// Its licence's identifier.
    pub licence: Option<String>,
    /// Parameters, where the hub knows them.
    pub parameters: Option<u64>,
    /// Whether its terms must be accepted on the hub's site first.
    pub is_gated: bool,
    /// When it was last changed, as the hub writes it.
    pub updated: Option<String>,
}

/// A repository with its files; the answer of the command `repository`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// `owner/name`.
    pub repository: String,
    /// The commit that the files are of.
    pub revision: String,
    /// Its licence's identifier.
    pub licence: Option<String>,
    /// Whether its terms must be accepted on the hub's site first.
    pub is_gated: bool,
    /// Its card, Markdown without front matter and raw HTML.
    pub card: String,
    /// Its GGUF files, smallest first.
    pub files: Vec<RepositoryFile>,
}

/// A GGUF file of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepositoryFile {
    /// Its path in the repository.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its quantisation, as its name tells it.
    pub quantisation: Option<String>,
    /// Whether its size alone lets it fit; the command `fit` reads the header and knows more.
    pub verdict: Verdict,
    /// The short name of the model, where it is on this device.
    pub here: Option<String>,
    /// Why it cannot be downloaded as a model, such as a part of a split file.
    pub unsuitable: Option<String>,
}

/// A model that Lilims recommends; the command `catalogue` answers with all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    /// A stable name.
    pub id: String,
    /// The name to show.
    pub title: String,
    /// `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// The licence of the weights.
    pub licence: String,
    /// The context that it was trained for, in tokens.
    pub context_tokens: u32,
    /// What it is good at, a short sentence.
    pub good_at: String,
    /// Whether somebody compared its hash with the repository's.
    pub is_hash_verified: bool,
    /// Whether its size lets it fit.
    pub verdict: Verdict,
    /// The short name of the model, where it is on this device.
    pub here: Option<String>,
}

/// What a download would take; the answer of the command `plan_download`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadPlan {
    /// `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// What must come.
    pub needed_bytes: u64,
    /// Models that leave to make room, the first to leave first.
    pub removes: Vec<PlanModel>,
    /// Models that would have left, had they not been pinned, loaded or downloading.
    pub keeps: Vec<PlanModel>,
    /// Why it cannot be done, and what to do; then nothing leaves.
    pub obstacle: Option<Error>,
}

/// A model in a [`DownloadPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanModel {
    /// Its short name.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// What it takes of the disk.
    pub disk_bytes: u64,
    /// When it was last loaded.
    pub last_used_ms: Option<u64>,
    /// Why it stays, such as `pinned`; empty for one that leaves.
    pub why: String,
}

/// What a scan, an import or a verification has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Short names of the models that it concerns.
    pub names: Vec<String>,
    /// What to tell the user: what was found, and what was left out and why.
    pub message: String,
}

/// A load that ended with the app; [`crate::ModelStatus::Held`] explains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The model's display name.
    pub name: String,
    /// The context that it was loaded with, in tokens.
    pub context_tokens: u32,
    /// The memory that it would have taken.
    pub needed_bytes: u64,
    /// The memory that was free then.
    pub available_bytes: u64,
    /// What happened, in a sentence.
    pub message: String,
    /// A context with which it takes less memory, in tokens.
    pub safer_context_tokens: u32,
}
