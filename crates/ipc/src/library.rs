//! The model library: models on this device, downloads, and requirements of models.
//!
//! Times are in milliseconds since 1970, sizes in bytes.

use serde::{Deserialize, Serialize};

use crate::{ConversionRecord, Error};

/// The library, as the command `library` returns it and the event `library-changed` carries it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Library {
    /// The models on this device, most recently used first.
    pub models: Vec<LibraryModel>,
    /// Their disk space.
    pub storage: Storage,
    /// The short name of the model that is loaded or loading.
    pub loaded: Option<String>,
    /// The limits of downloads.
    pub limits: Limits,
    /// Folders that the user added, whose models are used in place.
    pub folders: Vec<String>,
    /// Events that the user did not start.
    #[serde(default)]
    pub notes: Vec<LibraryNote>,
}

/// An event of the library that the user did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LibraryNote {
    /// The database was damaged: it was moved aside and restored from a backup or the files.
    IndexDamaged {
        /// Where the damaged database is now.
        put_aside: String,
        /// When the backup that it was restored from was made; `None` if it was restored from the
        /// files.
        #[serde(default)]
        from_copy_of_ms: Option<u64>,
        /// The number of models now.
        n_models: u64,
    },
    /// The database was missing and was restored.
    IndexGone {
        /// As for [`LibraryNote::IndexDamaged`].
        #[serde(default)]
        from_copy_of_ms: Option<u64>,
        /// The number of models now.
        n_models: u64,
    },
    /// The hub rejects the access token, so requests continue without it.
    TokenRefused {
        /// The hub's host name.
        host: String,
    },
}

/// A model on this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LibraryModel {
    /// Its short name, unique in the library; commands refer to it.
    pub name: String,
    /// Its display name.
    pub title: String,
    /// The path of its file.
    pub path: String,
    /// Who owns its file.
    pub place: Place,
    /// The file's length.
    pub size_bytes: u64,
    /// The file's size on disk.
    pub disk_bytes: u64,
    /// Quantisation, such as `Q4_K_M`; empty if unknown.
    pub quantisation: String,
    /// Family, such as `llama`; empty if unknown.
    pub family: String,
    /// The context that it was trained for, in tokens.
    pub context_tokens: Option<u32>,
    /// The licence of the weights, if known.
    pub licence: Option<String>,
    /// The Hugging Face repository that it was downloaded from, `owner/name`.
    pub repository: Option<String>,
    /// The commit of that repository.
    pub revision: Option<String>,
    /// The file's SHA-256 in hexadecimal, if it was computed.
    pub sha256: Option<String>,
    /// Whether it is never removed to free space.
    pub is_pinned: bool,
    /// When it was last loaded.
    pub last_used_ms: Option<u64>,
    /// Whether its file can be used.
    pub condition: Condition,
    /// Whether it will run, estimated now.
    pub fit: Option<Fit>,
    /// The conversion that created it, if it was converted on this device.
    pub conversion: Option<ConversionRecord>,
}

/// Who owns a model's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Lilims; the file counts towards the quota and may be removed to free space.
    Ours,
    /// Ships with the app.
    Bundled,
    /// Another program or the user; the file is used in place and never removed.
    InPlace {
        /// The owner.
        owner: Owner,
    },
}

/// The owner of a file that Lilims only uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Another program, such as `LM Studio`.
    Program(String),
    /// The user, in a folder that was added or linked.
    Folder,
    /// The user, who named the file when starting the app.
    Given,
    /// Lilims itself: the file ships with the app.
    App,
}

/// Whether a model's file can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It can be used.
    Good,
    /// Its hash is wrong; `verify_model` repairs models from repositories.
    Damaged,
    /// The file is missing at the moment.
    Missing,
    /// The engine cannot run it.
    Unsupported {
        /// Why.
        error: Error,
    },
}

/// The disk space of the models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Our folder.
    pub folder: String,
    /// Size of our folder on disk, including unfinished downloads.
    pub used_bytes: u64,
    /// Size of unfinished downloads.
    pub unfinished_bytes: u64,
    /// The largest size of our folder.
    pub quota_bytes: u64,
    /// Whether the quota is the default.
    pub is_default_quota: bool,
    /// Free space on its disk.
    pub free_bytes: u64,
    /// Size of models in other folders, which the quota does not include.
    pub in_place_bytes: u64,
}

/// Limits of downloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How many run at once.
    pub at_once: u32,
    /// The total rate of all downloads; `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

/// Whether a model will run on this device, with the calculation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The result.
    pub verdict: Verdict,
    /// The context that was assumed, in tokens.
    pub context_tokens: u32,
    /// The memory that it needs.
    pub needed_bytes: u64,
    /// The memory that is available now.
    pub available_bytes: u64,
    /// The parts of `needed_bytes`.
    pub parts: Vec<FitPart>,
    /// How `available_bytes` was determined.
    pub available_from: MemorySource,
    /// The smallest change that makes it fit.
    pub suggestion: Option<Suggestion>,
    /// The expected decoding speed.
    pub tokens_per_second: Option<f32>,
    /// Measured memory divided by the estimate, if runs on this machine corrected the estimate. All parts
    /// except the weights were multiplied by it.
    pub measured_ratio: Option<f64>,
    /// The number of those runs.
    pub measured_runs: u32,
}

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// With memory to spare.
    Fits,
    /// It needs most of the available memory.
    Tight,
    /// It does not fit.
    TooLarge,
}

/// A part of the memory that a model needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitPart {
    /// Its size.
    pub size_bytes: u64,
    /// What it is for, with the factors of its size.
    pub kind: FitPartKind,
}

/// What a part of the memory is for, with the factors of its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitPartKind {
    /// The weights, mapped from the file.
    Weights {
        /// Number of parameters.
        n_parameters: u64,
        /// Bits per parameter.
        bits_per_weight: f64,
    },
    /// Keys and values of layers with full attention.
    ContextCache(CacheShape),
    /// Keys and values of layers with sliding-window attention.
    WindowCache(CacheShape),
    /// Buffers for computation.
    Scratch {
        /// Tokens per forward pass.
        chunk_tokens: u64,
        /// Worker threads.
        n_workers: u64,
    },
    /// Tables and logits of the vocabulary.
    Vocabulary {
        /// Number of tokens.
        n_tokens: u64,
    },
    /// The program without a model.
    Program,
}

/// The factors of a cache: layers × 2 × heads × head size × (tokens + chunk) × bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheShape {
    /// Number of layers.
    pub n_layers: u64,
    /// Key/value heads per layer.
    pub n_heads: u64,
    /// Numbers per head.
    pub head_size: u64,
    /// Tokens of the context or the window.
    pub tokens: u64,
    /// Additional tokens that it has space for.
    pub extra_tokens: u64,
    /// The type of the numbers, such as `f16`.
    pub kv_type: String,
    /// Bytes per number.
    pub bytes_per_number: f64,
}

/// How the available memory was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemorySource {
    /// The system's free memory minus a reserve.
    Free {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The container's free memory minus a reserve.
    Container {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The system's memory limit for this app minus a reserve.
    AppLimit {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The maximum that Metal recommends.
    Metal,
}

/// The smallest change that makes a model fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suggestion {
    /// Load it with other settings.
    Load {
        /// The context in tokens; `None` if the current one fits.
        context_tokens: Option<u32>,
        /// The type of the cache, such as `q8_0`; `None` if the current one fits.
        kv_type: Option<String>,
    },
    /// Use a more strongly quantised file of the same model.
    Quantisation {
        /// The most bits per parameter.
        bits_per_weight: f64,
        /// The context in tokens; `None` if the current one fits.
        context_tokens: Option<u32>,
    },
    /// No file of this model fits.
    OtherModel,
}

/// A download. The command `downloads` returns all, and the event `downloads-changed` carries all, at
/// most four times a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// Its ID, for commands.
    pub id: i64,
    /// The repository, `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// Its state.
    pub state: DownloadState,
    /// Received bytes.
    pub done_bytes: u64,
    /// Total bytes; 0 until known.
    pub total_bytes: u64,
    /// Its rate, while it runs.
    pub bytes_per_second: Option<f64>,
    /// The remaining time, while it runs.
    pub seconds_left: Option<u64>,
}

/// The state of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownloadState {
    /// Waiting for a slot.
    Queued,
    /// Receiving bytes.
    Running,
    /// Waiting for a retry after an error.
    Retrying {
        /// The error.
        error: Error,
        /// Seconds until the retry.
        in_seconds: u64,
    },
    /// All bytes are received, and the hash is computed.
    Checking,
    /// The user paused it.
    Paused,
    /// Failed; `resume_download` continues where it stopped.
    Failed {
        /// Why.
        error: Error,
    },
    /// The model is in the library.
    Done {
        /// Its short name.
        name: String,
    },
}

/// The argument of the command `search_hub`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Words of the name; if empty, the most popular repositories are found.
    pub text: String,
    /// The largest model, in parameters.
    pub max_parameters: Option<u64>,
    /// A licence's identifier, such as `apache-2.0`.
    pub licence: Option<String>,
    /// Only repositories with a file that fits into memory.
    pub only_fitting: bool,
}

/// A repository in the results of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    /// `owner/name`.
    pub repository: String,
    /// Downloads in the last month.
    pub downloads: u64,
    /// Number of likes.
    pub likes: u64,
    /// Identifier of its licence.
    pub licence: Option<String>,
    /// Number of parameters, if the hub knows it.
    pub parameters: Option<u64>,
    /// Whether its terms must be accepted on the hub's site first.
    pub is_gated: bool,
    /// When it was last changed, in the hub's format.
    pub updated: Option<String>,
}

/// A repository with its files, as the command `repository` returns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// `owner/name`.
    pub repository: String,
    /// The commit of the files.
    pub revision: String,
    /// Identifier of its licence.
    pub licence: Option<String>,
    /// Whether its terms must be accepted on the hub's site first.
    pub is_gated: bool,
    /// Its model card, Markdown without front matter and raw HTML.
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
    /// Its quantisation, from its name.
    pub quantisation: Option<String>,
    /// Whether it fits, judged by its size alone; the command `fit` reads the header and is exact.
    pub verdict: Verdict,
    /// The short name of the model, if it is on this device.
    pub here: Option<String>,
    /// Why it cannot be downloaded as a model.
    pub unsuitable: Option<Unsuitable>,
}

/// The kind of a GGUF file that is not a model by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsuitable {
    /// One of several parts of a split model.
    Part {
        /// Its number, from 1.
        part: u64,
        /// The number of parts.
        count: u64,
    },
    /// The part of a model that reads images or sound.
    Projector,
    /// An importance matrix, data for quantising.
    ImportanceMatrix,
    /// A LoRA adapter for another model.
    Adapter,
    /// A control vector for another model.
    ControlVector,
    /// A vocabulary without weights.
    Vocabulary,
}

/// A model of the catalogue of recommended models, which the command `catalogue` returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogueModel {
    /// A stable ID.
    pub id: String,
    /// Its display name.
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
    /// Whether its hash was compared with the repository's.
    pub is_hash_verified: bool,
    /// Whether it fits, judged by its size.
    pub verdict: Verdict,
    /// The short name of the model, if it is on this device.
    pub here: Option<String>,
}

/// What a download requires, as the command `plan_download` returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadPlan {
    /// `owner/name`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// Bytes to download.
    pub needed_bytes: u64,
    /// Models to remove to free space, in this order.
    pub removes: Vec<PlannedModel>,
    /// Less recently used models that cannot be removed.
    pub keeps: Vec<PlannedModel>,
    /// Why it is not possible; then nothing is removed.
    pub obstacle: Option<Error>,
}

/// A model in a [`DownloadPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModel {
    /// Its short name.
    pub name: String,
    /// Its display name.
    pub title: String,
    /// Its size on disk.
    pub disk_bytes: u64,
    /// When it was last loaded.
    pub last_used_ms: Option<u64>,
    /// Why it cannot be removed; `None` if it can.
    pub stays: Option<StayReason>,
}

/// Why a model cannot be removed to free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StayReason {
    /// The user pinned it.
    Pinned,
    /// A download replaces or repairs it.
    Downloading,
    /// It is loaded, in this or another process.
    Loaded,
    /// It is being converted.
    Converted,
}

/// The result of a verification, an import or a scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The file has the right hash.
    Verified {
        /// The model's short name.
        name: String,
    },
    /// The file is damaged, and a download of the damaged parts is in the queue.
    Repairing {
        /// The model's short name.
        name: String,
    },
    /// The file is damaged and cannot be repaired.
    Damaged {
        /// The model's short name.
        name: String,
    },
    /// Files were copied into the library.
    Imported {
        /// Short names of the models.
        names: Vec<String>,
        /// Files that could not be copied.
        failures: Vec<ImportFailure>,
    },
    /// Folders were searched for models.
    Scanned {
        /// Short names of new models.
        added: Vec<String>,
        /// The number of known models.
        n_known: u64,
        /// Short names of models whose files are missing.
        gone: Vec<String>,
        /// The first skipped files.
        skipped: Vec<SkippedFile>,
        /// The number of further skipped files.
        n_more_skipped: u64,
    },
}

/// A file that could not be imported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportFailure {
    /// Its name.
    pub file: String,
    /// Why.
    pub error: Error,
}

/// A file or folder that a scan skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Its name.
    pub file: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a scan skipped a file or folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// It is not a model by itself.
    Unsuitable {
        /// What it is.
        why: Unsuitable,
    },
    /// The folder has more files than the scan reads.
    TooManyFiles {
        /// How many it reads.
        limit: u64,
    },
    /// The file is missing.
    Missing,
    /// It is not a GGUF file.
    NotGguf,
    /// The folder is nested deeper than the scan reads.
    TooDeep {
        /// How many levels it reads.
        limit: u64,
    },
    /// Another program's description of the model is invalid.
    Manifest {
        /// What is invalid, in technical terms.
        what: String,
    },
    /// The model is split into several files.
    Split,
    /// The model needs an adapter, which Lilims does not support.
    NeedsAdapter,
    /// The file has another size than the other program states.
    WrongSize,
    /// It cannot be used.
    Unusable {
        /// Why, in technical terms.
        what: String,
    },
}

/// A load during which the app ended; see [`crate::ModelStatus::LoadSuspended`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The model's display name.
    pub name: String,
    /// The context that it was loaded with, in tokens.
    pub context_tokens: u32,
    /// The memory that it needed.
    pub needed_bytes: u64,
    /// The memory that was available then.
    pub available_bytes: u64,
    /// A context that needs less memory, in tokens.
    pub safer_context_tokens: u32,
}
