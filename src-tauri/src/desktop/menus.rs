//! The menu bar of macOS and the tray's menu. Both have the same commands, which go to the page.
//!
//! Windows and Linux get no menu bar: few programs there have one, and the tray has the commands.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lilims_ipc::PageAction;
use tauri::menu::{IsMenuItem, Menu, MenuItem, PredefinedMenuItem, Submenu};
use tauri::tray::TrayIconBuilder;
use tauri::{AppHandle, Wry};

use super::{do_in_page, quick, show};
use crate::words;

/// The id of the tray's icon.
const TRAY: &str = "tray";

/// What can be picked in a menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    Show,
    QuickAsk,
    NewConversation,
    Search,
    Settings,
    Library,
    Branches,
    Import,
    Export,
    Quit,
}

impl Pick {
    const ALL: [Self; 10] = [
        Self::Show,
        Self::QuickAsk,
        Self::NewConversation,
        Self::Search,
        Self::Settings,
        Self::Library,
        Self::Branches,
        Self::Import,
        Self::Export,
        Self::Quit,
    ];

    fn id(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::QuickAsk => "quick-ask",
            Self::NewConversation => "new-conversation",
            Self::Search => "search",
            Self::Settings => "settings",
            Self::Library => "library",
            Self::Branches => "branches",
            Self::Import => "import",
            Self::Export => "export",
            Self::Quit => "quit",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Show => words::SHOW,
            Self::QuickAsk => words::QUICK_ASK,
            Self::NewConversation => words::NEW_CONVERSATION,
            Self::Search => words::SEARCH,
            Self::Settings => words::SETTINGS,
            Self::Library => words::LIBRARY,
            Self::Branches => words::BRANCHES,
            Self::Import => words::IMPORT,
            Self::Export => words::EXPORT,
            Self::Quit => words::QUIT,
        }
    }

    /// The keys in a menu bar. Those of the page that are not here are handled by the page.
    fn keys(self) -> Option<&'static str> {
        match self {
            Self::NewConversation => Some("CmdOrCtrl+N"),
            Self::Settings => Some("CmdOrCtrl+,"),
            _ => None,
        }
    }

    /// What the page does; `None` for what the shell does.
    fn action(self) -> Option<PageAction> {
        match self {
            Self::Show | Self::QuickAsk | Self::Quit => None,
            Self::NewConversation => Some(PageAction::NewConversation),
            Self::Search => Some(PageAction::Search),
            Self::Settings => Some(PageAction::Settings),
            Self::Library => Some(PageAction::Library),
            Self::Branches => Some(PageAction::ShowBranches),
            Self::Import => Some(PageAction::ImportConversations),
            Self::Export => Some(PageAction::ExportConversations),
        }
    }
}

/// Carries out what was picked in a menu.
pub(super) fn picked(app: &AppHandle, id: &str) {
    let Some(pick) = Pick::ALL.into_iter().find(|pick| pick.id() == id) else { return };
    match pick {
        Pick::QuickAsk => quick::open(app),
        Pick::Quit => app.exit(0),
        _ => {
            show(app);
            if let Some(action) = pick.action() {
                do_in_page(app, action);
            }
        }
    }
}

/// Sets the menu bar, where the system has one for each app.
pub(super) fn set_menu_bar(app: &AppHandle) -> tauri::Result<()> {
    if cfg!(target_os = "macos") {
        app.set_menu(menu_bar(app)?)?;
    }
    Ok(())
}

fn menu_bar(app: &AppHandle) -> tauri::Result<Menu<Wry>> {
    let line = || PredefinedMenuItem::separator(app);
    let item = |pick: Pick| MenuItem::with_id(app, pick.id(), pick.text(), true, pick.keys());
    let of_app: [&dyn IsMenuItem<Wry>; 9] = [
        &PredefinedMenuItem::about(app, None, None)?,
        &line()?,
        &item(Pick::Settings)?,
        &line()?,
        &PredefinedMenuItem::hide(app, None)?,
        &PredefinedMenuItem::hide_others(app, None)?,
        &PredefinedMenuItem::show_all(app, None)?,
        &line()?,
        &PredefinedMenuItem::quit(app, None)?,
    ];
    let of_file: [&dyn IsMenuItem<Wry>; 7] = [
        &item(Pick::NewConversation)?,
        &item(Pick::QuickAsk)?,
        &line()?,
        &item(Pick::Import)?,
        &item(Pick::Export)?,
        &line()?,
        &PredefinedMenuItem::close_window(app, None)?,
    ];
    let of_edit: [&dyn IsMenuItem<Wry>; 7] = [
        &PredefinedMenuItem::undo(app, None)?,
        &PredefinedMenuItem::redo(app, None)?,
        &line()?,
        &PredefinedMenuItem::cut(app, None)?,
        &PredefinedMenuItem::copy(app, None)?,
        &PredefinedMenuItem::paste(app, None)?,
        &PredefinedMenuItem::select_all(app, None)?,
    ];
    let of_view: [&dyn IsMenuItem<Wry>; 5] = [
        &item(Pick::Search)?,
        &item(Pick::Branches)?,
        &item(Pick::Library)?,
        &line()?,
        &PredefinedMenuItem::fullscreen(app, None)?,
    ];
    let of_window: [&dyn IsMenuItem<Wry>; 2] =
        [&PredefinedMenuItem::minimize(app, None)?, &PredefinedMenuItem::maximize(app, None)?];
    Menu::with_items(
        app,
        &[
            &Submenu::with_items(app, words::APP, true, &of_app)?,
            &Submenu::with_items(app, words::FILE_MENU, true, &of_file)?,
            &Submenu::with_items(app, words::EDIT_MENU, true, &of_edit)?,
            &Submenu::with_items(app, words::VIEW_MENU, true, &of_view)?,
            &Submenu::with_items(app, words::WINDOW_MENU, true, &of_window)?,
        ],
    )
}

/// Adds or removes the icon in the tray. Runs on the main thread. Without a tray, the app goes on
/// without.
pub(super) fn set_tray(app: &AppHandle, is_wanted: bool) {
    if !is_wanted {
        app.remove_tray_by_id(TRAY);
    } else if !has_tray(app) {
        match without_panics(|| add_tray(app)) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "there is no tray"),
            None => tracing::warn!("there is no library for the tray"),
        }
    }
}

/// Runs `work`; `None` if it panics. On Linux the tray's library is loaded when it is first used, and
/// a missing one is a panic: nothing that needs a message with a backtrace.
fn without_panics<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    done.ok()
}

/// Whether there is an icon in the tray. Desktops without a tray accept one and do not show it.
pub(super) fn has_tray(app: &AppHandle) -> bool {
    app.tray_by_id(TRAY).is_some()
}

fn add_tray(app: &AppHandle) -> tauri::Result<()> {
    let line = || PredefinedMenuItem::separator(app);
    // Keys are not shown: they work in the window alone.
    let item = |pick: Pick| MenuItem::with_id(app, pick.id(), pick.text(), true, None::<&str>);
    let menu = Menu::with_items(
        app,
        &[
            &item(Pick::Show)?,
            &item(Pick::QuickAsk)?,
            &item(Pick::NewConversation)?,
            &line()?,
            &item(Pick::Search)?,
            &item(Pick::Library)?,
            &item(Pick::Settings)?,
            &item(Pick::Import)?,
            &item(Pick::Export)?,
            &line()?,
            &item(Pick::Quit)?,
        ],
    )?;
    let mut tray = TrayIconBuilder::with_id(TRAY).menu(&menu).tooltip(words::APP);
    if let Some(icon) = app.default_window_icon() {
        tray = tray.icon(icon.clone());
    }
    tray.build(app).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pick_has_its_own_id() {
        for (index, pick) in Pick::ALL.iter().enumerate() {
            assert!(Pick::ALL[..index].iter().all(|other| other.id() != pick.id()), "{pick:?}");
        }
    }
}
