//! Whether one file is a model of its own, told by its name, its kind and its first four bytes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// What a GGUF file begins with (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
const MAGIC: [u8; 4] = *b"GGUF";

/// A file that is a model of its own.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) identity: Identity,
    pub(super) size_bytes: u64,
}

/// What two paths to one file have in common.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);
/// What two paths to one file have in common.
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

/// The file at `path` if it is a model of its own, else why it is not.
pub(super) fn check(path: &Path) -> Result<Model, String> {
    if let Some(why) = objection_to_name(path) {
        return Err(why.to_owned());
    }
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "its file is missing".to_owned(),
        _ => cannot_read(&error),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe would wait for somebody to write into it.
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if magic == MAGIC => {}
        Ok(()) => return Err("is not a GGUF file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err("is not a GGUF file".to_owned());
        }
        Err(error) => return Err(unreadable(error)),
    }
    let identity = identity(path, &metadata).map_err(unreadable)?;
    Ok(Model { identity, size_bytes: metadata.len() })
}

/// How a reason begins that a file or a folder cannot be read.
pub(super) fn cannot_read(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Whether a name ends in `.gguf`, in any case.
pub(super) fn is_named_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// What a file's name alone tells against it.
fn objection_to_name(path: &Path) -> Option<&'static str> {
    let stem = path.file_stem()?.to_string_lossy().to_ascii_lowercase();
    if is_named_gguf(path) && is_part(&stem) {
        return Some("is a part of a split model, which Lilims cannot join");
    }
    if stem.contains("mmproj") {
        return Some("is a projector for images, not a model of its own");
    }
    None
}

/// Whether a name ends in `-00001-of-00003`. A whole in one part is no part.
fn is_part(stem: &str) -> bool {
    let number = |text: &str| {
        (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned())
    };
    let mut pieces = stem.rsplitn(4, '-');
    let (of, word, part) = (pieces.next(), pieces.next(), pieces.next());
    word == Some("of")
        && part.and_then(number).is_some()
        && of.and_then(number).is_some_and(|of| of != "00001")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        for (stem, expected) in [
            ("model-00001-of-00003", true),
            ("model-00002-of-00003", true),
            ("00002-of-00003", true),
            ("model-00001-of-00001", false),
            ("model-1-of-3", false),
            ("model-00001-of-0000x", false),
            ("of", false),
            ("", false),
        ] {
            assert_eq!(is_part(stem), expected, "{stem}");
        }
    }
}
