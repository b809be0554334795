//! Small tables beside the library: folders whose models are used in place, and measured peaks of memory.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::models::{from_value, to_value};
use crate::{Error, Store, signed, unsigned};

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
}

/// Keeps the newest rows of a table.
pub(crate) fn bound(
    connection: &Connection,
    table: &'static str,
    n_rows: u32,
) -> Result<(), Error> {
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
    connection.prepare_cached(&sql)?.execute([n_rows])?;
    Ok(())
}
