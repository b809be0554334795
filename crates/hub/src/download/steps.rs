//! The steps of a download that use the database and files. They block: `task` runs them on tokio's
//! blocking threads.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use fs4::fs_std::FileExt;

use super::chunks::Chunks;
use super::sink::Hashed;
use crate::api::FileInfo;
use crate::library::describe::describe;
use crate::library::{DownloadRow, Entry, Published, Source, folder};
use crate::{Error, Library};

/// The most names that are tried for a file whose own name is in use.
const MAX_NAMES: u32 = 1000;

/// Stores the progress.
///
/// # Errors
/// [`Error::Stopped`] if the download was paused or cancelled.
pub(super) fn store_progress(library: &Library, row: &DownloadRow) -> Result<(), Error> {
    match library.store_progress(row)? {
        true => Ok(()),
        false => Err(Error::Stopped),
    }
}

/// The model that an earlier download of the same file has become.
fn earlier_model(library: &Library, source: &Source) -> Result<Option<Entry>, Error> {
    let is_it = |entry: &Entry| {
        entry.owner.is_none()
            && entry.repository.as_ref() == Some(&source.repository)
            && entry.file.as_ref() == Some(&source.file)
    };
    Ok(library.entries()?.into_iter().find(is_it))
}

/// Finishes a download whose file the library has already.
pub(super) fn finish_if_present(
    library: &Library,
    row: &DownloadRow,
    info: &FileInfo,
) -> Result<Option<Entry>, Error> {
    let Some(mut entry) = earlier_model(library, &row.source)? else { return Ok(None) };
    let has_hash = entry.sha256.is_some() && entry.sha256 == info.sha256 && !entry.is_damaged;
    if !(has_hash && fs::metadata(&entry.path).is_ok_and(|it| it.len() == info.total_bytes)) {
        return Ok(None);
    }
    library.remove_partial(row.id)?;
    library.finish_download(row.id, &mut entry)?;
    Ok(Some(entry))
}

/// How [`reserve`] found the unfinished file.
pub(super) enum Reserved {
    /// It holds the chunks that the row says.
    Resumed,
    /// It is new and empty.
    Empty,
    /// It is new, and its good chunks are those of this damaged model.
    Damaged(PathBuf),
}

/// Reserves disk space for the file.
pub(super) fn reserve(library: &Library, row: &DownloadRow) -> Result<Reserved, Error> {
    let total_bytes = row.progress.total_bytes;
    let is_resumed = library.folder.partial(row.id).exists();
    library.reserve(row.id, total_bytes)?;
    if is_resumed {
        return Ok(Reserved::Resumed);
    }
    let is_repair =
        !row.received.is_empty() && Chunks::from_bits(total_bytes, &row.received).all_received();
    let model = earlier_model(library, &row.source)?;
    let damaged = model.filter(|model| is_repair && model.is_damaged && model.path.is_file());
    Ok(damaged.map_or(Reserved::Empty, |model| Reserved::Damaged(model.path)))
}

/// Copies a damaged model to the unfinished file that will replace it.
pub(super) fn copy_damaged(
    damaged: &Path,
    partial: &Path,
    total_bytes: u64,
    cancel: &AtomicBool,
) -> Result<(), Error> {
    folder::copy(damaged, partial, cancel)?;
    allocate(partial, total_bytes).map_err(Error::io(partial))
}

/// Verifies the complete file and turns it into a model.
pub(super) fn finish(
    library: &Library,
    row: &mut DownloadRow,
    info: &FileInfo,
    hashed: Hashed,
) -> Result<Entry, Error> {
    let Source { repository, file, .. } = row.source.clone();
    let partial = library.folder.partial(row.id);
    if let Some(expected) = info.sha256.clone().filter(|it| *it != hashed.sha256) {
        library.remove_partial(row.id)?;
        return Err(Error::Hash { file, expected, got: hashed.sha256 });
    }
    describe(&partial, &file).inspect_err(|_| {
        // A further attempt could not use it.
        let _ = library.remove_partial(row.id);
    })?;
    row.digests = hashed.digests;
    let path = match earlier_model(library, &row.source)? {
        Some(model) => {
            store_path(library, row, &model.path, &hashed.sha256)?;
            library.folder.replace(&partial, &model.path)?;
            model.path
        }
        // Any other file of this name is not ours to replace.
        None => {
            let wanted = library.folder.of_repository(&repository, &file)?;
            publish(library, row, &partial, &wanted, &hashed.sha256)?
        }
    };
    let mut entry = library.downloaded_entry(row, &path, &hashed.sha256)?;
    library.finish_download(row.id, &mut entry)?;
    Ok(entry)
}

/// Renames the complete file to a free name.
fn publish(
    library: &Library,
    row: &mut DownloadRow,
    partial: &Path,
    wanted: &Path,
    sha256: &str,
) -> Result<PathBuf, Error> {
    for number in 1..=MAX_NAMES {
        let path = lilims_files::numbered_name(wanted, number);
        if path.exists() {
            continue;
        }
        store_path(library, row, &path, sha256)?;
        if library.folder.publish_new(partial, &path)? {
            return Ok(path);
        }
    }
    Err(Error::io(wanted)(io::ErrorKind::AlreadyExists.into()))
}

/// Stores the future path of the complete file, so that a crash after the renaming loses nothing.
fn store_path(
    library: &Library,
    row: &mut DownloadRow,
    path: &Path,
    sha256: &str,
) -> Result<(), Error> {
    let outside = || Error::Outside { path: path.to_owned() };
    let place = library.folder.relative(path).ok_or_else(outside)?;
    let (place, sha256) = (place.to_string_lossy().into_owned(), sha256.to_owned());
    row.progress.published = Some(Published { place, sha256 });
    store_progress(library, row)
}

impl Library {
    /// Reserves disk space for the file of a download. Where the file system cannot reserve space, only
    /// checks that it is free now.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; [`Error::Quota`] if models would have to be removed; [`Error::Io`].
    pub fn reserve(&self, id: i64, total_bytes: u64) -> Result<(), Error> {
        let path = self.folder.partial(id);
        let missing = total_bytes.saturating_sub(folder::disk_bytes(&path));
        if missing > 0 {
            let plan = self.plan(missing)?;
            self.check(&plan)?;
            if !plan.removes.is_empty() {
                let storage = self.storage()?;
                let (quota, kept) = (storage.quota_bytes, storage.used_bytes);
                return Err(Error::Quota { needed: missing, quota, kept });
            }
        }
        allocate(&path, total_bytes).map_err(Error::io(&path))
    }
}

fn allocate(path: &Path, total_bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if fs::metadata(path)?.len() > total_bytes {
        file.set_len(total_bytes)?;
    }
    if total_bytes == 0 {
        return Ok(());
    }
    match FileExt::allocate(&file, total_bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => file.set_len(total_bytes),
        result => result,
    }
}
