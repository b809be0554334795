//! The palette: everything that can be done, opened and loaded, by name and key.

use lilims_ipc::{ConversationHead, ConversationId};

use crate::text::text;

/// What the page can do by a key or from the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageCommand {
    /// Begins a conversation.
    NewConversation,
    /// Shows the palette.
    Palette,
    /// Focuses the search of conversations.
    Search,
    /// Shows or hides the sidebar.
    Sidebar,
    /// Focuses the message field.
    Compose,
    /// Opens the model picker.
    PickModel,
    /// Opens the choice of an assistant.
    PickAssistant,
    /// Shows the map of branches.
    Branches,
    /// Shows the context.
    Context,
    /// Shows the exact prompt of the last answer.
    Prompt,
    /// Copies the last answer.
    CopyAnswer,
    /// Has the last question answered again.
    Again,
    /// Edits the last question.
    EditQuestion,
    /// Stops the answer, or closes what is open.
    Stop,
    /// Shows the library.
    Library,
    /// Shows the settings.
    Settings,
    /// Shows all shortcuts.
    Shortcuts,
    /// Imports conversations.
    Import,
    /// Exports all conversations.
    ExportAll,
}

impl PageCommand {
    /// All of them, in the order in which the palette shows them.
    pub(crate) const ALL: [Self; 19] = [
        Self::NewConversation,
        Self::Search,
        Self::Palette,
        Self::Compose,
        Self::PickModel,
        Self::PickAssistant,
        Self::CopyAnswer,
        Self::Again,
        Self::EditQuestion,
        Self::Branches,
        Self::Prompt,
        Self::Context,
        Self::Sidebar,
        Self::Library,
        Self::Settings,
        Self::Import,
        Self::ExportAll,
        Self::Shortcuts,
        Self::Stop,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NewConversation => text!(header.new_conversation),
            Self::Palette => text!(palette.title),
            Self::Search => text!(palette.search),
            Self::Sidebar => text!(palette.sidebar),
            Self::Compose => text!(palette.compose),
            Self::PickModel => text!(picker.choose),
            Self::PickAssistant => text!(palette.pick_assistant),
            Self::Branches => text!(palette.branches),
            Self::Context => text!(palette.context),
            Self::Prompt => text!(palette.prompt),
            Self::CopyAnswer => text!(palette.copy_answer),
            Self::Again => text!(palette.again),
            Self::EditQuestion => text!(palette.edit_question),
            Self::Stop => text!(palette.stop),
            Self::Library => text!(header.library),
            Self::Settings => text!(header.settings),
            Self::Shortcuts => text!(palette.shortcuts),
            Self::Import => text!(palette.import),
            Self::ExportAll => text!(palette.export_all),
        }
    }

    /// Its key; with the Command or Control key unless it is [`bare`](Self::is_bare), and with Shift if
    /// it is a capital letter.
    pub(crate) fn key(self) -> Option<&'static str> {
        Some(match self {
            Self::NewConversation => "n",
            Self::Palette => "k",
            Self::Search => "f",
            Self::Sidebar => "b",
            Self::Compose => "l",
            Self::PickModel => "o",
            Self::PickAssistant => "O",
            Self::Branches => "m",
            Self::Context => "U",
            Self::Prompt => "P",
            Self::CopyAnswer => "C",
            Self::Again => "R",
            Self::EditQuestion => "E",
            Self::Library => "L",
            Self::Settings => ",",
            Self::Shortcuts => "?",
            Self::Stop => "Escape",
            Self::Import | Self::ExportAll => return None,
        })
    }

    /// Whether its key stands alone.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::Shortcuts | Self::Stop)
    }

    /// The command of a key that was pressed with the Command or Control key, or alone.
    pub(crate) fn of_key(key: &str, with_shift: bool, has_modifier: bool) -> Option<Self> {
        let key = if with_shift { key.to_uppercase() } else { key.to_lowercase() };
        Self::ALL.into_iter().find(|command| {
            command.is_bare() != has_modifier && command.key().is_some_and(|it| it == key)
        })
    }

    /// Its key as people read it.
    pub(crate) fn shortcut(self, is_apple: bool) -> String {
        let Some(key) = self.key() else { return String::new() };
        if self.is_bare() {
            return if self == Self::Stop { "Esc".into() } else { key.into() };
        }
        let has_shift = key.chars().all(char::is_uppercase) && key.len() == 1;
        let key = key.to_uppercase();
        match (is_apple, has_shift) {
            (true, true) => format!("⇧⌘{key}"),
            (true, false) => format!("⌘{key}"),
            (false, true) => format!("Ctrl+Shift+{key}"),
            (false, false) => format!("Ctrl+{key}"),
        }
    }
}

/// An entry of the palette.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A command.
    Command(PageCommand),
    /// A conversation with its title.
    Conversation(ConversationId, String),
    /// A model by its short name.
    Model(String),
}

impl Entry {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Command(command) => command.name(),
            Self::Conversation(_, name) | Self::Model(name) => name,
        }
    }
}

/// The most conversations that the palette lists.
const MAX_CONVERSATIONS: usize = 20;

/// The entries that `query` finds: each of its words begins a word of the name. Commands come first, then
/// models, then conversations as they are listed.
pub(crate) fn found(query: &str, heads: &[ConversationHead], models: &[String]) -> Vec<Entry> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let is_found = |name: &str| {
        let name = name.to_lowercase();
        words.iter().all(|word| {
            name.starts_with(word.as_str())
                || name
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|it| it.starts_with(word.as_str()))
        })
    };
    let commands = PageCommand::ALL.into_iter().map(Entry::Command);
    let models = models.iter().cloned().map(Entry::Model);
    let titled = heads.iter().filter_map(|head| Some((&head.id, head.title.as_ref()?)));
    let conversations = titled
        .filter(|(_, title)| is_found(title))
        .take(MAX_CONVERSATIONS)
        .map(|(id, title)| Entry::Conversation(id.clone(), title.clone()));
    commands.chain(models).filter(|entry| is_found(entry.name())).chain(conversations).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: &str, title: &str) -> ConversationHead {
        ConversationHead {
            id: ConversationId(id.into()),
            title: Some(title.into()),
            folder: None,
            updated_ms: 0,
            is_pinned: false,
            is_archived: false,
        }
    }

    #[test]
    fn keys_are_unambiguous() {
        for command in PageCommand::ALL {
            let Some(key) = command.key() else { continue };
            let is_capital = key.chars().all(char::is_uppercase);
            let is_bare = command.is_bare();
            let found = match key {
                "Escape" => continue,
                key => PageCommand::of_key(key, is_capital, !is_bare),
            };
            assert_eq!(found, Some(command));
        }
        assert_eq!(PageCommand::of_key("n", false, false), None, "typed, not pressed");
        assert_eq!(PageCommand::of_key("N", false, true), Some(PageCommand::NewConversation));
    }

    #[test]
    fn shortcuts_are_those_of_the_system() {
        assert_eq!(PageCommand::Palette.shortcut(true), "⌘K");
        assert_eq!(PageCommand::Prompt.shortcut(false), "Ctrl+Shift+P");
        assert_eq!(PageCommand::Shortcuts.shortcut(false), "?");
    }

    #[test]
    fn entries_are_found_by_the_beginnings_of_their_words() {
        let heads = [head("a", "Rivers of Asia"), head("b", "Setting up a garden")];
        let models = ["qwen2.5-coder".to_owned()];
        let names = |query: &str| {
            let found = found(query, &heads, &models);
            found.iter().map(|entry| entry.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("sett"), ["Settings", "Setting up a garden"]);
        assert_eq!(names("asia riv"), ["Rivers of Asia"]);
        assert_eq!(names("coder"), ["qwen2.5-coder"]);
        assert_eq!(names("iver"), Vec::<String>::new());
        assert_eq!(found("", &heads, &models).len(), PageCommand::ALL.len() + 3);
    }
}
