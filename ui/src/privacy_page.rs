//! Connects the sign and the settings of privacy with the shell.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{Command, ConnectionLog, Error, Privacy, Reply, TelemetryPreview};

use crate::bridge;
use crate::components::PrivacyActions;
use crate::text::text;

/// What is known about privacy. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct PrivacyState {
    /// What left this device and what may; `None` until it is known.
    pub(crate) privacy: RwSignal<Option<Privacy>>,
    /// The log of connections, while the settings are shown.
    pub(crate) log: RwSignal<ConnectionLog>,
    /// What is searched for in the log.
    pub(crate) filter: RwSignal<String>,
    /// What telemetry sends next, while it is shown.
    pub(crate) preview: RwSignal<Option<TelemetryPreview>>,
    /// Why the last change failed.
    pub(crate) failure: RwSignal<Option<Error>>,
}

impl PrivacyState {
    pub(crate) fn new() -> Self {
        Self {
            privacy: RwSignal::new(None),
            log: RwSignal::default(),
            filter: RwSignal::default(),
            preview: RwSignal::new(None),
            failure: RwSignal::new(None),
        }
    }

    /// Asks for the state, and for the log while `is_shown` and whenever it or its filter has changed.
    pub(crate) fn follow(self, is_shown: RwSignal<bool>) {
        self.run(Command::Privacy);
        Effect::new(move || {
            self.privacy.track();
            let filter = self.filter.get();
            if is_shown.get() {
                self.run(Command::Connections { filter });
            } else {
                self.preview.set(None);
            }
        });
    }

    fn run(self, command: Command) {
        spawn_local(async move {
            match bridge::call(&command).await {
                Ok(Reply::Privacy(privacy)) => self.privacy.set(Some(privacy)),
                Ok(Reply::Connections(log)) => {
                    // A later search may have been answered before.
                    let is_newest = |filter: &String| matches!(&command, Command::Connections { filter: of } if of == filter);
                    if self.filter.with_untracked(is_newest) {
                        self.log.set(log);
                    }
                }
                Ok(Reply::TelemetryPreview(preview)) => self.preview.set(Some(preview)),
                Ok(_) => {}
                // Without a database, nothing can be connected to.
                Err(_) if matches!(command, Command::Privacy | Command::Connections { .. }) => {}
                Err(error) => {
                    self.failure.set(Some(error));
                    // The switch shows again what is so.
                    self.privacy.update(|_| {});
                }
            }
        });
    }

    /// What the user can do.
    pub(crate) fn actions(self) -> PrivacyActions {
        PrivacyActions {
            on_seal: Callback::new(move |is_sealed| self.run(Command::SetSealed { is_sealed })),
            on_telemetry: Callback::new(move |is_on| self.run(Command::SetTelemetry { is_on })),
            on_preview: Callback::new(move |()| {
                if self.preview.with_untracked(Option::is_some) {
                    self.preview.set(None);
                } else {
                    self.run(Command::TelemetryPreview);
                }
            }),
            on_export: Callback::new(move |()| {
                let name = text!(privacy.file).to_owned();
                self.run(Command::ChooseAndExportConnections { name });
            }),
            on_clear: Callback::new(move |()| self.run(Command::ClearConnections)),
        }
    }
}
