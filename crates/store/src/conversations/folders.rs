//! Folders of conversations. A conversation is in one folder or in none.

use rusqlite::{Connection, params};

use super::FolderId;
use crate::{Error, Store, now_ms, signed};

/// A folder of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Names it.
    pub id: FolderId,
    /// Its name, as the user wrote it.
    pub name: String,
}

impl Store {
    /// The folders, in the order in which they were created.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversation_folders(&self) -> Result<Vec<Folder>, Error> {
        let reader = self.reader();
        let sql = "SELECT id, name FROM conversation_folders ORDER BY id";
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Folder { id: row.get::<_, String>(0)?.into(), name: row.get(1)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Creates a folder.
    ///
    /// # Errors
    /// Those of the database.
    pub fn create_conversation_folder(&self, name: &str) -> Result<FolderId, Error> {
        let id = FolderId::new();
        self.transaction(|transaction| {
            let sql = "INSERT INTO conversation_folders (id, name, created_ms) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![id.as_str(), name, signed(now_ms())])?;
            Ok::<_, Error>(())
        })?;
        Ok(id)
    }

    /// Renames a folder.
    ///
    /// # Errors
    /// [`Error::NoSuchFolder`], and those of the database.
    pub fn rename_conversation_folder(&self, id: &FolderId, name: &str) -> Result<(), Error> {
        self.transaction(|transaction| {
            check_exists(transaction, Some(id))?;
            let sql = "UPDATE conversation_folders SET name = ?2 WHERE id = ?1";
            transaction.execute(sql, params![id.as_str(), name])?;
            Ok(())
        })
    }

    /// Removes a folder. Its conversations stay, in no folder.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove_conversation_folder(&self, id: &FolderId) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql = "DELETE FROM conversation_folders WHERE id = ?1";
            transaction.execute(sql, [id.as_str()])?;
            Ok(())
        })
    }
}

/// Checks that there is such a folder, where one is named.
pub(super) fn check_exists(connection: &Connection, id: Option<&FolderId>) -> Result<(), Error> {
    let Some(id) = id else { return Ok(()) };
    let sql = "SELECT 1 FROM conversation_folders WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.exists([id.as_str()])?;
    if found { Ok(()) } else { Err(Error::NoSuchFolder { id: id.clone() }) }
}
