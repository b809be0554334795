//! Whole conversations out of the database and into it: for exports and imports.
//!
//! Ids, times and settings stay. An import never changes what is there: a conversation whose id another
//! one has, also one that was deleted a moment ago, gets new ids.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, Transaction, params};

use super::tree::{Message, MessageState, Place, Role, insert_at, parts_of, show};
use super::{Conversation, ConversationId, FolderId, MessageId, text_of};
use crate::{Error, Store, now_ms, signed};

/// A conversation with its folder's name and all of its messages.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeConversation {
    /// The conversation. Its folder is `folder_name` alone, and its view is not part of an import.
    pub conversation: Conversation,
    /// The name of the folder that it is in. An import creates it where there is none of this name.
    pub folder_name: Option<String>,
    /// The messages, each after its parent. Siblings are in the order in which they stand here.
    pub messages: Vec<Message>,
}

/// What became of a conversation that was to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the database now, under this id.
    New(ConversationId),
    /// It was there already, with all of its messages, under this id.
    AlreadyHere(ConversationId),
}

impl Store {
    /// A conversation with all that an export has of it, if there is such a one. The messages are in the
    /// order of their creation.
    ///
    /// # Errors
    /// Those of the database.
    pub fn whole_conversation(
        &self,
        id: &ConversationId,
    ) -> Result<Option<WholeConversation>, Error> {
        // First the conversation, so that what it refers to is among the messages that follow.
        let Some(conversation) = self.conversation(id)? else { return Ok(None) };
        let folder_name = match &conversation.folder {
            Some(folder) => {
                let sql = "SELECT name FROM conversation_folders WHERE id = ?1";
                let reader = self.reader();
                let mut statement = reader.prepare_cached(sql)?;
                statement.query_row([folder.as_str()], |row| row.get(0)).optional()?
            }
            None => None,
        };
        Ok(Some(WholeConversation { folder_name, messages: self.messages(id)?, conversation }))
    }

    /// Inserts a conversation with its messages in one transaction. Messages that are being written become
    /// stopped ones.
    ///
    /// Where a conversation of this id has all of these messages, nothing changes. Where an id belongs to
    /// another conversation or message, all ids are new.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`] where a message follows one that does not stand before it; those of the
    /// database.
    pub fn insert_conversation(&self, whole: &WholeConversation) -> Result<Inserted, Error> {
        let mut before = HashSet::with_capacity(whole.messages.len());
        for message in &whole.messages {
            if let Some(parent) = message.parent.as_ref().filter(|it| !before.contains(it)) {
                return Err(Error::NoSuchMessage { id: parent.clone() });
            }
            before.insert(&message.id);
        }
        self.transaction(|transaction| {
            let id = &whole.conversation.id;
            if is_here(transaction, whole)? {
                return Ok(Inserted::AlreadyHere(id.clone()));
            }
            let is_free = before.len() == whole.messages.len() && is_free(transaction, whole)?;
            let id = if is_free { id.clone() } else { ConversationId::new() };
            insert(transaction, &id, whole, is_free)?;
            Ok(Inserted::New(id))
        })
    }
}

/// Whether the database has a conversation of this id with all of these messages, as they are.
fn is_here(transaction: &Transaction<'_>, whole: &WholeConversation) -> Result<bool, Error> {
    let id = &whole.conversation.id;
    let sql = "SELECT 1 FROM conversations WHERE id = ?1 AND deleted_ms IS NULL";
    if !transaction.prepare_cached(sql)?.exists([id.as_str()])? {
        return Ok(false);
    }
    let sql = "SELECT parent, role, state FROM messages
         WHERE id = ?1 AND conversation = ?2 AND deleted_ms IS NULL";
    let mut statement = transaction.prepare_cached(sql)?;
    for message in &whole.messages {
        let found = statement.query_row(params![message.id.as_str(), id.as_str()], |row| {
            let parent = row.get::<_, Option<String>>(0)?.map(MessageId::from);
            Ok((parent, Role::read(row, 1)?, MessageState::read(row, 2)?))
        });
        let Some((parent, role, state)) = found.optional()? else { return Ok(false) };
        if parent != message.parent || role != message.role {
            return Ok(false);
        }
        // One that is being written has most of its text in the journal.
        let is_written = state != MessageState::Writing;
        if is_written && parts_of(transaction, &message.id)? != message.parts {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether none of the ids is in use, also by something that was deleted and can be restored.
fn is_free(transaction: &Transaction<'_>, whole: &WholeConversation) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM conversations WHERE id = ?1";
    if transaction.prepare_cached(sql)?.exists([whole.conversation.id.as_str()])? {
        return Ok(false);
    }
    let mut statement = transaction.prepare_cached("SELECT 1 FROM messages WHERE id = ?1")?;
    for message in &whole.messages {
        if statement.exists([message.id.as_str()])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn insert(
    transaction: &Transaction<'_>,
    id: &ConversationId,
    whole: &WholeConversation,
    keeps_ids: bool,
) -> Result<(), Error> {
    let WholeConversation { conversation, folder_name, messages } = whole;
    let folder = match folder_name {
        Some(name) => Some(folder(transaction, name)?),
        None => None,
    };
    transaction.execute(
        "INSERT INTO conversations (id, title, title_origin, folder, created_ms, updated_ms,
             is_pinned, is_archived, overflow, settings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            id.as_str(),
            conversation.title,
            conversation.title.as_ref().and(conversation.title_origin).map(|it| it.as_str()),
            folder.as_ref().map(FolderId::as_str),
            signed(conversation.created_ms),
            signed(conversation.updated_ms),
            conversation.is_pinned,
            conversation.is_archived,
            conversation.overflow,
            text_of(conversation.settings.as_ref()),
        ],
    )?;
    let mut new_ids: HashMap<&MessageId, MessageId> = HashMap::with_capacity(messages.len());
    let mut n_children: HashMap<Option<&MessageId>, u32> = HashMap::new();
    let mut last = None;
    for message in messages {
        let new_id = if keeps_ids { message.id.clone() } else { MessageId::new() };
        let parent = message.parent.as_ref();
        let position = n_children.entry(parent).or_default();
        let place = Place {
            id: &new_id,
            conversation: id,
            parent: parent.and_then(|parent| new_ids.get(parent)),
            position: *position,
        };
        insert_at(transaction, &place, message)?;
        *position += 1;
        last = Some(new_id.clone());
        new_ids.insert(&message.id, new_id);
    }
    // A conversation with messages shows a branch, or it would pass for a new chat.
    let leaf = conversation.current_leaf.as_ref().and_then(|leaf| new_ids.get(leaf));
    show(transaction, id, leaf.or(last.as_ref()))
}

/// The folder of this name, which is created where there is none.
fn folder(transaction: &Transaction<'_>, name: &str) -> Result<FolderId, Error> {
    let sql = "SELECT id FROM conversation_folders WHERE name = ?1 ORDER BY id LIMIT 1";
    let found = transaction.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    if let Some(id) = found {
        return Ok(FolderId::from(String::as_str(&id)));
    }
    let id = FolderId::new();
    let sql = "INSERT INTO conversation_folders (id, name, created_ms) VALUES (?1, ?2, ?3)";
    transaction.execute(sql, params![id.as_str(), name, signed(now_ms())])?;
    Ok(id)
}
