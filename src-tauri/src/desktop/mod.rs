//! What a desktop adds: one instance, the window's place, menus, the tray, quick ask, notifications,
//! links and files that the system opens.
//!
//! All of it is driven from here: the page gets no permission for it. None of it is needed. Where the
//! system lacks something (a tray, D-Bus, a place for the window), the app goes on without.

mod instance;
mod menus;
mod notice;
mod opened;
mod placement;
mod quick;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use lilims_core::App;
use lilims_ipc::{AppEvent, Command, DesktopSettings, Error, Event, PageAction, Reply, Request};
use tauri::{AppHandle, Manager, RunEvent, WebviewWindow, WindowEvent};

use self::instance::{Instance, Start};
use self::placement::PlacementFile;
use crate::QUICK;
use crate::commands::Subscribers;
use crate::granted::GrantedPaths;

/// The label of the main window.
const MAIN: &str = "main";
/// How long a second start waits until the window is shown.
const SHOW_LIMIT: Duration = Duration::from_secs(2);
/// The most actions that wait for the page; more come only from outside.
const MAX_PENDING: usize = 32;

/// The state of the desktop.
pub(crate) struct Desktop {
    /// `None` where the system names no folder for data.
    folder: Option<PathBuf>,
    instance: Option<Instance>,
    placement: Option<PlacementFile>,
    settings: Mutex<DesktopSettings>,
    /// Whether the main window has the focus. Noted from events: asking the window waits for the main
    /// thread, which waits for the model's when the app ends.
    is_focused: AtomicBool,
    /// What waits for the page; `None` once it listens.
    pending: Mutex<Option<Vec<PageAction>>>,
}

impl Desktop {
    /// Claims the data folder. `None` if another process has it: then this start was passed to it, and
    /// the process shall end.
    pub(crate) fn claim() -> Option<Self> {
        let working = std::env::current_dir().ok();
        let arguments = std::env::args_os().skip(1).filter_map(|it| it.into_string().ok());
        let arguments = opened::meaningful(arguments, working.as_deref());
        let folder = lilims_models::data_dir().ok();
        let instance = match folder.as_deref().map(|folder| instance::claim(folder, &arguments)) {
            Some(Start::Passed) => return None,
            Some(Start::First(instance)) => Some(instance),
            None => None,
        };
        Some(Self {
            placement: folder.as_deref().map(PlacementFile::new),
            folder,
            instance,
            settings: Mutex::default(),
            is_focused: AtomicBool::new(false),
            pending: Mutex::new(Some(opened::actions(&arguments))),
        })
    }

    fn settings(&self) -> DesktopSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for later starts.
    fn listen(&self, folder: &Path, app: &AppHandle) {
        let Some(instance) = &self.instance else { return };
        let app = app.clone();
        let on_start = move |arguments: Vec<String>| {
            let (sender, shown) = mpsc::channel();
            let handle = app.clone();
            let asked = app.run_on_main_thread(move || {
                open(&handle, &arguments);
                let _ = sender.send(());
            });
            asked.is_ok() && shown.recv_timeout(SHOW_LIMIT).is_ok()
        };
        if let Err(error) = instance.listen(folder, on_start) {
            tracing::warn!(%error, "later starts cannot be noticed");
        }
    }
}

/// Sets everything up that does not need the window. Runs on the main thread.
pub(crate) fn start(app: &AppHandle, core: &App) {
    let desktop = app.state::<Desktop>();
    let pending = desktop.pending.lock().unwrap_or_else(PoisonError::into_inner);
    pending.iter().flatten().for_each(|action| app.state::<GrantedPaths>().grant_offered(action));
    drop(pending);
    if let Some(folder) = &desktop.folder {
        desktop.listen(folder, app);
    }
    app.on_menu_event(|app, event| menus::picked(app, event.id().as_ref()));
    if let Err(error) = menus::set_menu_bar(app) {
        tracing::warn!(%error, "there is no menu");
    }
    let (app, core) = (app.clone(), core.clone());
    tauri::async_runtime::spawn(async move {
        // Waits for the database.
        if let Ok(Reply::Desktop(settings)) = core.call(Command::Desktop).await
            && let Err(error) = apply(&app, settings).await
        {
            tracing::warn!(?error, "a setting of the desktop has no effect");
        }
    });
}

/// Puts the window where it was.
pub(crate) fn place(app: &AppHandle, window: &WebviewWindow) {
    let desktop = app.state::<Desktop>();
    if let Some(placement) = &desktop.placement
        && let Err(error) = placement.restore(app, window)
    {
        tracing::warn!(%error, "the window's place is not restored");
    }
}

/// Follows the windows and the end of the app.
pub(crate) fn on_event(app: &AppHandle, event: &RunEvent) {
    match event {
        RunEvent::WindowEvent { label, event, .. } if label == MAIN => on_main_event(app, event),
        RunEvent::WindowEvent { label, event: WindowEvent::Focused(false), .. }
            if label == QUICK =>
        {
            quick::hide(app);
        }
        #[cfg(target_os = "macos")]
        RunEvent::Opened { urls } => {
            let argument = |url: &tauri::Url| match url.to_file_path() {
                Ok(path) => path.into_os_string().into_string().ok(),
                Err(()) => Some(url.to_string()),
            };
            let arguments = opened::meaningful(urls.iter().filter_map(argument), None);
            open(app, &arguments);
        }
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => show(app),
        RunEvent::Exit => end(app),
        _ => {}
    }
}

fn on_main_event(app: &AppHandle, event: &WindowEvent) {
    let desktop = app.state::<Desktop>();
    match event {
        WindowEvent::Resized(_) | WindowEvent::Moved(_) => {
            if let (Some(placement), Some(window)) =
                (&desktop.placement, app.get_webview_window(MAIN))
            {
                placement.note(&window.as_ref().window());
            }
        }
        WindowEvent::Focused(is_focused) => {
            desktop.is_focused.store(*is_focused, Ordering::Relaxed);
        }
        WindowEvent::CloseRequested { api, .. } => {
            // Quick ask works as long as the app runs, and the tray shows that it does.
            if desktop.settings().quick_ask && menus::has_tray(app) {
                api.prevent_close();
                if let Some(window) = app.get_webview_window(MAIN) {
                    let _ = window.hide();
                }
            } else {
                quick::close(app);
            }
        }
        _ => {}
    }
}

/// The app is about to end: saving takes seconds, and a new start must not wait for it.
fn end(app: &AppHandle) {
    let desktop = app.state::<Desktop>();
    if let Some(placement) = &desktop.placement {
        placement.end();
    }
    if let (Some(instance), Some(folder)) = (&desktop.instance, &desktop.folder) {
        instance.end(folder);
    }
}

/// Carries out the commands that need the desktop; `None` for others.
pub(crate) async fn call(
    app: &AppHandle,
    core: &App,
    command: &Command,
) -> Option<Result<Reply, Error>> {
    match command {
        Command::SetDesktop { settings } => Some(set(app, core, *settings).await),
        Command::PendingActions => {
            let desktop = app.state::<Desktop>();
            let mut pending = desktop.pending.lock().unwrap_or_else(PoisonError::into_inner);
            Some(Ok(Reply::PageActions(pending.take().unwrap_or_default())))
        }
        Command::AskQuickly { text } => {
            quick::ask(app, text.clone());
            Some(Ok(Reply::Done))
        }
        _ => None,
    }
}

/// Passes the events of an answer on, and notifies when a long one ends unseen.
pub(crate) fn watched(
    app: &AppHandle,
    request: &Request,
    sink: impl Fn(Event) + Send + 'static,
) -> impl Fn(Event) + Send + 'static {
    let watch = notice::Watch::new(app, request.conversation.clone());
    move |event| {
        watch.see(&event);
        sink(event);
    }
}

/// Stores the settings, unless the system refuses them.
async fn set(app: &AppHandle, core: &App, settings: DesktopSettings) -> Result<Reply, Error> {
    let before = app.state::<Desktop>().settings();
    if let Err(error) = apply(app, settings).await {
        // What worked before still does.
        let _ = apply(app, before).await;
        return Err(error);
    }
    core.call(Command::SetDesktop { settings }).await
}

/// Makes the settings take effect.
async fn apply(app: &AppHandle, settings: DesktopSettings) -> Result<(), Error> {
    let desktop = app.state::<Desktop>();
    *desktop.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    let (sender, applied) = mpsc::channel();
    let handle = app.clone();
    let work = move || {
        menus::set_tray(&handle, settings.tray);
        let _ = sender.send(quick::set_keys(&handle, settings.quick_ask));
    };
    app.run_on_main_thread(work).map_err(|error| Error::internal(error.to_string()))?;
    let wait = move || applied.recv().unwrap_or(Ok(()));
    let applied = tauri::async_runtime::spawn_blocking(wait).await;
    applied.unwrap_or(Ok(())).map_err(Error::internal)
}

/// Shows the window and does what the arguments of a start say.
fn open(app: &AppHandle, arguments: &[String]) {
    show(app);
    for action in opened::actions(arguments) {
        app.state::<GrantedPaths>().grant_offered(&action);
        do_in_page(app, action);
    }
}

/// Shows the main window and gives it the focus.
fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(MAIN) {
        // A window that is neither hidden nor minimised stays as it is.
        let _ = window.unminimize();
        let _ = window.show();
        let _ = window.set_focus();
    }
}

/// Passes an action to the page, now or as soon as it listens.
fn do_in_page(app: &AppHandle, action: PageAction) {
    let desktop = app.state::<Desktop>();
    let mut pending = desktop.pending.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *pending {
        Some(pending) if pending.len() < MAX_PENDING => pending.push(action),
        Some(_) => tracing::warn!("the page does not listen: an action is dropped"),
        None => {
            app.state::<Subscribers>().send_to(MAIN, &AppEvent::Do(action));
        }
    }
}
