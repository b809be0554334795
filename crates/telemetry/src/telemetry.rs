//! [`Telemetry`]: the switch, and the calls that record, show and send.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use sentry::protocol::Event;
use sentry::types::{Dsn, Scheme, Uuid};

use crate::delivery::{Target, deliver};
use crate::folder::Folder;
use crate::hook::{Panicked, Recorder, remove_recorder, set_recorder};
use crate::location::CodeLocation;
use crate::pipeline::{Pipeline, Sink};
use crate::queue::Queue;
use crate::scrub::Scrubber;
use crate::{Delivery, DeviceClass, Error, Figures, Pauses, Sender, events};

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

/// The address of clients for examples; nothing is sent to it, and it is in no envelope.
const EXAMPLE_DSN: &str = "https://example@localhost/1";
/// The most panics that are recorded in one run.
const MAX_PANICS: usize = 10;

/// Telemetry: off until it is switched on.
///
/// One per process: panics are recorded by the one that was switched on last. Dropping it does not
/// switch it off, so that panics at the end of the process are recorded.
pub struct Telemetry {
    options: Options,
    state: Mutex<Option<Arc<On>>>,
}

/// What there is while telemetry is on.
struct On {
    folder: Arc<Folder>,
    queue: Arc<Queue>,
    pipeline: Arc<Pipeline>,
    recorder: Arc<dyn Recorder>,
    target: Target,
    is_delivering: AtomicBool,
}

impl Telemetry {
    /// Telemetry that is off. Reads and writes nothing.
    pub fn new(options: Options) -> Self {
        Self { options, state: Mutex::new(None) }
    }

    /// Whether it can be switched on: whether this build has a server's address.
    pub fn is_available(&self) -> bool {
        self.dsn().is_ok()
    }

    /// Whether it is on in this process.
    pub fn is_on(&self) -> bool {
        self.on().is_some()
    }

    /// Switches on: takes over the identifier and the queue of an earlier run, or makes a random
    /// identifier; from now on panics are recorded. Does nothing if it is on.
    ///
    /// # Errors
    /// [`Error::NoDsn`], [`Error::InvalidDsn`], [`Error::UnencryptedDsn`], [`Error::File`],
    /// [`Error::Folder`]. It is off then.
    pub fn switch_on(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.is_none() {
            let on = On::start(&self.options, self.dsn()?)?;
            set_recorder(on.recorder.clone());
            *state = Some(Arc::new(on));
        }
        Ok(())
    }

    /// Switches off: deletes the queue, the identifier and the folder, also those of earlier runs. Other
    /// processes that have it on in the same folder record nothing more.
    ///
    /// # Errors
    /// [`Error::Folder`] if a file cannot be deleted; it is off nevertheless.
    pub fn switch_off(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(on) = state.take() {
            remove_recorder(&on.recorder);
            on.folder.close();
        }
        Folder::delete(&self.options.folder)
    }

    /// The random identifier of this installation; `None` while off.
    pub fn install_id(&self) -> Option<String> {
        Some(self.on()?.folder.install_id().to_string())
    }

    /// Queues the figures of a model. Does nothing while off.
    ///
    /// # Errors
    /// Those of files, [`Error::Busy`], [`Error::Off`] if another process switched off.
    pub fn record_figures(&self, figures: &Figures) -> Result<(), Error> {
        self.record(|| events::figures(figures))
    }

    /// Queues a failure of the page. Does nothing while off.
    ///
    /// # Errors
    /// As for [`Telemetry::record_figures`].
    pub fn record_page_failure(&self, failure: &PageFailure) -> Result<(), Error> {
        self.record(|| events::page_failure(failure))
    }

    /// The number of envelopes that wait to be sent.
    ///
    /// # Errors
    /// Those of files.
    pub fn n_waiting(&self) -> Result<usize, Error> {
        self.on().map_or(Ok(0), |on| Ok(on.queue.entries()?.len()))
    }

    /// The envelope that is sent next; `None` while off or if none waits.
    ///
    /// # Errors
    /// Those of files.
    pub fn next_envelope(&self) -> Result<Option<QueuedEnvelope>, Error> {
        let Some(on) = self.on() else { return Ok(None) };
        Ok(on.queue.next()?.map(|(_, bytes)| QueuedEnvelope::of(bytes)))
    }

    /// Examples of what would be sent, made in the same way and kept in memory only. While off, the
    /// identifier in them is zero.
    pub fn preview(&self) -> Preview {
        let location = CodeLocation::of_source("crates/engine/src/session.rs", 120);
        let model = self.options.allowed_models.first().cloned();
        Preview {
            crash: self.example(events::panic(location.as_ref(), Some(events::example_stack()))),
            figures: self.example(events::figures(&Figures::example(model))),
        }
    }

    /// Sends the envelopes that wait, the oldest first, one at a time, until none is left, a request
    /// fails, or the server asks for a pause. Sends nothing while off or during a pause, or while another
    /// call of this function is running.
    ///
    /// # Errors
    /// Those of files. Failed requests are no errors: see [`Delivery::pause`].
    pub async fn deliver(&self, sender: &impl Sender) -> Result<Delivery, Error> {
        let Some(on) = self.on() else { return Ok(Delivery::default()) };
        deliver(&on.folder, &on.queue, &on.target, &on.is_delivering, sender).await
    }

    fn on(&self) -> Option<Arc<On>> {
        self.state.lock().clone()
    }

    fn record(&self, event: impl FnOnce() -> Event<'static>) -> Result<(), Error> {
        self.on().map_or(Ok(()), |on| on.pipeline.capture(event()))
    }

    fn dsn(&self) -> Result<Dsn, Error> {
        let text = self.options.dsn.as_deref().filter(|it| !it.is_empty()).ok_or(Error::NoDsn)?;
        let dsn: Dsn = text.parse().map_err(Error::InvalidDsn)?;
        let is_here = matches!(dsn.host(), "localhost" | "127.0.0.1" | "[::1]");
        if dsn.scheme() == Scheme::Http && !is_here {
            return Err(Error::UnencryptedDsn);
        }
        Ok(dsn)
    }

    /// The envelope of an event, through a pipeline that ends in memory.
    fn example(&self, event: Event<'static>) -> QueuedEnvelope {
        let install_id = self.on().map_or(Uuid::nil(), |on| on.folder.install_id());
        let memory = Arc::new(Memory::default());
        let scrubber = Scrubber::new(&self.options, install_id);
        let dsn: Dsn = EXAMPLE_DSN.parse().expect("the address of examples is valid");
        // Memory has no errors.
        let _stored = Pipeline::new(&dsn, scrubber, memory.clone()).capture(event);
        QueuedEnvelope::of(std::mem::take(&mut memory.0.lock()))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl On {
    fn start(options: &Options, dsn: Dsn) -> Result<Self, Error> {
        let folder = Arc::new(Folder::open(&options.folder)?);
        let queue = Arc::new(Queue::open(folder.clone())?);
        let scrubber = Scrubber::new(options, folder.install_id());
        let pipeline = Arc::new(Pipeline::new(&dsn, scrubber, queue.clone()));
        let recorder = Arc::new(PanicRecorder {
            pipeline: pipeline.clone(),
            recorded: Mutex::new(Vec::new()),
        });
        let target = Target { dsn, version: options.version, pauses: options.pauses };
        Ok(Self {
            folder,
            queue,
            pipeline,
            recorder,
            target,
            is_delivering: AtomicBool::new(false),
        })
    }
}

/// Queues panics, those of one place once a run: a panic that repeats would displace all others.
struct PanicRecorder {
    pipeline: Arc<Pipeline>,
    recorded: Mutex<Vec<(String, u32)>>,
}

impl Recorder for PanicRecorder {
    fn record(&self, panicked: &Panicked) {
        let Panicked { location, stack } = panicked;
        let place = location.clone().unwrap_or_default();
        let mut recorded = self.recorded.lock();
        if recorded.len() >= MAX_PANICS || recorded.contains(&place) {
            return;
        }
        let ours = CodeLocation::of_source(&place.0, place.1);
        // Nobody could read an error now; a panic that was not stored may be recorded again.
        if self.pipeline.capture(events::panic(ours.as_ref(), stack.clone())).is_ok() {
            recorded.push(place);
        }
    }
}

/// Keeps the last envelope in memory.
#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

impl Sink for Memory {
    fn store(&self, _event_id: Uuid, envelope: Vec<u8>) -> Result<(), Error> {
        *self.0.lock() = envelope;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
