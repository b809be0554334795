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
    /// What happened to the library without the user asking for it.
    #[serde(default)]
    pub notes: Vec<LibraryNote>,
}

/// Something that happened to the library without the user asking for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum LibraryNote {
    /// The index was damaged: it was moved aside, and a new one was made from the files.
    IndexDamaged {
        /// Where the damaged one is now.
        put_aside: String,
        /// When the copy was made that it was restored from, in milliseconds since 1970; `None` if it
        /// was made from the files.
        #[serde(default)]
        from_copy_of_ms: Option<u64>,
        /// How many models the new one has.
        n_models: u64,
    },
    /// The index was gone, and a new one was made from the files.
    IndexGone {
        /// As for [`LibraryNote::IndexDamaged`].
        #[serde(default)]
        from_copy_of_ms: Option<u64>,
        /// How many models the new one has.
        n_models: u64,
    },
    /// The hub refuses the access token, so requests go on without it.
    TokenRefused {
        /// The hub's host name.
        host: String,
    },
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
        /// Whose.
        owner: Owner,
    },
}

/// Who keeps a file that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "owner", content = "name", rename_all = "kebab-case")]
pub enum Owner {
    /// Another program, such as `LM Studio`.
    Program(String),
    /// The user, in a folder that was added or linked.
    Folder,
    /// The user, who named the file when the app was started.
    Given,
    /// Lilims itself: the file ships with the app.
    App,
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
        error: Error,
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
    /// Where `available_bytes` comes from.
    pub available_from: MemorySource,
    /// The smallest change that would make it fit.
    pub suggestion: Option<Suggestion>,
    /// The decoding speed to expect, in tokens per second.
    pub tokens_per_second: Option<f32>,
    /// The measured share of the estimate, where a run on this machine corrected it. All parts but the
    /// weights were multiplied by it.
    pub measured_ratio: Option<f64>,
    /// How many runs on this machine that ratio is from.
    pub measured_runs: u32,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitPart {
    /// How large.
    pub size_bytes: u64,
    /// What it is, and how its size comes about.
    pub kind: FitPartKind,
}

/// What a summand is, with the factors of its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FitPartKind {
    /// The weights, mapped from the file.
    Weights {
        /// Parameters of the model.
        n_parameters: u64,
        /// Bits for each.
        bits_per_weight: f64,
    },
    /// Keys and values of layers that see the whole context.
    ContextCache(CacheShape),
    /// Keys and values of layers with a window of their own.
    WindowCache(CacheShape),
    /// Buffers for computing.
    Scratch {
        /// Tokens that are computed at once.
        chunk_tokens: u64,
        /// Worker threads.
        n_workers: u64,
    },
    /// Tables and logits of the vocabulary.
    Vocabulary {
        /// Its tokens.
        n_tokens: u64,
    },
    /// What the program takes without a model.
    Program,
}

/// The factors of a cache: layers × 2 × heads × head size × (tokens + chunk) × bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheShape {
    /// Layers.
    pub n_layers: u64,
    /// Heads of keys and values in each.
    pub n_heads: u64,
    /// Numbers of each head.
    pub head_size: u64,
    /// Tokens of the context or the window.
    pub tokens: u64,
    /// Further tokens that it has room for.
    pub extra_tokens: u64,
    /// The type of the numbers, such as `f16`.
    pub kv_type: String,
    /// Bytes for each number.
    pub bytes_per_number: f64,
}

/// Where the memory comes from that a model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum MemorySource {
    /// What the system has free, less a reserve.
    Free {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What the container has free, less a reserve.
    Container {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What the system lets this app take, less a reserve.
    AppLimit {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What Metal recommends to use at most.
    Metal,
}

/// The smallest change that makes a model fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "suggestion", rename_all = "kebab-case")]
pub enum Suggestion {
    /// Load it in another way.
    Load {
        /// With so many tokens of context; `None` where the present number fits.
        context_tokens: Option<u32>,
        /// With this type of cache, such as `q8_0`; `None` where the present one fits.
        kv_type: Option<String>,
    },
    /// Take a file of the same model with smaller weights.
    Quantisation {
        /// At most so many bits for each parameter.
        bits_per_weight: f64,
        /// With so many tokens of context; `None` where the present number fits.
        context_tokens: Option<u32>,
    },
    /// No file of this model fits.
    OtherModel,
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
        error: Error,
        /// In how many seconds.
        in_seconds: u64,
    },
    /// All bytes are here and their hash is computed.
    Checking,
    /// The user paused it.
    Paused,
    /// It broke off; `resume_download` tries again from where it is.
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
    /// Why it cannot be downloaded as a model.
    pub unsuitable: Option<Unsuitable>,
}

/// What a GGUF file is that is not a model of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Unsuitable {
    /// One of several parts of a split model.
    Part {
        /// Which one, from 1.
        part: u64,
        /// Of how many.
        count: u64,
    },
    /// The part of a model that reads pictures or sound.
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
    /// Why it cannot be done; then nothing leaves.
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
    /// Why it stays; `None` for one that leaves.
    pub stays: Option<StayReason>,
}

/// Why a model stays although room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StayReason {
    /// The user pinned it.
    Pinned,
    /// A download replaces or repairs it.
    Downloading,
    /// It is loaded, here or in another program.
    Loaded,
    /// It is being converted.
    Converted,
}

/// What a verification, an import or a scan has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// The file is what its source says.
    Verified {
        /// The model's short name.
        name: String,
    },
    /// The file is damaged, and a download that repairs it is in the queue.
    Repairing {
        /// The model's short name.
        name: String,
    },
    /// The file is damaged, and nothing is known that could repair it.
    Damaged {
        /// The model's short name.
        name: String,
    },
    /// Files were copied into the library.
    Imported {
        /// Short names of the models.
        names: Vec<String>,
        /// Files that were not.
        failures: Vec<ImportFailure>,
    },
    /// Folders were searched for models.
    Scanned {
        /// Short names of the models that are new.
        added: Vec<String>,
        /// How many were known already.
        n_known: u64,
        /// Short names of models whose files are gone.
        gone: Vec<String>,
        /// Files that were left out, at most the first few.
        left_out: Vec<LeftOut>,
        /// How many more were left out.
        n_more_left_out: u64,
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

/// A file or folder that a scan left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub file: String,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why a scan left a file or a folder out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// It is not a model of its own.
    Unsuitable {
        /// What it is.
        why: Unsuitable,
    },
    /// The folder holds more files than are searched.
    TooManyFiles {
        /// How many are.
        limit: u64,
    },
    /// The file is not there.
    Missing,
    /// It is not a GGUF file.
    NotGguf,
    /// The folder is nested deeper than is searched.
    TooDeep {
        /// How many levels are.
        limit: u64,
    },
    /// Another program describes the model in a way that is not understood.
    Manifest {
        /// What of it, in technical terms.
        what: String,
    },
    /// The model is split into several files.
    Split,
    /// The model needs an adapter, which is not applied.
    NeedsAdapter,
    /// The file has another size than its owner says.
    WrongSize,
    /// It cannot be used.
    Unusable {
        /// Why, in technical terms.
        what: String,
    },
}

/// A load that ended with the app; see [`crate::ModelStatus::LoadSuspended`].
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
    /// A context with which it takes less memory, in tokens.
    pub safer_context_tokens: u32,
}
