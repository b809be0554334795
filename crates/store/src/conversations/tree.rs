//! Messages and their places in the tree.

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;

use super::answers::{Journalled, grow, journalled};
use super::{ConversationId, MessageId, check_exists, json, text_of, title};
use crate::{Error, Store, now_ms, signed, unsigned};

/// Defines an enum whose values are stored as words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The word that is stored.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub(super) fn read(row: &Row<'_>, idx: usize) -> rusqlite::Result<Self> {
                match row.get_ref(idx)?.as_str()? {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(rusqlite::Error::FromSqlConversionFailure(
                        idx, Type::Text, Box::new(FromSqlError::InvalidType),
                    )),
                }
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
    /// How far a message is.
    MessageState {
        /// A process writes it.
        Writing = "writing",
        /// It is complete.
        Done = "done",
        /// The user stopped it, or the process that wrote it ended.
        Stopped = "stopped",
        /// It broke off; [`Message::error`] says why.
        Failed = "failed",
    }
}

words! {
    /// What a part of a message is.
    PartKind {
        /// Text to read, Markdown as written. It is found by searches.
        Text = "text",
        /// What the model wrote for itself.
        Reasoning = "reasoning",
        /// Something beside the text; its data say what.
        Attachment = "attachment",
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its text; may be empty.
    pub text: String,
    /// More about it, JSON of the caller's, such as `{"elapsed_ms": 1200}`.
    pub data: Option<Value>,
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: PartKind::Text, text: text.into(), data: None }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Names it.
    pub id: MessageId,
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// What it follows; `None` for a beginning.
    pub parent: Option<MessageId>,
    /// Its place among the messages with the same parent, ascending in the order of their creation.
    pub position: u32,
    /// Who wrote it.
    pub role: Role,
    /// When it was created.
    pub created_ms: u64,
    /// The model that wrote it.
    pub model: Option<String>,
    /// How it was sampled, JSON of the caller's.
    pub settings: Option<Value>,
    /// What it took, JSON of the caller's.
    pub stats: Option<Value>,
    /// How far it is.
    pub state: MessageState,
    /// Why it broke off: JSON of an error code and its arguments.
    pub error: Option<Value>,
    /// What it says.
    pub parts: Vec<Part>,
}

/// A message by its place in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Names it.
    pub id: MessageId,
    /// What it follows; `None` for a beginning.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// How far it is.
    pub state: MessageState,
    /// The beginning of its text, where that was asked for.
    pub excerpt: String,
}

/// A message to add.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// What it follows; `None` for a beginning.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// The model that writes it.
    pub model: Option<String>,
    /// How it is sampled.
    pub settings: Option<Value>,
    /// What it says so far.
    pub parts: Vec<Part>,
}

impl NewMessage {
    /// A message that consists of one text.
    pub fn text(
        conversation: &ConversationId,
        parent: Option<&MessageId>,
        role: Role,
        text: impl Into<String>,
    ) -> Self {
        Self { parts: vec![Part::text(text)], ..Self::empty(conversation, parent, role) }
    }

    /// A message without parts, such as an answer before its first word.
    pub fn empty(conversation: &ConversationId, parent: Option<&MessageId>, role: Role) -> Self {
        Self {
            conversation: conversation.clone(),
            parent: parent.cloned(),
            role,
            model: None,
            settings: None,
            parts: Vec::new(),
        }
    }
}

const COLUMNS: &str = "messages.id, messages.conversation, messages.parent, messages.position, \
     messages.role, messages.created_ms, messages.model, messages.settings, messages.stats, \
     messages.state, messages.error";

/// The messages from `?1` up to the beginning.
const UPWARDS: &str = "WITH RECURSIVE branch (id, parent, depth) AS (
         SELECT id, parent, 0 FROM messages WHERE id = ?1
         UNION ALL
         SELECT messages.id, messages.parent, depth + 1 FROM messages
         JOIN branch ON messages.id = branch.parent
     )";

impl Store {
    /// Adds a message that is complete, behind the siblings that it has. It becomes the end of the
    /// branch that is shown.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`]; [`Error::NoSuchMessage`] where the parent is not one of the
    /// conversation; those of the database.
    pub fn add_message(&self, new: &NewMessage) -> Result<MessageId, Error> {
        self.transaction(|transaction| insert(transaction, new, MessageState::Done, None))
    }

    /// All messages of a conversation, in the order of their creation.
    ///
    /// # Errors
    /// Those of the database.
    pub fn messages(&self, conversation: &ConversationId) -> Result<Vec<Message>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages WHERE conversation = ?1 AND deleted_ms IS NULL ORDER BY id"
        );
        read(&self.reader(), &sql, conversation.as_str())
    }

    /// The messages from the beginning to `leaf`; empty where there is no such message.
    ///
    /// # Errors
    /// Those of the database.
    pub fn branch(&self, leaf: &MessageId) -> Result<Vec<Message>, Error> {
        branch_to(&self.reader(), leaf)
    }

    /// One message, if there is such a one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn message(&self, id: &MessageId) -> Result<Option<Message>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE id = ?1 AND deleted_ms IS NULL");
        Ok(read(&self.reader(), &sql, id.as_str())?.pop())
    }

    /// The message and its siblings, in their order: the versions of one place in the conversation.
    ///
    /// # Errors
    /// Those of the database.
    pub fn siblings(&self, id: &MessageId) -> Result<Vec<MessageId>, Error> {
        let sql = "SELECT other.id FROM messages AS it JOIN messages AS other
             ON other.conversation = it.conversation AND other.parent IS it.parent
                 AND other.deleted_ms IS NULL
             WHERE it.id = ?1 ORDER BY other.position";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([id.as_str()], |row| row.get::<_, String>(0))?;
        Ok(rows.map(|id| id.map(MessageId::from)).collect::<Result<_, _>>()?)
    }

    /// All messages of a conversation without what they say, each after its earlier siblings. With `excerpt_chars` above 0, so many characters from the beginning of the text.
    ///
    /// # Errors
    /// Those of the database.
    pub fn tree(
        &self,
        conversation: &ConversationId,
        excerpt_chars: u32,
    ) -> Result<Vec<TreeNode>, Error> {
        let excerpt = match excerpt_chars {
            0 => "NULL",
            _ => {
                "(SELECT substr(text, 1, ?2) FROM parts WHERE message = messages.id
                     AND kind = 'text' AND text <> '' ORDER BY ordinal LIMIT 1)"
            }
        };
        let sql = format!(
            "SELECT id, parent, role, state, {excerpt} FROM messages
             WHERE conversation = ?1 AND deleted_ms IS NULL AND ?2 >= 0
             ORDER BY position, id"
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map(params![conversation.as_str(), excerpt_chars], |row| {
            Ok(TreeNode {
                id: row.get::<_, String>(0)?.into(),
                parent: row.get::<_, Option<String>>(1)?.map(MessageId::from),
                role: Role::read(row, 2)?,
                state: MessageState::read(row, 3)?,
                excerpt: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The end of the newest branch through a message: where to go when a version is chosen.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`], and those of the database.
    pub fn leaf_below(&self, id: &MessageId) -> Result<MessageId, Error> {
        let reader = self.reader();
        let missing = || Error::NoSuchMessage { id: id.clone() };
        let conversation = conversation_of(&reader, id)?.ok_or_else(missing)?;
        leaf_below(&reader, &conversation, id.clone())
    }

    /// Chooses the branch that is shown, by its end.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], [`Error::NoSuchMessage`], and those of the database.
    pub fn set_current_leaf(
        &self,
        conversation: &ConversationId,
        leaf: Option<&MessageId>,
    ) -> Result<(), Error> {
        self.transaction(|transaction| {
            check_exists(transaction, conversation)?;
            if let Some(leaf) = leaf {
                check_member(transaction, conversation, leaf)?;
            }
            show(transaction, conversation, leaf)
        })
    }

    /// Changes what a message says, in place.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`]; [`Error::StillWriting`]; those of the database.
    pub fn set_parts(&self, id: &MessageId, parts: &[Part]) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql = "SELECT state = 'writing' FROM messages WHERE id = ?1";
            let is_writing = transaction.query_row(sql, [id.as_str()], |row| row.get(0));
            match is_writing.optional()? {
                None => return Err(Error::NoSuchMessage { id: id.clone() }),
                Some(true) => return Err(Error::StillWriting { id: id.clone() }),
                Some(false) => {}
            }
            transaction.execute("DELETE FROM parts WHERE message = ?1", [id.as_str()])?;
            insert_parts(transaction, id, parts)
        })
    }
}

/// Adds a message, and makes it the end of the branch that is shown.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    new: &NewMessage,
    state: MessageState,
    writer: Option<i64>,
) -> Result<MessageId, Error> {
    let NewMessage { conversation, parent, role, model, settings, parts } = new;
    check_exists(transaction, conversation)?;
    if let Some(parent) = parent {
        check_member(transaction, conversation, parent)?;
    }
    let (id, now) = (MessageId::new(), signed(now_ms()));
    let parent = parent.as_ref().map(|id| id.as_str());
    let sql = "INSERT INTO messages
             (id, conversation, parent, position, role, created_ms, model, settings, state, writer)
         VALUES (?1, ?2, ?3,
             (SELECT coalesce(max(position) + 1, 0) FROM messages
              WHERE conversation = ?2 AND parent IS ?3),
             ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        id.as_str(),
        conversation.as_str(),
        parent,
        role.as_str(),
        now,
        model,
        text_of(settings.as_ref()),
        state.as_str(),
        writer
    ])?;
    insert_parts(transaction, &id, parts)?;
    if *role == Role::User
        && let Some(text) = parts.iter().find(|part| part.kind == PartKind::Text)
    {
        title::set_from_question(transaction, conversation, &text.text)?;
    }
    show(transaction, conversation, Some(&id))?;
    let sql = "UPDATE conversations SET updated_ms = max(updated_ms, ?2) WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![conversation.as_str(), now])?;
    Ok(id)
}

/// Where a message that was read is inserted again.
pub(super) struct Place<'a> {
    pub(super) id: &'a MessageId,
    pub(super) conversation: &'a ConversationId,
    pub(super) parent: Option<&'a MessageId>,
    pub(super) position: u32,
}

/// Inserts a message with all that it has, at another place. One that is being written becomes a stopped
/// one. The branch that is shown stays.
pub(super) fn insert_at(
    transaction: &Transaction<'_>,
    place: &Place<'_>,
    message: &Message,
) -> Result<(), Error> {
    let state = match message.state {
        MessageState::Writing => MessageState::Stopped,
        state => state,
    };
    let sql = "INSERT INTO messages (id, conversation, parent, position, role, created_ms, model,
             settings, stats, state, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    transaction.prepare_cached(sql)?.execute(params![
        place.id.as_str(),
        place.conversation.as_str(),
        place.parent.map(MessageId::as_str),
        place.position,
        message.role.as_str(),
        signed(message.created_ms),
        message.model,
        text_of(message.settings.as_ref()),
        text_of(message.stats.as_ref()),
        state.as_str(),
        text_of(message.error.as_ref()),
    ])?;
    insert_parts(transaction, place.id, &message.parts)
}

/// The parts of a message, without what the journal has of it.
pub(super) fn parts_of(connection: &Connection, id: &MessageId) -> Result<Vec<Part>, Error> {
    let sql = "SELECT kind, text, data FROM parts WHERE message = ?1 ORDER BY ordinal";
    let mut statement = connection.prepare_cached(sql)?;
    let parts = statement.query_map([id.as_str()], part)?;
    Ok(parts.collect::<Result<_, _>>()?)
}

fn insert_parts(
    transaction: &Transaction<'_>,
    message: &MessageId,
    parts: &[Part],
) -> Result<(), Error> {
    let sql = "INSERT INTO parts (message, ordinal, kind, text, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = transaction.prepare_cached(sql)?;
    for (ordinal, Part { kind, text, data }) in parts.iter().enumerate() {
        let (ordinal, data) = (ordinal as i64, text_of(data.as_ref()));
        statement.execute(params![message.as_str(), ordinal, kind.as_str(), text, data])?;
    }
    Ok(())
}

pub(super) fn show(
    transaction: &Transaction<'_>,
    conversation: &ConversationId,
    leaf: Option<&MessageId>,
) -> Result<(), Error> {
    let sql = "UPDATE conversations SET current_leaf = ?2 WHERE id = ?1";
    let leaf = leaf.map(|id| id.as_str());
    transaction.prepare_cached(sql)?.execute(params![conversation.as_str(), leaf])?;
    Ok(())
}

pub(super) fn conversation_of(
    connection: &Connection,
    id: &MessageId,
) -> Result<Option<ConversationId>, Error> {
    let sql = "SELECT conversation FROM messages WHERE id = ?1 AND deleted_ms IS NULL";
    let found = connection.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0));
    Ok(found.optional()?.map(|id: String| id.into()))
}

pub(super) fn check_member(
    connection: &Connection,
    conversation: &ConversationId,
    id: &MessageId,
) -> Result<(), Error> {
    match conversation_of(connection, id)? {
        Some(its) if its == *conversation => Ok(()),
        _ => Err(Error::NoSuchMessage { id: id.clone() }),
    }
}

pub(super) fn leaf_below(
    connection: &Connection,
    conversation: &ConversationId,
    mut id: MessageId,
) -> Result<MessageId, Error> {
    while let Some(child) = newest_child(connection, conversation, Some(&id))? {
        id = child;
    }
    Ok(id)
}

/// The last of the messages that follow `parent`; of the beginnings, where that is `None`.
pub(super) fn newest_child(
    connection: &Connection,
    conversation: &ConversationId,
    parent: Option<&MessageId>,
) -> Result<Option<MessageId>, Error> {
    let sql = "SELECT id FROM messages WHERE conversation = ?1 AND parent IS ?2
             AND deleted_ms IS NULL
         ORDER BY position DESC LIMIT 1";
    let parent = parent.map(|id| id.as_str());
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![conversation.as_str(), parent], |row| row.get(0));
    Ok(found.optional()?.map(|id: String| id.into()))
}

/// The messages from the beginning to `leaf`.
pub(super) fn branch_to(connection: &Connection, leaf: &MessageId) -> Result<Vec<Message>, Error> {
    let sql = format!(
        "{UPWARDS} SELECT {COLUMNS} FROM branch JOIN messages USING (id) ORDER BY depth DESC"
    );
    read(connection, &sql, leaf.as_str())
}

/// Reads messages with their parts, and with what the journal has of those that are being written.
fn read(connection: &Connection, sql: &str, id: &str) -> Result<Vec<Message>, Error> {
    // One transaction: a consistent snapshot, also while another process writes.
    let transaction =
        if connection.is_autocommit() { Some(connection.unchecked_transaction()?) } else { None };
    let transaction = transaction.as_deref().unwrap_or(connection);
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([id], message)?;
    let mut messages: Vec<Message> = rows.collect::<Result<_, _>>()?;
    for message in &mut messages {
        message.parts = parts_of(transaction, &message.id)?;
        if message.state == MessageState::Writing {
            for Journalled { kind, text, data } in journalled(transaction, &message.id)? {
                grow(&mut message.parts, kind, &text, data);
            }
        }
    }
    Ok(messages)
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part { kind: PartKind::read(row, 0)?, text: row.get(1)?, data: json(row, 2)? })
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get::<_, String>(0)?.into(),
        conversation: row.get::<_, String>(1)?.into(),
        parent: row.get::<_, Option<String>>(2)?.map(MessageId::from),
        position: row.get(3)?,
        role: Role::read(row, 4)?,
        created_ms: unsigned(row.get(5)?),
        model: row.get(6)?,
        settings: json(row, 7)?,
        stats: json(row, 8)?,
        state: MessageState::read(row, 9)?,
        error: json(row, 10)?,
        parts: Vec::new(),
    })
}
