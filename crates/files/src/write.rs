//! Atomic writes: to a temporary file in the same folder, which is then renamed, so that readers
//! see either the old or the new content.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::name::persist_new;
use crate::parent::{parent_of, sync_folder};
use crate::{Error, FileKind};

/// A longer chain of links is treated as a loop.
const MAX_LINKS: usize = 40;

/// Options of a [`AtomicFile`].
#[derive(Clone, Copy, Debug)]
pub struct AtomicFileOptions {
    /// Prefix of the temporary file's name.
    pub prefix: &'static str,
    /// Whether only the owner may access a new file. A file that is replaced keeps its permissions.
    pub is_private: bool,
}

impl Default for AtomicFileOptions {
    fn default() -> Self {
        Self { prefix: ".tmp", is_private: false }
    }
}

/// A temporary file that atomically replaces its target when committed; dropped without a commit,
/// it is deleted.
#[derive(Debug)]
pub struct AtomicFile {
    file: NamedTempFile,
    /// The file to replace: the caller's path after following links.
    target: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file that will become `path`. If `path` is a link, the link stays and
    /// its target is replaced.
    ///
    /// # Errors
    /// [`Error::NotReplaceable`] if `path` is a folder, a pipe, a socket or a device;
    /// [`Error::Io`].
    pub fn new(path: &Path) -> Result<Self, Error> {
        Self::with_options(path, AtomicFileOptions::default())
    }

    /// Like [`AtomicFile::new`], with options.
    ///
    /// # Errors
    /// As for [`AtomicFile::new`].
    pub fn with_options(path: &Path, options: AtomicFileOptions) -> Result<Self, Error> {
        let (target, existing) = replaceable(path)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(options.prefix);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if options.is_private { 0o600 } else { 0o666 };
            builder.permissions(std::fs::Permissions::from_mode(mode));
        }
        let file = builder.tempfile_in(parent_of(&target)).map_err(Error::io(path))?;
        #[cfg(unix)]
        if let Some(metadata) = existing {
            use std::os::unix::fs::PermissionsExt;
            // Special bits, such as set-user-id, are not carried over.
            let mode = metadata.permissions().mode() & 0o777 | 0o200;
            let permissions = std::fs::Permissions::from_mode(mode);
            file.as_file().set_permissions(permissions).map_err(Error::io(path))?;
        }
        #[cfg(not(unix))]
        drop(existing);
        Ok(Self { file, target })
    }

    /// The temporary file, to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// The path of the temporary file.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Syncs the file to disk and renames it to its target, replacing an existing file.
    ///
    /// # Errors
    /// As for [`AtomicFile::new`], since the target may have changed meanwhile.
    pub fn commit(self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(Error::io(&self.target))?;
        let target = self.target.clone();
        self.commit_unsynced()?;
        sync_folder(parent_of(&target));
        Ok(())
    }

    /// Renames the file to its target, replacing an existing file, without syncing it to disk: for
    /// large files that are validated when read and can be recreated.
    ///
    /// # Errors
    /// As for [`AtomicFile::commit`].
    pub fn commit_unsynced(self) -> Result<(), Error> {
        let Self { file, target } = self;
        check_replaceable(&target)?;
        file.persist(&target).map(drop).map_err(|error| Error::io(&target)(error.error))
    }

    /// Syncs the file to disk and renames it to its target, which must not exist.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn commit_new(self) -> Result<(), Error> {
        let Self { file, target } = self;
        file.as_file().sync_all().map_err(Error::io(&target))?;
        persist_new(file.into_temp_path(), &target).map_err(|(error, _temp)| error)?;
        sync_folder(parent_of(&target));
        Ok(())
    }
}

impl io::Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Writes `path` atomically: at any time it is either the old file or the complete new one.
///
/// # Errors
/// The errors of `write` and of [`AtomicFile::new`].
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let mut replacement = AtomicFile::new(path)?;
    write(replacement.file()).map_err(Error::io(path))?;
    replacement.commit()
}

/// Syncs the finished file `temp` to disk and renames it to `target`, replacing an existing file. For
/// files that grow for longer than an [`AtomicFile`] lives, such as downloads.
///
/// # Errors
/// As for [`AtomicFile::new`]; `temp` then keeps its name.
pub fn rename_replacing(temp: &Path, target: &Path) -> Result<(), Error> {
    check_replaceable(target)?;
    // Windows syncs only files that are open for writing; elsewhere the file may be read-only.
    let file = File::options().read(true).write(cfg!(windows)).open(temp);
    let file = file.map_err(Error::io(temp))?;
    file.sync_all().map_err(Error::io(temp))?;
    drop(file);
    std::fs::rename(temp, target).map_err(Error::io(target))?;
    sync_folder(parent_of(target));
    Ok(())
}

/// Checks that `path` can be written to: a regular file, a free name, or a link to one of these.
/// For commands that compute for a long time before they write.
///
/// # Errors
/// As for [`AtomicFile::new`].
pub fn check_replaceable(path: &Path) -> Result<(), Error> {
    replaceable(path).map(drop)
}

/// Follows links to the file to replace. Not `canonicalize`, because the last target may not exist
/// yet.
fn replaceable(path: &Path) -> Result<(PathBuf, Option<Metadata>), Error> {
    // Links into `/proc`, such as `/dev/stdout`, have targets without a path.
    if let Ok(metadata) = std::fs::metadata(path)
        && let Some(kind) = FileKind::of(metadata.file_type())
    {
        return Err(Error::NotReplaceable { path: path.to_owned(), kind });
    }
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let metadata = match std::fs::symlink_metadata(&target) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((target, None)),
            Err(error) => return Err(Error::io(path)(error)),
        };
        if let Some(kind) = FileKind::of(metadata.file_type()) {
            return Err(Error::NotReplaceable { path: path.to_owned(), kind });
        }
        if !metadata.is_symlink() {
            return Ok((target, Some(metadata)));
        }
        let link = std::fs::read_link(&target).map_err(Error::io(path))?;
        target = parent_of(&target).join(link);
    }
    Err(Error::io(path)(io::Error::other("too many levels of symbolic links")))
}
