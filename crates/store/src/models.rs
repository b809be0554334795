//! The models of the library as rows: where their files are and what is known of them.
//!
//! Whether a file is there, and whose it is, is looked at by `hub`, not here.

use std::path::{Path, PathBuf};

use lilims_models::short_name;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};

use crate::{Error, Store, signed, unsigned};

/// The owner of the model that ships with the app.
pub const BUNDLED_OWNER: &str = "Lilims";

/// A model of the library.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Model {
    /// Its short name, unique.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// Where its file is. In rows that the store reads and writes it is relative to the folder of
    /// models where it lies there.
    #[serde(serialize_with = "lossy")]
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
    #[serde(skip)]
    pub digests: Vec<u8>,
}

/// A path as text; names that are not UTF-8 lose bytes.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl Model {
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

    /// Whether its file is there and was not found damaged; for a model whose path is whole.
    pub fn is_usable(&self) -> bool {
        !self.is_damaged && self.path.is_file()
    }

    /// Whether it is the model that ships with the app.
    pub fn is_bundled(&self) -> bool {
        self.owner.as_deref() == Some(BUNDLED_OWNER)
    }
}

pub(crate) const COLUMNS: &str = "name, title, path, owner, repository, file, revision, sha256, \
     size_bytes, licence, quantisation, family, context_tokens, added_ms, last_used_ms, is_pinned, \
     is_damaged, digests";

impl Store {
    /// All models, the last used first.
    ///
    /// # Errors
    /// Those of the database.
    pub fn models(&self) -> Result<Vec<Model>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM models ORDER BY coalesce(last_used_ms, added_ms) DESC, name"
        );
        let reader = self.reader();
        let mut statement = reader.prepare_cached(&sql)?;
        let rows = statement.query_map([], model)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn model(&self, name: &str) -> Result<Option<Model>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE name = ?1");
        Ok(self.reader().prepare_cached(&sql)?.query_row([name], model).optional()?)
    }

    /// The model that is stored with exactly this path.
    ///
    /// # Errors
    /// Those of the database; [`Error::PathNotText`].
    pub fn model_at(&self, path: &Path) -> Result<Option<Model>, Error> {
        find_path(&self.reader(), path)
    }

    /// Writes a model down, in place of what was known of its path: the name and the pin of that
    /// stay. Where its name is taken by another model, it gets another one.
    ///
    /// # Errors
    /// Those of the database; [`Error::PathNotText`].
    pub fn put_model(&self, model: &mut Model) -> Result<(), Error> {
        self.transaction(|transaction| put(transaction, model))
    }

    /// Removes a model's row. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove_model(&self, name: &str) -> Result<bool, Error> {
        Ok(self.writer().execute("DELETE FROM models WHERE name = ?1", [name])? > 0)
    }

    /// Pins a model, so that it is never removed to make room, or unpins it.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn set_model_pinned(&self, name: &str, is_pinned: bool) -> Result<(), Error> {
        self.update_model(name, "is_pinned = ?2", is_pinned)
    }

    /// Sets the licence of a model that has none.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn add_model_licence(&self, name: &str, licence: &str) -> Result<(), Error> {
        self.update_model(name, "licence = coalesce(licence, ?2)", licence)
    }

    /// Sets when a model was last used.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn set_model_used(&self, name: &str, at_ms: u64) -> Result<(), Error> {
        self.update_model(name, "last_used_ms = ?2", signed(at_ms))
    }

    /// Sets whose file a model is.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn set_model_owner(&self, name: &str, owner: &str) -> Result<(), Error> {
        self.update_model(name, "owner = ?2", owner)
    }

    /// Sets where a model's file is now.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::PathNotText`], and those of the database.
    pub fn set_model_path(&self, name: &str, path: &Path) -> Result<(), Error> {
        self.update_model(name, "path = ?2", to_value(path)?)
    }

    /// Sets the hash that was computed of a model's file, and that the file is good.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn set_model_hash(&self, name: &str, sha256: &str, digests: &[u8]) -> Result<(), Error> {
        let sql = "UPDATE models SET sha256 = ?2, digests = ?3, is_damaged = 0 WHERE name = ?1";
        let n = self.writer().prepare_cached(sql)?.execute(params![name, sha256, digests])?;
        found(n, name)
    }

    /// Notes that a model's hash does not hold any more.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], and those of the database.
    pub fn set_model_damaged(&self, name: &str) -> Result<(), Error> {
        self.update_model(name, "is_damaged = ?2", true)
    }

    fn update_model(&self, name: &str, change: &str, value: impl ToSql) -> Result<(), Error> {
        let sql = format!("UPDATE models SET {change} WHERE name = ?1");
        found(self.writer().prepare_cached(&sql)?.execute(params![name, value])?, name)
    }
}

fn found(n_rows: usize, name: &str) -> Result<(), Error> {
    match n_rows {
        0 => Err(Error::NoSuchModel { name: name.to_owned() }),
        _ => Ok(()),
    }
}

fn find_path(connection: &Connection, path: &Path) -> Result<Option<Model>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM models WHERE path = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([to_value(path)?], model).optional()?)
}

/// As [`Store::put_model`], in a transaction that writes.
pub(crate) fn put(transaction: &Transaction<'_>, model: &mut Model) -> Result<(), Error> {
    if let Some(known) = find_path(transaction, &model.path)? {
        model.name = known.name;
        model.is_pinned |= known.is_pinned;
        model.last_used_ms = model.last_used_ms.or(known.last_used_ms);
    }
    let path = to_value(&model.path)?;
    let mut others = transaction.prepare_cached("SELECT name FROM models WHERE path <> ?1")?;
    let others: Vec<String> =
        others.query_map([&path], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_taken = |name: &str| others.iter().any(|taken| taken == name);
    if is_taken(&model.name) {
        model.name = short_name(&model.name, &is_taken);
    }
    let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18";
    let sql = format!("INSERT OR REPLACE INTO models ({COLUMNS}) VALUES ({values})");
    transaction.prepare_cached(&sql)?.execute(params![
        model.name,
        model.title,
        path,
        model.owner,
        model.repository,
        model.file,
        model.revision,
        model.sha256,
        signed(model.size_bytes),
        model.licence,
        model.quantisation,
        model.family,
        model.context_tokens,
        signed(model.added_ms),
        model.last_used_ms.map(signed),
        model.is_pinned,
        model.is_damaged,
        model.digests,
    ])?;
    Ok(())
}

pub(crate) fn model(row: &Row<'_>) -> rusqlite::Result<Model> {
    Ok(Model {
        name: row.get(0)?,
        title: row.get(1)?,
        path: from_value(row.get_ref(2)?)?,
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

/// How a path is stored.
pub(crate) fn to_value(path: &Path) -> Result<Value, Error> {
    match path.to_str() {
        // Relative paths read the same on every system.
        Some(text) if cfg!(windows) && path.is_relative() => {
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
    Err(Error::PathNotText { path: path.to_owned() })
}

/// The path that is stored as `value`.
pub(crate) fn from_value(value: ValueRef<'_>) -> rusqlite::Result<PathBuf> {
    match value {
        ValueRef::Text(text) => Ok(PathBuf::from(String::from_utf8_lossy(text).into_owned())),
        ValueRef::Blob(bytes) => Ok(path_of(bytes)),
        other => {
            let what = "a path is not text".into();
            Err(rusqlite::Error::FromSqlConversionFailure(0, other.data_type(), what))
        }
    }
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
