//! The models on this device: an index in SQLite, our folder with its quota, and locks, so that
//! several processes can use one library at the same time.
//!
//! Nothing here opens a network connection.

mod conversions;
pub(crate) mod describe;
mod downloads;
pub(crate) mod folder;
mod heal;
mod import;
mod index;
mod locks;
mod quota;
mod settings;
mod unfinished;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lilims_ipc::StayReason;
use rusqlite::{Connection, params};

pub use conversions::Converting;
use conversions::Reservation;
pub(crate) use downloads::download_lock;
pub use downloads::{DownloadRow, DownloadState, Journal, Published, Source};
pub use heal::Rebuilt;
pub use import::Scanned;
pub(crate) use import::{BUNDLED, FOLDER, GIVEN};
pub use index::Entry;
pub use locks::Held;
use quota::plan;
pub use quota::{Occupant, Plan};
pub use settings::{Limits, LoggedConnection, Peak};

use crate::Error;
use folder::Folder;
use index::signed;
use locks::Locks;

/// How long a process waits for another that writes to the index.
const INDEX_PATIENCE: Duration = Duration::from_secs(10);

/// The models on this device.
pub struct Library {
    pub(crate) folder: Folder,
    pub(crate) locks: Locks,
    index: Mutex<Connection>,
    reservation: Reservation,
    /// Wakes the queue of this process when a download changed.
    pub(crate) downloads_changed: tokio::sync::Notify,
    rebuilt: OnceLock<Rebuilt>,
    /// While it is held, no process exchanges the index.
    _users: Held,
}

/// What models take on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Our folder.
    pub folder: PathBuf,
    /// What our folder takes of the disk, what is unfinished included.
    pub used_bytes: u64,
    /// What of it belongs to unfinished downloads and to the conversion that runs.
    pub unfinished_bytes: u64,
    /// The most that our folder may take.
    pub quota_bytes: u64,
    /// Whether that is the default.
    pub is_default_quota: bool,
    /// What is free on that disk.
    pub free_bytes: u64,
    /// What models in other folders take.
    pub in_place_bytes: u64,
}

impl Library {
    /// Opens the library in the folder of Lilims's data.
    ///
    /// # Errors
    /// As [`Library::open`]; or [`Error::Io`] where this user has no folder.
    pub fn open_default() -> Result<Self, Error> {
        let data = lilims_models::data_dir()
            .map_err(|error| Error::io("the home folder")(std::io::Error::other(error)))?;
        Self::open(&data.join("models"))
    }

    /// Opens the library in the folder of Lilims's data, if there is one yet.
    ///
    /// # Errors
    /// As [`Library::open_default`].
    pub fn open_existing() -> Result<Option<Self>, Error> {
        let Ok(data) = lilims_models::data_dir() else { return Ok(None) };
        let root = data.join("models");
        match Folder::index_of(&root).is_file() {
            true => Self::open(&root).map(Some),
            false => Ok(None),
        }
    }

    /// Opens the library in `root`, which is made if it is not there.
    ///
    /// What processes that ended have left unfinished is removed, and an index that is damaged or
    /// gone is rebuilt: [`Library::rebuilt`] says so.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`], [`Error::IndexVersion`]; [`Error::IndexDamaged`] where
    /// another process uses an index that is damaged; [`Error::Busy`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let folder = Folder::open(root.to_owned())?;
        let locks = Locks::open(folder.locks())?;
        let heal::Opened { connection, users, is_new, damaged } = heal::open(&folder, &locks)?;
        let library = Self {
            folder,
            locks,
            index: Mutex::new(connection),
            reservation: Reservation::default(),
            downloads_changed: tokio::sync::Notify::new(),
            rebuilt: OnceLock::new(),
            _users: users,
        };
        if is_new {
            library.rebuild(damaged)?;
        }
        library.sweep();
        Ok(library)
    }

    /// What became of an index that was damaged or gone when this was opened; `None` where it was
    /// neither.
    pub fn rebuilt(&self) -> Option<&Rebuilt> {
        self.rebuilt.get()
    }

    /// Our folder.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// The connection to the index; SQLite rolls back what a panic interrupted.
    fn index(&self) -> MutexGuard<'_, Connection> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All models, the last used first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        index::entries(&self.index(), &self.folder)
    }

    /// The model with this short name.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn entry(&self, name: &str) -> Result<Entry, Error> {
        let missing = || Error::NoSuchModel { name: name.to_owned() };
        index::find(&self.index(), &self.folder, name)?.ok_or_else(missing)
    }

    /// The model whose file is at `path`, or where links from there lead, if the library has it.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entry_at(&self, path: &Path) -> Result<Option<Entry>, Error> {
        if let Some(entry) = index::find_path(&self.index(), &self.folder, path)? {
            return Ok(Some(entry));
        }
        let Ok(resolved) = std::fs::canonicalize(path) else { return Ok(None) };
        let is_it =
            |entry: &Entry| std::fs::canonicalize(&entry.path).is_ok_and(|path| path == resolved);
        Ok(self.entries()?.into_iter().find(is_it))
    }

    /// The model that came from `file` of `repository`, if it is here.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn entry_of(&self, repository: &str, file: &str) -> Result<Option<Entry>, Error> {
        let is_it = |entry: &Entry| {
            entry.repository.as_deref() == Some(repository) && entry.file.as_deref() == Some(file)
        };
        Ok(self.entries()?.into_iter().find(is_it))
    }

    /// Pins a model, so that it is never removed to make room, or unpins it.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn pin(&self, name: &str, is_pinned: bool) -> Result<(), Error> {
        self.update(name, "UPDATE models SET is_pinned = ?2 WHERE name = ?1", is_pinned)
    }

    /// Notes the licence of a model whose file states none.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn note_licence(&self, name: &str, licence: &str) -> Result<(), Error> {
        let sql = "UPDATE models SET licence = coalesce(licence, ?2) WHERE name = ?1";
        self.update(name, sql, licence)
    }

    /// Notes that a model is used now, and keeps it from being removed until what is returned is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`]; [`Error::InUse`] while it is being removed.
    pub fn use_model(&self, name: &str) -> Result<Held, Error> {
        let held = self.hold(name)?;
        let sql = "UPDATE models SET last_used_ms = ?2 WHERE name = ?1";
        self.update(name, sql, signed(now_ms()))?;
        Ok(held)
    }

    /// Keeps a model from being removed until what is returned is dropped.
    fn hold(&self, name: &str) -> Result<Held, Error> {
        let held = self.locks.try_shared(&model_lock(name))?;
        held.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Takes a model for oneself, so that nobody loads it.
    pub(crate) fn use_exclusively(&self, name: &str) -> Result<Held, Error> {
        let held = self.locks.try_exclusive(&model_lock(name))?;
        held.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Notes a model's hash, and that it is good.
    pub(crate) fn note_hash(&self, name: &str, sha256: &str, digests: &[u8]) -> Result<(), Error> {
        self.index().execute(
            "UPDATE models SET sha256 = ?2, digests = ?3, is_damaged = 0 WHERE name = ?1",
            params![name, sha256, digests],
        )?;
        Ok(())
    }

    /// Notes that a model's hash does not hold any more.
    pub(crate) fn note_damage(&self, name: &str) -> Result<(), Error> {
        self.update(name, "UPDATE models SET is_damaged = ?2 WHERE name = ?1", true)
    }

    fn update(&self, name: &str, sql: &str, value: impl rusqlite::ToSql) -> Result<(), Error> {
        match self.index().prepare_cached(sql)?.execute(params![name, value])? {
            0 => Err(Error::NoSuchModel { name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Removes a model: its file if it is ours, else only that the library knows it. A download that
    /// was to repair or replace it is cancelled.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::InUse`], [`Error::Io`], [`Error::Index`].
    pub fn remove(&self, name: &str) -> Result<Entry, Error> {
        let lock = self.use_exclusively(name)?;
        self.remove_locked(name, &lock)
    }

    /// Removes a model that this process has locked.
    fn remove_locked(&self, name: &str, _lock: &Held) -> Result<Entry, Error> {
        let entry = self.entry(name)?;
        if entry.owner.is_none() {
            for row in self.downloads()?.iter().filter(|row| row.brings(&entry)) {
                self.cancel(row.id)?;
            }
            self.folder.remove(&entry.path)?;
        }
        // Last: a file without an entry would take room that nobody sees.
        self.index().execute("DELETE FROM models WHERE name = ?1", [name])?;
        Ok(entry)
    }

    /// What models take.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn storage(&self) -> Result<Storage, Error> {
        let (converting_bytes, unwritten_bytes) = self.conversion_bytes();
        let unfinished_bytes = self.unfinished_bytes()? + converting_bytes;
        let (mut used_bytes, mut in_place_bytes) = (unfinished_bytes, 0);
        for entry in self.entries()? {
            let bytes = folder::disk_bytes(&entry.path);
            *(if entry.owner.is_none() { &mut used_bytes } else { &mut in_place_bytes }) += bytes;
        }
        let free_bytes = self.folder.free_bytes().saturating_sub(unwritten_bytes);
        let chosen = self.chosen_quota()?;
        Ok(Storage {
            folder: self.root().to_owned(),
            used_bytes,
            unfinished_bytes,
            quota_bytes: chosen.unwrap_or_else(|| quota::default_quota(free_bytes + used_bytes)),
            is_default_quota: chosen.is_none(),
            free_bytes,
            in_place_bytes,
        })
    }

    /// What would leave to make room for `needed_bytes`. Nothing does yet.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn plan(&self, needed_bytes: u64) -> Result<Plan, Error> {
        self.plan_beside(needed_bytes, None)
    }

    /// As [`Library::plan`]; the model `source` stays, since what needs the room is made from it.
    fn plan_beside(&self, needed_bytes: u64, source: Option<&str>) -> Result<Plan, Error> {
        let storage = self.storage()?;
        let downloads = self.downloads()?;
        let mut occupants = Vec::new();
        for entry in self.entries()?.into_iter().filter(|entry| entry.owner.is_none()) {
            let is_downloading = downloads.iter().any(|row| row.brings(&entry));
            let is_source = source == Some(entry.name.as_str());
            let occupant = self.occupant(entry, is_downloading)?;
            occupants.push(match is_source {
                true => Occupant { stays: Some(StayReason::Converted), ..occupant },
                false => occupant,
            });
        }
        Ok(plan(
            occupants,
            storage.unfinished_bytes,
            needed_bytes,
            storage.quota_bytes,
            storage.free_bytes,
        ))
    }

    fn occupant(&self, entry: Entry, is_downloading: bool) -> Result<Occupant, Error> {
        let stays = if entry.is_pinned {
            Some(StayReason::Pinned)
        } else if is_downloading {
            Some(StayReason::Downloading)
        } else if self.locks.try_exclusive(&model_lock(&entry.name))?.is_none() {
            Some(StayReason::Loaded)
        } else {
            None
        };
        Ok(Occupant {
            disk_bytes: folder::disk_bytes(&entry.path),
            last_used_ms: entry.last_used_ms.or(Some(entry.added_ms)),
            name: entry.name,
            title: entry.title,
            stays,
        })
    }

    /// Makes room for `needed_bytes` by removing the models `agreed`, short names as an earlier
    /// [`Library::plan`] had them.
    ///
    /// # Errors
    /// [`Error::PlanChanged`] where the plan names other models now; [`Error::Quota`] and
    /// [`Error::NoSpace`] where it cannot be done. Nothing was removed then.
    pub fn make_room(&self, needed_bytes: u64, agreed: &[String]) -> Result<(), Error> {
        self.carry_out(self.plan(needed_bytes)?, agreed)
    }

    /// Removes the models of the plan, which must be those that were agreed to.
    fn carry_out(&self, plan: Plan, agreed: &[String]) -> Result<(), Error> {
        self.check(&plan)?;
        let removes: Vec<String> = plan.removes.into_iter().map(|it| it.name).collect();
        let is_agreed =
            removes.len() == agreed.len() && removes.iter().all(|it| agreed.contains(it));
        if !is_agreed {
            return Err(Error::PlanChanged { removes });
        }
        // Each is locked before the first is removed, so that either all leave or none.
        let locks = removes.iter().map(|name| self.use_exclusively(name));
        let locks = locks.collect::<Result<Vec<_>, _>>()?;
        for (name, lock) in removes.iter().zip(&locks) {
            self.remove_locked(name, lock)?;
        }
        Ok(())
    }

    /// Whether a plan can be carried out.
    ///
    /// # Errors
    /// [`Error::Quota`], [`Error::NoSpace`], [`Error::Index`].
    pub fn check(&self, plan: &Plan) -> Result<(), Error> {
        if plan.missing_bytes == 0 {
            return Ok(());
        }
        let storage = self.storage()?;
        let needed = plan.needed_bytes;
        let kept: u64 = plan.keeps.iter().map(|it| it.disk_bytes).sum();
        let kept = kept + storage.unfinished_bytes;
        if kept.saturating_add(needed) > storage.quota_bytes {
            return Err(Error::Quota { needed, quota: storage.quota_bytes, kept });
        }
        let folder = self.root().to_owned();
        Err(Error::NoSpace { needed, free: storage.free_bytes, folder })
    }
}

/// The lock that users of a model share.
fn model_lock(name: &str) -> String {
    format!("model-{name}")
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
