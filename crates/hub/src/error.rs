//! What can go wrong between a repository and the library.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::pause::MAX_ASKED_WAIT;

/// Why the library or the hub could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the library cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index cannot be read or written.
    #[error("the library's index cannot be used")]
    Index(#[source] lilims_store::Error),
    /// The index was written by a later version of Lilims.
    #[error("the library's index has version {version}, this version of Lilims reads {known}")]
    IndexVersion {
        /// The version that it states.
        version: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// The index is damaged, and another process uses it.
    #[error(
        "the library's index is damaged: end all other programs of Lilims, the next start makes a \
         new one from the files"
    )]
    IndexDamaged,
    /// Other processes have the library for themselves for too long.
    #[error("other processes use the library: try again in a moment")]
    Busy,
    /// A link in our folder leads out of it.
    #[error(
        "{} leads out of the library's folder, and Lilims changes nothing there",
        path.display()
    )]
    Outside {
        /// The path in our folder.
        path: PathBuf,
    },
    /// The file is GGUF and no model of its own.
    #[error("{} is {why}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: lilims_models::Unsuitable,
    },
    /// Other models would have to be removed than those that were agreed to.
    #[error(
        "the models to remove have changed: now {}",
        if removes.is_empty() { "none".to_owned() } else { removes.join(", ") }
    )]
    PlanChanged {
        /// Short names of the models that would be removed now.
        removes: Vec<String>,
    },
    /// No model of the library has this name.
    #[error("there is no model called `{name}` in the library")]
    NoSuchModel {
        /// The name asked for.
        name: String,
    },
    /// The model is loaded, here or in another process.
    #[error("{name} is loaded: unload it first")]
    InUse {
        /// Its short name.
        name: String,
    },
    /// A model is being converted into our folder, here or in another process.
    #[error("another model is being converted: one at a time")]
    Converting,
    /// The model's file is not ours to remove or repair.
    #[error("{name} belongs to {owner}, Lilims only uses it in place")]
    NotOurs {
        /// Its short name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The disk has too little room.
    #[error(
        "the disk of {} is too full: {} needed, {} free",
        folder.display(), size(*needed), size(*free)
    )]
    NoSpace {
        /// What is needed.
        needed: u64,
        /// What is free.
        free: u64,
        /// Where.
        folder: PathBuf,
    },
    /// The quota is too small, whatever is removed.
    #[error(
        "{} do not fit the quota of {}, of which {} stay",
        size(*needed), size(*quota), size(*kept)
    )]
    Quota {
        /// What is needed.
        needed: u64,
        /// The quota.
        quota: u64,
        /// What cannot be removed.
        kept: u64,
    },
    /// A repository's name is not `owner/name`.
    #[error("`{name}` is not a repository: write owner/name")]
    RepositoryName {
        /// What was given.
        name: String,
    },
    /// A path in a repository could lead out of the library's folder.
    #[error("`{file}` is not a path that Lilims stores")]
    FileName {
        /// The path.
        file: String,
    },
    /// `HF_ENDPOINT` is not an address.
    #[error("HF_ENDPOINT is `{endpoint}`, which is not an http(s) address")]
    Endpoint {
        /// What it is.
        endpoint: String,
    },
    /// The repository, revision or file does not exist there.
    #[error("{what} does not exist on {host}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The hub.
        host: String,
    },
    /// The repository's files are not for everybody.
    #[error("{repository} is gated: {}", gate(reason, page, *is_known))]
    Gated {
        /// The repository.
        repository: String,
        /// Where its terms are.
        page: String,
        /// What the hub says of it, a line of at most some 300 characters; may be empty.
        reason: String,
        /// Whether the hub knows who asks.
        is_known: bool,
    },
    /// The token is missing, wrong or without access.
    #[error("{host} refuses access to {what}{}", after_colon(message))]
    Refused {
        /// What was asked for.
        what: String,
        /// The hub.
        host: String,
        /// What it said.
        message: String,
    },
    /// The hub answered with an error.
    #[error("{host} answered {status} to {what}{}", asks_to_wait(*retry_after))]
    Status {
        /// What was asked for.
        what: String,
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// When to ask again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The hub cannot be reached, or the connection broke.
    #[error("{host} cannot be reached: {message}")]
    Network {
        /// Who.
        host: String,
        /// What happened.
        message: String,
    },
    /// The hub answered with something that makes no sense.
    #[error("{host} answered {what} in a form that Lilims does not understand: {message}")]
    Answer {
        /// What was asked for.
        what: String,
        /// Who answered.
        host: String,
        /// What is wrong with it.
        message: String,
        /// Whether asking again is no use.
        is_permanent: bool,
    },
    /// The file's bytes are not those that the source's hash is of.
    #[error("{file} has the SHA-256 {got}, its source states {expected}")]
    Hash {
        /// The file.
        file: String,
        /// The hash that the source states.
        expected: String,
        /// The hash of what came.
        got: String,
    },
    /// The file at the source changed, and a certain one was wanted.
    #[error("{file} changed at its source: wanted the SHA-256 {expected}, it has {got} now")]
    Changed {
        /// The file.
        file: String,
        /// What was wanted.
        expected: String,
        /// What is there.
        got: String,
    },
    /// What came is no model.
    #[error("{} is not a usable GGUF file", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: lilims_gguf::Error,
    },
    /// Nothing went wrong: the user stopped it.
    #[error("stopped")]
    Stopped,
}

/// What to do about a gated repository. A known account that was refused need not accept terms again.
fn gate(reason: &str, page: &str, is_known: bool) -> String {
    match (reason, is_known) {
        ("", true) => format!("this account has no access; its page is {page}"),
        (reason, true) => format!("{}; its page is {page}", reason.trim_end_matches('.')),
        (reason, false) => format!(
            "accept its terms at {page}, then give Lilims an access token of that account (HF_TOKEN, \
             or `lilims token`){}",
            after_colon(reason)
        ),
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn asks_to_wait(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) if !wait.is_zero() => format!(" and asks to wait {} s", wait.as_secs()),
        _ => String::new(),
    }
}

/// A size as drives are sold: `4.1 GB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

impl From<lilims_store::Error> for Error {
    fn from(error: lilims_store::Error) -> Self {
        use lilims_store::Error as Store;
        match error {
            Store::Io { path, source } => Self::Io { path, source },
            Store::Damaged { .. } | Store::DamagedInUse => Self::IndexDamaged,
            Store::NewerVersion { found, known } => Self::IndexVersion { version: found, known },
            Store::Busy => Self::Busy,
            Store::NoSuchModel { name } => Self::NoSuchModel { name },
            Store::PathNotText { path } => Self::FileName { file: path.display().to_string() },
            other => Self::Index(other),
        }
    }
}

impl Error {
    /// Makes an [`Error::Io`] of what the system said about `path`; a full disk has its own error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let folder = path.parent().unwrap_or(&path).to_owned();
                let free = fs4::available_space(&folder).unwrap_or(0);
                Self::NoSpace { needed: free.saturating_add(1), free, folder }
            }
            _ => Self::Io { path, source },
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Answer { is_permanent, .. } => !is_permanent,
            Self::Status { retry_after: Some(wait), .. } if *wait > MAX_ASKED_WAIT => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Whether the answer makes no sense or refuses, so that asking again soon either helps or never
    /// does.
    pub(crate) fn is_odd(&self) -> bool {
        match self {
            Self::Answer { .. } => true,
            Self::Status { status, .. } => {
                (400..500).contains(status) && !matches!(status, 408 | 425 | 429)
            }
            _ => false,
        }
    }

    /// The error and its cause, for a detail.
    pub(crate) fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// When the hub wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
