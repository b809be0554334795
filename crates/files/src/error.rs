//! What is wrong with a file, and how that becomes an [`io::Error`].

use std::fmt;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

/// What a name that is no regular file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A named pipe (FIFO).
    Pipe,
    /// A socket.
    Socket,
    /// A device, such as `/dev/null` or a terminal.
    Device,
    /// Anything else that the system knows.
    Other,
}

impl Kind {
    /// The kind of what is no regular file; `None` for regular files and for links.
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

impl fmt::Display for Kind {
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
    /// The name stands for something that is no regular file, which would not be read.
    #[error("{} is {kind}, not a regular file", path.display())]
    NotRegular {
        /// The name.
        path: PathBuf,
        /// What it stands for.
        kind: Kind,
    },
    /// The file is larger than its reader takes.
    #[error("{} is larger than the {limit_bytes} bytes that are read of such a file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that its reader takes.
        limit_bytes: u64,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The name, or the link that it is, leads out of its folder.
    #[error("{} leads out of the folder {}", path.display(), root.display())]
    Outside {
        /// The name.
        path: PathBuf,
        /// The folder.
        root: PathBuf,
    },
    /// The name is a link to something that is not there.
    #[error("{} is a link to something that is not there", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The name stands for something that no output may replace.
    #[error("{} is {kind}, which is not replaced by a file", path.display())]
    NotReplaceable {
        /// The name.
        path: PathBuf,
        /// What it stands for.
        kind: Kind,
    },
    /// The name is taken.
    #[error("{} exists already", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Wraps what the system says of `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The file, folder or name that this is about.
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

    /// Whether there is nothing of that name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the name is taken.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }

    /// What is wrong, without the file's name, for messages that have it already.
    fn reason(&self) -> String {
        match self {
            Self::NotRegular { kind, .. } => format!("it is {kind}, not a regular file"),
            Self::TooLarge { limit_bytes, .. } => {
                format!("it is larger than the {limit_bytes} bytes that are read of such a file")
            }
            Self::NotUtf8 { .. } => "it is not UTF-8 text".to_owned(),
            Self::Outside { root, .. } => format!("it leads out of the folder {}", root.display()),
            Self::DanglingLink { .. } => "it is a link to something that is not there".to_owned(),
            Self::NotReplaceable { kind, .. } => {
                format!("it is {kind}, which is not replaced by a file")
            }
            Self::Exists { .. } => "it exists already".to_owned(),
            Self::Io { source, .. } => source.to_string(),
        }
    }
}

/// For callers whose own errors have the path: the message is the reason alone.
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
