//! Telemetry of this process: joins `lilims-telemetry` with its setting, the door out, and what runs.
//!
//! What is collected, and how it is scrubbed, is up to that crate; what is sent passes `Egress` and is in
//! the log of connections.

use std::time::{Duration, Instant};

use lilims_hub::{Egress, Library};
use lilims_ipc::{Error, Problem, Stats, TelemetryPreview, TelemetryState};
use lilims_models::Catalogue;
use lilims_telemetry::{
    Answer, BUILD_DSN, DeviceClass, DeviceFacts, Figures, Options, PageFailure, PageFailureKind,
    Pauses, Post, SendFailed, Sender, Telemetry,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The setting: `on`, or absent.
const SETTING: &str = "privacy.telemetry";
/// Names a server on this machine instead of the build's, for tests.
const LOCAL_DSN: &str = "LILIMS_SENTRY_DSN";
/// How often the queue is looked at without a reason.
const INTERVAL: Duration = Duration::from_secs(600);

/// Telemetry of this process.
pub(crate) struct AppTelemetry {
    telemetry: Option<Telemetry>,
    /// Wakes the delivery.
    recorded: Notify,
    load: Mutex<Load>,
}

/// What is measured of the model that is loaded.
#[derive(Default)]
struct Load {
    began: Option<Instant>,
    /// Of a model that has loaded and not answered yet.
    load_ms: Option<f64>,
}

impl AppTelemetry {
    /// Telemetry that is off. Reads and writes nothing.
    pub(crate) fn new() -> Self {
        let telemetry = options().map(Telemetry::new).filter(Telemetry::is_available);
        Self { telemetry, recorded: Notify::new(), load: Mutex::default() }
    }

    /// Switches on if the user did so.
    pub(crate) fn start(&self, library: &Library) {
        let Some(telemetry) = &self.telemetry else { return };
        let is_on = library.text(SETTING).ok().flatten().is_some_and(|it| it == "on");
        // Off: what another version may have left goes.
        let switched = if is_on { telemetry.switch_on() } else { telemetry.switch_off() };
        if let Err(error) = switched {
            tracing::warn!(%error, is_on, "cannot switch telemetry");
        }
        self.recorded.notify_one();
    }

    /// Whether it is on.
    pub(crate) fn state(&self) -> TelemetryState {
        match &self.telemetry {
            None => TelemetryState::NotBuiltIn,
            Some(it) if it.is_on() => {
                let n_waiting = it.n_waiting().unwrap_or(0);
                TelemetryState::On { n_waiting: u32::try_from(n_waiting).unwrap_or(u32::MAX) }
            }
            Some(_) => TelemetryState::Off,
        }
    }

    /// Switches on or off, and remembers it.
    ///
    /// # Errors
    /// If this build has no telemetry, or a file or the database cannot be written.
    pub(crate) fn set(&self, library: &Library, is_on: bool) -> Result<(), Error> {
        let Some(telemetry) = &self.telemetry else {
            return Err(Error::internal("this build has no telemetry"));
        };
        // Off is remembered first and on last: a crash in between leaves it off.
        if !is_on {
            library.set_text(SETTING, None)?;
            return telemetry.switch_off().map_err(failed);
        }
        telemetry.switch_on().map_err(failed)?;
        library.set_text(SETTING, Some("on"))?;
        Ok(())
    }

    /// What is sent next, or an example.
    pub(crate) fn preview(&self) -> Option<TelemetryPreview> {
        let telemetry = self.telemetry.as_ref()?;
        if let Ok(Some(next)) = telemetry.next_envelope() {
            return Some(TelemetryPreview { text: next.text, is_example: false });
        }
        let examples = telemetry.preview();
        let text = format!("{}\n\n{}", examples.crash.text.trim_end(), examples.figures.text);
        Some(TelemetryPreview { text, is_example: true })
    }

    /// Notes that a model is being loaded.
    pub(crate) fn load_began(&self) {
        self.load.lock().began.get_or_insert_with(Instant::now);
    }

    /// Notes that no model is being loaded any more: it has loaded, or failed to.
    pub(crate) fn load_ended(&self, is_ready: bool) {
        let mut load = self.load.lock();
        let elapsed = load.began.take().map(|began| began.elapsed());
        load.load_ms = elapsed.filter(|_| is_ready).map(|it| it.as_secs_f64() * 1000.0);
    }

    /// Records the figures of the first answer after a load. `model` finds the id in the catalogue.
    pub(crate) fn answered(&self, stats: &Stats, model: impl FnOnce() -> Option<String>) {
        let Some(telemetry) = self.telemetry.as_ref().filter(|it| it.is_on()) else { return };
        let Some(load_ms) = self.load.lock().load_ms.take() else { return };
        let figures = Figures {
            load_ms: Some(load_ms),
            first_token_ms: Some(f64::from(stats.first_token_ms)),
            tokens_per_second: Some(f64::from(stats.tokens_per_second)),
            peak_memory_bytes: crate::library::machine::peak_bytes().map(|it| it as f64),
            catalogue_model: model(),
        };
        self.note(telemetry.record_figures(&figures));
    }

    /// Records that the page panicked.
    pub(crate) fn page_panicked(&self, file: Option<String>, line: Option<u32>) {
        let Some(telemetry) = &self.telemetry else { return };
        let failure = PageFailure { kind: PageFailureKind::Panic, file, line };
        self.note(telemetry.record_page_failure(&failure));
    }

    fn note(&self, recorded: Result<(), lilims_telemetry::Error>) {
        match recorded {
            Ok(()) => self.recorded.notify_one(),
            Err(error) => tracing::warn!(%error, "cannot record telemetry"),
        }
    }

    /// Sends what is recorded through `egress`, for ever.
    pub(crate) async fn deliver(&self, egress: &Egress) {
        let Some(telemetry) = &self.telemetry else { return };
        loop {
            let pause = match telemetry.deliver(&Door(egress)).await {
                Ok(delivery) => delivery.pause,
                Err(error) => {
                    tracing::warn!(%error, "cannot send telemetry");
                    Some(INTERVAL)
                }
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    let _ = tokio::time::timeout(INTERVAL, self.recorded.notified()).await;
                }
            }
        }
    }
}

/// The door out, as telemetry sees it.
struct Door<'a>(&'a Egress);

impl Sender for Door<'_> {
    async fn post(&self, post: Post) -> Result<Answer, SendFailed> {
        let Post { url, headers, body } = post;
        let answer = self.0.post(&url, &headers, body).await.map_err(|error| match error {
            lilims_hub::Error::Sealed { .. } => SendFailed::NotAllowed,
            _ => SendFailed::NoAnswer,
        })?;
        let header = |name: &str| {
            let found = answer.headers.iter().find(|(it, _)| it == name);
            found.map(|(_, value)| value.clone())
        };
        Ok(Answer {
            status: answer.status,
            retry_after: header("retry-after"),
            rate_limits: header("x-sentry-rate-limits"),
        })
    }
}

fn options() -> Option<Options> {
    let dsn = local_dsn().or_else(|| BUILD_DSN.map(str::to_owned))?;
    Some(Options {
        folder: lilims_models::data_dir().ok()?.join("telemetry"),
        dsn: Some(dsn),
        version: env!("CARGO_PKG_VERSION"),
        environment: if cfg!(debug_assertions) { "development" } else { "release" },
        allowed_models: Catalogue::curated().models.into_iter().map(|it| it.id).collect(),
        device: device(),
        pauses: Pauses::default(),
    })
}

/// The address of a server on this machine, if the environment names one.
fn local_dsn() -> Option<String> {
    let dsn = std::env::var(LOCAL_DSN).ok()?;
    let (_, server) = dsn.split_once('@')?;
    (server.starts_with("127.0.0.1:") && !server.contains('@')).then_some(dsn)
}

fn device() -> DeviceClass {
    #[cfg(not(target_os = "ios"))]
    let (os_version, memory_bytes) = {
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        (sysinfo::System::os_version(), system.total_memory())
    };
    #[cfg(target_os = "ios")]
    let (os_version, memory_bytes) = (None::<String>, 0);
    DeviceClass::new(DeviceFacts {
        os_version: os_version.as_deref(),
        instruction_set: lilims_engine::quant::Isa::detected().name(),
        n_cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes,
    })
}

fn failed(error: lilims_telemetry::Error) -> Error {
    Error::caused_by(Problem::TelemetryUnusable, &error)
}
