//! What the user chose, what was measured, and the log of connections; all kept in the index.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, params};

use super::index::{from_value, signed, to_value, unsigned};
use super::{Library, now_ms};
use crate::Error;

/// Connections that the log keeps.
const LOGGED_CONNECTIONS: u32 = 1000;
/// Measured peaks that are kept.
const KEPT_PEAKS: u32 = 200;
/// Downloads that run at once, unless the user says otherwise.
const AT_ONCE: u32 = 2;

/// How downloads are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many run at once, at least one.
    pub at_once: u32,
    /// The most bytes per second, all downloads of a process together; `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

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
    /// With whom.
    pub host: String,
    /// What for, such as `download owner/name/file.gguf`.
    pub purpose: String,
    /// What came of it, such as `206`.
    pub outcome: String,
}

impl Library {
    /// The quota that the user chose, in bytes.
    pub(super) fn chosen_quota(&self) -> Result<Option<u64>, Error> {
        self.number("quota")
    }

    /// Sets the quota in bytes; `None` goes back to the default. Nothing is removed by this.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_quota(&self, bytes: Option<u64>) -> Result<(), Error> {
        self.set("quota", bytes)
    }

    /// How downloads are bounded.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn limits(&self) -> Result<Limits, Error> {
        let at_once = self.number("at_once")?.and_then(|n| u32::try_from(n).ok());
        let bytes_per_second = self.number("bytes_per_second")?.filter(|&n| n > 0);
        Ok(Limits { at_once: at_once.unwrap_or(AT_ONCE).max(1), bytes_per_second })
    }

    /// Bounds downloads, those that run included.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.set("at_once", Some(u64::from(limits.at_once.max(1))))?;
        self.set("bytes_per_second", limits.bytes_per_second)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        Ok(self.text(key)?.and_then(|text| text.parse().ok()))
    }

    fn set(&self, key: &str, value: Option<u64>) -> Result<(), Error> {
        self.set_text(key, value.map(|value| value.to_string()).as_deref())
    }

    /// What is kept under `key`.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn text(&self, key: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT value FROM settings WHERE key = ?1";
        Ok(self.index().query_row(sql, [key], |row| row.get(0)).optional()?)
    }

    /// Keeps `value` under `key`, or removes it.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn set_text(&self, key: &str, value: Option<&str>) -> Result<(), Error> {
        match value {
            Some(value) => self.index().execute(
                "INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)",
                params![key, value],
            )?,
            None => self.index().execute("DELETE FROM settings WHERE key = ?1", [key])?,
        };
        Ok(())
    }

    /// Folders that the user added, whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let index = self.index();
        let mut statement = index.prepare_cached("SELECT path FROM folders ORDER BY path")?;
        let rows = statement.query_map([], |row| from_value(&self.folder, row.get_ref(0)?))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a folder whose models are used in place.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn add_folder(&self, folder: &Path) -> Result<(), Error> {
        let folder = to_value(&self.folder, folder)?;
        self.index().execute("INSERT OR IGNORE INTO folders (path) VALUES (?1)", [folder])?;
        Ok(())
    }

    /// Removes a folder that was added, and its models from the library. The files stay.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        for entry in self.entries()? {
            if entry.owner.is_some() && entry.path.starts_with(folder) {
                self.index().execute("DELETE FROM models WHERE name = ?1", [&entry.name])?;
            }
        }
        let folder = to_value(&self.folder, folder)?;
        self.index().execute("DELETE FROM folders WHERE path = ?1", [folder])?;
        Ok(())
    }

    /// Notes what a model took, so that later estimates are better.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn note_peak(&self, peak: &Peak) -> Result<(), Error> {
        let index = self.index();
        index.execute(
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
        bound(&index, "peaks", KEPT_PEAKS)
    }

    /// What models took on this machine.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn peaks(&self) -> Result<Vec<Peak>, Error> {
        let index = self.index();
        let sql = "SELECT model, family, weights, estimated, measured FROM peaks";
        let mut statement = index.prepare_cached(sql)?;
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

    /// Writes a connection into the log. The log is no reason for a connection to fail.
    pub(crate) fn log_connection(&self, host: &str, purpose: &str, outcome: &str) {
        let index = self.index();
        let logged = index.execute(
            "INSERT INTO connections (at_ms, host, purpose, outcome) VALUES (?1, ?2, ?3, ?4)",
            params![signed(now_ms()), host, purpose, outcome],
        );
        if logged.is_ok() {
            let _ = bound(&index, "connections", LOGGED_CONNECTIONS);
        }
    }

    /// The connections that were made, the latest first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn connections(&self) -> Result<Vec<LoggedConnection>, Error> {
        let index = self.index();
        let sql = "SELECT at_ms, host, purpose, outcome FROM connections ORDER BY rowid DESC";
        let mut statement = index.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
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

/// Keeps the newest `rows` of a table.
fn bound(index: &rusqlite::Connection, table: &'static str, rows: u32) -> Result<(), Error> {
    let sql = format!("DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?1");
    index.prepare_cached(&sql)?.execute([rows])?;
    Ok(())
}
