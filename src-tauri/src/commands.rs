//! The page's two ways into the application.

use lilims_core::App;
use lilims_ipc::{Command, Error, Event, Reply, Request};
use tauri::ipc::Channel;
use tauri::{AppHandle, State};

use crate::dialogs;

/// Carries out a command.
#[tauri::command]
pub(crate) async fn call(
    app: AppHandle,
    core: State<'_, App>,
    command: Command,
) -> Result<Reply, Error> {
    #[cfg(desktop)]
    if let Some(reply) = crate::desktop::call(&app, &core, &command).await {
        return reply;
    }
    match dialogs::answered(&app, command).await? {
        Some(command) => core.call(command).await,
        None => Ok(Reply::Done),
    }
}

/// Accepts a question, or refuses it; the answer then comes over `channel`.
#[tauri::command]
pub(crate) async fn ask(
    app: AppHandle,
    core: State<'_, App>,
    request: Request,
    channel: Channel<Event>,
) -> Result<(), Error> {
    let sink = move |event| {
        // If the page is gone, the answer is in the database.
        let _ = channel.send(event);
    };
    #[cfg(desktop)]
    let sink = crate::desktop::watched(&app, &request, sink);
    #[cfg(mobile)]
    let _ = app;
    core.ask(request, sink).await
}
