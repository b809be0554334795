//! The log of connections: a row before each connection is made, and what came of it afterwards.
//!
//! Its words are codes of the caller's. Connections are made elsewhere.

use rusqlite::params;

use crate::logs::bound;
use crate::{Error, Store, now_ms, signed, unsigned};

/// Connections that the log keeps.
pub const MAX_LOGGED_CONNECTIONS: u32 = 10_000;
/// Setting: the time of the last connection when the log was cleared.
const CLEARED: &str = "connections.cleared";

/// What is known of a connection before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewConnection {
    /// Host, and port unless it is the default.
    pub host: String,
    /// Why: a code such as `download`.
    pub purpose: String,
    /// What about, such as `owner/name/file.gguf`.
    pub subject: String,
    /// Who asked for it: a code such as `window`.
    pub asker: String,
}

/// What came of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// The network address that was connected to.
    pub address: Option<String>,
    /// An HTTP status such as `206`, or JSON of an error code and its arguments; empty if the process
    /// ended before.
    pub outcome: String,
    /// Bytes of the request.
    pub sent_bytes: u64,
    /// Bytes of the answer.
    pub received_bytes: u64,
}

/// A connection of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedConnection {
    /// When it was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where to and why.
    pub what: NewConnection,
    /// What came of it.
    pub end: ConnectionEnd,
}

/// The last connection of all, also after the log was cleared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastConnection {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Host, and port unless it is the default.
    pub host: String,
}

impl Store {
    /// Logs a connection that is about to be made, and returns its number. The log keeps the last
    /// [`MAX_LOGGED_CONNECTIONS`].
    ///
    /// # Errors
    /// Those of the database.
    pub fn begin_connection(&self, new: &NewConnection) -> Result<i64, Error> {
        let writer = self.writer();
        let sql = "INSERT INTO connections (at_ms, host, purpose, subject, asker, outcome)
            VALUES (?1, ?2, ?3, ?4, ?5, '')";
        let at_ms = signed(now_ms());
        let row = params![at_ms, new.host, new.purpose, new.subject, new.asker];
        writer.prepare_cached(sql)?.execute(row)?;
        let id = writer.last_insert_rowid();
        bound(&writer, "connections", MAX_LOGGED_CONNECTIONS)?;
        Ok(id)
    }

    /// Notes what came of a connection, so far or at its end.
    ///
    /// # Errors
    /// Those of the database.
    pub fn note_connection(&self, id: i64, end: &ConnectionEnd) -> Result<(), Error> {
        let sql = "UPDATE connections SET address = ?2, outcome = ?3, sent = ?4, received = ?5
            WHERE id = ?1";
        let (sent, received) = (signed(end.sent_bytes), signed(end.received_bytes));
        let row = params![id, end.address, end.outcome, sent, received];
        self.writer().prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// The last connections that were made, at most `limit`, the latest first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn connections(&self, limit: u32) -> Result<Vec<LoggedConnection>, Error> {
        let reader = self.reader();
        let sql = "SELECT at_ms, host, purpose, subject, asker, address, outcome, sent, received
            FROM connections ORDER BY id DESC LIMIT ?1";
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([limit], |row| {
            Ok(LoggedConnection {
                at_ms: unsigned(row.get(0)?),
                what: NewConnection {
                    host: row.get(1)?,
                    purpose: row.get(2)?,
                    subject: row.get(3)?,
                    asker: row.get(4)?,
                },
                end: ConnectionEnd {
                    address: row.get(5)?,
                    outcome: row.get(6)?,
                    sent_bytes: unsigned(row.get(7)?),
                    received_bytes: unsigned(row.get(8)?),
                },
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The last connection of all; `None` if none was ever made.
    ///
    /// # Errors
    /// Those of the database.
    pub fn last_connection(&self) -> Result<Option<LastConnection>, Error> {
        let last = self.connections(1)?.into_iter().next();
        match last {
            Some(last) => Ok(Some(LastConnection { at_ms: last.at_ms, host: last.what.host })),
            None => self.get(CLEARED),
        }
    }

    /// Deletes the log. When the last connection was made stays known.
    ///
    /// # Errors
    /// Those of the database.
    pub fn clear_connections(&self) -> Result<(), Error> {
        if let Some(last) = self.last_connection()? {
            self.overwrite(CLEARED, &last)?;
        }
        self.writer().execute("DELETE FROM connections", [])?;
        Ok(())
    }
}
