//! The folder that contains a file.

use std::fs::File;
use std::path::Path;

/// Syncs a folder's entries to disk, where the system supports it.
pub fn sync_folder(folder: &Path) {
    // Only Unix can open folders. If it fails, the entries reach the disk a little later.
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// The folder that contains `path`.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
