//! The tables of the index and how their rows are read and written.

use lilims_models::short_name;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::Error;

/// The version of the tables below.
const VERSION: u32 = 1;

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
    pub path: String,
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
    /// Whether it is the model that ships with the app.
    pub fn is_bundled(&self) -> bool {
        self.owner.as_deref() == Some(super::import::BUNDLED)
    }
}

const COLUMNS: &str = "name, title, path, owner, repository, file, revision, sha256, size_bytes, \
     licence, quantisation, family, context_tokens, added_ms, last_used_ms, is_pinned, is_damaged, \
     digests";

/// Creates the tables of a new index; refuses one of a later version.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), Error> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        0 => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        _ => return Err(Error::IndexVersion { version, known: VERSION }),
    }
    Ok(transaction.commit()?)
}

/// All models, the last used first.
pub(super) fn entries(connection: &Connection) -> Result<Vec<Entry>, Error> {
    let order = "ORDER BY coalesce(last_used_ms, added_ms) DESC, name";
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM models {order}"))?;
    let rows = statement.query_map([], entry)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The model whose `column` is `value`.
pub(super) fn find(
    connection: &Connection,
    column: &'static str,
    value: &str,
) -> Result<Option<Entry>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM models WHERE {column} = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([value], entry).optional()?)
}

/// Writes a model down, in place of what was known of its path. Where another model got its name
/// since that was chosen, it gets another one: `transaction` must be one that writes.
pub(super) fn put(transaction: &Transaction<'_>, entry: &mut Entry) -> Result<(), Error> {
    let mut others = transaction.prepare_cached("SELECT name FROM models WHERE path <> ?1")?;
    let others: Vec<String> =
        others.query_map([&entry.path], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_taken = |name: &str| others.iter().any(|taken| taken == name);
    if is_taken(&entry.name) {
        entry.name = short_name(&entry.name, &is_taken);
    }
    let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18";
    let sql = format!("INSERT OR REPLACE INTO models ({COLUMNS}) VALUES ({values})");
    transaction.prepare_cached(&sql)?.execute(params![
        entry.name,
        entry.title,
        entry.path,
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

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        name: row.get(0)?,
        title: row.get(1)?,
        path: row.get(2)?,
        owner: row.get(3)?,
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
