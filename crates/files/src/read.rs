//! Opens and reads regular files, up to a limit and without blocking on pipes or devices.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::path::Path;

use crate::{Error, FileKind};

/// Opens a regular file for reading; links are followed.
///
/// The file type is checked before opening, since opening alone has side effects on some devices,
/// and again on the open file, which cannot be swapped any more. Opening never blocks, as it would
/// on a pipe without a writer.
///
/// # Errors
/// [`Error::NotRegular`] for folders, pipes, sockets and devices; [`Error::Io`].
pub fn open(path: &Path) -> Result<File, Error> {
    let regular = |metadata: &std::fs::Metadata| match FileKind::of(metadata.file_type()) {
        Some(kind) => Err(Error::NotRegular { path: path.to_owned(), kind }),
        None => Ok(()),
    };
    regular(&std::fs::metadata(path).map_err(Error::io(path))?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // The standard library already sets `O_CLOEXEC`.
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.open(path).map_err(Error::io(path))?;
    regular(&file.metadata().map_err(Error::io(path))?)?;
    #[cfg(unix)]
    {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        fcntl_getfl(&file)
            .and_then(|flags| fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK)))
            .map_err(|errno| Error::io(path)(errno.into()))?;
    }
    Ok(file)
}

/// Reads a regular file of at most `limit_bytes`.
///
/// # Errors
/// [`Error::TooLarge`], and the errors of [`open`].
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    read_open(&open(path)?, path, limit_bytes)
}

/// Reads a regular file of at most `limit_bytes` as text.
///
/// # Errors
/// [`Error::NotUtf8`], and the errors of [`read`].
pub fn read_to_string(path: &Path, limit_bytes: u64) -> Result<String, Error> {
    to_text(read(path, limit_bytes)?, path)
}

/// Reads the first `n_bytes` of a regular file, or all of it if it is shorter.
///
/// # Errors
/// The errors of [`open`], and [`Error::Io`].
pub fn read_prefix(path: &Path, n_bytes: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(path)?.take(n_bytes).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Reads an open file from its current position to the end; `path` is for messages.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Io`].
pub fn read_open(file: &File, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    let size_bytes = file.metadata().map_err(Error::io(path))?.len();
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes });
    }
    // The size is only a hint: files in `/proc` report 0, and a file may grow while it is read.
    bounded(file, path, limit_bytes, usize::try_from(size_bytes).unwrap_or(0))
}

/// Reads standard input to its end; it may be any type of file.
///
/// # Errors
/// [`Error::TooLarge`] as soon as more than `limit_bytes` have been read; [`Error::Io`].
pub fn read_stdin(limit_bytes: u64) -> Result<Vec<u8>, Error> {
    bounded(io::stdin().lock(), Path::new(STDIN), limit_bytes, 0)
}

/// Reads standard input to its end as text.
///
/// # Errors
/// [`Error::NotUtf8`], and the errors of [`read_stdin`].
pub fn read_stdin_to_string(limit_bytes: u64) -> Result<String, Error> {
    to_text(read_stdin(limit_bytes)?, Path::new(STDIN))
}

/// Reads one line including its line ending; `None` at the end of input. `name` is for messages.
///
/// # Errors
/// [`Error::TooLarge`] for a line longer than `limit_bytes`, of which that much has been consumed;
/// [`Error::NotUtf8`], [`Error::Io`].
pub fn read_line(
    from: &mut impl BufRead,
    name: &str,
    limit_bytes: u64,
) -> Result<Option<String>, Error> {
    let (path, mut line) = (Path::new(name), Vec::new());
    let mut limited = from.take(limit_bytes);
    limited.read_until(b'\n', &mut line).map_err(Error::io(path))?;
    if limited.limit() == 0 && line.last() != Some(&b'\n') {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes });
    }
    if line.is_empty() { Ok(None) } else { to_text(line, path).map(Some) }
}

/// The name of standard input in messages.
const STDIN: &str = "standard input";

fn bounded(
    from: impl Read,
    path: &Path,
    limit_bytes: u64,
    expected_bytes: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let out_of_memory = |_| Error::io(path)(io::ErrorKind::OutOfMemory.into());
    bytes.try_reserve_exact(expected_bytes).map_err(out_of_memory)?;
    let mut limited = from.take(limit_bytes.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

fn to_text(bytes: Vec<u8>, path: &Path) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { path: path.to_owned() })
}
