//! Opening and reading: regular files, never more than a limit, without waiting for anybody.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::path::Path;

use crate::{Error, Kind};

/// Opens a regular file for reading; links are followed.
///
/// What the name stands for is looked at before it is opened, since opening alone does something to
/// some devices, and again on what was opened, which cannot be exchanged any more. Opening never
/// waits, as it would for a pipe without a writer.
///
/// # Errors
/// [`Error::NotRegular`] for folders, pipes, sockets and devices; [`Error::Io`].
pub fn open(path: &Path) -> Result<File, Error> {
    let regular = |metadata: &std::fs::Metadata| match Kind::of(metadata.file_type()) {
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
        // The standard library closes on exec by itself.
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
/// [`Error::TooLarge`], and what [`open`] finds.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    read_open(&open(path)?, path, limit_bytes)
}

/// Reads a regular file of at most `limit_bytes` as text.
///
/// # Errors
/// [`Error::NotUtf8`], and what [`read`] finds.
pub fn read_to_string(path: &Path, limit_bytes: u64) -> Result<String, Error> {
    to_text(read(path, limit_bytes)?, path)
}

/// Reads the first bytes of a regular file, at most `n_bytes`, and fewer where it is shorter.
///
/// # Errors
/// What [`open`] finds.
pub fn read_prefix(path: &Path, n_bytes: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(path)?.take(n_bytes).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Reads an open file from where it stands; `path` is for messages.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Io`].
pub fn read_open(file: &File, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    let size_bytes = file.metadata().map_err(Error::io(path))?.len();
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { path: path.to_owned(), limit_bytes });
    }
    // The size only saves copies: files of `/proc` have none, and a file may grow while it is read.
    bounded(file, path, limit_bytes, usize::try_from(size_bytes).unwrap_or(0))
}

/// Reads all of standard input, which may be anything, to its end.
///
/// # Errors
/// [`Error::TooLarge`] as soon as there are more bytes; [`Error::Io`].
pub fn read_stdin(limit_bytes: u64) -> Result<Vec<u8>, Error> {
    bounded(io::stdin().lock(), Path::new(STDIN), limit_bytes, 0)
}

/// Reads all of standard input as text.
///
/// # Errors
/// [`Error::NotUtf8`], and what [`read_stdin`] finds.
pub fn read_stdin_to_string(limit_bytes: u64) -> Result<String, Error> {
    to_text(read_stdin(limit_bytes)?, Path::new(STDIN))
}

/// Reads one line, its end included; `None` at the end of what is read. `name` is for messages.
///
/// # Errors
/// [`Error::TooLarge`] for a line longer than `limit_bytes`, of which that much was taken;
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

/// What messages call standard input.
const STDIN: &str = "standard input";

fn bounded(
    from: impl Read,
    path: &Path,
    limit_bytes: u64,
    expected_bytes: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let too_little = |_| Error::io(path)(io::ErrorKind::OutOfMemory.into());
    bytes.try_reserve_exact(expected_bytes).map_err(too_little)?;
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
