//! What can still be read of a damaged database.

use std::path::Path;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior, params_from_iter};

use crate::{Error, schema};

/// Tables whose rows have no key by which those of a copy would be known.
const WITHOUT_KEY: &[&str] = &["peaks", "connections", "journal", "drafts"];

/// How much was read of a damaged database that no copy had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Models of the library.
    pub n_models: usize,
    /// Downloads of the queue.
    pub n_downloads: usize,
    /// Settings.
    pub n_settings: usize,
    /// Conversations.
    pub n_conversations: usize,
    /// Messages.
    pub n_messages: usize,
}

/// Adds the rows of the database at `damaged` that can be read to those in `into`, whose own rows stay.
pub(crate) fn salvage(
    damaged: &Path,
    into: &mut Connection,
    is_from_copy: bool,
) -> Result<Salvaged, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(old) = Connection::open_with_flags(damaged, flags) else {
        return Ok(Salvaged::default());
    };
    // The damaged file is kept as it is.
    let no_checkpoint = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    let _ = old.set_db_config(no_checkpoint, true);
    let transaction = into.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut salvaged = Salvaged::default();
    for (table, columns) in schema::COLUMNS {
        if is_from_copy && WITHOUT_KEY.contains(table) {
            continue;
        }
        let n_rows = copy_rows(&old, &transaction, table, columns)?;
        match *table {
            "models" => salvaged.n_models = n_rows,
            "downloads" => salvaged.n_downloads = n_rows,
            "settings" => salvaged.n_settings = n_rows,
            "conversations" => salvaged.n_conversations = n_rows,
            "messages" => salvaged.n_messages = n_rows,
            _ => {}
        }
    }
    mend_tree(&transaction)?;
    transaction.commit()?;
    Ok(salvaged)
}

/// Copies the rows of one table that can be read; those that are there already stay as they are.
fn copy_rows(
    old: &Connection,
    into: &Transaction<'_>,
    table: &str,
    columns: &str,
) -> Result<usize, Error> {
    let columns = present(old, table, columns);
    let Ok(mut select) = old.prepare(&format!("SELECT {columns} FROM {table}")) else {
        return Ok(0);
    };
    let n_columns = select.column_count();
    let places: Vec<String> = (1..=n_columns).map(|n| format!("?{n}")).collect();
    let places = places.join(", ");
    let sql = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
    let mut insert = into.prepare(&sql)?;
    let Ok(mut rows) = select.query([]) else { return Ok(0) };
    let mut n_rows = 0;
    // Behind an error there is nothing to read.
    while let Ok(Some(row)) = rows.next() {
        if let Ok(values) = values_of(row, n_columns) {
            n_rows += insert.execute(params_from_iter(values))?;
        }
    }
    Ok(n_rows)
}

/// Those of `columns` that the table has: a file of an earlier version lacks the newest ones.
fn present(old: &Connection, table: &str, columns: &str) -> String {
    let sql = format!("SELECT {columns} FROM {table} LIMIT 0");
    if old.prepare(&sql).is_ok() {
        return columns.to_owned();
    }
    let has = |column: &&str| old.prepare(&format!("SELECT {column} FROM {table} LIMIT 0")).is_ok();
    columns.split(", ").filter(has).collect::<Vec<_>>().join(", ")
}

/// The values of a row; what is not UTF-8 in its texts is replaced.
pub(crate) fn values_of(row: &Row<'_>, n_columns: usize) -> rusqlite::Result<Vec<Value>> {
    let value = |idx| {
        Ok(match row.get_ref(idx)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        })
    };
    (0..n_columns).map(value).collect()
}

/// Makes trees of what was read: a message whose parent is gone becomes a beginning, one whose
/// conversation is gone gets a conversation without a title.
fn mend_tree(transaction: &Transaction<'_>) -> Result<(), Error> {
    transaction.execute_batch(
        "INSERT OR IGNORE INTO conversations (id, created_ms, updated_ms)
             SELECT conversation, min(created_ms), max(created_ms) FROM messages
             GROUP BY conversation;
         UPDATE messages SET parent = NULL WHERE parent IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM messages AS other
             WHERE other.id = messages.parent AND other.conversation = messages.conversation);
         DELETE FROM parts WHERE message NOT IN (SELECT id FROM messages);
         DELETE FROM journal WHERE message NOT IN (SELECT id FROM messages);
         UPDATE conversations SET folder = NULL
             WHERE folder NOT IN (SELECT id FROM conversation_folders);
         DELETE FROM drafts WHERE conversation NOT IN (SELECT id FROM conversations);
         DELETE FROM draft_attachments
             WHERE conversation NOT IN (SELECT id FROM conversations);",
    )?;
    Ok(())
}
