//! Deletes conversations and messages for good: from the tables, the search index and the copies, and
//! from what SQLite writes beside the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::tree::{leaf_below, newest_child, show};
use super::{ConversationId, MessageId, title};
use crate::open::PATIENCE;
use crate::{Error, Store, copies, unsigned};

/// How long a deletion waits for others who still read what was before.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(300);

/// From so many messages on, the search index is built again instead of taking out each message by
/// itself: with 20,000 messages that took half a minute.
const MANY_MESSAGES: u32 = 300;

/// The messages of a branch, from `?1` downwards.
pub(super) const BELOW: &str = "WITH RECURSIVE below (id) AS (
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
        files.chain([self.session_path(id)]).try_for_each(|path| remove(&path))
    }

    /// Deletes a message and all that follows it, for good. Where the branch that is shown ended there,
    /// the newest one beside it is shown.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`], and those of the database.
    pub fn delete_message(&self, id: &MessageId) -> Result<(), Error> {
        let conversation = self.transaction(|transaction| {
            let sql = "SELECT conversation, parent FROM messages WHERE id = ?1";
            let found = transaction.query_row(sql, [id.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
            });
            let missing = || Error::NoSuchMessage { id: id.clone() };
            let (conversation, parent) = found.optional()?.ok_or_else(missing)?;
            let conversation = ConversationId::from(conversation);
            delete_branch(transaction, &conversation, id)?;
            show_beside(transaction, &conversation, parent.map(MessageId::from))?;
            Ok::<_, Error>(conversation)
        })?;
        self.forget_log();
        copies::delete_from_all(&self.paths, &self.locks, |copy| {
            delete_branch(copy, &conversation, id)
        })
    }

    /// Deletes all conversations for good, as [`Store::delete_conversation`] does with one. Folders and
    /// the draft of the new chat go, too.
    ///
    /// # Errors
    /// [`Error::Io`] where a file stays; those of the database.
    pub fn delete_all_conversations(&self) -> Result<(), Error> {
        let all = |connection: &Connection| -> rusqlite::Result<()> {
            let sql = "SELECT count(*) FROM messages";
            let n_messages = connection.query_row(sql, [], |row| row.get(0))?;
            delete(connection, n_messages, || connection.execute("DELETE FROM conversations", []))?;
            connection.execute("DELETE FROM drafts", [])?;
            Ok(())
        };
        let sources: Vec<String> = {
            let reader = self.reader();
            let mut statement = reader.prepare_cached(
                "SELECT kept_as FROM imports WHERE kept_as IS NOT NULL
                     AND conversation IS NOT NULL",
            )?;
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        self.transaction(|transaction| {
            all(transaction)?;
            transaction.execute("DELETE FROM conversation_folders", [])?;
            Ok::<_, Error>(())
        })?;
        self.forget_log();
        copies::delete_from_all(&self.paths, &self.locks, all)?;
        sources.iter().try_for_each(|name| remove(&self.paths.copies.join(name)))?;
        self.sessions().iter().try_for_each(|path| remove(path))
    }

    /// About what [`Store::delete_all_conversations`] frees on the disk, in bytes: texts, the search
    /// index and what the engine saved.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversations_size_bytes(&self) -> Result<u64, Error> {
        let sql = "SELECT coalesce((SELECT sum(length(CAST(text AS BLOB))) FROM parts), 0)
             + coalesce((SELECT sum(octet_length(text)) FROM draft_attachments), 0)
             + coalesce((SELECT sum(length(block)) FROM search_data), 0)";
        let rows: i64 = self.reader().query_row(sql, [], |row| row.get(0))?;
        let sessions = self.sessions();
        let sizes = sessions.iter().filter_map(|path| fs::metadata(path).ok()).map(|it| it.len());
        Ok(unsigned(rows).saturating_add(sizes.sum()))
    }

    /// What the engine saved of all conversations.
    fn sessions(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.paths.conversations).into_iter().flatten().flatten();
        let paths = files.map(|file| file.path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "session")).collect()
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

/// Where the branch that is shown ended with messages that are gone, shows the newest one below `parent`.
pub(super) fn show_beside(
    transaction: &Transaction<'_>,
    conversation: &ConversationId,
    parent: Option<MessageId>,
) -> Result<(), Error> {
    let sql = "SELECT NOT EXISTS (
             SELECT 1 FROM messages WHERE id = current_leaf AND messages.deleted_ms IS NULL)
         FROM conversations WHERE id = ?1";
    if !transaction.query_row(sql, [conversation.as_str()], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let start = match parent {
        Some(parent) => Some(parent),
        None => newest_child(transaction, conversation, None)?,
    };
    let leaf = start.map(|start| leaf_below(transaction, conversation, start)).transpose()?;
    show(transaction, conversation, leaf.as_ref())
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
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
    let first = title::first_question(connection, conversation)?.map(|(id, _)| id);
    let ids = [id.as_str(), conversation.as_str()];
    let sql = format!("{BELOW} SELECT count(*) FROM below");
    let n_messages = connection.query_row(&sql, ids, |row| row.get(0))?;
    let sql = format!("{BELOW} DELETE FROM messages WHERE id IN (SELECT id FROM below)");
    delete(connection, n_messages, || connection.execute(&sql, ids))?;
    title::forget_question(connection, conversation, first.as_deref())
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
