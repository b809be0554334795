//! The page's three ways into the application. What crosses has the form of [`lilims_ipc::wire`].

use std::collections::HashMap;

use lilims_core::App;
use lilims_ipc::{AppEvent, Command, Error, Event, Reply, Request, wire};
use parking_lot::Mutex;
use tauri::ipc::{Channel, InvokeBody, InvokeResponseBody, Response};
use tauri::{AppHandle, Manager, State, Webview};

use crate::QUICK;
use crate::dialogs;
use crate::granted::{CommandRate, GrantedPaths, MAX_COMMAND_BYTES};

/// Where events of the application go: the channel of each page that listens, by its window's label.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<HashMap<String, Channel>>);

impl Subscribers {
    /// Sends an event to all pages that listen.
    pub(crate) fn send(&self, event: &AppEvent) {
        let bytes = wire::encode(event);
        for channel in self.0.lock().values() {
            // A page that is gone asks for everything when it opens again.
            let _ = channel.send(InvokeResponseBody::Raw(bytes.clone()));
        }
    }

    /// Sends an event to the page of one window, if it listens.
    #[cfg(desktop)]
    pub(crate) fn send_to(&self, label: &str, event: &AppEvent) {
        if let Some(channel) = self.0.lock().get(label) {
            let _ = channel.send(InvokeResponseBody::Raw(wire::encode(event)));
        }
    }
}

/// Carries out a command.
#[tauri::command]
pub(crate) async fn call(
    app: AppHandle,
    webview: Webview,
    core: State<'_, App>,
    request: tauri::ipc::Request<'_>,
) -> Result<Response, ()> {
    let reply = match allowed(&app, &webview, request.body()) {
        Ok(command) => reply(&app, &core, command).await,
        Err(error) => Err(error),
    };
    Ok(Response::new(wire::encode(&reply)))
}

async fn reply(app: &AppHandle, core: &App, command: Command) -> Result<Reply, Error> {
    #[cfg(desktop)]
    if let Some(reply) = crate::desktop::call(app, core, &command).await {
        return reply;
    }
    match dialogs::answered(app, command).await? {
        Some(command) => core.call(command).await,
        None => Ok(Reply::Done),
    }
}

/// The command in the body of a request, if the page may send it.
fn allowed(app: &AppHandle, webview: &Webview, body: &InvokeBody) -> Result<Command, Error> {
    app.state::<CommandRate>().count()?;
    let command = command(body)?;
    if webview.label() == QUICK && !matches!(command, Command::AskQuickly { .. }) {
        return Err(Error::internal("the quick-ask window only asks"));
    }
    app.state::<GrantedPaths>().check(&command)?;
    Ok(command)
}

/// The command in the body of a request. Where the webview cannot send bytes, they come as numbers.
fn command(body: &InvokeBody) -> Result<Command, Error> {
    match body {
        InvokeBody::Raw(bytes) => wire::decode(bounded(bytes)?),
        InvokeBody::Json(json) => {
            let bytes: Vec<u8> = serde_json::from_value(json.clone())
                .map_err(|error| Error::internal(error.to_string()))?;
            wire::decode(bounded(&bytes)?)
        }
    }
}

/// What the page sent, if it is not too large.
fn bounded(bytes: &[u8]) -> Result<&[u8], Error> {
    match bytes.len() <= MAX_COMMAND_BYTES {
        true => Ok(bytes),
        false => Err(Error::internal("the command is too large")),
    }
}

/// Accepts a question, or refuses it; the answer then comes over `channel`.
#[tauri::command]
pub(crate) async fn ask(
    app: AppHandle,
    core: State<'_, App>,
    request: Vec<u8>,
    channel: Channel,
) -> Result<Response, ()> {
    let counted = app.state::<CommandRate>().count();
    let accepted = match counted.and_then(|()| wire::decode(bounded(&request)?)) {
        Ok(request) => accept(&app, &core, request, channel).await,
        Err(error) => Err(error),
    };
    Ok(Response::new(wire::encode(&accepted)))
}

async fn accept(
    app: &AppHandle,
    core: &App,
    request: Request,
    channel: Channel,
) -> Result<(), Error> {
    let sink = move |event: Event| {
        // If the page is gone, the answer is in the database.
        let _ = channel.send(InvokeResponseBody::Raw(wire::encode(&event)));
    };
    #[cfg(desktop)]
    let sink = crate::desktop::watched(app, &request, sink);
    #[cfg(mobile)]
    let _ = app;
    core.ask(request, sink).await
}

/// Sends what changes in the application over `channel` from now on.
#[tauri::command]
pub(crate) fn subscribe(webview: Webview, subscribers: State<'_, Subscribers>, channel: Channel) {
    subscribers.0.lock().insert(webview.label().to_owned(), channel);
}
