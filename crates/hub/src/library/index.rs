//! The tables of the index and how their rows are read and written.
//!
//! Paths of files in our folder are stored relative to it, so that the folder may move; others whole.
//! A path that is not UTF-8 is stored as its bytes.

use std::path::{Path, PathBuf};

use lilims_models::short_name;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

use super::folder::Folder;
use super::import::FOLDER;
use crate::Error;

/// The version of the tables below. Version 1 stored all paths whole.
const VERSION: u32 = 2;
/// Tells our index from other databases: `LLIB` in ASCII.
const APPLICATION_ID: u32 = 0x4c4c_4942;
const TABLES: &str = "
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        path TEXT NOT NULL UNIQUE,
        owner TEXT,
        repository TEXT,
        file TEXT,
        revision TEXT,
        sha256 TEXT,
        size_bytes INTEGER NOT NULL,
        licence TEXT,
        quantisation TEXT NOT NULL,
        family TEXT NOT NULL,
        context_tokens INTEGER,
        added_ms INTEGER NOT NULL,
        last_used_ms INTEGER,
        is_pinned INTEGER NOT NULL DEFAULT 0,
        is_damaged INTEGER NOT NULL DEFAULT 0,
        digests BLOB NOT NULL DEFAULT x''
    );
    CREATE TABLE downloads (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repository TEXT NOT NULL,
        file TEXT NOT NULL,
        revision TEXT NOT NULL,
        wanted_sha256 TEXT,
        state TEXT NOT NULL DEFAULT 'queued',
        failure TEXT,
        model TEXT,
        progress TEXT NOT NULL DEFAULT '{}',
        received BLOB NOT NULL DEFAULT x'',
        digests BLOB NOT NULL DEFAULT x'',
        UNIQUE (repository, file)
    );
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE folders (path TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE peaks (
        model TEXT NOT NULL, family TEXT NOT NULL, weights INTEGER NOT NULL,
        estimated INTEGER NOT NULL, measured INTEGER NOT NULL
    );
    CREATE TABLE connections (
        at_ms INTEGER NOT NULL, host TEXT NOT NULL, purpose TEXT NOT NULL, outcome TEXT NOT NULL
    );
";

/// A model of the library, as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its short name, unique.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// Where its file is.
    pub path: PathBuf,
    /// Whose file it is, such as `Ollama`; `None` for ours.
    pub owner: Option<String>,
    /// The repository that it came from, `owner/name`.
    pub repository: Option<String>,
    /// The file in that repository.
    pub file: Option<String>,
    /// The commit of that repository.
    pub revision: Option<String>,
    /// The file's SHA-256 in hexadecimal.
    pub sha256: Option<String>,
    /// The file's length.
    pub size_bytes: u64,
    /// The licence of the weights.
    pub licence: Option<String>,
    /// Quantisation, such as `Q4_K_M`; empty where unknown.
    pub quantisation: String,
    /// Family, such as `llama`; empty where unknown.
    pub family: String,
    /// The context that it was trained for, in tokens.
    pub context_tokens: Option<u32>,
    /// When it was added; milliseconds since 1970, as all times here.
    pub added_ms: u64,
    /// When it was last loaded.
    pub last_used_ms: Option<u64>,
    /// Whether it is never removed to make room.
    pub is_pinned: bool,
    /// Whether its hash no longer held when it was last computed.
    pub is_damaged: bool,
    /// SHA-256 of the file up to the end of each chunk, 32 bytes each; empty where not computed.
    pub digests: Vec<u8>,
}

impl Entry {
    /// Whether this is `file` of `repository`: the same contents where both hashes are known, else the
    /// same path there.
    pub fn is_file_of(&self, repository: &str, file: &str, sha256: Option<&str>) -> bool {
        match (self.sha256.as_deref(), sha256) {
            (Some(has), Some(wanted)) => has == wanted,
            _ => {
                self.repository.as_deref() == Some(repository) && self.file.as_deref() == Some(file)
            }
        }
    }

    /// Whether its file is there and was not found damaged.
    pub fn is_usable(&self) -> bool {
        !self.is_damaged && self.path.is_file()
    }

    /// Whether it is the model that ships with the app.
    pub fn is_bundled(&self) -> bool {
        self.owner.as_deref() == Some(super::import::BUNDLED)
    }
}

const COLUMNS: &str = "name, title, path, owner, repository, file, revision, sha256, size_bytes, \
     licence, quantisation, family, context_tokens, added_ms, last_used_ms, is_pinned, is_damaged, \
     digests";

/// What [`prepare`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// There were no tables, and now there are.
    New,
    /// It was there.
    Known,
}

/// Why an index cannot be prepared.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It is damaged, or no index of ours.
    Damaged(String),
    /// Anything else.
    Error(Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Error(error.into()),
        }
    }
}

/// Checks an index, creates the tables of a new one, and brings one of an earlier version up to
/// date.
pub(super) fn prepare(connection: &mut Connection, folder: &Folder) -> Result<Prepared, Unusable> {
    let number = |pragma: &str| -> Result<u32, Unusable> {
        Ok(connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?)
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != 0 && application != APPLICATION_ID {
        return Err(Unusable::Damaged("it is a database of another program".to_owned()));
    }
    if version > VERSION {
        return Err(Unusable::Error(Error::IndexVersion { version, known: VERSION }));
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Unusable::Damaged(found));
    }
    if (application, version) == (APPLICATION_ID, VERSION) {
        // Most opens find all as it should be, and write nothing.
        check_tables(connection)?;
        return Ok(Prepared::Known);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: u32 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let prepared = match (version, tables) {
        (0, 0) => {
            transaction.execute_batch(TABLES)?;
            Prepared::New
        }
        (0, _) => return Err(Unusable::Damaged("it is no index of Lilims".to_owned())),
        (VERSION, _) => Prepared::Known,
        _ => {
            check_tables(&transaction)?;
            store_relative_paths(&transaction, folder).map_err(Unusable::Error)?;
            Prepared::Known
        }
    };
    check_tables(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(prepared)
}

/// Whether the tables have the columns that are read.
fn check_tables(connection: &Connection) -> Result<(), Unusable> {
    for (columns, table) in [
        (COLUMNS, "models"),
        (super::downloads::COLUMNS, "downloads"),
        ("key, value", "settings"),
        ("path", "folders"),
        ("model, family, weights, estimated, measured", "peaks"),
        ("at_ms, host, purpose, outcome", "connections"),
    ] {
        let sql = format!("SELECT {columns} FROM {table} LIMIT 0");
        connection.prepare(&sql).map_err(|error| Unusable::Damaged(error.to_string()))?;
    }
    Ok(())
}

/// Stores paths in our folder relative to it, also those that were written down before the folder
/// moved here.
fn store_relative_paths(transaction: &Transaction<'_>, folder: &Folder) -> Result<(), Error> {
    let mut rows = transaction.prepare("SELECT id, path, owner FROM models")?;
    let rows: Vec<(i64, PathBuf, Option<String>)> = rows
        .query_map([], |row| Ok((row.get(0)?, from_value(folder, row.get_ref(1)?)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, path, owner) in rows {
        let here = match folder.relative(&path) {
            Some(_) => path,
            None if owner.is_none() => moved_here(folder, &path).unwrap_or(path),
            None => path,
        };
        transaction.execute(
            "UPDATE OR REPLACE models SET path = ?2 WHERE id = ?1",
            params![id, to_value(folder, &here)?],
        )?;
    }
    Ok(())
}

/// Where a file of ours is whose folder has moved: the longest end of its path that is here.
fn moved_here(folder: &Folder, path: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = path.iter().collect();
    let ends = (1..parts.len()).map(|from| parts[from..].iter().collect::<PathBuf>());
    ends.map(|end| folder.root().join(end)).find(|here| here.is_file() && folder.owns(here))
}

/// How a path is stored.
pub(super) fn to_value(folder: &Folder, path: &Path) -> Result<Value, Error> {
    let relative = folder.relative(path);
    let path = relative.as_deref().unwrap_or(path);
    match path.to_str() {
        Some(text) if relative.is_some() && cfg!(windows) => {
            Ok(Value::Text(text.replace('\\', "/")))
        }
        Some(text) => Ok(Value::Text(text.to_owned())),
        None => bytes_of(path),
    }
}

#[cfg(unix)]
fn bytes_of(path: &Path) -> Result<Value, Error> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Value::Blob(path.as_os_str().as_bytes().to_owned()))
}

#[cfg(not(unix))]
fn bytes_of(path: &Path) -> Result<Value, Error> {
    Err(Error::FileName { file: path.display().to_string() })
}

/// The path that is stored as `value`.
pub(super) fn from_value(folder: &Folder, value: ValueRef<'_>) -> rusqlite::Result<PathBuf> {
    let path = match value {
        ValueRef::Text(text) => PathBuf::from(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => path_of(bytes),
        other => {
            let what = "a path is no text".into();
            return Err(rusqlite::Error::FromSqlConversionFailure(0, other.data_type(), what));
        }
    };
    // An absolute path stays what it is.
    Ok(folder.root().join(path))
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// All models, the last used first.
pub(super) fn entries(connection: &Connection, folder: &Folder) -> Result<Vec<Entry>, Error> {
    let order = "ORDER BY coalesce(last_used_ms, added_ms) DESC, name";
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM models {order}"))?;
    let rows = statement.query_map([], |row| entry(row, folder))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Those rows of a damaged index that can be read.
pub(super) fn readable_entries(connection: &Connection, folder: &Folder) -> Vec<Entry> {
    let Ok(mut statement) = connection.prepare(&format!("SELECT {COLUMNS} FROM models")) else {
        return Vec::new();
    };
    let Ok(rows) = statement.query_map([], |row| entry(row, folder)) else { return Vec::new() };
    let mut entries = Vec::new();
    for row in rows {
        match row {
            Ok(entry) => entries.push(entry),
            // A row whose values have other types; behind anything else is nothing to read.
            Err(rusqlite::Error::FromSqlConversionFailure(..))
            | Err(rusqlite::Error::InvalidColumnType(..)) => {}
            Err(_) => break,
        }
    }
    for entry in &mut entries {
        if folder.relative(&entry.path).is_none()
            && entry.owner.as_deref().is_none_or(|owner| owner == FOLDER)
            && let Some(here) = moved_here(folder, &entry.path)
        {
            (entry.path, entry.owner) = (here, None);
        }
    }
    entries
}

/// The model called `name`.
pub(super) fn find(
    connection: &Connection,
    folder: &Folder,
    name: &str,
) -> Result<Option<Entry>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM models WHERE name = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([name], |row| entry(row, folder)).optional()?)
}

/// The model whose path is stored as that of `path`.
pub(super) fn find_path(
    connection: &Connection,
    folder: &Folder,
    path: &Path,
) -> Result<Option<Entry>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM models WHERE path = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([to_value(folder, path)?], |row| entry(row, folder));
    Ok(found.optional()?)
}

/// Writes a model down, in place of what was known of its path: the name and the pin of that stay.
/// Where another model got its name since that was chosen, it gets another one: `transaction` must be
/// one that writes.
pub(super) fn put(
    transaction: &Transaction<'_>,
    folder: &Folder,
    entry: &mut Entry,
) -> Result<(), Error> {
    if let Some(known) = find_path(transaction, folder, &entry.path)? {
        entry.name = known.name;
        entry.is_pinned |= known.is_pinned;
        entry.last_used_ms = entry.last_used_ms.or(known.last_used_ms);
    }
    let path = to_value(folder, &entry.path)?;
    let mut others = transaction.prepare_cached("SELECT name FROM models WHERE path <> ?1")?;
    let others: Vec<String> =
        others.query_map([&path], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_taken = |name: &str| others.iter().any(|taken| taken == name);
    if is_taken(&entry.name) {
        entry.name = short_name(&entry.name, &is_taken);
    }
    let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18";
    let sql = format!("INSERT OR REPLACE INTO models ({COLUMNS}) VALUES ({values})");
    transaction.prepare_cached(&sql)?.execute(params![
        entry.name,
        entry.title,
        path,
        entry.owner,
        entry.repository,
        entry.file,
        entry.revision,
        entry.sha256,
        signed(entry.size_bytes),
        entry.licence,
        entry.quantisation,
        entry.family,
        entry.context_tokens,
        signed(entry.added_ms),
        entry.last_used_ms.map(signed),
        entry.is_pinned,
        entry.is_damaged,
        entry.digests,
    ])?;
    Ok(())
}

fn entry(row: &Row<'_>, folder: &Folder) -> rusqlite::Result<Entry> {
    let path = from_value(folder, row.get_ref(2)?)?;
    let owner: Option<String> = row.get(3)?;
    // Whatever the index says: a link may have taken the place of a folder of ours.
    let owner = owner.or_else(|| (!folder.owns(&path)).then(|| FOLDER.to_owned()));
    Ok(Entry {
        name: row.get(0)?,
        title: row.get(1)?,
        path,
        owner,
        repository: row.get(4)?,
        file: row.get(5)?,
        revision: row.get(6)?,
        sha256: row.get(7)?,
        size_bytes: unsigned(row.get(8)?),
        licence: row.get(9)?,
        quantisation: row.get(10)?,
        family: row.get(11)?,
        context_tokens: row.get(12)?,
        added_ms: unsigned(row.get(13)?),
        last_used_ms: row.get::<_, Option<i64>>(14)?.map(unsigned),
        is_pinned: row.get(15)?,
        is_damaged: row.get(16)?,
        digests: row.get(17)?,
    })
}

/// SQLite's integers are signed; nothing here comes near the bound.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
