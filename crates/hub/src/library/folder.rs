//! The library's folder: the paths of its files, their sizes on disk, and their exclusion from backups.
//!
//! Links may lead out of the folder, to the models of another program. So whether a file is ours is
//! decided by its resolved path ([`Folder::owns`]), and nothing here writes, renames or removes files
//! elsewhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// Tells backup programs to exclude the folder (bford.info/cachedir).
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Models that Lilims can download again.\n";

/// Bytes that are copied between two checks for cancellation.
const COPY_BYTES: u64 = 32 << 20;

/// The library's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// The path after following links.
    resolved: PathBuf,
}

impl Folder {
    /// Creates the folder if it is missing, and excludes it from backups.
    pub(crate) fn open(root: PathBuf) -> Result<Self, Error> {
        let root = std::path::absolute(&root).map_err(Error::io(&root))?;
        fs::create_dir_all(&root).map_err(Error::io(&root))?;
        let resolved = fs::canonicalize(&root).map_err(Error::io(&root))?;
        let folder = Self { root, resolved };
        folder.create(&folder.partials())?;
        let tag = folder.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            // The library works without it.
            let _ = lilims_files::write_atomic(&tag, |file| file.write_all(CACHE_TAG.as_bytes()));
            exclude_from_backups(&folder.root);
        }
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join(".locks")
    }

    /// The folder of unfinished files.
    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join(".partial")
    }

    /// The unfinished file of download `id`.
    pub(crate) fn partial(&self, id: i64) -> PathBuf {
        self.partials().join(format!("{id}.part"))
    }

    /// The IDs of the downloads that have an unfinished file.
    pub(crate) fn unfinished(&self) -> Vec<i64> {
        let Ok(files) = fs::read_dir(self.partials()) else { return Vec::new() };
        let id = |name: &str| name.strip_suffix(".part")?.parse().ok();
        files.flatten().filter_map(|file| id(&file.file_name().to_string_lossy())).collect()
    }

    /// The final path of `file` of `repository`.
    pub(crate) fn of_repository(&self, repository: &str, file: &str) -> Result<PathBuf, Error> {
        check_repository(repository)?;
        let is_plain = !file.is_empty()
            && !file.contains(|c: char| c == '\\' || c.is_control())
            && Path::new(file).components().all(|part| match part {
                Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
                _ => false,
            });
        if !is_plain {
            return Err(Error::FileName { file: file.to_owned() });
        }
        Ok(self.root.join(repository).join(file))
    }

    /// Whether `path`, existing or not, is in our folder after following links.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        resolve(path).is_some_and(|path| path != self.resolved && path.starts_with(&self.resolved))
    }

    /// `path` relative to our folder, if it is in it with or without following links.
    pub(crate) fn relative(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok().map(Path::to_owned);
        let below =
            below.or_else(|| resolve(path)?.strip_prefix(&self.resolved).ok().map(Path::to_owned));
        below.filter(|below| !below.as_os_str().is_empty())
    }

    /// Creates a folder in ours.
    pub(crate) fn create(&self, folder: &Path) -> Result<(), Error> {
        self.check_owned(folder)?;
        fs::create_dir_all(folder).map_err(Error::io(folder))
    }

    fn check_owned(&self, path: &Path) -> Result<(), Error> {
        match self.owns(path) {
            true => Ok(()),
            false => Err(Error::Outside { path: path.to_owned() }),
        }
    }

    /// The folder of imported files.
    pub(crate) fn imported(&self) -> PathBuf {
        self.root.join("imported")
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        fs4::available_space(&self.root).unwrap_or(0)
    }

    /// Renames the synced file `from` to `to` atomically, unless a file of that name exists. Returns
    /// whether it did.
    pub(crate) fn publish_new(&self, from: &Path, to: &Path) -> Result<bool, Error> {
        self.create(parent(to))?;
        self.check_owned(to)?;
        match lilims_files::rename_no_replace(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(Error::file(to)(error)),
        }
    }

    /// Replaces our file `to` by `from` atomically.
    pub(crate) fn replace(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.create(parent(to))?;
        self.check_owned(to)?;
        lilims_files::rename_replacing(from, to).map_err(Error::file(to))
    }

    /// Removes a model's file, its manifest, and the folders that become empty. Files elsewhere stay.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        if !self.owns(path) {
            return Ok(());
        }
        self.remove_file(path)?;
        self.remove_file(&manifest_of(path))?;
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            // A non-empty folder stays.
            if !self.owns(folder) || fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes a file if it exists. Files elsewhere stay.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), Error> {
        match self.owns(path) {
            true => remove_file(path),
            false => Ok(()),
        }
    }
}

/// The folder of a file.
fn parent(path: &Path) -> &Path {
    path.parent().expect("a model's file is in a folder")
}

/// Follows links in `path`, of which the end may not exist yet. `None` for a dangling link.
pub(crate) fn resolve(path: &Path) -> Option<PathBuf> {
    if let Ok(resolved) = fs::canonicalize(path) {
        return Some(resolved);
    }
    if fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        return None;
    }
    let (parent, name) = (path.parent()?, path.file_name()?);
    Some(resolve(parent)?.join(name))
}

/// The manifest of a converted model, beside it.
pub(crate) fn manifest_of(path: &Path) -> PathBuf {
    path.with_extension("lilims.json")
}

/// Removes a file if it exists.
fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Checks that a name is `owner/name` in the characters that the hub allows.
pub(crate) fn check_repository(name: &str) -> Result<(), Error> {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && text.len() <= 96
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match name.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok(()),
        _ => Err(Error::RepositoryName { name: name.to_owned() }),
    }
}

/// The bytes that a file occupies on disk; 0 if it does not exist.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The unit is 512 bytes on all file systems.
        metadata.blocks() * 512
    }
    #[cfg(not(unix))]
    {
        metadata.len()
    }
}

/// Copies `from` to the unfinished file `to` and syncs it. The copy is writable whatever the permissions
/// of `from`. The system shares the blocks if it can.
///
/// # Errors
/// [`Error::Stopped`] if `cancel` is set; [`Error::Io`], [`Error::NoSpace`].
pub(crate) fn copy(from: &Path, to: &Path, cancel: &AtomicBool) -> Result<(), Error> {
    let source = lilims_files::open(from).map_err(Error::file(from))?;
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    if clone(from, to) {
        return Ok(());
    }
    let target = File::options().write(true).create(true).truncate(true).open(to);
    let mut target = target.map_err(Error::io(to))?;
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let mut part = io::Read::take(&source, COPY_BYTES);
        if io::copy(&mut part, &mut target).map_err(Error::io(to))? == 0 {
            return target.sync_all().map_err(Error::io(to));
        }
    }
}

/// Clones the file, which shares its blocks on APFS. A clone has the permissions of its source, which
/// may forbid writing.
#[cfg(any(target_os = "macos", target_os = "ios"))]
fn clone(from: &Path, to: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::remove_file(to);
    let is_done = fs::copy(from, to).is_ok()
        && fs::set_permissions(to, fs::Permissions::from_mode(0o644)).is_ok();
    is_done && lilims_files::open(to).is_ok_and(|file| file.sync_all().is_ok())
}

#[cfg(any(target_os = "macos", target_os = "ios"))]
fn exclude_from_backups(folder: &Path) {
    // `NSURLIsExcludedFromBackupKey` sets this attribute: a property list of one string.
    const NAME: &str = "com.apple.metadata:com_apple_backup_excludeItem";
    const VALUE: &[u8] =
        b"bplist00_\x10\x11com.apple.backupd\x08\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\0\x01\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1c";
    let _ = xattr::set(folder, NAME, VALUE);
}

#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn exclude_from_backups(_folder: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join("models")).unwrap();
        let inside = folder.of_repository("owner/name", "sub/file.gguf").unwrap();
        assert!(inside.starts_with(folder.root()));
        for file in ["../x.gguf", "/etc/x.gguf", "a/../../x", ".hidden", "a/.b", "", "a\\b", "./a"]
        {
            let result = folder.of_repository("owner/name", file);
            assert!(matches!(result, Err(Error::FileName { .. })), "{file}: {result:?}");
        }
        for name in ["owner", "owner/name/more", "../name", "owner/..", "/", "a b/c", "owner/"] {
            let result = folder.of_repository(name, "x.gguf");
            assert!(matches!(result, Err(Error::RepositoryName { .. })), "{name}: {result:?}");
        }
    }

    #[test]
    fn folder_is_tagged_and_empty_folders_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().join("models")).unwrap();
        let tag = fs::read_to_string(folder.root().join("CACHEDIR.TAG")).unwrap();
        assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
        let path = folder.of_repository("owner/name", "file.gguf").unwrap();
        let part = folder.partial(7);
        fs::write(&part, "x").unwrap();
        assert!(folder.publish_new(&part, &path).unwrap());
        assert!(path.is_file() && !part.exists());
        fs::write(&part, "y").unwrap();
        assert!(!folder.publish_new(&part, &path).unwrap(), "the name is in use");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        folder.remove(&path).unwrap();
        assert!(!folder.root().join("owner").exists() && folder.root().exists());
    }

    #[cfg(unix)]
    #[test]
    fn l3_targets_of_links_are_not_ours() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let (real, other) = (root.path().join("disk"), root.path().join("other"));
        fs::create_dir(&other).unwrap();
        fs::write(other.join("m.gguf"), "theirs").unwrap();
        fs::write(other.join("m.lilims.json"), "theirs").unwrap();
        fs::create_dir(&real).unwrap();
        symlink(&real, root.path().join("models")).unwrap();
        let folder = Folder::open(root.path().join("models")).unwrap();
        let at = |name: &str| folder.root().join(name);
        symlink(&other, at("owner")).unwrap();
        symlink(other.join("m.gguf"), at("link.gguf")).unwrap();
        symlink("nowhere", at("dangling.gguf")).unwrap();
        fs::write(at("ours.gguf"), "ours").unwrap();
        assert!(folder.owns(&at("ours.gguf")) && folder.owns(&real.join("ours.gguf")));
        assert!(folder.owns(&at("not/yet/here.gguf")) && !folder.owns(folder.root()));
        for theirs in ["owner/m.gguf", "link.gguf", "dangling.gguf", "owner/new.gguf", "../x"] {
            assert!(!folder.owns(&at(theirs)), "{theirs}");
            folder.remove(&at(theirs)).unwrap();
            folder.remove_file(&at(theirs)).unwrap();
            fs::write(at(".partial/1.part"), "new").unwrap();
            for result in [
                folder.publish_new(&at(".partial/1.part"), &at(theirs)).map(drop),
                folder.replace(&at(".partial/1.part"), &at(theirs)),
            ] {
                assert!(matches!(result, Err(Error::Outside { .. })), "{theirs}: {result:?}");
            }
        }
        assert_eq!(fs::read(other.join("m.gguf")).unwrap(), b"theirs");
        assert!(other.join("m.lilims.json").exists() && !other.join("new.gguf").exists());
        assert!(fs::symlink_metadata(at("link.gguf")).is_ok(), "the link stays, too");
        folder.remove(&at("ours.gguf")).unwrap();
        assert!(!at("ours.gguf").exists());
        assert_eq!(folder.relative(&real.join("a/b")).unwrap(), Path::new("a/b"));
        assert_eq!(folder.relative(&at("owner/m.gguf")).unwrap(), Path::new("owner/m.gguf"));
        assert_eq!(folder.relative(&other), None);
    }
}
