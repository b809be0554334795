//! Lilims's database: one SQLite file with models, downloads, settings, the log of connections, and
//! conversations.
//!
//! [`Store`] opens it, brings it up to date, keeps copies of it and restores it where it is damaged.
//! The calls are grouped by file: [`Model`], [`QueuedDownload`], [`LoggedConnection`] and [`Peak`] for the
//! library; [`Store::get`] and [`Store::set`] for settings; [`Conversation`] and [`Message`] for the
//! tree of messages. [`PassageIndex`] is in memory and apart from the file.
//!
//! **Threads.** Every call blocks: it waits for the disk, and for other processes that write. Call it
//! from a thread that may wait: not from an asynchronous worker (use `spawn_blocking`), not from the
//! window's main thread, not from the thread that decodes. A [`Store`] is shared behind an `Arc`; calls
//! that read do not wait for calls that write.
//!
//! Nothing here opens a network connection, loads a model, or makes sentences for people: errors of the
//! application are stored as JSON of a code and its arguments, which this crate does not look into.

mod assistants;
mod connections;
mod conversations;
mod copies;
mod documents;
mod downloads;
mod error;
mod import;
mod locks;
mod logs;
mod models;
mod open;
mod salvage;
mod schema;
mod settings;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use assistants::{Assistant, AssistantKind};
pub use connections::{
    ConnectionEnd, LastConnection, LoggedConnection, MAX_LOGGED_CONNECTIONS, NewConnection,
};
pub use conversations::{
    AttachmentId, Conversation, ConversationChange, ConversationHead, ConversationId, Delta, Draft,
    DraftAttachment, Emptied, Ending, Folder, FolderId, Inserted, Message, MessageId, MessageState,
    NewMessage, Part, PartKind, Role, SearchHit, TitleOrigin, TreeNode, WholeConversation,
    question_title,
};
pub use documents::{PassageIndex, RankedPassage};
pub use downloads::{DownloadChange, DownloadState, QueuedDownload, Source};
pub use error::Error;
pub use import::Imported;
pub use locks::{LockGuard, Locks};
pub use logs::Peak;
pub use models::{BUNDLED_OWNER, Model};
pub use open::Restored;
pub use salvage::Salvaged;

/// The database, open. Calls block; see the documentation of the crate.
pub struct Store {
    paths: Paths,
    locks: Locks,
    reader: Mutex<Connection>,
    /// Closed last, so that it empties the write-ahead log.
    writer: Mutex<Connection>,
    answers: conversations::Writer,
    is_new: bool,
    restored: Option<Restored>,
    imported: Option<Imported>,
    copy_error: Option<Error>,
    /// While it is held, no process exchanges the file.
    _users: LockGuard,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the conversation of an earlier version is taken over, too.
    pub imports_conversation: bool,
    /// The folder of models, where it is not `models` in the data folder.
    pub models_folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { imports_conversation: true, models_folder: None }
    }
}

/// Where the store's files are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Lilims's data folder.
    pub(crate) data: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) copies: PathBuf,
    pub(crate) models: PathBuf,
    pub(crate) conversations: PathBuf,
}

impl Paths {
    fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            database: database_path(data),
            copies: data.join("backups"),
            models: data.join("models"),
            conversations: data.join("conversations"),
        }
    }

    /// The library's index of earlier versions.
    pub(crate) fn old_index(&self) -> PathBuf {
        self.models.join("library.sqlite")
    }

    /// The conversation of earlier versions.
    pub(crate) fn old_conversation(&self) -> PathBuf {
        self.conversations.join("current.json")
    }

    /// Where the engine saves what it has read of a conversation.
    pub(crate) fn session(&self, id: &ConversationId) -> PathBuf {
        self.conversations.join(format!("{id}.session"))
    }
}

/// Where the database of the data folder `data` is.
pub fn database_path(data: &Path) -> PathBuf {
    data.join("lilims.sqlite")
}

/// Whether there is a database in the data folder `data`, or something that it would be made of: a
/// copy, or the library of an earlier version.
pub fn exists(data: &Path) -> bool {
    let paths = Paths::of(data);
    paths.database.is_file()
        || paths.old_index().is_file()
        || !copies::list(&paths.copies).is_empty()
}

impl Store {
    /// Opens the database in Lilims's data folder `data`, which is made if it is not there.
    ///
    /// Files of earlier versions are taken over ([`Store::imported`]); a file of an earlier version of
    /// the tables is copied and migrated; a damaged one is put aside and restored
    /// ([`Store::restored`]); answers whose process ended are stopped, with their text.
    ///
    /// # Errors
    /// [`Error::NewerVersion`], [`Error::DamagedInUse`], [`Error::Busy`], [`Error::DiskFull`],
    /// [`Error::Io`], [`Error::Database`].
    pub fn open(data: &Path) -> Result<Self, Error> {
        Self::open_with(data, Options::default())
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub fn open_with(data: &Path, options: Options) -> Result<Self, Error> {
        let data = std::path::absolute(data).map_err(Error::io(data))?;
        let mut paths = Paths::of(&data);
        if let Some(models) = options.models_folder {
            paths.models = std::path::absolute(&models).map_err(Error::io(&models))?;
        }
        let locks = Locks::open(data.join(".locks"))?;
        let open::Opened { mut writer, users, is_new, restored } = open::open(&paths, &locks)?;
        let imported = import::import(&paths, &locks, &mut writer, options.imports_conversation)?;
        conversations::stop_abandoned(&mut writer, &locks)?;
        // The store works without a copy; `copy_error` reports the failure.
        let copy_error = copies::make_if_due(&paths, &locks).err();
        let reader = open::reader(&paths.database)?;
        Ok(Self {
            paths,
            locks,
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            answers: conversations::Writer::default(),
            is_new,
            restored,
            imported,
            copy_error,
            _users: users,
        })
    }

    /// Lilims's data folder.
    pub fn data(&self) -> &Path {
        &self.paths.data
    }

    /// The folder of models, to which paths of models are relative.
    pub fn models_folder(&self) -> &Path {
        &self.paths.models
    }

    /// Where the engine saves what it has read of a conversation; nothing may be there. Who deletes
    /// the conversation deletes it, too.
    pub fn session_path(&self, conversation: &ConversationId) -> PathBuf {
        self.paths.session(conversation)
    }

    /// Whether the file was made by this call of [`Store::open`], so that the library is to be filled
    /// from the folder of models.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What became of a database that was damaged or gone when this was opened.
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// What was taken over from an earlier version when this was opened.
    pub fn imported(&self) -> Option<&Imported> {
        self.imported.as_ref()
    }

    /// Why today's copy could not be made.
    pub fn copy_error(&self) -> Option<&Error> {
        self.copy_error.as_ref()
    }

    /// Changes whenever another process, or [`Store`], has written: for who shows what is stored, and
    /// would otherwise read all of it again and again.
    ///
    /// # Errors
    /// Those of the database.
    pub fn change_stamp(&self) -> Result<u64, Error> {
        // The connection that reads never writes, so it sees all changes as those of others.
        let stamp = self.reader().query_row("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(unsigned(stamp))
    }

    /// The connection that writes; SQLite rolls back what a panic interrupted.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock()
    }

    /// The connection that reads.
    pub(crate) fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock()
    }

    /// Does `work` in one transaction, which is rolled back where it fails.
    pub(crate) fn transaction<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writer = self.writer();
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| E::from(error.into()))?;
        let done = work(&transaction)?;
        transaction.commit().map_err(|error| E::from(error.into()))?;
        Ok(done)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data", &self.paths.data).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// SQLite's integers are signed; nothing here comes near the bound.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
