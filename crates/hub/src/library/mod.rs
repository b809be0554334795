//! The models on this device: rows of the database, our folder with its quota, and locks, so that
//! several processes can use the library at the same time.
//!
//! Its calls block. It opens no network connections.

mod connections;
mod conversions;
pub(crate) mod describe;
mod downloads;
pub(crate) mod folder;
mod import;
mod index;
mod quota;
mod settings;
mod unfinished;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use lilims_ipc::StayReason;
pub use lilims_store::{DownloadState, LockGuard, LoggedConnection, Model as Entry, Peak, Source};
use lilims_store::{Locks, Store};

pub use connections::seal_process;
pub use conversions::OngoingConversion;
use conversions::Reservation;
pub(crate) use downloads::download_lock;
pub use downloads::{DownloadProgress, DownloadRow, Published};
pub use import::Scanned;
pub(crate) use import::{BUNDLED, FOLDER, GIVEN};
use quota::plan;
pub use quota::{Plan, PlannedModel};
pub use settings::Limits;

use crate::Error;
use folder::Folder;

/// The models on this device.
pub struct Library {
    pub(crate) folder: Folder,
    pub(crate) locks: Locks,
    pub(crate) store: Arc<Store>,
    reservation: Reservation,
    /// Wakes the queue of this process after a download changed.
    pub(crate) downloads_changed: tokio::sync::Notify,
    /// Wakes what shows the log of connections.
    pub(crate) connections_changed: tokio::sync::Notify,
    /// Whether the setting seals Lilims, as last read.
    is_sealed: AtomicBool,
    rebuilt: OnceLock<Rebuilt>,
}

/// How the library was restored after its database was damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The damage; `None` if the database was missing.
    pub damage: Option<String>,
    /// Where the damaged database was moved.
    pub put_aside: Option<PathBuf>,
    /// When the backup that it was restored from was made, in milliseconds since 1970.
    pub from_copy_of_ms: Option<u64>,
    /// The number of models now.
    pub n_models: usize,
}

/// The disk space of the models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Our folder.
    pub folder: PathBuf,
    /// Size of our folder on disk, including unfinished files.
    pub used_bytes: u64,
    /// Size of unfinished downloads and of the running conversion.
    pub unfinished_bytes: u64,
    /// The largest size of our folder.
    pub quota_bytes: u64,
    /// Whether the quota is the default.
    pub is_default_quota: bool,
    /// Free space on its disk.
    pub free_bytes: u64,
    /// Size of the models in other folders.
    pub in_place_bytes: u64,
}

impl Library {
    /// Opens the library of `store` in its folder of models, and creates the folder if it is missing.
    ///
    /// Removes unfinished files of processes that have ended. Adds the models in the folder to a new or
    /// restored database; see [`Library::rebuilt`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Database`].
    pub fn new(store: Arc<Store>) -> Result<Self, Error> {
        let folder = Folder::open(store.models_folder().to_owned())?;
        let locks = Locks::open(folder.locks())?;
        let library = Self {
            folder,
            locks,
            store,
            reservation: Reservation::default(),
            downloads_changed: tokio::sync::Notify::new(),
            connections_changed: tokio::sync::Notify::new(),
            is_sealed: AtomicBool::new(false),
            rebuilt: OnceLock::new(),
        };
        library.add_untracked()?;
        library.remove_abandoned();
        Ok(library)
    }

    /// Opens the library and its database in Lilims's data folder.
    ///
    /// # Errors
    /// As for [`Library::open`]; or [`Error::Io`] if this user has no home folder.
    pub fn open_default() -> Result<Self, Error> {
        let data = lilims_models::data_dir()
            .map_err(|error| Error::io("the home folder")(std::io::Error::other(error)))?;
        Self::open_in(&data)
    }

    /// Like [`Library::open_default`], but returns `None` if there is no database yet.
    ///
    /// # Errors
    /// As for [`Library::open_default`].
    pub fn open_existing() -> Result<Option<Self>, Error> {
        let Ok(data) = lilims_models::data_dir() else { return Ok(None) };
        match lilims_store::exists(&data) {
            true => Self::open_in(&data).map(Some),
            false => Ok(None),
        }
    }

    /// Opens the library and its database in the data folder `data`, with the models in its `models`.
    ///
    /// # Errors
    /// As for [`Library::open`].
    pub fn open_in(data: &Path) -> Result<Self, Error> {
        let options = lilims_store::Options { imports_conversation: false, models_folder: None };
        Self::new(Arc::new(Store::open_with(data, options)?))
    }

    /// Opens a library whose database and models are both in `root`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Database`], [`Error::NewerDatabase`]; [`Error::DatabaseDamaged`] if
    /// another process uses the damaged database; [`Error::Busy`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let models_folder = Some(root.to_owned());
        let options = lilims_store::Options { imports_conversation: false, models_folder };
        Self::new(Arc::new(Store::open_with(root, options)?))
    }

    /// Adds the models in our folder to a new or restored database.
    fn add_untracked(&self) -> Result<(), Error> {
        let restored = self.store.restored();
        let imported = self.store.imported();
        let old_damage = imported.and_then(|imported| imported.library_damage.as_ref());
        let kept_as = imported.and_then(|imported| imported.library_kept_as.as_ref());
        let is_new = self.store.is_new() && kept_as.is_none();
        if restored.is_none() && old_damage.is_none() && !is_new {
            return Ok(());
        }
        self.scan_own_folder()?;
        let n_models = self.entries()?.len();
        let rebuilt = match (restored, old_damage) {
            (Some(restored), _) => Some(Rebuilt {
                damage: restored.damage.clone(),
                put_aside: restored.put_aside.clone(),
                from_copy_of_ms: restored.from_copy_of_ms,
                n_models,
            }),
            (None, Some(damage)) => Some(Rebuilt {
                damage: Some(damage.clone()),
                put_aside: kept_as.cloned(),
                from_copy_of_ms: None,
                n_models,
            }),
            (None, None) => (n_models > 0).then_some(Rebuilt {
                damage: None,
                put_aside: None,
                from_copy_of_ms: None,
                n_models,
            }),
        };
        if let Some(rebuilt) = rebuilt {
            let _ = self.rebuilt.set(rebuilt);
        }
        Ok(())
    }

    /// The database.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// How the library was restored if its database was damaged or missing when it was opened.
    pub fn rebuilt(&self) -> Option<&Rebuilt> {
        self.rebuilt.get()
    }

    /// Our folder.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Pins or unpins a model. A pinned model is never removed to free space.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Database`].
    pub fn pin(&self, name: &str, is_pinned: bool) -> Result<(), Error> {
        Ok(self.store.set_model_pinned(name, is_pinned)?)
    }

    /// Stores the licence of a model whose file states none.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Database`].
    pub fn add_licence(&self, name: &str, licence: &str) -> Result<(), Error> {
        Ok(self.store.add_model_licence(name, licence)?)
    }

    /// Marks a model as used now, and locks it against removal until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Database`]; [`Error::InUse`] while it is being removed.
    pub fn use_model(&self, name: &str) -> Result<LockGuard, Error> {
        let lock = self.lock_shared(name)?;
        self.store.set_model_used(name, now_ms())?;
        Ok(lock)
    }

    /// Locks a model against removal.
    fn lock_shared(&self, name: &str) -> Result<LockGuard, Error> {
        let lock = self.locks.try_shared(&model_lock(name))?;
        lock.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Locks a model so that no process loads or removes it.
    pub(crate) fn lock_exclusively(&self, name: &str) -> Result<LockGuard, Error> {
        let lock = self.locks.try_exclusive(&model_lock(name))?;
        lock.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Stores the hash of a model and marks it as good.
    pub(crate) fn store_hash(&self, name: &str, sha256: &str, digests: &[u8]) -> Result<(), Error> {
        match self.store.set_model_hash(name, sha256, digests) {
            // It was removed while it was hashed.
            Err(lilims_store::Error::NoSuchModel { .. }) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Marks a model as damaged.
    pub(crate) fn mark_damaged(&self, name: &str) -> Result<(), Error> {
        Ok(self.store.set_model_damaged(name)?)
    }

    /// Removes a model, and its file if it is ours. Cancels a download that would repair or replace it.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::InUse`], [`Error::Io`], [`Error::Database`].
    pub fn remove(&self, name: &str) -> Result<Entry, Error> {
        let lock = self.lock_exclusively(name)?;
        self.remove_locked(name, &lock)
    }

    /// Removes a model that the caller has locked.
    fn remove_locked(&self, name: &str, _lock: &LockGuard) -> Result<Entry, Error> {
        let entry = self.entry(name)?;
        if entry.owner.is_none() {
            for row in self.downloads()?.iter().filter(|row| row.replaces(&entry)) {
                self.cancel(row.id)?;
            }
            self.folder.remove(&entry.path)?;
        }
        // The row last: a file without a row would use disk space unnoticed.
        self.store.remove_model(name)?;
        Ok(entry)
    }

    /// The disk space of the models.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn storage(&self) -> Result<Storage, Error> {
        let (converting_bytes, unwritten_bytes) = self.conversion_bytes();
        let unfinished_bytes = self.unfinished_bytes()? + converting_bytes;
        let (mut used_bytes, mut in_place_bytes) = (unfinished_bytes, 0);
        for entry in self.entries()? {
            let bytes = folder::disk_bytes(&entry.path);
            *(if entry.owner.is_none() { &mut used_bytes } else { &mut in_place_bytes }) += bytes;
        }
        let free_bytes = self.folder.free_bytes().saturating_sub(unwritten_bytes);
        let custom = self.custom_quota()?;
        Ok(Storage {
            folder: self.root().to_owned(),
            used_bytes,
            unfinished_bytes,
            quota_bytes: custom.unwrap_or_else(|| quota::default_quota(free_bytes + used_bytes)),
            is_default_quota: custom.is_none(),
            free_bytes,
            in_place_bytes,
        })
    }

    /// Plans which models to remove to free `needed_bytes`. Removes nothing.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn plan(&self, needed_bytes: u64) -> Result<Plan, Error> {
        self.plan_except(needed_bytes, None)
    }

    /// Like [`Library::plan`], but keeps the model `source`, from which the new file is made.
    fn plan_except(&self, needed_bytes: u64, source: Option<&str>) -> Result<Plan, Error> {
        let storage = self.storage()?;
        let downloads = self.downloads()?;
        let mut models = Vec::new();
        for entry in self.entries()?.into_iter().filter(|entry| entry.owner.is_none()) {
            let is_downloading = downloads.iter().any(|row| row.replaces(&entry));
            let is_source = source == Some(entry.name.as_str());
            let model = self.planned_model(entry, is_downloading)?;
            models.push(match is_source {
                true => PlannedModel { stays: Some(StayReason::Converted), ..model },
                false => model,
            });
        }
        Ok(plan(
            models,
            storage.unfinished_bytes,
            needed_bytes,
            storage.quota_bytes,
            storage.free_bytes,
        ))
    }

    fn planned_model(&self, entry: Entry, is_downloading: bool) -> Result<PlannedModel, Error> {
        let stays = if entry.is_pinned {
            Some(StayReason::Pinned)
        } else if is_downloading {
            Some(StayReason::Downloading)
        } else if self.locks.try_exclusive(&model_lock(&entry.name))?.is_none() {
            Some(StayReason::Loaded)
        } else {
            None
        };
        Ok(PlannedModel {
            disk_bytes: folder::disk_bytes(&entry.path),
            last_used_ms: entry.last_used_ms.or(Some(entry.added_ms)),
            name: entry.name,
            title: entry.title,
            stays,
        })
    }

    /// Frees `needed_bytes` by removing the models `agreed`, whose short names are from an earlier
    /// [`Library::plan`].
    ///
    /// # Errors
    /// [`Error::PlanChanged`] if the plan has other models now; [`Error::Quota`] and
    /// [`Error::NoSpace`] if that is not enough. Nothing has been removed then.
    pub fn make_room(&self, needed_bytes: u64, agreed: &[String]) -> Result<(), Error> {
        self.carry_out(self.plan(needed_bytes)?, agreed)
    }

    /// Removes the models of the plan, which must be `agreed`.
    fn carry_out(&self, plan: Plan, agreed: &[String]) -> Result<(), Error> {
        self.check(&plan)?;
        let removes: Vec<String> = plan.removes.into_iter().map(|it| it.name).collect();
        let is_agreed =
            removes.len() == agreed.len() && removes.iter().all(|it| agreed.contains(it));
        if !is_agreed {
            return Err(Error::PlanChanged { removes });
        }
        // All are locked before the first is removed, so that either all are removed or none.
        let locks = removes.iter().map(|name| self.lock_exclusively(name));
        let locks = locks.collect::<Result<Vec<_>, _>>()?;
        for (name, lock) in removes.iter().zip(&locks) {
            self.remove_locked(name, lock)?;
        }
        Ok(())
    }

    /// Checks that a plan frees enough space.
    ///
    /// # Errors
    /// [`Error::Quota`], [`Error::NoSpace`], [`Error::Database`].
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

/// The lock that the users of a model share.
fn model_lock(name: &str) -> String {
    format!("model-{name}")
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
