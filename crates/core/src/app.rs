//! The application: commands in, events out.

mod attachments;
mod conversations;
mod desktop;
mod library;
mod load;
mod privacy;
mod turns;

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use lilims_hub::{DownloadRow, DownloadState, Downloader};
use lilims_ipc::{
    AppEvent, Command, ConnectionAsker, Error, Event, ModelStatus, Reply, Request, Settings,
};
use lilims_models::scan::Environment;

use crate::conversations::{Conversations, UNDO};
use crate::conversions::{self, Converter};
use crate::database::Database;
use crate::library::{LibraryHandle, present, suspended_load};
use crate::model_host::{ChatBackend, ModelHost, Target};
use crate::notifier::Notifier;
use crate::telemetry::AppTelemetry;
use crate::{formula, highlight, title};

/// Where events go. Called from several threads; never blocks for long.
type Events = Arc<dyn Fn(AppEvent) + Send + Sync>;

/// The application of one process. A copy shares everything.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    library: Arc<LibraryHandle>,
    conversations: Arc<Conversations>,
    host: ModelHost,
    converter: Converter,
    library_events: Arc<Notifier>,
    telemetry: Arc<AppTelemetry>,
    events: Events,
}

impl App {
    /// Begins to open the database and to load the model of the last visit, or the bundled one, which may
    /// be in `resource_dir`. Returns at once: what needs them waits. Events go to `events`.
    pub fn start(
        resource_dir: Option<PathBuf>,
        events: impl Fn(AppEvent) + Send + Sync + 'static,
    ) -> Self {
        let events: Events = Arc::new(events);
        let library = Arc::new(LibraryHandle::default());
        let conversations = Arc::new(Conversations::new(Arc::clone(&events)));
        let library_events = Arc::new(library_events(&library, &events));
        let suspended = suspended_load();
        // The doors offer to load it, and nothing loads it before.
        let offered =
            suspended.as_ref().map(|_| lilims_models::bundled_model(resource_dir.as_deref()));
        let telemetry = Arc::new(AppTelemetry::new());
        open_database(&library, &conversations, &telemetry, offered.and_then(Result::ok));
        let converter = converter(&library_events, &events);
        // The settings are read on the model's thread: they wait for the database.
        let of_first = Arc::clone(&conversations);
        let host = ModelHost::start(
            move || load::first_target(&of_first),
            on_status(&library, &library_events, &telemetry, &events),
            load::loader(Arc::clone(&library), Arc::clone(&conversations), resource_dir),
            load::idle(),
            titles(&conversations),
            suspended,
        );
        let inner =
            Inner { library, conversations, host, converter, library_events, telemetry, events };
        Self(Arc::new(inner))
    }

    /// Searches the folders of other programs once, and then carries out the queue of downloads, for
    /// ever. Runs in a tokio runtime.
    pub async fn run_jobs(self) {
        let library = Arc::clone(&self.0.library);
        let Ok(scanned) = blocking(move || library.library().cloned()).await else { return };
        let app = self.clone();
        // It is neither awaited nor cancelled: downloads go on meanwhile.
        tokio::task::spawn_blocking(move || {
            // A folder that cannot be read now is read when the user asks for it.
            let _ = scanned.scan(&Environment::of_process());
            app.0.library_events.notify();
        });
        let app = self.clone();
        tokio::spawn(async move { app.send_privacy_events().await });
        let Ok(client) = self.client().await else { return };
        let egress = client.egress().asked_by(ConnectionAsker::Telemetry);
        let telemetry = Arc::clone(&self.0.telemetry);
        tokio::spawn(async move { telemetry.deliver(&egress).await });
        let downloader = Downloader::new(client.asked_by(ConnectionAsker::Queue));
        let mut n_done = None;
        let report = move |rows: &[DownloadRow]| {
            let done = rows.iter().filter(|row| row.state == DownloadState::Done).count();
            let is_changed = n_done.replace(done) != Some(done);
            if self.0.library.note_token(&client) || is_changed {
                self.0.library_events.notify();
            }
            (self.0.events)(AppEvent::Downloads(present::downloads(rows)));
        };
        downloader.run(report).await;
    }

    /// Accepts a question, or refuses it; the answer then goes to `sink`. While the model loads, the
    /// question waits.
    ///
    /// # Errors
    /// [`Problem::Answering`] while another answer is written, [`Problem::NoQuestion`],
    /// [`Problem::ConversationGone`]; the model's own if it failed to load; or if the question cannot be
    /// stored.
    pub async fn ask(
        &self,
        request: Request,
        sink: impl Fn(Event) + Send + 'static,
    ) -> Result<(), Error> {
        let app = self.clone();
        let sink = self.0.with_figures(sink);
        blocking(move || {
            let Inner { host, conversations, library, .. } = &*app.0;
            let wanted = |settings: &Settings| load::wanted(settings, host, library);
            turns::ask(host, conversations, &request, wanted, sink)
        })
        .await
    }

    /// Carries out a command. Runs in a tokio runtime: what reads files runs on its blocking threads.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub async fn call(&self, command: Command) -> Result<Reply, Error> {
        let Inner { host, converter, .. } = &*self.0;
        match command {
            Command::Status => return Ok(Reply::Status(host.status())),
            Command::StopAnswer => {
                let app = self.clone();
                blocking(move || {
                    app.0.host.stop();
                    Ok(())
                })
                .await?;
            }
            Command::RetryLoad => host.retry_load()?,
            Command::UseModel { name, context_tokens, conversation } => {
                if let Some(conversation) = conversation {
                    let (app, name) = (self.clone(), name.clone());
                    blocking(move || app.0.conversations.keep_model(&conversation, name)).await?;
                }
                let draft = host.target().draft;
                host.use_model(Target { name: Some(name), context_tokens, draft })?;
            }
            Command::UnloadModel => host.unload()?,
            command if conversations::is_own(&command) => {
                return self.call_conversations(command).await;
            }
            command if desktop::is_own(&command) => {
                let app = self.clone();
                return blocking(move || desktop::call(&app.0.conversations, &command)).await;
            }
            command if privacy::is_own(&command) => return self.call_privacy(command).await,
            Command::Attachments { conversation, change } => {
                let app = self.clone();
                return blocking(move || {
                    attachments::change(&app.0.host, &app.0.conversations, &conversation, change)
                })
                .await;
            }
            Command::ConversionOffer { name, is_weighed } => {
                let offer = move |it: &LibraryHandle| {
                    conversions::offer(it.library()?, &name, is_weighed).map(Reply::Offer)
                };
                return self.read(offer).await;
            }
            Command::Convert { request } => {
                let app = self.clone();
                return blocking(move || {
                    let library = Arc::clone(app.0.library.library()?);
                    app.0.converter.convert(library, request).map(|()| Reply::Done)
                })
                .await;
            }
            Command::Conversion => return Ok(Reply::Conversion(converter.conversion())),
            Command::CancelConversion => converter.cancel(),
            Command::ClearConversion => converter.clear(),
            Command::ChooseAndImport
            | Command::ChooseAndAddFolder
            | Command::ChooseAndAttach { .. }
            | Command::ChooseAndExport { .. }
            | Command::ChooseAndExportConnections { .. }
            | Command::ChooseAndImportConversations
            | Command::ChooseAndExportAssistants
            | Command::ChooseAndImportAssistants => {
                return Err(Error::internal("this door has no dialogs"));
            }
            Command::Highlight { language, code } => {
                return blocking(move || Ok(Reply::Highlighted(highlight::runs(&language, &code))))
                    .await;
            }
            Command::Formulas { formulas } => {
                return blocking(move || formula::draw(formulas).map(Reply::Formulas)).await;
            }
            Command::OpenLink { .. } => return Err(Error::internal("this door has no browser")),
            command => return self.call_library(command).await,
        }
        Ok(Reply::Done)
    }

    async fn call_conversations(&self, command: Command) -> Result<Reply, Error> {
        let deletes = conversations::deletes(&command);
        let app = self.clone();
        let work = move || conversations::call(&app.0.host, &app.0.conversations, command);
        let reply = blocking(work).await?;
        if deletes {
            let app = self.clone();
            // Not awaited: it can be undone until then.
            tokio::spawn(async move {
                tokio::time::sleep(UNDO).await;
                blocking(move || conversations::purge(&app.0.host, &app.0.conversations)).await
            });
        }
        Ok(reply)
    }

    /// Stops everything and saves the session; waits a few seconds at most.
    pub fn shut_down(&self) {
        self.0.converter.shut_down();
        self.0.host.shut_down();
        // The app is closing: deletions can no longer be undone.
        if let Err(error) = self.0.conversations.purge_all() {
            tracing::warn!(?error, "cannot remove deleted conversations");
        }
    }
}

impl Inner {
    /// `sink`, which also notes the figures of an answer.
    fn with_figures(
        &self,
        sink: impl Fn(Event) + Send + 'static,
    ) -> impl Fn(Event) + Send + 'static {
        let (telemetry, library) = (Arc::clone(&self.telemetry), Arc::clone(&self.library));
        move |event| {
            if let Event::Done { outcome, .. } = &event {
                telemetry.answered(&outcome.stats, || library.catalogue_id());
            }
            sink(event);
        }
    }
}

/// Runs what reads or writes files.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal(error.to_string())))
}

/// Opens the database on a thread of its own: checking and copying a large one takes a second. Adds the
/// model that is `offered`.
fn open_database(
    library: &Arc<LibraryHandle>,
    conversations: &Arc<Conversations>,
    telemetry: &Arc<AppTelemetry>,
    offered: Option<PathBuf>,
) {
    let (library, conversations) = (Arc::clone(library), Arc::clone(conversations));
    let telemetry = Arc::clone(telemetry);
    let open = move || {
        let database = catch_unwind(Database::open)
            .unwrap_or_else(|_| Err(Error::internal("a panic while opening the database")));
        library.provide(database.as_ref().map_err(Clone::clone).and_then(Database::library));
        conversations.provide(database);
        if let Ok(library) = library.library() {
            telemetry.start(library);
        }
        if let Some(path) = offered {
            library.add_given(&path);
        }
    };
    let spawned = thread::Builder::new().name("open-database".to_owned()).spawn(open);
    spawned.expect("a process that starts has threads");
}

/// Has an idle model write titles.
fn titles(
    conversations: &Arc<Conversations>,
) -> impl FnMut(&mut dyn ChatBackend, &AtomicBool) + Send + 'static {
    let conversations = Arc::clone(conversations);
    let mut tried = Vec::new();
    move |backend, cancel| title::write_titles(&conversations, &mut tried, backend, cancel)
}

fn library_events(library: &Arc<LibraryHandle>, events: &Events) -> Notifier {
    let (library, events) = (Arc::clone(library), Arc::clone(events));
    Notifier::start(move || {
        if let Ok(library) = present::library(&library) {
            events(AppEvent::Library(library));
        }
    })
}

fn converter(library_events: &Arc<Notifier>, events: &Events) -> Converter {
    let (library_events, events) = (Arc::clone(library_events), Arc::clone(events));
    Converter::new(move |conversion| {
        let is_running = conversion.as_ref().is_some_and(conversions::is_running);
        events(AppEvent::Conversion(conversion));
        if !is_running {
            library_events.notify();
        }
    })
}

/// Keeps the library's lock and memory of the loaded model in step with the status.
fn on_status(
    library: &Arc<LibraryHandle>,
    library_events: &Arc<Notifier>,
    telemetry: &Arc<AppTelemetry>,
    events: &Events,
) -> impl Fn(&ModelStatus) + Send + Sync + 'static {
    let (library, events) = (Arc::clone(library), Arc::clone(events));
    let (library_events, telemetry) = (Arc::clone(library_events), Arc::clone(telemetry));
    move |status| {
        match status {
            ModelStatus::Loading { .. } => telemetry.load_began(),
            status => telemetry.load_ended(matches!(status, ModelStatus::Ready { .. })),
        }
        match status {
            ModelStatus::Ready { .. } => library.remember_loaded(),
            ModelStatus::Loading { .. } => {}
            _ => library.end_use(),
        }
        events(AppEvent::Status(status.clone()));
        if !matches!(status, ModelStatus::Loading { .. }) {
            library_events.notify();
        }
    }
}
