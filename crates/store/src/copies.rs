//! Copies of the database: one a day and one before each migration, of which the last three stay.
//!
//! A copy gets its name only after it was checked. What the user deletes is deleted from the copies, too.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use lilims_files::{AtomicFile, AtomicFileOptions};
use rusqlite::{Connection, OpenFlags};

use crate::open::{PATIENCE, TEMPORARY_PREFIX, check, sweep};
use crate::{Error, Locks, Paths, now_ms, signed, unsigned};

/// Copies that stay.
const N_COPIES: usize = 3;
/// The lock for making or changing copies.
const LOCK: &str = "copies";
const PREFIX: &str = "lilims-";
const SUFFIX: &str = ".sqlite";
/// The time in a copy's name, UTC.
const TIME: &str = "%Y-%m-%d-%H%M%S";
/// Characters of such a time.
const TIME_CHARS: usize = 17;

/// A copy of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) path: PathBuf,
    /// When it was made, in milliseconds since 1970.
    pub(crate) made_ms: u64,
}

/// The copies, the newest first.
pub(crate) fn list(folder: &Path) -> Vec<Copy> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let copy = |file: fs::DirEntry| {
        let made_ms = time_of(&file.file_name().to_string_lossy())?;
        Some(Copy { path: file.path(), made_ms })
    };
    let mut copies: Vec<Copy> = files.flatten().filter_map(copy).collect();
    copies.sort_by(|a, b| (b.made_ms, &b.path).cmp(&(a.made_ms, &a.path)));
    copies
}

fn time_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let time = NaiveDateTime::parse_from_str(rest.get(..TIME_CHARS)?, TIME).ok()?;
    Some(unsigned(time.and_utc().timestamp_millis()))
}

fn time(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(signed(ms)).unwrap_or_default()
}

/// Makes today's copy, if there is none yet.
pub(crate) fn make_if_due(paths: &Paths, locks: &Locks) -> Result<(), Error> {
    let today = time(now_ms()).date_naive();
    let is_due = |copies: &[Copy]| copies.iter().all(|it| time(it.made_ms).date_naive() != today);
    if is_due(&list(&paths.copies)) { make(paths, locks, None) } else { Ok(()) }
}

/// Makes a copy and removes the oldest ones. `before` is the version of a file that is about to be
/// migrated.
pub(crate) fn make(paths: &Paths, locks: &Locks, before: Option<u32>) -> Result<(), Error> {
    fs::create_dir_all(&paths.copies).map_err(Error::io(&paths.copies))?;
    let turn = match before {
        Some(_) => locks.exclusive_within(LOCK, PATIENCE)?,
        None => locks.try_exclusive(LOCK)?,
    };
    let Some(_turn) = turn else {
        // Another process makes one.
        return if before.is_some() { Err(Error::Busy) } else { Ok(()) };
    };
    sweep(&paths.copies);
    let now = time(now_ms()).format(TIME);
    let why = before.map_or_else(String::new, |version| format!("-version-{version}"));
    let path = paths.copies.join(format!("{PREFIX}{now}{why}{SUFFIX}"));
    let options = AtomicFileOptions { prefix: TEMPORARY_PREFIX, is_private: true };
    let copy = AtomicFile::with_options(&path, options).map_err(Error::file(&path))?;
    copy_into(&paths.database, copy.temporary_path())?;
    copy.commit().map_err(Error::file(&path))?;
    for old in list(&paths.copies).into_iter().skip(N_COPIES) {
        fs::remove_file(&old.path).map_err(Error::io(&old.path))?;
    }
    Ok(())
}

/// Copies the database into an empty file, and checks the copy.
fn copy_into(database: &Path, to: &Path) -> Result<(), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(database, flags)?;
    from.busy_timeout(PATIENCE)?;
    let name = to.to_str().ok_or_else(|| Error::PathNotText { path: to.to_owned() })?;
    from.execute("VACUUM INTO ?1", [name])?;
    let copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match check(&copy)? {
        Some(detail) => Err(Error::Damaged { detail }),
        None => Ok(()),
    }
}

/// Deletes from the copies what was deleted from the database. A copy where that fails is removed.
pub(crate) fn delete_from_all(
    paths: &Paths,
    locks: &Locks,
    delete: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> Result<(), Error> {
    let copies = list(&paths.copies);
    if copies.is_empty() {
        return Ok(());
    }
    let _turn = locks.exclusive_within(LOCK, PATIENCE)?.ok_or(Error::Busy)?;
    for copy in copies {
        if delete_from(&copy.path, &delete).is_err() {
            match fs::remove_file(&copy.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&copy.path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn delete_from(
    path: &Path,
    delete: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    let before = connection.total_changes();
    let transaction = connection.transaction()?;
    delete(&transaction)?;
    transaction.commit()?;
    // Pages may have remains of rows that were moved.
    if connection.total_changes() == before { Ok(()) } else { connection.execute_batch("VACUUM") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_time() {
        let at = 1_795_732_201_000;
        let name = format!("{PREFIX}{}{SUFFIX}", time(at).format(TIME));
        assert_eq!(time_of(&name), Some(at));
        assert_eq!(time_of(&name.replace(SUFFIX, "-version-1.sqlite")), Some(at));
        for other in ["lilims-2026.sqlite", "library-v2.sqlite", "lilims-é.sqlite", ""] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }
}
