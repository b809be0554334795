//! Deletes conversations and messages for good: from the tables, the search index and the copies, and
//! from what SQLite writes beside the file.

use std::fs;
use std::io;
use std::time::Duration;

use rusqlite::Connection;

use super::tree::{conversation_of, leaf_below, newest_child, show};
use super::{ConversationId, MessageId};
use crate::open::PATIENCE;
use crate::{Error, Store, copies};

/// How long a deletion waits for others who still read what was before.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(300);

/// From so many messages on, the search index is built again instead of taking out each message by
/// itself: with 20,000 messages that took half a minute.
const MANY_MESSAGES: u32 = 300;

/// The messages of a branch, from `?1` downwards.
const BELOW: &str = "WITH RECURSIVE below (id) AS (
         SELECT ?1
         UNION ALL
         SELECT messages.id FROM messages JOIN below ON messages.parent = below.id
             AND messages.conversation = ?2
     )";

impl Store {
    /// Deletes a conversation for good: its messages and drafts, what copies have of it, the file of an
    /// earlier version that it came from, and what the engine saved of it.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`]; [`Error::Io`] where one of its files stays; those of the
    /// database.
    pub fn delete_conversation(&self, id: &ConversationId) -> Result<(), Error> {
        let sources: Vec<String> = {
            let reader = self.reader();
            let mut statement = reader.prepare_cached(
                "SELECT kept_as FROM imports WHERE conversation = ?1 AND kept_as IS NOT NULL",
            )?;
            statement.query_map([id.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        if !self.transaction(|transaction| Ok::<_, Error>(delete_all(transaction, id)?))? {
            return Err(Error::NoSuchConversation { id: id.clone() });
        }
        self.forget_log();
        copies::delete_from_all(&self.paths, &self.locks, |copy| delete_all(copy, id).map(drop))?;
        let files = sources.iter().map(|name| self.paths.copies.join(name));
        for path in files.chain([self.session_path(id)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes a message and all that follows it, for good. Where the branch that is shown ended there,
    /// the newest one beside it is shown.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`], and those of the database.
    pub fn delete_message(&self, id: &MessageId) -> Result<(), Error> {
        let conversation = self.transaction(|transaction| {
            let missing = || Error::NoSuchMessage { id: id.clone() };
            let conversation = conversation_of(transaction, id)?.ok_or_else(missing)?;
            let sql = "SELECT parent FROM messages WHERE id = ?1";
            let parent: Option<String> =
                transaction.query_row(sql, [id.as_str()], |row| row.get(0))?;
            delete_branch(transaction, &conversation, id)?;
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM messages WHERE id = current_leaf)
                 FROM conversations WHERE id = ?1";
            if transaction.query_row(sql, [conversation.as_str()], |row| row.get(0))? {
                let leaf = match parent.map(MessageId::from) {
                    Some(parent) => Some(leaf_below(transaction, &conversation, parent)?),
                    None => match newest_child(transaction, &conversation, None)? {
                        Some(first) => Some(leaf_below(transaction, &conversation, first)?),
                        None => None,
                    },
                };
                show(transaction, &conversation, leaf.as_ref())?;
            }
            Ok::<_, Error>(conversation)
        })?;
        self.forget_log();
        copies::delete_from_all(&self.paths, &self.locks, |copy| {
            delete_branch(copy, &conversation, id)
        })
    }

    /// Writes the file again, since pages may have remains of rows that were moved, and empties the
    /// write-ahead log, which has what was deleted. Where another process reads an earlier state, the
    /// log is emptied when that ends.
    fn forget_log(&self) {
        let writer = self.writer();
        let _ = writer.busy_timeout(CHECKPOINT_PATIENCE);
        let _ = writer.execute_batch("VACUUM");
        let _ = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let _ = writer.busy_timeout(PATIENCE);
    }
}

/// Deletes a conversation. Returns whether there was one.
fn delete_all(connection: &Connection, id: &ConversationId) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM messages WHERE conversation = ?1";
    let n_messages = connection.query_row(sql, [id.as_str()], |row| row.get(0))?;
    let sql = "DELETE FROM conversations WHERE id = ?1";
    let n_rows = delete(connection, n_messages, || connection.execute(sql, [id.as_str()]))?;
    Ok(n_rows > 0)
}

/// Deletes a message and all that follows it.
fn delete_branch(
    connection: &Connection,
    conversation: &ConversationId,
    id: &MessageId,
) -> rusqlite::Result<()> {
    let ids = [id.as_str(), conversation.as_str()];
    let sql = format!("{BELOW} SELECT count(*) FROM below");
    let n_messages = connection.query_row(&sql, ids, |row| row.get(0))?;
    let sql = format!("{BELOW} DELETE FROM messages WHERE id IN (SELECT id FROM below)");
    delete(connection, n_messages, || connection.execute(&sql, ids)).map(drop)
}

/// Deletes so many messages, in the transaction of the caller's, such that no word of them stays in the
/// search index.
fn delete(
    connection: &Connection,
    n_messages: u32,
    delete: impl FnOnce() -> rusqlite::Result<usize>,
) -> rusqlite::Result<usize> {
    if n_messages < MANY_MESSAGES {
        return delete();
    }
    let set = "INSERT INTO search (search, rank) VALUES ('secure-delete', ?1)";
    connection.execute(set, [0])?;
    let n_rows = delete()?;
    connection.execute("INSERT INTO search (search) VALUES ('rebuild')", [])?;
    connection.execute(set, [1])?;
    Ok(n_rows)
}
