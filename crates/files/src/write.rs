//! Writing: beside the place, then renamed, so that a file is the old one or the new one.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::name::{parent_of, persist_new};
use crate::{Error, Kind};

/// More links in a row are a ring.
const MAX_LINKS: usize = 40;

/// How a [`Replacement`] is made.
#[derive(Clone, Copy, Debug)]
pub struct ReplaceOptions {
    /// How the name begins that the file has until it is whole.
    pub prefix: &'static str,
    /// Whether a new file is its owner's alone. One that is replaced keeps what it allows.
    pub is_private: bool,
}

impl Default for ReplaceOptions {
    fn default() -> Self {
        Self { prefix: ".tmp", is_private: false }
    }
}

/// A file in the making that takes its place when it is whole. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Replacement {
    file: NamedTempFile,
    /// What is replaced: where the links lead that the caller's name may be.
    target: PathBuf,
}

impl Replacement {
    /// Starts the file that will be `path`. A link keeps being one: what it leads to is replaced.
    ///
    /// # Errors
    /// [`Error::NotReplaceable`] where the name is a folder, a pipe, a socket or a device;
    /// [`Error::Io`].
    pub fn new(path: &Path) -> Result<Self, Error> {
        Self::with(path, ReplaceOptions::default())
    }

    /// As [`Replacement::new`], with options.
    ///
    /// # Errors
    /// As for [`Replacement::new`].
    pub fn with(path: &Path, options: ReplaceOptions) -> Result<Self, Error> {
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
            // Nothing special, such as set-user-id, is carried over.
            let mode = metadata.permissions().mode() & 0o777 | 0o200;
            let permissions = std::fs::Permissions::from_mode(mode);
            file.as_file().set_permissions(permissions).map_err(Error::io(path))?;
        }
        #[cfg(not(unix))]
        drop(existing);
        Ok(Self { file, target })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Where the file is for now.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// Brings the file to the disk and gives it its name, in place of what had it.
    ///
    /// # Errors
    /// As for [`Replacement::new`], since the name may have been taken meanwhile.
    pub fn commit(self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(Error::io(&self.target))?;
        let target = self.target.clone();
        self.commit_unsynced()?;
        sync_folder(parent_of(&target));
        Ok(())
    }

    /// Gives the file its name, in place of what had it, without waiting for the disk: for large
    /// files that are checked when they are read and can be made again.
    ///
    /// # Errors
    /// As for [`Replacement::commit`].
    pub fn commit_unsynced(self) -> Result<(), Error> {
        let Self { file, target } = self;
        check_replaceable(&target)?;
        file.persist(&target).map(drop).map_err(|error| Error::io(&target)(error.error))
    }

    /// Brings the file to the disk and gives it its name, when that is free.
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

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Writes `path` so that it is the old file or the whole new one at any time.
///
/// # Errors
/// What `write` returns, and as for [`Replacement::new`].
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
    let mut replacement = Replacement::new(path)?;
    write(replacement.file()).map_err(Error::io(path))?;
    replacement.commit()
}

/// Checks that `path` is a name that an output may take: a regular file, a free name, or a link to
/// one of these. For commands that work long before they write.
///
/// # Errors
/// As for [`Replacement::new`].
pub fn check_replaceable(path: &Path) -> Result<(), Error> {
    replaceable(path).map(drop)
}

/// Follows links by hand, since the last may lead to what is not there yet.
fn replaceable(path: &Path) -> Result<(PathBuf, Option<Metadata>), Error> {
    // Links of `/proc`, such as `/dev/stdout` is, lead to what has no name.
    if let Ok(metadata) = std::fs::metadata(path)
        && let Some(kind) = Kind::of(metadata.file_type())
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
        if let Some(kind) = Kind::of(metadata.file_type()) {
            return Err(Error::NotReplaceable { path: path.to_owned(), kind });
        }
        if !metadata.is_symlink() {
            return Ok((target, Some(metadata)));
        }
        let link = std::fs::read_link(&target).map_err(Error::io(path))?;
        target = parent_of(&target).join(link);
    }
    Err(Error::io(path)(io::Error::other("its links lead in a ring")))
}

/// Brings a folder's names to the disk, where the system can.
pub fn sync_folder(folder: &Path) {
    // Only Unix opens folders; where it fails, the names get to the disk a little later.
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}
