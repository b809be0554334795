//! What is deleted but can be restored for a few seconds. It is neither listed nor found meanwhile.

use rusqlite::{OptionalExtension, Row, params};

use super::deletion::{BELOW, show_beside};
use super::tree::{conversation_of, show};
use super::{ConversationId, MessageId};
use crate::{Error, Store, now_ms, signed};

/// What was deleted for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Conversations that are gone.
    pub gone: Vec<ConversationId>,
    /// Conversations that have lost messages, and so perhaps their title.
    pub changed: Vec<ConversationId>,
}

impl Store {
    /// Hides a conversation until it is restored, or deleted with [`Store::empty_trash`].
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], and those of the database.
    pub fn trash_conversation(&self, id: &ConversationId) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql =
                "UPDATE conversations SET deleted_ms = ?2 WHERE id = ?1 AND deleted_ms IS NULL";
            match transaction.execute(sql, params![id.as_str(), signed(now_ms())])? {
                0 => Err(Error::NoSuchConversation { id: id.clone() }),
                _ => Ok(()),
            }
        })
    }

    /// Shows a hidden conversation again. Returns whether it was still there.
    ///
    /// # Errors
    /// Those of the database.
    pub fn restore_conversation(&self, id: &ConversationId) -> Result<bool, Error> {
        self.transaction(|transaction| {
            let sql = "UPDATE conversations SET deleted_ms = NULL WHERE id = ?1";
            Ok::<_, Error>(transaction.execute(sql, [id.as_str()])? > 0)
        })
    }

    /// Hides a message and all that follows it, as [`Store::trash_conversation`] does. Where the branch
    /// that is shown ended there, the newest one beside it is shown. Returns how many messages are
    /// hidden.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`]; [`Error::StillWriting`] where one of them is being written; those of
    /// the database.
    pub fn trash_message(&self, id: &MessageId) -> Result<u32, Error> {
        self.transaction(|transaction| {
            let missing = || Error::NoSuchMessage { id: id.clone() };
            let conversation = conversation_of(transaction, id)?.ok_or_else(missing)?;
            let sql = "SELECT parent FROM messages WHERE id = ?1";
            let parent: Option<String> =
                transaction.query_row(sql, [id.as_str()], |row| row.get(0))?;
            let ids = [id.as_str(), conversation.as_str()];
            let sql = format!(
                "{BELOW} SELECT id FROM messages
                 WHERE id IN (SELECT id FROM below) AND state = 'writing' LIMIT 1"
            );
            let writing: Option<String> =
                transaction.query_row(&sql, ids, |row| row.get(0)).optional()?;
            if let Some(writing) = writing {
                return Err(Error::StillWriting { id: writing.into() });
            }
            let sql = format!(
                "{BELOW} UPDATE messages SET deleted_ms = ?3
                 WHERE id IN (SELECT id FROM below) AND deleted_ms IS NULL"
            );
            let parameters = params![id.as_str(), conversation.as_str(), signed(now_ms())];
            let n_messages = transaction.execute(&sql, parameters)?;
            show_beside(transaction, &conversation, parent.map(MessageId::from))?;
            Ok(u32::try_from(n_messages).unwrap_or(u32::MAX))
        })
    }

    /// Shows a hidden message again with what follows it, and makes `leaf` the end of the branch that is
    /// shown. Returns whether it was still there.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`] where `leaf` is gone; those of the database.
    pub fn restore_message(&self, id: &MessageId, leaf: &MessageId) -> Result<bool, Error> {
        self.transaction(|transaction| {
            let sql = "SELECT conversation, deleted_ms FROM messages
                 WHERE id = ?1 AND deleted_ms IS NOT NULL";
            let found = transaction.query_row(sql, [id.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            });
            let Some((conversation, deleted_ms)) = found.optional()? else { return Ok(false) };
            // What was deleted before, by itself, stays deleted.
            let sql = format!(
                "{BELOW} UPDATE messages SET deleted_ms = NULL
                 WHERE id IN (SELECT id FROM below) AND deleted_ms = ?3"
            );
            transaction.execute(&sql, params![id.as_str(), conversation, deleted_ms])?;
            let conversation = conversation.into();
            if conversation_of(transaction, leaf)?.as_ref() != Some(&conversation) {
                return Err(Error::NoSuchMessage { id: leaf.clone() });
            }
            show(transaction, &conversation, Some(leaf))?;
            Ok(true)
        })
    }

    /// Deletes for good what was hidden at or before `until_ms`.
    ///
    /// # Errors
    /// As for [`Store::delete_conversation`].
    pub fn empty_trash(&self, until_ms: u64) -> Result<Emptied, Error> {
        let rows = |sql: &str| -> Result<Vec<(String, String)>, Error> {
            let reader = self.reader();
            let mut statement = reader.prepare_cached(sql)?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let rows = statement.query_map([signed(until_ms)], row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        let mut emptied = Emptied::default();
        for (id, _) in rows("SELECT id, id FROM conversations WHERE deleted_ms <= ?1")? {
            let id = ConversationId::from(id);
            self.delete_conversation(&id)?;
            emptied.gone.push(id);
        }
        // Messages whose parent stays: the others go with it.
        let roots = rows(
            "SELECT id, conversation FROM messages AS it WHERE deleted_ms <= ?1 AND NOT EXISTS (
                 SELECT 1 FROM messages AS above
                 WHERE above.id = it.parent AND above.deleted_ms <= ?1)",
        )?;
        for (id, conversation) in roots {
            self.delete_message(&id.into())?;
            emptied.changed.push(conversation.into());
        }
        Ok(emptied)
    }
}
