//! What a desktop adds: its settings, and what menus, links and opened files ask of the page.

use serde::{Deserialize, Serialize};

use crate::ConversationId;

/// How the app lives on a desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DesktopSettings {
    /// Whether a shortcut of the whole system opens the quick-ask window. Off at first, since the keys
    /// are taken from all other programs.
    pub quick_ask: bool,
    /// Whether there is an icon in the tray.
    pub tray: bool,
    /// Whether a notification says that a long answer has ended while the window was not in use.
    pub notify: bool,
}

impl Default for DesktopSettings {
    fn default() -> Self {
        Self { quick_ask: false, tray: true, notify: true }
    }
}

/// Something that the page shall do, requested outside of it: in a menu, with a link, with a file.
///
/// Links and files come from anyone. What they can become only shows something: nothing is sent,
/// imported or deleted without a click in the page. [`PageAction::Ask`] comes from the quick-ask window
/// alone, where the user pressed Enter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageAction {
    /// Begin a new conversation.
    NewConversation,
    /// Go to the search field.
    Search,
    /// Show the settings.
    Settings,
    /// Show the library.
    Library,
    /// Show the map of branches.
    ShowBranches,
    /// Choose files with conversations and import them.
    ImportConversations,
    /// Choose a file and export all conversations to it.
    ExportConversations,
    /// Show a conversation.
    ShowConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Begin a new conversation with this text in the message field, and do not send it.
    Draft {
        /// The text.
        text: String,
    },
    /// Begin a new conversation with this question.
    Ask {
        /// The question.
        text: String,
    },
    /// Offer to import these files into the library.
    OfferFiles {
        /// Their absolute paths.
        paths: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_other_versions_keep_what_is_known() {
        let settings: DesktopSettings = serde_json::from_str(r#"{"tray":false,"x":1}"#).unwrap();
        assert_eq!(settings, DesktopSettings { tray: false, ..DesktopSettings::default() });
    }
}
