//! Stands for telemetry in a build without it: there is nothing to switch on.

use lilims_hub::{Egress, Library};
use lilims_ipc::{Error, Stats, TelemetryPreview, TelemetryState};

pub(crate) struct AppTelemetry;

impl AppTelemetry {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn start(&self, _library: &Library) {}

    pub(crate) fn state(&self) -> TelemetryState {
        TelemetryState::NotBuiltIn
    }

    pub(crate) fn set(&self, _library: &Library, _is_on: bool) -> Result<(), Error> {
        Err(Error::internal("this build has no telemetry"))
    }

    pub(crate) fn preview(&self) -> Option<TelemetryPreview> {
        None
    }

    pub(crate) fn load_began(&self) {}

    pub(crate) fn load_ended(&self, _is_ready: bool) {}

    pub(crate) fn answered(&self, _stats: &Stats, _model: impl FnOnce() -> Option<String>) {}

    pub(crate) fn page_panicked(&self, _file: Option<String>, _line: Option<u32>) {}

    pub(crate) async fn deliver(&self, _egress: &Egress) {}
}
