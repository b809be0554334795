//! Our folder on disk: where files of repositories and unfinished downloads are, what they take,
//! and that backups leave them out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// Tells programs that make backups to leave the folder out (bford.info/cachedir).
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Models that Lilims can download again.\n";

/// The library's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder if it is not there, and marks it for programs that make backups.
    pub(crate) fn open(root: PathBuf) -> Result<Self, Error> {
        let folder = Self { root };
        for path in [folder.root.clone(), folder.partials()] {
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
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

    pub(crate) fn index(&self) -> PathBuf {
        Self::index_of(&self.root)
    }

    /// Where the index of a library in `root` is.
    pub(crate) fn index_of(root: &Path) -> PathBuf {
        root.join("library.sqlite")
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
            && !file.contains('\\')
            && Path::new(file).components().all(|part| match part {
                Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
                _ => false,
            });
        if !is_plain {
            return Err(Error::FileName { file: file.to_owned() });
        }
        Ok(self.root.join(repository).join(file))
    }

    /// Where a file that the user brings in is put: a name that nothing has yet.
    pub(crate) fn of_import(&self, file_name: &str) -> PathBuf {
        let folder = self.root.join("imported");
        let (stem, extension) = file_name.rsplit_once('.').unwrap_or((file_name, "gguf"));
        (1..)
            .map(|n| match n {
                1 => folder.join(file_name),
                _ => folder.join(format!("{stem}-{n}.{extension}")),
            })
            .find(|path| !path.exists())
            .expect("some number is free")
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        fs4::available_space(&self.root).unwrap_or(0)
    }

    /// What unfinished files take of the disk.
    pub(crate) fn unfinished_bytes(&self) -> u64 {
        let Ok(files) = fs::read_dir(self.partials()) else { return 0 };
        files.flatten().map(|file| disk_bytes(&file.path())).sum()
    }

    /// Removes a model's file, its manifest, and the folders that they leave empty.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        remove_file(path)?;
        remove_file(&manifest_of(path))?;
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            // One that is not empty stays.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Where the manifest of a converted model is: beside it.
pub(crate) fn manifest_of(path: &Path) -> PathBuf {
    path.with_extension("lilims.json")
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
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

/// Renames `from` to `to` so that after a crash either the old or the new state is there.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    let folder = to.parent().expect("a model's file is in a folder");
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    fs::rename(from, to).map_err(Error::io(to))?;
    sync_folder(folder);
    Ok(())
}

/// Writes a folder's names to the disk, where the system can.
pub(crate) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Copies `from` to the new file `to` and returns it; the system shares the blocks where it can.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map_err(Error::io(to))?;
    let mut file = File::options().write(true).open(to).map_err(Error::io(to))?;
    file.flush().and_then(|()| file.sync_all()).map_err(Error::io(to))
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
        publish(&part, &path).unwrap();
        assert!(path.is_file() && !part.exists());
        folder.remove(&path).unwrap();
        assert!(!folder.root().join("owner").exists() && folder.root().exists());
    }

    #[test]
    fn imports_take_free_names() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path().to_owned()).unwrap();
        let first = folder.of_import("m.gguf");
        fs::create_dir_all(first.parent().unwrap()).unwrap();
        fs::write(&first, "x").unwrap();
        assert!(folder.of_import("m.gguf").ends_with("imported/m-2.gguf"));
    }
}
