//! The formats, one file for each, and how their keys identify them.

mod chatgpt;
mod claude;
mod content;
mod lilims;
mod llama_cpp;
mod lm_studio;
mod open_webui;
mod openai;

use std::fmt;

use crate::json::Json;
use crate::tree::Draft;
use crate::write::FORMAT;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Lilims's own JSON.
    Lilims,
    /// An export of ChatGPT: a tree of nodes in `mapping`.
    ChatGpt,
    /// An export of Claude: `chat_messages`.
    Claude,
    /// An export of Open WebUI.
    OpenWebUi,
    /// An export of the page of llama.cpp's server.
    LlamaCpp,
    /// A conversation's file of LM Studio.
    LmStudio,
    /// Messages as the API of OpenAI takes them.
    OpenAi,
}

impl Format {
    /// The name of the program or the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lilims => "Lilims",
            Self::ChatGpt => "ChatGPT",
            Self::Claude => "Claude",
            Self::OpenWebUi => "Open WebUI",
            Self::LlamaCpp => "llama.cpp",
            Self::LmStudio => "LM Studio",
            Self::OpenAi => "OpenAI messages",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an item of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole conversation.
    Conversation(Format),
    /// One message of a conversation whose messages follow each other.
    Message,
    /// The line of llama.cpp's page that begins a conversation.
    SessionLine,
    /// A line of llama.cpp's page with a message.
    MessageLine,
    /// Nothing that is known.
    Unknown,
}

/// What an item is, by its keys.
pub(crate) fn kind_of(item: &Json) -> Kind {
    let has_list = |key: &str| item.get(key).is_list();
    let type_name = item.get("type").as_text();
    if item.get("mapping").is_object() {
        Kind::Conversation(Format::ChatGpt)
    } else if has_list("chat_messages") {
        Kind::Conversation(Format::Claude)
    } else if open_webui::is_conversation(item) {
        Kind::Conversation(Format::OpenWebUi)
    } else if item.get("conv").is_object() && has_list("messages") {
        Kind::Conversation(Format::LlamaCpp)
    } else if type_name == Some("session") && (item.has("harness") || item.has("currNode")) {
        Kind::SessionLine
    } else if type_name == Some("message") && item.get("message").is_object() {
        Kind::MessageLine
    } else if has_list("messages") && item.has("created_ms") {
        Kind::Conversation(Format::Lilims)
    } else if lm_studio::is_conversation(item) {
        Kind::Conversation(Format::LmStudio)
    } else if openai::is_conversation(item) {
        Kind::Conversation(Format::OpenAi)
    } else if openai::is_message(item) {
        Kind::Message
    } else {
        Kind::Unknown
    }
}

/// Reads a conversation in a format.
pub(crate) fn read(format: Format, item: &Json) -> Draft {
    match format {
        Format::Lilims => lilims::read(item),
        Format::ChatGpt => chatgpt::read(item),
        Format::Claude => claude::read(item),
        Format::OpenWebUi => open_webui::read(item),
        Format::LlamaCpp => llama_cpp::read(item.get("conv"), item.get("messages").items()),
        Format::LmStudio => lm_studio::read(item),
        Format::OpenAi => openai::read(item),
    }
}

/// Reads messages that stand by themselves.
pub(crate) fn read_messages(messages: &[Json]) -> Draft {
    openai::read_messages(messages)
}

/// Reads the lines of a conversation of llama.cpp's page.
pub(crate) fn read_lines(session: &Json, messages: &[Json]) -> Draft {
    llama_cpp::read(session, messages)
}

/// Whether an object says that it is an export of Lilims.
pub(crate) fn is_own(format: &Json) -> bool {
    format.as_text() == Some(FORMAT)
}

/// The key that names something, also where it is a number.
fn key(value: &Json) -> Option<String> {
    value.to_text().filter(|key| !key.is_empty())
}
