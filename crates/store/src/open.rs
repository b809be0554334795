//! Opening the database: checked, migrated, made where there is none, and exchanged where it is damaged.
//!
//! Several processes may have it open. Each holds a shared lock for as long; a process that creates,
//! migrates or replaces the file holds the lock alone. A new file is made beside its place and renamed, so that a
//! crash leaves the old state or the new one.

use std::fs;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lilims_files::{AtomicFile, AtomicFileOptions};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::copies::{self, Copy};
use crate::locks::{LockGuard, Locks};
use crate::salvage::{self, Salvaged};
use crate::{Error, Paths, schema};

/// The lock that all users of the file share, and that is exclusive while the file is replaced.
const LOCK: &str = "store";
/// How long a process waits for others: to write, or to notice that the file is damaged.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Opening looks at the file, repairs it, migrates it and looks again.
const MAX_ROUNDS: usize = 4;
/// How the name of a file begins that is not whole yet.
pub(crate) const TEMPORARY_PREFIX: &str = ".lilims-";

/// What became of a database that was damaged or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was wrong with it, as SQLite says it; `None` where it was gone.
    pub damage: Option<String>,
    /// Where the damaged file is now.
    pub put_aside: Option<PathBuf>,
    /// When the copy was made from which it was restored, in milliseconds since 1970; `None` where
    /// there was no good copy.
    pub from_copy_of_ms: Option<u64>,
    /// What was read of the damaged file beside that.
    pub salvaged: Salvaged,
}

/// A database that can be used.
pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) users: LockGuard,
    /// Whether the file was made just now, out of nothing.
    pub(crate) is_new: bool,
    pub(crate) restored: Option<Restored>,
}

/// What a look at the file finds.
enum Found {
    Ready(Connection),
    /// No file, or one without content.
    Nothing,
    /// A file of an earlier version.
    Older(Connection, u32),
    /// A damaged file, or a database of another program.
    Damaged(String),
}

/// Opens the database, which is made, migrated or restored where it must be.
pub(crate) fn open(paths: &Paths, locks: &Locks) -> Result<Opened, Error> {
    let (mut is_new, mut restored) = (false, None);
    for _ in 0..MAX_ROUNDS {
        let users = locks.shared_within(LOCK, PATIENCE)?.ok_or(Error::Busy)?;
        let is_damaged = match examine(&paths.database)? {
            Found::Ready(writer) => return Ok(Opened { writer, users, is_new, restored }),
            Found::Damaged(_) => true,
            Found::Nothing | Found::Older(..) => false,
        };
        drop(users);
        let Some(_alone) = locks.exclusive_within(LOCK, PATIENCE)? else {
            return Err(if is_damaged { Error::DamagedInUse } else { Error::Busy });
        };
        // Another process may have been faster.
        match examine(&paths.database)? {
            Found::Ready(_) => {}
            Found::Nothing => match rebuild(paths, None)? {
                Some(gone) => restored = Some(gone),
                None => is_new = true,
            },
            Found::Older(mut connection, version) => {
                copies::make(paths, locks, Some(version))?;
                migrate(&mut connection)?;
            }
            Found::Damaged(damage) => restored = rebuild(paths, Some(damage))?,
        }
    }
    Err(Error::Busy)
}

/// Looks at the file without changing it.
fn examine(path: &Path) -> Result<Found, Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::Io { path: path.to_owned(), source });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Error::io(path)(error)),
    }
    match look(path) {
        Ok(found) => found,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Ok(Found::Damaged(error.to_string()))
            }
            _ => Err(error.into()),
        },
    }
}

fn look(path: &Path) -> rusqlite::Result<Result<Found, Error>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // A file of a later version is not even tidied up.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let number = |pragma: &str| -> rusqlite::Result<u32> {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == schema::APPLICATION_ID && version > schema::version() {
        return Ok(Err(Error::NewerVersion { found: version, known: schema::version() }));
    }
    let sql = "SELECT count(*) FROM sqlite_schema";
    let n_tables: u32 = connection.query_row(sql, [], |row| row.get(0))?;
    if (application, version, n_tables) == (0, 0, 0) {
        return Ok(Ok(Found::Nothing));
    }
    if application != schema::APPLICATION_ID {
        return Ok(Ok(Found::Damaged("it is a database of another program".to_owned())));
    }
    if let Some(damage) = check(&connection)? {
        return Ok(Ok(Found::Damaged(damage)));
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    if version < schema::version() {
        return Ok(Ok(Found::Older(connection, version)));
    }
    if let Err(error) = schema::check_tables(&connection) {
        return Ok(Ok(Found::Damaged(error.to_string())));
    }
    Ok(Ok(match configure(&connection) {
        Ok(()) => Found::Ready(connection),
        Err(error) => return Err(error),
    }))
}

/// What `quick_check` finds; `None` where all is well.
pub(crate) fn check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Sets what SQLite does not keep in the file.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The end of a process loses nothing; a crash of the system may lose the last moments.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Opens a second connection, which reads while the first one writes.
pub(crate) fn reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    configure(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    schema::migrate(&transaction, from)?;
    Ok(transaction.commit()?)
}

/// Makes another file in place of one that is damaged or gone: from the last good copy, where there is
/// one, and from what can be read of the damaged file. Returns `None` where there was nothing at all, so
/// that the new file is empty.
fn rebuild(paths: &Paths, damage: Option<String>) -> Result<Option<Restored>, Error> {
    sweep(&paths.data);
    let database = &paths.database;
    let options = AtomicFileOptions { prefix: TEMPORARY_PREFIX, is_private: true };
    let (replacement, copy, salvaged) = match from_copy(database, options, paths, &damage)? {
        Some(found) => found,
        None => {
            let file =
                AtomicFile::with_options(database, options).map_err(Error::file(database))?;
            let salvaged = fill(file.temporary_path(), database, &damage, false)?;
            (file, None, salvaged)
        }
    };
    let put_aside = match &damage {
        Some(_) => Some(put_aside(database)?),
        None => {
            take_journal_along(database, None)?;
            None
        }
    };
    replacement.commit().map_err(Error::file(database))?;
    if damage.is_none() && copy.is_none() {
        return Ok(None);
    }
    let from_copy_of_ms = copy.map(|copy| copy.made_ms);
    Ok(Some(Restored { damage, put_aside, from_copy_of_ms, salvaged }))
}

type Rebuilt = (AtomicFile, Option<Copy>, Salvaged);

/// The new file from the newest copy that is good.
fn from_copy(
    database: &Path,
    options: AtomicFileOptions,
    paths: &Paths,
    damage: &Option<String>,
) -> Result<Option<Rebuilt>, Error> {
    for copy in copies::list(&paths.copies) {
        let mut file =
            AtomicFile::with_options(database, options).map_err(Error::file(database))?;
        let copied =
            lilims_files::open(&copy.path).map_err(io::Error::from).and_then(|mut from| {
                io::copy(&mut from, file.file())?;
                file.file().rewind()
            });
        copied.map_err(Error::io(&copy.path))?;
        match examine(file.temporary_path()) {
            Ok(Found::Ready(connection) | Found::Older(connection, _)) => {
                // The new file has no files beside it when it gets its name.
                connection.pragma_update(None, "journal_mode", "DELETE")?;
            }
            // A copy that is damaged itself, or that a later version wrote: an earlier one may do.
            Ok(_) | Err(Error::NewerVersion { .. }) => continue,
            Err(error) => return Err(error),
        }
        let salvaged = fill(file.temporary_path(), database, damage, true)?;
        return Ok(Some((file, Some(copy), salvaged)));
    }
    Ok(None)
}

/// Brings the new file up to date, and adds what can be read of the damaged one.
fn fill(
    new: &Path,
    damaged: &Path,
    damage: &Option<String>,
    is_from_copy: bool,
) -> Result<Salvaged, Error> {
    let mut connection = Connection::open(new)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    migrate(&mut connection)?;
    let salvaged = match damage {
        Some(_) => salvage::salvage(damaged, &mut connection, is_from_copy)?,
        None => Salvaged::default(),
    };
    connection.close().map_err(|(_, error)| error)?;
    Ok(salvaged)
}

/// Keeps a damaged file under another name, with what SQLite has written beside it. The file itself
/// stays in its place as well, until the new one takes it.
fn put_aside(path: &Path) -> Result<PathBuf, Error> {
    let wanted = with_suffix(path, ".damaged");
    let (aside, ()) = lilims_files::with_free_name(&wanted, |name| {
        let error = match fs::hard_link(path, name) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Err(lilims_files::Error::Exists { path: name.to_owned() });
        }
        // A file system without links.
        let mut from = lilims_files::open(path)?;
        let mut copy = AtomicFile::new(name)?;
        let io = |source| lilims_files::Error::Io { path: name.to_owned(), source };
        io::copy(&mut from, copy.file()).map_err(io)?;
        copy.commit_new()
    })
    .map_err(Error::file(&wanted))?;
    take_journal_along(path, Some(&aside))?;
    Ok(aside)
}

/// Moves what SQLite has written beside the file. Left there, it would be taken for the new file's.
fn take_journal_along(path: &Path, aside: Option<&Path>) -> Result<(), Error> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let from = with_suffix(path, suffix);
        // Not synced: the folder is synced when the new database is renamed into it.
        let moved = match aside {
            Some(aside) => fs::rename(&from, with_suffix(aside, suffix)),
            None => fs::rename(&from, with_suffix(&with_suffix(path, ".gone"), suffix)),
        };
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(from)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes files that were not whole when their process ended. Called by who is alone.
pub(crate) fn sweep(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            // What cannot be removed is left for the next time.
            let _ = fs::remove_file(file.path());
        }
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
