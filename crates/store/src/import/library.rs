//! Reads the library's index of earlier versions: version 1 stored all paths whole, version 2 those in
//! the folder of models relative to it; both stored sentences where now are codes.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, params_from_iter};
use serde_json::json;

use crate::models::{from_value, to_value};
use crate::open::{PATIENCE, check};
use crate::salvage::values_of;
use crate::{Error, downloads, models};

/// The last version of that file, which `PRAGMA user_version` states.
const LAST_VERSION: u32 = 2;
/// `application_id` of such a file: `LLIB` in ASCII; version 1 had none at first.
const APPLICATION_ID: u32 = 0x4c4c_4942;
/// The owner of files in our folder that are reached through a link.
const LINKED: &str = "Folder";
/// Positions among the columns of `models`.
const PATH: usize = 2;
const OWNER: usize = 3;
/// Positions among the columns of `downloads`.
const FAILURE: usize = 6;
const PROGRESS: usize = 8;

/// What was read of an index.
#[derive(Default)]
pub(super) struct Library {
    pub(super) damage: Option<String>,
    models: Vec<Vec<Value>>,
    downloads: Vec<Vec<Value>>,
    settings: Vec<(String, String)>,
    folders: Vec<Value>,
    peaks: Vec<Vec<Value>>,
    connections: Vec<Vec<Value>>,
    /// The highest number that a download has had: unfinished files are named by numbers.
    last_download: i64,
}

/// Reads what can be read of the index at `path`, and brings all of it into that one file.
pub(super) fn read(path: &Path, models: &Path) -> Result<Library, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut library = Library::default();
    let Ok(old) = Connection::open_with_flags(path, flags) else {
        library.damage = Some("it cannot be opened".to_owned());
        return Ok(library);
    };
    old.busy_timeout(PATIENCE)?;
    library.damage = match look(&old) {
        Ok(Ok(damage)) => damage,
        Ok(Err(error)) => return Err(error),
        Err(error) => Some(error.to_string()),
    };
    library.models = rows(&old, "models", models::COLUMNS);
    for row in &mut library.models {
        relate(row, models)?;
    }
    library.downloads = rows(&old, "downloads", downloads::COLUMNS);
    for row in &mut library.downloads {
        encode_failure(row);
    }
    for row in rows(&old, "settings", "key, value") {
        if let [Value::Text(key), Value::Text(value)] = &row[..] {
            library.settings.push(setting(key, value));
        }
    }
    library.folders = rows(&old, "folders", "path").into_iter().flatten().collect();
    library.peaks = rows(&old, "peaks", "model, family, weights, estimated, measured");
    library.connections = rows(&old, "connections", "at_ms, host, purpose, outcome");
    for row in &mut library.connections {
        encode_outcome(row);
    }
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'downloads'";
    library.last_download = old.query_row(sql, [], |row| row.get(0)).unwrap_or(0);
    // The file is moved, so all of it has to be in it. A damaged one is moved with what is beside it.
    let _ = old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(library)
}

/// What is wrong with the index. An error of ours where a later version wrote it.
fn look(old: &Connection) -> rusqlite::Result<Result<Option<String>, Error>> {
    let number = |pragma: &str| -> rusqlite::Result<u32> {
        old.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application != 0 && application != APPLICATION_ID {
        return Ok(Ok(Some("it is a database of another program".to_owned())));
    }
    if version > LAST_VERSION {
        return Ok(Err(Error::NewerVersion { found: version, known: LAST_VERSION }));
    }
    check(old).map(Ok)
}

/// The rows of a table that can be read.
fn rows(old: &Connection, table: &str, columns: &str) -> Vec<Vec<Value>> {
    let Ok(mut statement) = old.prepare(&format!("SELECT {columns} FROM {table}")) else {
        return Vec::new();
    };
    let n_columns = statement.column_count();
    let Ok(mut rows) = statement.query([]) else { return Vec::new() };
    let mut values = Vec::new();
    // Behind an error there is nothing to read.
    while let Ok(Some(row)) = rows.next() {
        if let Ok(row) = values_of(row, n_columns) {
            values.push(row);
        }
    }
    values
}

/// Makes the path of a model in our folder relative to it, also where the folder has moved since.
fn relate(row: &mut [Value], root: &Path) -> Result<(), Error> {
    let Ok(path) = from_value((&row[PATH]).into()) else { return Ok(()) };
    if path.is_relative() {
        return Ok(());
    }
    let resolved = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let is_ours = match &row[OWNER] {
        Value::Null => true,
        Value::Text(owner) => owner == LINKED,
        _ => false,
    };
    let below = below(&path, root, &resolved);
    let below = below.or_else(|| moved_here(&path, root, &resolved).filter(|_| is_ours));
    if let Some(below) = below {
        row[PATH] = to_value(&below)?;
    }
    Ok(())
}

/// `path` relative to our folder, where it is named or lies in it.
fn below(path: &Path, root: &Path, resolved: &Path) -> Option<PathBuf> {
    let named = path.strip_prefix(root).ok().map(Path::to_owned);
    let lies = || fs::canonicalize(path).ok()?.strip_prefix(resolved).ok().map(Path::to_owned);
    named.or_else(lies).filter(|below| !below.as_os_str().is_empty())
}

/// Where a file of ours is whose folder has moved: the longest end of its path that is here.
fn moved_here(path: &Path, root: &Path, resolved: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = path.iter().collect();
    let mut ends = (1..parts.len()).map(|from| parts[from..].iter().collect::<PathBuf>());
    ends.find(|end| {
        let here = root.join(end);
        here.is_file() && fs::canonicalize(here).is_ok_and(|here| here.starts_with(resolved))
    })
}

/// Turns the sentence of a failure into a code, and forgets what only a running download has.
fn encode_failure(row: &mut [Value]) {
    if let Value::Text(sentence) = &row[FAILURE] {
        row[FAILURE] = Value::Text(unknown(sentence));
    }
    if let Value::Text(progress) = &row[PROGRESS]
        && let Ok(serde_json::Value::Object(mut progress)) = serde_json::from_str(progress)
    {
        progress.remove("retrying");
        row[PROGRESS] = Value::Text(serde_json::Value::Object(progress).to_string());
    }
}

/// Turns what came of a connection into a status or a code.
fn encode_outcome(row: &mut [Value]) {
    if let Some(Value::Text(outcome)) = row.last_mut()
        && !outcome.bytes().all(|b| b.is_ascii_digit())
    {
        *outcome = unknown(outcome);
    }
}

/// The code for what was kept as a sentence, which becomes its detail. What is a code already stays.
fn unknown(text: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    match json.is_some_and(|json| json.get("code").is_some()) {
        true => text.to_owned(),
        false => json!({ "code": "unknown", "detail": text }).to_string(),
    }
}

/// A setting under its new key, as JSON.
fn setting(key: &str, value: &str) -> (String, String) {
    let key = match key {
        "quota" | "at_once" | "bytes_per_second" => format!("library.{key}"),
        other => other.to_owned(),
    };
    let json = match value.parse::<u64>() {
        Ok(number) if key.starts_with("library.") => number.into(),
        _ => serde_json::Value::String(value.to_owned()),
    };
    (key, json.to_string())
}

impl Library {
    /// Writes all of it down; what is there already stays. Returns how many models and downloads are
    /// new.
    pub(super) fn write(&self, transaction: &Transaction<'_>) -> Result<(usize, usize), Error> {
        let insert = |table: &str, columns: &str, rows: &[Vec<Value>]| -> Result<usize, Error> {
            let n_columns = columns.split(',').count();
            let places: Vec<String> = (1..=n_columns).map(|n| format!("?{n}")).collect();
            let places = places.join(", ");
            let sql = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})");
            let mut statement = transaction.prepare(&sql)?;
            let mut n_rows = 0;
            for row in rows {
                n_rows += statement.execute(params_from_iter(row))?;
            }
            Ok(n_rows)
        };
        let n_models = insert("models", models::COLUMNS, &self.models)?;
        let n_downloads = insert("downloads", downloads::COLUMNS, &self.downloads)?;
        insert("peaks", "model, family, weights, estimated, measured", &self.peaks)?;
        insert("connections", "at_ms, host, purpose, outcome", &self.connections)?;
        for folder in &self.folders {
            transaction.execute("INSERT OR IGNORE INTO folders (path) VALUES (?1)", [folder])?;
        }
        for (key, value) in &self.settings {
            let sql = "INSERT OR IGNORE INTO settings (key, value) VALUES (?1, ?2)";
            transaction.execute(sql, [key, value])?;
        }
        if n_downloads > 0 || self.last_download > 0 {
            // The row is there once the table had one; else it is made.
            let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'downloads'";
            if transaction.execute(sql, [self.last_download])? == 0 {
                let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('downloads', ?1)";
                transaction.execute(sql, [self.last_download])?;
            }
        }
        Ok((n_models, n_downloads))
    }
}
