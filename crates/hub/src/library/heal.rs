//! Opening the index, and making another one of what is there where it is damaged.
//!
//! A damaged index is put aside and never removed. What can still be read of it is taken over, the
//! files in our folder tell the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::downloads::{put_download, readable_downloads};
use super::folder::Folder;
use super::index::{self, Prepared, Unusable};
use super::locks::{Held, Locks};
use super::{INDEX_PATIENCE, Library};
use crate::Error;

/// The lock that all users of the index share, and that who replaces it has alone.
const LOCK: &str = "index";
/// How long a process waits for others to notice that the index is damaged.
const REPAIR_PATIENCE: Duration = Duration::from_secs(10);

/// What became of an index that was damaged or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What was wrong with it; `None` where there was none.
    pub damage: Option<String>,
    /// Where the damaged one is now.
    pub put_aside: Option<PathBuf>,
    /// How many models the new one has.
    pub n_models: usize,
}

impl std::fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let models = match self.n_models {
            1 => "1 model".to_owned(),
            n => format!("{n} models"),
        };
        match &self.put_aside {
            Some(aside) => write!(
                f,
                "the library's index was damaged: it is {} now, and a new one was made from the \
                 files, with {models}",
                aside.display()
            ),
            None => write!(
                f,
                "the library's index was gone: a new one was made from the files, with {models}"
            ),
        }
    }
}

/// An index that can be used.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) users: Held,
    /// Whether it is new, and the damaged one whose place it took.
    pub(super) is_new: bool,
    pub(super) damaged: Option<(String, PathBuf)>,
}

/// Opens the index, in place of a damaged one where it must be.
pub(super) fn open(folder: &Folder, locks: &Locks) -> Result<Opened, Error> {
    let users = locks.shared_within(LOCK, REPAIR_PATIENCE)?.ok_or(Error::Busy)?;
    match try_open(folder) {
        Ok((connection, prepared)) => {
            let is_new = prepared == Prepared::New;
            return Ok(Opened { connection, users, is_new, damaged: None });
        }
        Err(Unusable::Error(error)) => return Err(error),
        Err(Unusable::Damaged(_)) => drop(users),
    }
    let Some(alone) = locks.exclusive_within(LOCK, REPAIR_PATIENCE)? else {
        return Err(Error::IndexDamaged);
    };
    // Another process may have been faster.
    let damaged = match try_open(folder) {
        Err(Unusable::Damaged(damage)) => Some((damage, put_aside(&folder.index())?)),
        Err(Unusable::Error(error)) => return Err(error),
        Ok(_) => None,
    };
    let (connection, prepared) = try_open(folder).map_err(|unusable| match unusable {
        Unusable::Error(error) => error,
        Unusable::Damaged(_) => Error::IndexDamaged,
    })?;
    drop(alone);
    let users = locks.shared_within(LOCK, REPAIR_PATIENCE)?.ok_or(Error::Busy)?;
    Ok(Opened { connection, users, is_new: prepared == Prepared::New, damaged })
}

fn try_open(folder: &Folder) -> Result<(Connection, Prepared), Unusable> {
    let mut connection = Connection::open(folder.index())?;
    connection.busy_timeout(INDEX_PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the system may take the last moments; files are checked by their hashes.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let prepared = index::prepare(&mut connection, folder)?;
    Ok((connection, prepared))
}

/// Gives a damaged index another name, with what SQLite has written beside it.
fn put_aside(path: &Path) -> Result<PathBuf, Error> {
    let wanted = with_suffix(path, ".damaged");
    let aside = lilims_files::rename_to_free_name(path, &wanted);
    let aside = aside.map_err(|error| Error::io(path)(error.into()))?;
    for suffix in ["-wal", "-shm"] {
        // Left beside the new index they would be taken for its own.
        let (from, to) = (with_suffix(path, suffix), with_suffix(&aside, suffix));
        match fs::rename(&from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(from)(error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl Library {
    /// Fills a new index from what is left of the damaged one and from our folder.
    pub(super) fn rebuild(&self, damaged: Option<(String, PathBuf)>) -> Result<(), Error> {
        if let Some((_, aside)) = &damaged {
            self.take_over(aside)?;
        }
        self.scan_ours()?;
        let n_models = self.entries()?.len();
        if damaged.is_some() || n_models > 0 {
            let (damage, put_aside) = damaged.unzip();
            let _ = self.rebuilt.set(Rebuilt { damage, put_aside, n_models });
        }
        Ok(())
    }

    /// Takes over what can be read of the index that was put aside.
    fn take_over(&self, aside: &Path) -> Result<(), Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(old) = Connection::open_with_flags(aside, flags) else { return Ok(()) };
        let entries = index::readable_entries(&old, &self.folder);
        let downloads = readable_downloads(&old);
        let settings = pairs(&old, "SELECT key, value FROM settings");
        let folders = pairs(&old, "SELECT path, '' FROM folders");
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for mut entry in entries.into_iter().filter(|entry| entry.path.is_file()) {
            index::put(&transaction, &self.folder, &mut entry)?;
        }
        for row in &downloads {
            put_download(&transaction, row)?;
        }
        for (key, value) in settings {
            let sql = "INSERT OR IGNORE INTO settings (key, value) VALUES (?1, ?2)";
            transaction.execute(sql, [key, value])?;
        }
        for (path, _) in folders {
            transaction.execute("INSERT OR IGNORE INTO folders (path) VALUES (?1)", [path])?;
        }
        Ok(transaction.commit()?)
    }
}

/// Rows of two texts, as far as they can be read.
fn pairs(connection: &Connection, sql: &str) -> Vec<(String, String)> {
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let Ok(rows) = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))) else {
        return Vec::new();
    };
    rows.map_while(Result::ok).collect()
}

#[cfg(test)]
mod tests;
