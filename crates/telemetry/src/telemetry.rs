//! [`Telemetry`]: the switch, and the calls that record, show and send.

use std::path::PathBuf;

use crate::{Delivery, DeviceClass, Error, Figures, Pauses, Sender};

/// The address that this build sends telemetry to, in Sentry's form (`https://key@host/project`), from
/// the environment variable `LILIMS_SENTRY_DSN` of the build.
pub const BUILD_DSN: Option<&str> = option_env!("LILIMS_SENTRY_DSN");

/// What telemetry needs to know before it is switched on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder for telemetry alone, such as `telemetry` in the data folder. It is created by
    /// switching on and deleted by switching off.
    pub folder: PathBuf,
    /// The server's address; [`BUILD_DSN`] in the app. Without one, telemetry cannot be switched on.
    pub dsn: Option<String>,
    /// Lilims's version.
    pub version: &'static str,
    /// Such as `release` or `development`.
    pub environment: &'static str,
    /// Ids of the catalogue's models, the only names of models that are ever sent.
    pub allowed_models: Vec<String>,
    /// The class of this device.
    pub device: DeviceClass,
    /// Pauses after failed requests.
    pub pauses: Pauses,
}

/// A failure of the page, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFailure {
    /// What failed.
    pub kind: PageFailureKind,
    /// The source file as Rust's panics state it, such as `ui/src/app.rs`. Other files are not sent.
    pub file: Option<String>,
    /// The line in the file.
    pub line: Option<u32>,
}

/// What failed in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFailureKind {
    /// The page's WebAssembly panicked.
    Panic,
    /// A script of the page threw an exception.
    Exception,
}

/// An envelope as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEnvelope {
    /// The exact body of the request.
    pub bytes: Vec<u8>,
    /// The same for people to read: JSON with line breaks.
    pub text: String,
}

/// Examples of what would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// A crash report.
    pub crash: QueuedEnvelope,
    /// Performance figures.
    pub figures: QueuedEnvelope,
}

/// Telemetry: off until it is switched on.
///
/// One per process: panics are recorded by the one that was switched on last. Dropping it does not
/// switch it off, so that panics at the end of the process are recorded.
#[derive(Debug)]
pub struct Telemetry {
    options: Options,
}

impl Telemetry {
    /// Telemetry that is off. Reads and writes nothing.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Whether it can be switched on: whether this build has a server's address.
    pub fn is_available(&self) -> bool {
        unimplemented!("{:?}", self.options)
    }

    /// Whether it is on in this process.
    pub fn is_on(&self) -> bool {
        unimplemented!()
    }

    /// Switches on: takes over the identifier and the queue of an earlier run, or makes a random
    /// identifier; from now on panics are recorded. Does nothing if it is on.
    ///
    /// # Errors
    /// [`Error::NoDsn`], [`Error::InvalidDsn`], [`Error::UnencryptedDsn`], [`Error::File`],
    /// [`Error::Folder`]. It is off then.
    pub fn switch_on(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Switches off: deletes the queue, the identifier and the folder, also those of earlier runs. Other
    /// processes that have it on in the same folder record nothing more.
    ///
    /// # Errors
    /// [`Error::Folder`] if a file cannot be deleted; it is off nevertheless.
    pub fn switch_off(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// The random identifier of this installation; `None` while off.
    pub fn install_id(&self) -> Option<String> {
        unimplemented!()
    }

    /// Queues the figures of a model. Does nothing while off.
    ///
    /// # Errors
    /// Those of files, [`Error::Busy`], [`Error::Off`] if another process switched off.
    pub fn record_figures(&self, _figures: &Figures) -> Result<(), Error> {
        unimplemented!()
    }

    /// Queues a failure of the page. Does nothing while off.
    ///
    /// # Errors
    /// As for [`Telemetry::record_figures`].
    pub fn record_page_failure(&self, _failure: &PageFailure) -> Result<(), Error> {
        unimplemented!()
    }

    /// The number of envelopes that wait to be sent.
    ///
    /// # Errors
    /// Those of files.
    pub fn n_waiting(&self) -> Result<usize, Error> {
        unimplemented!()
    }

    /// The envelope that is sent next; `None` while off or if none waits.
    ///
    /// # Errors
    /// Those of files.
    pub fn next_envelope(&self) -> Result<Option<QueuedEnvelope>, Error> {
        unimplemented!()
    }

    /// Examples of what would be sent, made in the same way and kept in memory only. While off, the
    /// identifier in them is zero.
    pub fn preview(&self) -> Preview {
        unimplemented!()
    }

    /// Sends the envelopes that wait, the oldest first, one at a time, until none is left, a request
    /// fails, or the server asks for a pause. Sends nothing while off or during a pause, or while another
    /// call of this function is running.
    ///
    /// # Errors
    /// Those of files. Failed requests are no errors: see [`Delivery::pause`].
    pub async fn deliver(&self, _sender: &impl Sender) -> Result<Delivery, Error> {
        unimplemented!()
    }
}
