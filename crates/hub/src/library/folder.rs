//! Our folder on disk: what lies in it, where files of repositories and unfinished downloads are, what
//! they take, and that backups leave them out.
//!
//! Links may lead out of the folder, to the models of another program. Whether a file is ours is
//! therefore decided by where it really is ([`Folder::owns`]), and nothing here writes, renames or
//! removes what is elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// Tells programs that make backups to leave the folder out (bford.info/cachedir).
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Models that Lilims can download again.\n";

/// Bytes of a copy between two looks at whether it is cancelled.
const COPY_BYTES: u64 = 32 << 20;

/// The library's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// The same without links.
    resolved: PathBuf,
}

impl Folder {
    /// Makes the folder if it is not there, and marks it for programs that make backups.
    pub(crate) fn open(root: PathBuf) -> Result<Self, Error> {
        let root = std::path::absolute(&root).map_err(Error::io(&root))?;
        fs::create_dir_all(&root).map_err(Error::io(&root))?;
        let resolved = fs::canonicalize(&root).map_err(Error::io(&root))?;
        let folder = Self { root, resolved };
        folder.make(&folder.partials())?;
        let tag = folder.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            // The folder works without the mark.
            let _ = fs::write(&tag, CACHE_TAG);
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

    /// Where unfinished files are.
    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join(".partial")
    }

    /// Where the unfinished file of download `id` is.
    pub(crate) fn partial(&self, id: i64) -> PathBuf {
        self.partials().join(format!("{id}.part"))
    }

    /// The downloads of which unfinished files are here.
    pub(crate) fn unfinished(&self) -> Vec<i64> {
        let Ok(files) = fs::read_dir(self.partials()) else { return Vec::new() };
        let id = |name: &str| name.strip_suffix(".part")?.parse().ok();
        files.flatten().filter_map(|file| id(&file.file_name().to_string_lossy())).collect()
    }

    /// Where `file` of `repository` is once it is whole.
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

    /// Whether what is at `path`, or would be, lies in our folder, wherever links lead.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        resolve(path).is_some_and(|path| path != self.resolved && path.starts_with(&self.resolved))
    }

    /// `path` relative to our folder, where it is named or lies in it.
    pub(crate) fn relative(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok().map(Path::to_owned);
        let below =
            below.or_else(|| resolve(path)?.strip_prefix(&self.resolved).ok().map(Path::to_owned));
        below.filter(|below| !below.as_os_str().is_empty())
    }

    /// Makes a folder in ours.
    pub(crate) fn make(&self, folder: &Path) -> Result<(), Error> {
        self.check_owned(folder)?;
        fs::create_dir_all(folder).map_err(Error::io(folder))
    }

    fn check_owned(&self, path: &Path) -> Result<(), Error> {
        match self.owns(path) {
            true => Ok(()),
            false => Err(Error::Outside { path: path.to_owned() }),
        }
    }

    /// Where files are put that the user brings in.
    pub(crate) fn imported(&self) -> PathBuf {
        self.root.join("imported")
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        fs4::available_space(&self.root).unwrap_or(0)
    }

    /// Gives the file `from` the name `to`, in one step and only if nothing has that name. Returns
    /// whether it did.
    pub(crate) fn publish_new(&self, from: &Path, to: &Path) -> Result<bool, Error> {
        self.make(parent(to))?;
        self.check_owned(to)?;
        match lilims_files::rename_no_replace(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(Error::io(to)(error.into())),
        }
    }

    /// Puts the file `from` in the place of our file `to`, so that after a crash either of them is
    /// there.
    pub(crate) fn replace(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.make(parent(to))?;
        self.check_owned(to)?;
        fs::rename(from, to).map_err(Error::io(to))?;
        lilims_files::sync_folder(parent(to));
        Ok(())
    }

    /// Removes a model's file, its manifest, and the folders that they leave empty. What lies
    /// elsewhere stays.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        if !self.owns(path) {
            return Ok(());
        }
        self.remove_file(path)?;
        self.remove_file(&manifest_of(path))?;
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            // One that is not empty stays.
            if !self.owns(folder) || fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes a file that may be gone already; what lies elsewhere stays.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), Error> {
        match self.owns(path) {
            true => remove_file(path),
            false => Ok(()),
        }
    }
}

/// The folder that a file of ours is in.
fn parent(path: &Path) -> &Path {
    path.parent().expect("a model's file is in a folder")
}

/// `path` without links; of what is not there, as far as something is. `None` for a link that leads
/// nowhere.
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

/// Where the manifest of a converted model is: beside it.
pub(crate) fn manifest_of(path: &Path) -> PathBuf {
    path.with_extension("lilims.json")
}

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Refuses what is not `owner/name` in the characters that the hub allows.
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

/// What a file takes of the disk, in bytes; 0 for one that is not there.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else { return 0 };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Blocks are of 512 bytes whatever the file system.
        metadata.blocks() * 512
    }
    #[cfg(not(unix))]
    {
        metadata.len()
    }
}

/// Copies `from` to `to`, which is ours to write and to remove whatever `from` allows; the system
/// shares the blocks where it can.
///
/// # Errors
/// [`Error::Stopped`] once `cancel` is set; [`Error::Io`], [`Error::NoSpace`].
pub(crate) fn copy(from: &Path, to: &Path, cancel: &AtomicBool) -> Result<(), Error> {
    let source = lilims_files::open(from).map_err(|error| Error::io(from)(error.into()))?;
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
        let mut piece = io::Read::take(&source, COPY_BYTES);
        if io::copy(&mut piece, &mut target).map_err(Error::io(to))? == 0 {
            return target.sync_all().map_err(Error::io(to));
        }
    }
}

/// Has APFS share the blocks. A clone has the modes of its source, which may forbid writing.
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
    // What `NSURLIsExcludedFromBackupKey` sets: a property list with this one string.
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
    fn paths_never_leave_the_folder() {
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
    fn backups_are_told_and_empty_folders_leave() {
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
        assert!(!folder.publish_new(&part, &path).unwrap(), "the name is taken");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        folder.remove(&path).unwrap();
        assert!(!folder.root().join("owner").exists() && folder.root().exists());
    }

    #[cfg(unix)]
    #[test]
    fn l3_what_links_lead_to_is_not_ours() {
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
