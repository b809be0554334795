//! What the user chose: one table of keys and JSON values.
//!
//! The caller owns the types. Keys have a namespace (`library.quota`, `sampling`, `theme`); keys that
//! this version does not know stay. A type that is a container of settings should be
//! `#[serde(default)]` as a whole, so that a field which a later version adds does not make the stored
//! value unreadable.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Store};

impl Store {
    /// What is stored under `key`; `None` where nothing is.
    ///
    /// # Errors
    /// [`Error::Setting`] where the value is not a `T`: the caller reports it and goes on with its
    /// default. The value stays. Those of the database.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        value(&self.reader(), key)?.map(|text| parse(key, &text)).transpose()
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// [`Error::Setting`] where what is stored there now is not a `T`: it stays, so that nothing
    /// is lost by a program that does not understand it. [`Store::overwrite`] replaces it. Those of
    /// the database.
    pub fn set<T: Serialize + DeserializeOwned>(&self, key: &str, new: &T) -> Result<(), Error> {
        self.transaction(|transaction| {
            if let Some(text) = value(transaction, key)? {
                parse::<T>(key, &text)?;
            }
            put(transaction, key, new)
        })
    }

    /// Replaces the value of `key`, even one that cannot be parsed: only after the user confirmed it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn overwrite<T: Serialize>(&self, key: &str, new: &T) -> Result<(), Error> {
        put(&self.writer(), key, new)
    }

    /// Removes what is stored under `key`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn unset(&self, key: &str) -> Result<(), Error> {
        self.writer().execute("DELETE FROM settings WHERE key = ?1", [key])?;
        Ok(())
    }

    /// All keys, sorted.
    ///
    /// # Errors
    /// Those of the database.
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT key FROM settings ORDER BY key")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn value(connection: &Connection, key: &str) -> Result<Option<String>, Error> {
    let mut statement = connection.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

fn parse<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Setting { key: key.to_owned(), source })
}

fn put<T: Serialize>(connection: &Connection, key: &str, new: &T) -> Result<(), Error> {
    let text = serde_json::to_string(new).map_err(Error::Json)?;
    connection.execute(
        "INSERT INTO settings (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![key, text],
    )?;
    Ok(())
}
