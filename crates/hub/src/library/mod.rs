//! The models on this device: their rows in the store, our folder with its quota, and locks, so that
//! several processes can use one library at the same time.
//!
//! Nothing here opens a network connection.

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
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use lilims_ipc::StayReason;
pub use lilims_store::{DownloadState, LoggedConnection, Peak, Source};
pub use lilims_store::{LockGuard as Held, Model as Entry};
use lilims_store::{Locks, Store};

pub use conversions::Converting;
use conversions::Reservation;
pub(crate) use downloads::download_lock;
pub use downloads::{DownloadRow, Journal, Published};
pub use import::Scanned;
pub(crate) use import::{BUNDLED, FOLDER, GIVEN};
use quota::plan;
pub use quota::{Occupant, Plan};
pub use settings::Limits;

use crate::Error;
use folder::Folder;

/// The models on this device.
pub struct Library {
    pub(crate) folder: Folder,
    pub(crate) locks: Locks,
    pub(crate) store: Arc<Store>,
    reservation: Reservation,
    /// Wakes the queue of this process when a download changed.
    pub(crate) downloads_changed: tokio::sync::Notify,
    rebuilt: OnceLock<Rebuilt>,
}

/// What became of a database that was damaged or gone, as far as the library is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What was wrong with it; `None` where there was none.
    pub damage: Option<String>,
    /// Where the damaged one is now.
    pub put_aside: Option<PathBuf>,
    /// When the copy was made from which it was restored, in milliseconds since 1970.
    pub from_copy_of_ms: Option<u64>,
    /// How many models the library has now.
    pub n_models: usize,
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
    /// Opens the library of `store`, in its folder of models, which is made if it is not there.
    ///
    /// What processes that ended have left unfinished is removed. Where the database is new or was
    /// restored, it is filled from the folder; [`Library::rebuilt`] says so.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`].
    pub fn new(store: Arc<Store>) -> Result<Self, Error> {
        let folder = Folder::open(store.models_folder().to_owned())?;
        let locks = Locks::open(folder.locks())?;
        let library = Self {
            folder,
            locks,
            store,
            reservation: Reservation::default(),
            downloads_changed: tokio::sync::Notify::new(),
            rebuilt: OnceLock::new(),
        };
        library.fill()?;
        library.sweep();
        Ok(library)
    }

    /// Opens the library and its database in Lilims's data folder. The conversation of an earlier
    /// version stays where it is, for the doors.
    ///
    /// # Errors
    /// As for [`Library::open`]; or [`Error::Io`] where this user has no folder.
    pub fn open_default() -> Result<Self, Error> {
        let data = lilims_models::data_dir()
            .map_err(|error| Error::io("the home folder")(std::io::Error::other(error)))?;
        Self::open_in(&data)
    }

    /// As [`Library::open_default`], if there is a library yet.
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

    /// Opens the library and its database in the data folder `data`: the models are in its `models`.
    ///
    /// # Errors
    /// As for [`Library::open`].
    pub fn open_in(data: &Path) -> Result<Self, Error> {
        let options = lilims_store::Options { imports_conversation: false, models_folder: None };
        Self::new(Arc::new(Store::open_with(data, options)?))
    }

    /// Opens a library that is whole in `root`, with its database beside the models.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Index`], [`Error::IndexVersion`]; [`Error::IndexDamaged`] where
    /// another process uses a database that is damaged; [`Error::Busy`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        let models_folder = Some(root.to_owned());
        let options = lilims_store::Options { imports_conversation: false, models_folder };
        Self::new(Arc::new(Store::open_with(root, options)?))
    }

    /// Adds what lies in our folder where the database cannot know of it.
    fn fill(&self) -> Result<(), Error> {
        let restored = self.store.restored();
        let imported = self.store.imported();
        let old_damage = imported.and_then(|imported| imported.library_damage.as_ref());
        let kept_as = imported.and_then(|imported| imported.library_kept_as.as_ref());
        let is_new = self.store.is_new() && kept_as.is_none();
        if restored.is_none() && old_damage.is_none() && !is_new {
            return Ok(());
        }
        self.scan_ours()?;
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

    /// What became of a database that was damaged or gone when this was opened; `None` where it was
    /// neither.
    pub fn rebuilt(&self) -> Option<&Rebuilt> {
        self.rebuilt.get()
    }

    /// Our folder.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Pins a model, so that it is never removed to make room, or unpins it.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn pin(&self, name: &str, is_pinned: bool) -> Result<(), Error> {
        Ok(self.store.set_model_pinned(name, is_pinned)?)
    }

    /// Notes the licence of a model whose file states none.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`].
    pub fn note_licence(&self, name: &str, licence: &str) -> Result<(), Error> {
        Ok(self.store.add_model_licence(name, licence)?)
    }

    /// Notes that a model is used now, and keeps it from being removed until what is returned is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchModel`], [`Error::Index`]; [`Error::InUse`] while it is being removed.
    pub fn use_model(&self, name: &str) -> Result<Held, Error> {
        let held = self.hold(name)?;
        self.store.set_model_used(name, now_ms())?;
        Ok(held)
    }

    /// Keeps a model from being removed until what is returned is dropped.
    fn hold(&self, name: &str) -> Result<Held, Error> {
        let held = self.locks.try_shared(&model_lock(name))?;
        held.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Locks a model exclusively, so that no process loads it.
    pub(crate) fn use_exclusively(&self, name: &str) -> Result<Held, Error> {
        let held = self.locks.try_exclusive(&model_lock(name))?;
        held.ok_or_else(|| Error::InUse { name: name.to_owned() })
    }

    /// Notes a model's hash, and that it is good.
    pub(crate) fn note_hash(&self, name: &str, sha256: &str, digests: &[u8]) -> Result<(), Error> {
        match self.store.set_model_hash(name, sha256, digests) {
            // It was removed while it was read.
            Err(lilims_store::Error::NoSuchModel { .. }) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Notes that a model's hash does not hold any more.
    pub(crate) fn note_damage(&self, name: &str) -> Result<(), Error> {
        Ok(self.store.set_model_damaged(name)?)
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
        // Last: a file without an entry would take disk space unnoticed.
        self.store.remove_model(name)?;
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

#[cfg(test)]
mod tests;
