//! Why a file was not read or written, and the conversion to [`io::Error`].

use std::fmt;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

/// The kind of something that is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A folder.
    Folder,
    /// A named pipe (FIFO).
    Pipe,
    /// A socket.
    Socket,
    /// A device, such as `/dev/null` or a terminal.
    Device,
    /// Any other type of file.
    Other,
}

impl FileKind {
    /// The kind for `file_type`; `None` for regular files and for symbolic links.
    pub fn of(file_type: FileType) -> Option<Self> {
        if file_type.is_file() || file_type.is_symlink() {
            return None;
        }
        if file_type.is_dir() {
            return Some(Self::Folder);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt;
            if file_type.is_fifo() {
                return Some(Self::Pipe);
            }
            if file_type.is_socket() {
                return Some(Self::Socket);
            }
            if file_type.is_char_device() || file_type.is_block_device() {
                return Some(Self::Device);
            }
        }
        Some(Self::Other)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "something else",
        })
    }
}

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not a regular file, so it was not read.
    #[error("{} is {kind}, not a regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        kind: FileKind,
    },
    /// The file is larger than the caller's limit.
    #[error("{} is larger than the limit of {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The path, or the target of a symbolic link, is outside of the folder.
    #[error("{} is outside of the folder {}", path.display(), root.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// The folder.
        root: PathBuf,
    },
    /// The path is a symbolic link whose target does not exist.
    #[error("{} is a link whose target does not exist", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The path is neither free nor a regular file, so no output replaces it.
    #[error("{} is {kind}, not a regular file that can be replaced", path.display())]
    NotReplaceable {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        kind: FileKind,
    },
    /// A file of that name exists.
    #[error("{} already exists", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// An operating system call failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The path that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::NotRegular { path, .. }
            | Self::TooLarge { path, .. }
            | Self::NotUtf8 { path }
            | Self::Outside { path, .. }
            | Self::DanglingLink { path }
            | Self::NotReplaceable { path, .. }
            | Self::Exists { path }
            | Self::Io { path, .. } => path,
        }
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the name is already in use.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }

    /// The message without the path, for messages that already contain it.
    fn reason(&self) -> String {
        match self {
            Self::NotRegular { kind, .. } => format!("it is {kind}, not a regular file"),
            Self::TooLarge { limit_bytes, .. } => {
                format!("it is larger than the limit of {limit_bytes} bytes")
            }
            Self::NotUtf8 { .. } => "it is not UTF-8 text".to_owned(),
            Self::Outside { root, .. } => format!("it is outside of the folder {}", root.display()),
            Self::DanglingLink { .. } => "it is a link whose target does not exist".to_owned(),
            Self::NotReplaceable { kind, .. } => {
                format!("it is {kind}, not a regular file that can be replaced")
            }
            Self::Exists { .. } => "it already exists".to_owned(),
            Self::Io { source, .. } => source.to_string(),
        }
    }
}

/// For callers whose own errors contain the path: the message is the reason without it.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Io { source, .. } => return source,
            Error::Exists { .. } => io::ErrorKind::AlreadyExists,
            Error::NotUtf8 { .. } => io::ErrorKind::InvalidData,
            Error::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error.reason())
    }
}
