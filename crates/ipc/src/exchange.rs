//! Exports and imports of conversations: formats, and the report of what was taken.

use serde::{Deserialize, Serialize};

/// A format that conversations are exported in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// Lilims's own JSON: everything, with all branches; it can be imported again.
    #[default]
    Json,
    /// The branch that is shown, as Markdown.
    Markdown,
    /// The branch that is shown, as plain text.
    Text,
}

/// What an import took, and what it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Conversations that are new here.
    pub conversations: u64,
    /// Their messages.
    pub messages: u64,
    /// What was left out.
    pub skipped: Vec<SkippedItem>,
}

impl ImportReport {
    /// Adds what another file gave.
    pub fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.messages += other.messages;
        self.skipped.extend(other.skipped);
    }
}

/// Something that an import left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedItem {
    /// Why.
    pub reason: ItemSkipReason,
    /// How many times.
    pub count: u64,
    /// The name of the file.
    pub file: String,
    /// The title of the conversation, where it has one and the item was in one.
    pub conversation: Option<String>,
}

/// Why an import left something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemSkipReason {
    /// The conversation is here already, with all of its messages.
    AlreadyHere,
    /// It is not a conversation.
    NotAConversation,
    /// A conversation without messages.
    Empty,
    /// A conversation that is too large.
    ConversationTooLarge,
    /// A message that the other program does not show, such as its own instructions.
    HiddenMessage,
    /// Messages or parts beyond the largest number.
    TooMany,
    /// A value that is nested too deeply.
    TooDeep,
    /// The content of an attachment, which is not in the file; its name was taken.
    AttachmentContent,
    /// The rest of the file, or a file of the archive: it is damaged.
    Damaged,
    /// The rest of the file, or a file of the archive: it is larger than what is read.
    BeyondLimit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_fixed() {
        let item = SkippedItem {
            reason: ItemSkipReason::AlreadyHere,
            count: 2,
            file: "a.json".into(),
            conversation: None,
        };
        let report = ImportReport { conversations: 1, messages: 2, skipped: vec![item] };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"conversations":1,"messages":2,"skipped":[{"reason":"already-here","count":2,"file":"a.json","conversation":null}]}"#
        );
        assert_eq!(serde_json::to_string(&ExportFormat::Json).unwrap(), r#""json""#);
    }
}
