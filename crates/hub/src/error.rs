//! The library's and the hub's errors.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lilims_ipc::{SealedBy, TokenProblem};

use crate::egress::{Purpose, Url, host};
use crate::retry_after::MAX_REQUESTED_WAIT;

/// An error of the library or the hub.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the library cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The database cannot be read or written.
    #[error("the library's database cannot be used")]
    Database(#[source] lilims_store::Error),
    /// The database was written by a later version of Lilims.
    #[error("the library's database has version {version}, this version of Lilims reads {known}")]
    NewerDatabase {
        /// The version of the database.
        version: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The database is damaged, and another process uses it.
    #[error("the library's database is damaged and in use by another process")]
    DatabaseDamaged,
    /// Other processes held the library's locks for too long.
    #[error("other processes are using the library")]
    Busy,
    /// A link in the library's folder leads out of it.
    #[error("{} leads out of the library's folder, and Lilims changes nothing there", path.display())]
    Outside {
        /// The path in the folder.
        path: PathBuf,
    },
    /// The file is GGUF but not a model by itself.
    #[error("{} is {why}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: lilims_models::Unsuitable,
    },
    /// Other models would have to be removed than the user agreed to.
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
        /// The requested name.
        name: String,
    },
    /// The model is loaded, in this or another process.
    #[error("{name} is loaded")]
    InUse {
        /// Its short name.
        name: String,
    },
    /// Another model is being converted into the library, in this or another process.
    #[error("another model is being converted")]
    Converting,
    /// The model's file does not belong to the library.
    #[error("{name} belongs to {owner}, Lilims only uses it in place")]
    NotOurs {
        /// Its short name.
        name: String,
        /// Its owner.
        owner: String,
    },
    /// The disk has too little free space.
    #[error(
        "the disk of {} is too full: {} needed, {} free",
        folder.display(), size(*needed), size(*free)
    )]
    NoSpace {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The folder on that disk.
        folder: PathBuf,
    },
    /// The quota is too small, whatever may be removed.
    #[error(
        "{} do not fit the quota of {}, of which {} cannot be removed",
        size(*needed), size(*quota), size(*kept)
    )]
    Quota {
        /// Bytes that are needed.
        needed: u64,
        /// The quota in bytes.
        quota: u64,
        /// Bytes that cannot be removed.
        kept: u64,
    },
    /// The name of a repository is not `owner/name`.
    #[error("`{name}` is not a repository: write owner/name")]
    RepositoryName {
        /// The name.
        name: String,
    },
    /// The address of a repository ends too early.
    #[error("`{address}` ends where a file or a quantisation should follow")]
    AddressTooShort {
        /// The address.
        address: String,
    },
    /// The address is not on the hub.
    #[error("{host} is not the hub that Lilims uses: write owner/name")]
    OtherHost {
        /// The host.
        host: String,
    },
    /// The address is on the hub, but not of a model.
    #[error("`{address}` is not a model: write owner/name")]
    NotAModelAddress {
        /// The address.
        address: String,
    },
    /// A file path that could lead out of the library's folder.
    #[error("`{file}` is not a path that Lilims stores")]
    FileName {
        /// The path.
        file: String,
    },
    /// `HF_ENDPOINT` is not an HTTP URL.
    #[error("HF_ENDPOINT is `{endpoint}`, which is not an http(s) address")]
    Endpoint {
        /// Its value.
        endpoint: String,
    },
    /// The repository, revision or file does not exist on the hub.
    #[error("{what} does not exist on {host}")]
    NotFound {
        /// What was requested.
        what: String,
        /// The hub's host.
        host: String,
    },
    /// Access to the repository requires accepting its terms or its owner's consent.
    #[error("{repository} is gated: {}{}", gate(reason, page, *is_known), of_token(*token))]
    Gated {
        /// The repository.
        repository: String,
        /// The page with its terms.
        page: String,
        /// The hub's message, a line of at most some 300 characters; may be empty.
        reason: String,
        /// Whether the hub knows the account, so that accepting the terms again does not help.
        is_known: bool,
        /// What is wrong with the access token, if that is known.
        token: Option<TokenProblem>,
    },
    /// The access token is missing, invalid or without permission.
    #[error("{host} refuses access to {what}{}{}", after_colon(message), of_token(*token))]
    Refused {
        /// What was requested.
        what: String,
        /// The hub's host.
        host: String,
        /// The hub's message; may be empty.
        message: String,
        /// What is wrong with the access token, if that is known.
        token: Option<TokenProblem>,
    },
    /// A server responded with an error status.
    #[error("{host} responded {status} to {what}{}", requested_pause(*retry_after))]
    Status {
        /// What was requested.
        what: String,
        /// The server's host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The pause that it requests.
        retry_after: Option<Duration>,
    },
    /// Lilims is sealed: no connection is made.
    #[error("sealed: no connection is made")]
    Sealed {
        /// By what.
        by: SealedBy,
    },
    /// A server cannot be reached, or the connection failed.
    #[error("{host} cannot be reached: {message}")]
    Network {
        /// The server's host.
        host: String,
        /// The innermost cause.
        message: String,
    },
    /// A server's response is invalid.
    #[error("{host} sent an invalid response to {what}: {message}")]
    InvalidResponse {
        /// What was requested.
        what: String,
        /// The server's host.
        host: String,
        /// What is invalid about it.
        message: String,
        /// Whether retrying is useless.
        is_permanent: bool,
    },
    /// The file does not have the hash that its source states.
    #[error("{file} has the SHA-256 {got}, its source states {expected}")]
    Hash {
        /// The file.
        file: String,
        /// The hash that the source states.
        expected: String,
        /// The hash of the received file.
        got: String,
    },
    /// The source now has another file than the requested one.
    #[error("{file} changed at its source: wanted the SHA-256 {expected}, it has {got} now")]
    Changed {
        /// The file.
        file: String,
        /// The requested hash.
        expected: String,
        /// The hash that the source states now.
        got: String,
    },
    /// The file is not a valid GGUF file.
    #[error("{} is not a usable GGUF file", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: lilims_gguf::Error,
    },
    /// A background task panicked, or the runtime was shut down.
    #[error("a background task failed")]
    Task(#[source] tokio::task::JoinError),
    /// The user cancelled or paused the operation.
    #[error("stopped")]
    Stopped,
}

/// What to do about a gated repository.
fn gate(reason: &str, page: &str, is_known: bool) -> String {
    match (reason, is_known) {
        ("", true) => format!("this account has no access; its page is {page}"),
        (reason, true) => format!("{}; its page is {page}", reason.trim_end_matches('.')),
        (reason, false) => format!("accept its terms at {page}{}", after_colon(reason)),
    }
}

fn of_token(problem: Option<TokenProblem>) -> &'static str {
    match problem {
        Some(TokenProblem::Rejected) => "; the access token was rejected, it may have expired",
        Some(TokenProblem::NotSent) => {
            "; HF_ENDPOINT redirects there: set it to that address for the access token to be sent"
        }
        None => "",
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn requested_pause(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) if !wait.is_zero() => format!(" and asks to wait {} s", wait.as_secs()),
        _ => String::new(),
    }
}

/// A size in decimal units: `4.1 GB`.
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
            Store::Damaged { .. } | Store::DamagedInUse => Self::DatabaseDamaged,
            Store::NewerVersion { found, known } => Self::NewerDatabase { version: found, known },
            Store::Busy => Self::Busy,
            Store::NoSuchModel { name } => Self::NoSuchModel { name },
            Store::PathNotText { path } => Self::FileName { file: path.display().to_string() },
            other => Self::Database(other),
        }
    }
}

impl Error {
    /// Converts the system's error about `path`; a full disk becomes [`Error::NoSpace`].
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

    /// Converts an error of `lilims-files` about `path`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(lilims_files::Error) -> Self {
        let path = path.to_owned();
        |error| Self::io(path)(error.into())
    }

    /// An invalid response that a retry would not change.
    pub(crate) fn invalid_response(url: &Url, what: &Purpose, message: &str) -> Self {
        let (what, message) = (what.to_string(), message.to_owned());
        Self::InvalidResponse { what, host: host(url), message, is_permanent: true }
    }

    /// An invalid response that a retry may change.
    pub(crate) fn transient_response(url: &Url, what: &Purpose, message: &str) -> Self {
        let (what, message) = (what.to_string(), message.to_owned());
        Self::InvalidResponse { what, host: host(url), message, is_permanent: false }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::InvalidResponse { is_permanent, .. } => !is_permanent,
            Self::Status { retry_after: Some(wait), .. } if *wait > MAX_REQUESTED_WAIT => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Whether the server responded, but invalidly or with a refusal. A retry then helps soon or
    /// never, so long waits are useless.
    pub(crate) fn is_invalid_response(&self) -> bool {
        match self {
            Self::InvalidResponse { .. } => true,
            Self::Status { status, .. } => {
                (400..500).contains(status) && !matches!(status, 408 | 425 | 429)
            }
            _ => false,
        }
    }

    /// The error with its cause, for a detail.
    pub(crate) fn with_cause(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// The pause that the server requests.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
