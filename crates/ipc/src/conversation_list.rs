//! The list of conversations: its rows, folders, search results and branches.

use serde::{Deserialize, Serialize};

use crate::{ConversationId, FolderId, MessageId, Role};

/// All conversations that are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationList {
    /// The conversations, the newest first: pinned and archived ones, too.
    pub conversations: Vec<ConversationHead>,
    /// The folders, in the order in which they were created.
    pub folders: Vec<ConversationFolder>,
}

/// A conversation as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationHead {
    /// Its id.
    pub id: ConversationId,
    /// Its title; `None` where there is none.
    pub title: Option<String>,
    /// The folder that it is in.
    pub folder: Option<FolderId>,
    /// When something was last said in it; milliseconds since 1970.
    pub updated_ms: u64,
    /// Whether it stands before the others.
    pub is_pinned: bool,
    /// Whether it is put away.
    pub is_archived: bool,
}

/// A folder of conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationFolder {
    /// Its id.
    pub id: FolderId,
    /// Its name.
    pub name: String,
}

/// A change of a conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConversationChange {
    /// Sets the title; an empty one removes it.
    Title(String),
    /// Pins it, or unpins it.
    Pinned(bool),
    /// Archives it, or takes it back.
    Archived(bool),
    /// Moves it to a folder, or out of its folder.
    Folder(Option<FolderId>),
}

/// A message that a search has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHit {
    /// The conversation that it is in.
    pub conversation: ConversationId,
    /// The conversation's title.
    pub title: Option<String>,
    /// The message.
    pub message: MessageId,
    /// When it was written; milliseconds since 1970.
    pub created_ms: u64,
    /// A piece of its text around the first match.
    pub excerpt: Vec<ExcerptPiece>,
}

/// A piece of an excerpt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcerptPiece {
    /// Its text.
    pub text: String,
    /// Whether it is what was searched for.
    pub is_match: bool,
}

/// A message of a conversation's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchNode {
    /// Its id.
    pub id: MessageId,
    /// The message that it follows.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// The beginning of its text.
    pub excerpt: String,
    /// Whether it is in the branch that is shown.
    pub is_shown: bool,
}
