//! Small tables beside the library: folders whose models are used in place, measured peaks of memory,
//! and the log of connections.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::models::{from_value, to_value};
use crate::{Error, Store, now_ms, signed, unsigned};

/// Connections that the log keeps.
pub const MAX_LOGGED_CONNECTIONS: u32 = 10_000;
/// Measured peaks that are kept.
const MAX_PEAKS: u32 = 200;

/// The memory that a model took, beside what it was estimated to take. Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The model's short name.
    pub model: String,
    /// Its family.
    pub family: String,
    /// Its weights, which need no correction.
    pub weights_bytes: u64,
    /// The estimate.
    pub estimated_bytes: u64,
    /// What was measured.
    pub measured_bytes: u64,
}

/// A connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedConnection {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Host and port.
    pub host: String,
    /// What for, such as `download owner/name/file.gguf`.
    pub purpose: String,
    /// What came of it: an HTTP status such as `206`, or JSON of an error code and its arguments.
    pub outcome: String,
}

impl Store {
    /// Folders that the user added, whose models are used in place.
    ///
    /// # Errors
    /// Those of the database.
    pub fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT path FROM folders ORDER BY path")?;
        let rows = statement.query_map([], |row| from_value(row.get_ref(0)?))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a folder whose models are used in place.
    ///
    /// # Errors
    /// Those of the database; [`Error::PathNotText`].
    pub fn add_folder(&self, folder: &Path) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO folders (path) VALUES (?1)";
        self.writer().execute(sql, [to_value(folder)?])?;
        Ok(())
    }

    /// Removes a folder that was added.
    ///
    /// # Errors
    /// Those of the database; [`Error::PathNotText`].
    pub fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        self.writer().execute("DELETE FROM folders WHERE path = ?1", [to_value(folder)?])?;
        Ok(())
    }

    /// Notes what a model took; the last 200 are kept.
    ///
    /// # Errors
    /// Those of the database.
    pub fn add_peak(&self, peak: &Peak) -> Result<(), Error> {
        let writer = self.writer();
        writer.execute(
            "INSERT INTO peaks (model, family, weights, estimated, measured)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                peak.model,
                peak.family,
                signed(peak.weights_bytes),
                signed(peak.estimated_bytes),
                signed(peak.measured_bytes)
            ],
        )?;
        bound(&writer, "peaks", MAX_PEAKS)
    }

    /// What models took on this machine, the oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn peaks(&self) -> Result<Vec<Peak>, Error> {
        let reader = self.reader();
        let sql = "SELECT model, family, weights, estimated, measured FROM peaks ORDER BY id";
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Peak {
                model: row.get(0)?,
                family: row.get(1)?,
                weights_bytes: unsigned(row.get(2)?),
                estimated_bytes: unsigned(row.get(3)?),
                measured_bytes: unsigned(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes a connection into the log, which keeps the last [`MAX_LOGGED_CONNECTIONS`].
    ///
    /// # Errors
    /// Those of the database.
    pub fn log_connection(&self, host: &str, purpose: &str, outcome: &str) -> Result<(), Error> {
        let writer = self.writer();
        let sql = "INSERT INTO connections (at_ms, host, purpose, outcome) VALUES (?1, ?2, ?3, ?4)";
        let at_ms = signed(now_ms());
        writer.prepare_cached(sql)?.execute(params![at_ms, host, purpose, outcome])?;
        bound(&writer, "connections", MAX_LOGGED_CONNECTIONS)
    }

    /// The last connections that were made, at most `limit`, the latest first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn connections(&self, limit: u32) -> Result<Vec<LoggedConnection>, Error> {
        let reader = self.reader();
        let sql = "SELECT at_ms, host, purpose, outcome FROM connections ORDER BY id DESC LIMIT ?1";
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([limit], |row| {
            Ok(LoggedConnection {
                at_ms: unsigned(row.get(0)?),
                host: row.get(1)?,
                purpose: row.get(2)?,
                outcome: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Keeps the newest rows of a table.
fn bound(connection: &Connection, table: &'static str, n_rows: u32) -> Result<(), Error> {
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
    connection.prepare_cached(&sql)?.execute([n_rows])?;
    Ok(())
}
