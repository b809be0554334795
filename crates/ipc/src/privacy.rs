//! What left this device, what may leave it, and what never does.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// Why a connection is made. Rows of the store hold the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionPurpose {
    /// A search of the hub.
    Search,
    /// The files of a repository.
    Repository,
    /// The version and size of a file.
    FileInfo,
    /// The beginning of a model file, to judge whether the model will run.
    Header,
    /// The description of a repository.
    Card,
    /// A part of a model file.
    Download,
    /// A crash report or performance figures, for as long as telemetry is on.
    Telemetry,
    /// A purpose of another version of Lilims.
    #[default]
    Other,
}

/// Who asked for a connection. Rows of the store hold the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionAsker {
    /// The user, in the window.
    Window,
    /// The user, on the command line.
    CommandLine,
    /// The queue of downloads that the user started before.
    Queue,
    /// Telemetry, which the user switched on.
    Telemetry,
    /// Another version of Lilims, which did not say.
    #[default]
    Other,
}

/// The answer to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionAnswer {
    /// There is none yet, or the process ended before.
    None,
    /// An HTTP status.
    Status(u16),
    /// The connection failed.
    Failed(Problem),
}

/// Connections in a row with the same destination, purpose, asker and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedConnections {
    /// When the last one was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// Host, and port unless it is the default.
    pub host: String,
    /// The network address, if a connection came about.
    pub address: Option<String>,
    /// Why.
    pub purpose: ConnectionPurpose,
    /// What about, such as `owner/name/file.gguf`; may be empty.
    pub subject: String,
    /// Who asked.
    pub asker: ConnectionAsker,
    /// The answer.
    pub answer: ConnectionAnswer,
    /// Bytes of all requests.
    pub sent_bytes: u64,
    /// Bytes of all answers.
    pub received_bytes: u64,
    /// How many there were.
    pub count: u32,
}

/// What the log of connections has, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLog {
    /// Those that were asked for, 500 at most.
    pub rows: Vec<LoggedConnections>,
    /// How many connections match, in all rows and beyond.
    pub n_matching: u64,
    /// How many the log has.
    pub n_logged: u64,
}

/// Why nothing leaves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealedBy {
    /// This program was built without a way out.
    Build,
    /// It was started with `--sealed`.
    Start,
    /// The user sealed it in the settings.
    Setting,
}

/// The last connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastConnection {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Host, and port unless it is the default.
    pub host: String,
}

/// What left this device and what may leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privacy {
    /// Why nothing leaves the device now; `None` if connections are possible.
    pub sealed: Option<SealedBy>,
    /// The last connection; `None` if there was none, ever.
    pub last: Option<LastConnection>,
    /// Whether and how telemetry is sent.
    pub telemetry: TelemetryState,
}

/// Whether telemetry is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TelemetryState {
    /// This program was built without telemetry.
    #[default]
    NotBuiltIn,
    /// It is off: nothing is collected, and nothing is stored for it.
    Off,
    /// It is on.
    On {
        /// Reports that wait to be sent.
        n_waiting: u32,
    },
}

/// What telemetry sends next, or would send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelemetryPreview {
    /// The exact text.
    pub text: String,
    /// Whether it is an example: nothing waits to be sent.
    pub is_example: bool,
}
