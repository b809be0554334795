//! What the desktop adds to the shell's interface.

use lilims_ipc::{Command, DesktopSettings, Error, PageAction, Reply};

use super::{call, get, unexpected, window};

/// Whether this is the quick-ask window, which shows one field.
pub(crate) fn is_quick() -> bool {
    let hash = get(&window(), "location").and_then(|location| get(&location, "hash"));
    hash.is_ok_and(|hash| hash == "#quick")
}

/// Returns what the page shall do, requested before it listened. Later requests are events.
pub(crate) async fn pending_actions() -> Vec<PageAction> {
    match call(&Command::PendingActions).await {
        Ok(Reply::PageActions(actions)) => actions,
        // A shell without menus and links has none.
        _ => Vec::new(),
    }
}

/// Asks in the main window and closes this one; a blank text only closes it.
pub(crate) async fn ask_quickly(text: String) -> Result<(), Error> {
    call(&Command::AskQuickly { text }).await.map(drop)
}

/// Returns how the app lives on the desktop.
pub(crate) async fn desktop() -> Result<DesktopSettings, Error> {
    match call(&Command::Desktop).await? {
        Reply::Desktop(settings) => Ok(settings),
        _ => Err(unexpected()),
    }
}

/// Sets the title of the document, which the window shows.
pub(crate) fn set_title(title: &str) {
    if let Some(document) = window().document() {
        document.set_title(title);
    }
}
