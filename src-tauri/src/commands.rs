//! What the page may ask for. Each command passes the matter to the model's thread and returns
//! at once.

use lilims_ipc::{Conversation, Error, Event, ModelStatus, Overflow, Request};
use tauri::State;
use tauri::ipc::Channel;

use crate::kept;
use crate::model_thread::ModelThread;

/// Tells where the model stands.
#[tauri::command]
pub(crate) fn status(model: State<'_, ModelThread>) -> Result<ModelStatus, Error> {
    Ok(model.status())
}

/// Accepts a question, or refuses it; the answer then comes over `channel`. While the model is
/// loading the question waits.
#[tauri::command]
pub(crate) fn send(
    model: State<'_, ModelThread>,
    request: Request,
    channel: Channel<Event>,
) -> Result<(), Error> {
    model.send(request, move |event| {
        // The page may be gone; then nobody waits for the answer.
        let _ = channel.send(event);
    })
}

/// Stops the answer that is being written, if there is one.
#[tauri::command]
pub(crate) fn stop(model: State<'_, ModelThread>) -> Result<(), Error> {
    model.stop();
    Ok(())
}

/// Loads the model again after that failed.
#[tauri::command]
pub(crate) fn retry_load(model: State<'_, ModelThread>) -> Result<(), Error> {
    model.retry_load()
}

/// The conversation of the last visit, if there was one.
#[tauri::command]
pub(crate) fn conversation() -> Result<Option<Conversation>, Error> {
    Ok(kept::read())
}

/// Begins a new conversation; the one before is no longer kept.
#[tauri::command]
pub(crate) fn forget(model: State<'_, ModelThread>) -> Result<(), Error> {
    model.forget()
}

/// Says what happens when the conversation outgrows the context.
#[tauri::command]
pub(crate) fn set_overflow(model: State<'_, ModelThread>, overflow: Overflow) -> Result<(), Error> {
    model.set_overflow(overflow)
}
