//! What is deleted but can be restored for a few seconds. It is neither listed nor found meanwhile.

use rusqlite::{OptionalExtension, params};

use super::deletion::{BELOW, show_beside};
use super::tree::{conversation_of, show};
use super::{ConversationId, MessageId};
use crate::{Error, Store, now_ms, signed};

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

    /// Deletes for good what was hidden at or before `until_ms`. Returns the conversations that are gone.
    ///
    /// # Errors
    /// As for [`Store::delete_conversation`].
    pub fn empty_trash(&self, until_ms: u64) -> Result<Vec<ConversationId>, Error> {
        let ids = |sql: &str| -> Result<Vec<String>, Error> {
            let reader = self.reader();
            let mut statement = reader.prepare_cached(sql)?;
            let rows = statement.query_map([signed(until_ms)], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        let conversations = ids("SELECT id FROM conversations WHERE deleted_ms <= ?1")?;
        let conversations: Vec<_> = conversations.into_iter().map(ConversationId::from).collect();
        for id in &conversations {
            self.delete_conversation(id)?;
        }
        // Messages whose parent stays: the others go with it.
        let roots = ids("SELECT id FROM messages AS it WHERE deleted_ms <= ?1 AND NOT EXISTS (
                 SELECT 1 FROM messages AS above
                 WHERE above.id = it.parent AND above.deleted_ms <= ?1)")?;
        for id in roots {
            self.delete_message(&id.into())?;
        }
        Ok(conversations)
    }
}
