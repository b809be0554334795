//! The commands about what leaves this device.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lilims_ipc::{AppEvent, Command, Error, Privacy, Reply};

use super::{App, Inner, blocking};
use crate::privacy;

/// How often events report new connections, at most.
const EVENT_INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked whether other processes made connections.
const OTHERS_INTERVAL: Duration = Duration::from_secs(60);

/// Whether a command is one of these.
pub(super) fn is_own(command: &Command) -> bool {
    matches!(
        command,
        Command::Privacy
            | Command::Connections { .. }
            | Command::ClearConnections
            | Command::ExportConnections { .. }
            | Command::SetSealed { .. }
            | Command::SetTelemetry { .. }
            | Command::TelemetryPreview
            | Command::PagePanicked { .. }
    )
}

impl App {
    pub(super) async fn call_privacy(&self, command: Command) -> Result<Reply, Error> {
        let app = self.clone();
        blocking(move || app.privacy_reply(command)).await
    }

    fn privacy_reply(&self, command: Command) -> Result<Reply, Error> {
        let Inner { library, telemetry, .. } = &*self.0;
        match command {
            Command::Connections { filter } => {
                return Ok(Reply::Connections(library.connections(&filter)?));
            }
            Command::ExportConnections { path } => {
                return Ok(Reply::Exported(library.export_connections(&PathBuf::from(path))?));
            }
            Command::ClearConnections => library.clear_connections()?,
            Command::SetSealed { is_sealed } => library.set_sealed(is_sealed)?,
            Command::SetTelemetry { is_on } => telemetry.set(library.library()?, is_on)?,
            Command::TelemetryPreview => {
                let preview = telemetry.preview().ok_or_else(|| Error::internal("no telemetry"))?;
                return Ok(Reply::TelemetryPreview(preview));
            }
            Command::PagePanicked { file, line } => {
                tracing::error!(?file, ?line, "the page panicked");
                telemetry.page_panicked(file, line);
                return Ok(Reply::Done);
            }
            _ => {}
        }
        self.privacy().map(Reply::Privacy)
    }

    /// Sends [`AppEvent::Privacy`] after each change, for ever.
    pub(super) async fn send_privacy_events(&self) {
        let handle = Arc::clone(&self.0.library);
        let Ok(library) = blocking(move || handle.library().cloned()).await else { return };
        let mut sent = None;
        loop {
            let app = self.clone();
            if let Ok(privacy) = blocking(move || app.privacy()).await
                && sent.as_ref() != Some(&privacy)
            {
                (self.0.events)(AppEvent::Privacy(privacy.clone()));
                sent = Some(privacy);
            }
            tokio::time::sleep(EVENT_INTERVAL).await;
            let _ = tokio::time::timeout(OTHERS_INTERVAL, library.connections_changed()).await;
        }
    }

    fn privacy(&self) -> Result<Privacy, Error> {
        let library = self.0.library.library()?;
        Ok(Privacy {
            sealed: library.sealed()?,
            last: privacy::last(library)?,
            telemetry: self.0.telemetry.state(),
        })
    }
}
