//! A conversation as files have it: neutral between the programs that write them and the database.

use serde::Serialize;
use serde_json::Value;

/// A conversation with all of its branches.
///
/// Its JSON is what an export of Lilims has for each conversation; absent keys are `None` or `false`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Conversation {
    /// Names it: 32 hexadecimal digits.
    pub id: String,
    /// Its title; `None` for an untitled one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where its title comes from, a word of the database's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title_origin: Option<String>,
    /// The name of the folder that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// When it was created; milliseconds since 1970, as all times here.
    pub created_ms: u64,
    /// When something was last said in it.
    pub updated_ms: u64,
    /// Whether it stands before the others.
    #[serde(rename = "pinned", skip_serializing_if = "is_false")]
    pub is_pinned: bool,
    /// Whether it is put away.
    #[serde(rename = "archived", skip_serializing_if = "is_false")]
    pub is_archived: bool,
    /// What happens when it outgrows the context, a word of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<String>,
    /// Settings of its own, JSON of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// The message at the end of the branch that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_leaf: Option<String>,
    /// The messages: each after its parent, siblings in their order.
    pub messages: Vec<Message>,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Names it: 32 hexadecimal digits.
    pub id: String,
    /// The message that it follows; `None` for a beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Who wrote it.
    pub role: Role,
    /// When it was created.
    pub created_ms: u64,
    /// The model that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How it was sampled, JSON of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// What it took, JSON of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<Value>,
    /// How it ended.
    pub state: State,
    /// Why it broke off: JSON of an error code and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// What it says.
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its text; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// More about it, JSON of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Part {
    /// A text without data.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: PartKind::Text, text: text.into(), data: None }
    }

    /// Reasoning without data.
    pub(crate) fn reasoning(text: impl Into<String>) -> Self {
        Self { kind: PartKind::Reasoning, text: text.into(), data: None }
    }
}

/// Defines an enum whose values are words in JSON.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Its word in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value for a word; `None` for another text.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// Who wrote a message.
    Role {
        /// Instructions that stand before the conversation.
        System = "system",
        /// The person at the keyboard.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// A tool that the model called.
        Tool = "tool",
    }
}

words! {
    /// How a message ended. One that is being written is exported as stopped.
    State {
        /// It is complete.
        Done = "done",
        /// It was stopped.
        Stopped = "stopped",
        /// It broke off.
        Failed = "failed",
    }
}

words! {
    /// What a part of a message is.
    PartKind {
        /// Text to read, Markdown as written.
        Text = "text",
        /// What the model wrote for itself.
        Reasoning = "reasoning",
        /// Something beside the text; its data say what.
        Attachment = "attachment",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Conversation {
    /// The messages from the beginning to `leaf`; empty where there is no such message.
    pub fn branch(&self, leaf: &str) -> Vec<&Message> {
        // Parents stand before their children, so one pass from the end finds the whole branch.
        let mut wanted = Some(leaf);
        let mut branch: Vec<&Message> = Vec::new();
        for message in self.messages.iter().rev() {
            if wanted == Some(&message.id) {
                wanted = message.parent.as_deref();
                branch.push(message);
            }
        }
        branch.reverse();
        branch
    }
}
