//! Conversations: a tree of messages each, drafts, and what is found in them.
//!
//! A message has a parent, and its siblings are other versions of it: an edited question, another
//! answer. A branch is the way from a beginning to a leaf. Messages consist of parts.

mod answers;
mod deletion;
mod draft_attachments;
mod folders;
mod fork;
mod id;
mod search;
mod title;
mod transfer;
mod trash;
mod tree;

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

pub use answers::{Delta, Ending};
pub(crate) use answers::{Writer, stop_abandoned};
pub use draft_attachments::DraftAttachment;
pub use folders::Folder;
pub use id::{AttachmentId, ConversationId, FolderId, MessageId};
pub use search::SearchHit;
pub(crate) use search::is_without_spaces;
pub use title::{TitleOrigin, question_title};
pub use transfer::{Inserted, WholeConversation};
pub use trash::Emptied;
pub use tree::{Message, MessageState, NewMessage, Part, PartKind, Role, TreeNode};

use crate::{Error, Store, now_ms, signed, unsigned};

/// A conversation without its messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// Its number, by which conversations sort as they were created.
    pub id: ConversationId,
    /// Its title; `None` for an untitled conversation.
    pub title: Option<String>,
    /// Where the title comes from; `None` where there is no title.
    pub title_origin: Option<TitleOrigin>,
    /// The folder that it is in.
    pub folder: Option<FolderId>,
    /// When it was created; milliseconds since 1970, as all times here.
    pub created_ms: u64,
    /// When something was last said in it.
    pub updated_ms: u64,
    /// Whether it stands before the others.
    pub is_pinned: bool,
    /// Whether it is put away.
    pub is_archived: bool,
    /// The end of the branch that is shown.
    pub current_leaf: Option<MessageId>,
    /// What happens when it outgrows the context, a word of the caller's; `None` is the default.
    pub overflow: Option<String>,
    /// Settings of its own, JSON of the caller's.
    pub settings: Option<Value>,
    /// What the model saw of it last, JSON of the caller's.
    pub view: Option<Value>,
}

/// A row of the list of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationHead {
    /// Its number, by which conversations sort as they were created.
    pub id: ConversationId,
    /// Its title; `None` for an untitled conversation.
    pub title: Option<String>,
    /// The folder that it is in.
    pub folder: Option<FolderId>,
    /// When something was last said in it.
    pub updated_ms: u64,
    /// Whether it stands before the others.
    pub is_pinned: bool,
    /// Whether it is put away.
    pub is_archived: bool,
}

/// What is to change in a conversation; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConversationChange {
    /// The title, from the user; `Some(None)` removes it.
    pub title: Option<Option<String>>,
    /// The folder; `Some(None)` takes it out of its folder.
    pub folder: Option<Option<FolderId>>,
    /// Whether it stands before the others.
    pub is_pinned: Option<bool>,
    /// Whether it is put away.
    pub is_archived: Option<bool>,
    /// What happens when it outgrows the context.
    pub overflow: Option<Option<String>>,
    /// Settings of its own.
    pub settings: Option<Option<Value>>,
    /// What the model saw of it last.
    pub view: Option<Option<Value>>,
}

/// A text that was typed and not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// When it was last changed.
    pub updated_ms: u64,
}

const COLUMNS: &str = "id, title, created_ms, updated_ms, is_pinned, is_archived, current_leaf, \
     overflow, settings, view, title_origin, folder";

/// What is neither deleted nor a new chat in which nothing was said.
const IS_LISTED: &str = "deleted_ms IS NULL AND (current_leaf IS NOT NULL OR title IS NOT NULL)";

impl Store {
    /// Begins a conversation without messages.
    ///
    /// # Errors
    /// Those of the database.
    pub fn create_conversation(
        &self,
        change: &ConversationChange,
    ) -> Result<ConversationId, Error> {
        let id = ConversationId::new();
        self.transaction(|transaction| {
            transaction.execute(
                "INSERT INTO conversations (id, created_ms, updated_ms) VALUES (?1, ?2, ?2)",
                params![id.as_str(), signed(now_ms())],
            )?;
            apply(transaction, &id, change)
        })?;
        Ok(id)
    }

    /// The conversations that are put away, or those that are not: pinned ones first, then by when
    /// something was last said.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversations(&self, is_archived: bool) -> Result<Vec<Conversation>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM conversations WHERE is_archived = ?1 AND deleted_ms IS NULL
             ORDER BY is_pinned DESC, updated_ms DESC, id DESC"
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map([is_archived], conversation)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The conversations in which something was said or that have a title, the newest first: pinned and
    /// archived ones, too.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversation_heads(&self) -> Result<Vec<ConversationHead>, Error> {
        let sql = format!(
            "SELECT id, title, folder, updated_ms, is_pinned, is_archived FROM conversations
             WHERE {IS_LISTED} ORDER BY updated_ms DESC, id DESC"
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            Ok(ConversationHead {
                id: row.get::<_, String>(0)?.into(),
                title: row.get(1)?,
                folder: row.get::<_, Option<String>>(2)?.map(FolderId::from),
                updated_ms: unsigned(row.get(3)?),
                is_pinned: row.get(4)?,
                is_archived: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest conversation in which nothing was said and that has no title: the one that a new chat
    /// goes on with, so that they do not pile up.
    ///
    /// # Errors
    /// Those of the database.
    pub fn unused_conversation(&self) -> Result<Option<Conversation>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM conversations
             WHERE deleted_ms IS NULL AND current_leaf IS NULL AND title IS NULL
             ORDER BY id DESC LIMIT 1"
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        Ok(statement.query_row([], conversation).optional()?)
    }

    /// One conversation, if there is such a one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>, Error> {
        let sql =
            format!("SELECT {COLUMNS} FROM conversations WHERE id = ?1 AND deleted_ms IS NULL");
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        Ok(statement.query_row([id.as_str()], conversation).optional()?)
    }

    /// Changes a conversation's title, place or settings.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], and those of the database.
    pub fn change_conversation(
        &self,
        id: &ConversationId,
        change: &ConversationChange,
    ) -> Result<(), Error> {
        self.transaction(|transaction| apply(transaction, id, change))
    }

    /// The text that was typed into a conversation and not sent; `None` is the new chat.
    ///
    /// # Errors
    /// Those of the database.
    pub fn draft(&self, conversation: Option<&ConversationId>) -> Result<Option<Draft>, Error> {
        let sql = "SELECT text, updated_ms FROM drafts WHERE conversation IS ?1";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        let draft = statement.query_row([conversation.map(|id| id.as_str())], |row| {
            Ok(Draft { text: row.get(0)?, updated_ms: unsigned(row.get(1)?) })
        });
        Ok(draft.optional()?)
    }

    /// Keeps what is typed into a conversation; an empty text removes the draft.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], and those of the database.
    pub fn set_draft(
        &self,
        conversation: Option<&ConversationId>,
        text: &str,
    ) -> Result<(), Error> {
        self.transaction(|transaction| {
            let id = conversation.map(|id| id.as_str());
            if let Some(conversation) = conversation {
                check_exists(transaction, conversation)?;
            }
            transaction.execute("DELETE FROM drafts WHERE conversation IS ?1", [id])?;
            if !text.is_empty() {
                transaction.execute(
                    "INSERT INTO drafts (conversation, text, updated_ms) VALUES (?1, ?2, ?3)",
                    params![id, text, signed(now_ms())],
                )?;
            }
            Ok(())
        })
    }
}

fn check_exists(connection: &rusqlite::Connection, id: &ConversationId) -> Result<(), Error> {
    let sql = "SELECT 1 FROM conversations WHERE id = ?1 AND deleted_ms IS NULL";
    let found = connection.prepare_cached(sql)?.exists([id.as_str()])?;
    if found { Ok(()) } else { Err(Error::NoSuchConversation { id: id.clone() }) }
}

fn apply(
    transaction: &rusqlite::Transaction<'_>,
    id: &ConversationId,
    change: &ConversationChange,
) -> Result<(), Error> {
    check_exists(transaction, id)?;
    let set = |column: &str, value: &dyn rusqlite::ToSql| -> Result<(), Error> {
        let sql = format!("UPDATE conversations SET {column} = ?2 WHERE id = ?1");
        transaction.prepare_cached(&sql)?.execute(params![id.as_str(), value])?;
        Ok(())
    };
    let ConversationChange { title, folder, is_pinned, is_archived, overflow, settings, view } =
        change;
    if let Some(title) = title {
        set("title", title)?;
        set("title_origin", &title.as_ref().map(|_| TitleOrigin::User.as_str()))?;
    }
    if let Some(folder) = folder {
        folders::check_exists(transaction, folder.as_ref())?;
        set("folder", &folder.as_ref().map(|id| id.as_str()))?;
    }
    if let Some(is_pinned) = is_pinned {
        set("is_pinned", is_pinned)?;
    }
    if let Some(is_archived) = is_archived {
        set("is_archived", is_archived)?;
    }
    if let Some(overflow) = overflow {
        set("overflow", overflow)?;
    }
    if let Some(settings) = settings {
        set("settings", &text_of(settings.as_ref()))?;
    }
    if let Some(view) = view {
        set("view", &text_of(view.as_ref()))?;
    }
    Ok(())
}

fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: row.get::<_, String>(0)?.into(),
        title: row.get(1)?,
        created_ms: unsigned(row.get(2)?),
        updated_ms: unsigned(row.get(3)?),
        is_pinned: row.get(4)?,
        is_archived: row.get(5)?,
        current_leaf: row.get::<_, Option<String>>(6)?.map(MessageId::from),
        overflow: row.get(7)?,
        settings: json(row, 8)?,
        view: json(row, 9)?,
        title_origin: TitleOrigin::read(row, 10)?,
        folder: row.get::<_, Option<String>>(11)?.map(FolderId::from),
    })
}

/// JSON of a column; what is no JSON counts as nothing.
pub(crate) fn json(row: &Row<'_>, idx: usize) -> rusqlite::Result<Option<Value>> {
    let text: Option<String> = row.get(idx)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

pub(crate) fn text_of(value: Option<&Value>) -> Option<String> {
    value.map(Value::to_string)
}
