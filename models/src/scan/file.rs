//! Checks whether one file may be a complete model: by its file type, its first four bytes and, if
//! its name suggests otherwise, its header. Does not validate the rest; an import reads the header.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::SkipReason;
use crate::unsuitable;

/// The first bytes of a GGUF file (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
const MAGIC: [u8; 4] = *b"GGUF";

/// A file that may be a complete model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) identity: Identity,
    pub(super) size_bytes: u64,
}

/// Identifies a file whatever path leads to it.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);
/// Identifies a file whatever path leads to it.
#[cfg(not(unix))]
pub(super) type Identity = std::path::PathBuf;

#[cfg(unix)]
fn identity(_path: &Path, metadata: &Metadata) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path, _metadata: &Metadata) -> io::Result<Identity> {
    fs::canonicalize(path)
}

/// The identity of a folder.
pub(super) fn folder_identity(path: &Path) -> io::Result<Identity> {
    identity(path, &fs::metadata(path)?)
}

/// Checks the file at `path`; the error says why it is skipped.
pub(super) fn check(path: &Path) -> Result<Model, SkipReason> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SkipReason::Missing,
        _ => cannot_read(&error),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe would block until a writer opens it.
    if !metadata.is_file() {
        return Err(SkipReason::NotAFile);
    }
    let mut magic = [0; MAGIC.len()];
    let opened = lilims_files::open(path).map_err(io::Error::from);
    let read = opened.and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if magic == MAGIC => {}
        Ok(()) => return Err(SkipReason::NotGguf),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(SkipReason::NotGguf);
        }
        Err(error) => return Err(unreadable(error)),
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if unsuitable(&name, None).is_some() {
        let content = lilims_gguf::File::open(path).ok();
        if let Some(why) = unsuitable(&name, content.as_ref()) {
            return Err(SkipReason::Unsuitable(why));
        }
    }
    let identity = identity(path, &metadata).map_err(unreadable)?;
    Ok(Model { identity, size_bytes: metadata.len() })
}

/// Wraps the system's error for a file or folder that cannot be read.
pub(super) fn cannot_read(error: &io::Error) -> SkipReason {
    SkipReason::Unreadable(error.to_string())
}

/// Whether a name ends in `.gguf`, in any case.
pub(super) fn is_named_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}
