//! The quick-ask window: one field, above all other windows, opened by keys that work everywhere.
//!
//! It shows the same page with `#quick` in its address. Its question is asked in the main window.

use lilims_ipc::PageAction;
use tauri::{AppHandle, Manager, WebviewUrl, WebviewWindowBuilder};
use tauri_plugin_global_shortcut::{GlobalShortcutExt, ShortcutState};

use super::{do_in_page, show};
use crate::{QUICK, window, words};

/// The page's address in it.
const PAGE: &str = "index.html#quick";
/// The keys that open it.
const KEYS: &str = "CmdOrCtrl+Shift+Space";
/// Its size.
const SIZE: (f64, f64) = (640.0, 120.0);

/// Opens the window, or brings it to the front.
pub(super) fn open(app: &AppHandle) {
    let app = app.clone();
    // Not in a handler of the main thread: on Windows, the web view would wait for that thread.
    tauri::async_runtime::spawn_blocking(move || {
        if let Err(error) = show_window(&app) {
            tracing::warn!(%error, "cannot open the quick-ask window");
        }
    });
}

fn show_window(app: &AppHandle) -> tauri::Result<()> {
    let quick = match app.get_webview_window(QUICK) {
        Some(quick) => quick,
        None => {
            let page = WebviewUrl::App(PAGE.into());
            let builder = WebviewWindowBuilder::new(app, QUICK, page)
                .title(words::APP)
                .inner_size(SIZE.0, SIZE.1)
                .resizable(false)
                .decorations(false)
                .always_on_top(true)
                .skip_taskbar(true)
                .center();
            window::confined(builder, app.config()).build()?
        }
    };
    quick.show()?;
    quick.set_focus()
}

/// Hides the window. What was typed stays until it is asked.
pub(super) fn hide(app: &AppHandle) {
    if let Some(quick) = app.get_webview_window(QUICK) {
        let _ = quick.hide();
    }
}

/// Closes the window, which would keep the app alive.
pub(super) fn close(app: &AppHandle) {
    if let Some(quick) = app.get_webview_window(QUICK) {
        let _ = quick.destroy();
    }
}

/// Asks in the main window what was typed and entered in the quick-ask window.
pub(super) fn ask(app: &AppHandle, text: String) {
    hide(app);
    if !text.trim().is_empty() {
        show(app);
        do_in_page(app, PageAction::Ask { text });
    }
}

/// Takes the keys from the system, or returns them. Runs on the main thread.
///
/// # Errors
/// If another program has them, or the system refuses them.
pub(super) fn set_keys(app: &AppHandle, are_wanted: bool) -> Result<(), String> {
    // The plugin is loaded only once it is needed: it connects to the display.
    if app.try_state::<tauri_plugin_global_shortcut::GlobalShortcut<tauri::Wry>>().is_none() {
        if !are_wanted {
            return Ok(());
        }
        let plugin = tauri_plugin_global_shortcut::Builder::new().build();
        app.plugin(plugin).map_err(|error| error.to_string())?;
    }
    let keys = app.global_shortcut();
    let result = match (are_wanted, keys.is_registered(KEYS)) {
        (true, false) => keys.on_shortcut(KEYS, |app, _, event| {
            if event.state == ShortcutState::Pressed {
                open(app);
            }
        }),
        (false, true) => keys.unregister(KEYS),
        _ => Ok(()),
    };
    result.map_err(|error| format!("{}: {error}", words::SHORTCUT_REFUSED))
}
