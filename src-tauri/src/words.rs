//! The words that the shell itself shows: menus and notifications. The page has its own catalogue.

/// The name of the app, where nothing better is known.
pub(crate) const APP: &str = "Lilims";
/// Menu: shows the window.
pub(crate) const SHOW: &str = "Show Lilims";
/// Menu: opens the quick-ask window.
pub(crate) const QUICK_ASK: &str = "Quick ask…";
/// Menu: begins a conversation.
pub(crate) const NEW_CONVERSATION: &str = "New conversation";
/// Menu: goes to the search.
pub(crate) const SEARCH: &str = "Search conversations";
/// Menu: shows the settings.
pub(crate) const SETTINGS: &str = "Settings…";
/// Menu: shows the library.
pub(crate) const LIBRARY: &str = "Library";
/// Menu: shows the map of branches.
pub(crate) const BRANCHES: &str = "Branches";
/// Menu: imports conversations.
pub(crate) const IMPORT: &str = "Import conversations…";
/// Menu: exports conversations.
pub(crate) const EXPORT: &str = "Export all conversations…";
/// Menu: ends the app.
pub(crate) const QUIT: &str = "Quit";
/// The title of a menu with what concerns files.
pub(crate) const FILE_MENU: &str = "File";
/// The title of a menu with what concerns the text that is edited.
pub(crate) const EDIT_MENU: &str = "Edit";
/// The title of a menu with what is shown.
pub(crate) const VIEW_MENU: &str = "View";
/// The title of a menu with what concerns the window.
pub(crate) const WINDOW_MENU: &str = "Window";
/// A notification's title: a long answer has ended.
pub(crate) const ANSWER_ENDED: &str = "The answer is complete";
/// A notification's title: a long answer could not be completed.
pub(crate) const ANSWER_FAILED: &str = "The answer stopped with an error";
/// Why quick ask does not work: another program has the keys, or the system does not allow it.
pub(crate) const SHORTCUT_REFUSED: &str = "the system refuses the shortcut of quick ask";
