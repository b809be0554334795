//! The headers of the library's files, each read once for as long as its file stays the same: the whole
//! library is presented at each change, and a header may take seconds to read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lilims_engine::estimate::HeaderFacts;
use lilims_files::Stamp;
use lilims_gguf::File;
use lilims_ipc::Condition;
use parking_lot::Mutex;

use crate::problem;

/// The parts of a header that estimates need.
pub(crate) struct Header {
    pub(crate) facts: HeaderFacts,
    /// The bytes of weights that each generated token reads.
    #[cfg(not(target_os = "ios"))]
    pub(crate) weights_per_token: u64,
}

/// A header, or why it cannot be used.
pub(crate) type Known = Result<Arc<Header>, Condition>;

impl Header {
    /// # Errors
    /// As for [`HeaderFacts::new`].
    pub(crate) fn new(file: &File) -> Result<Self, lilims_engine::Error> {
        Ok(Self {
            facts: HeaderFacts::new(file)?,
            #[cfg(not(target_os = "ios"))]
            weights_per_token: lilims_bench::roofline::weights_per_token(file),
        })
    }
}

/// The cached headers.
#[derive(Default)]
pub(crate) struct Headers(Mutex<HashMap<PathBuf, (Stamp, Known)>>);

impl Headers {
    /// The header of the file at `path`.
    pub(crate) fn of(&self, path: &Path) -> Known {
        let stamp = Stamp::at(path).map_err(|_| Condition::Missing)?;
        if let Some((held, known)) = self.0.lock().get(path)
            && *held == stamp
        {
            return known.clone();
        }
        let known = read(path);
        self.0.lock().insert(path.to_owned(), (stamp, known.clone()));
        known
    }

    /// Forgets files that are not among `paths`.
    pub(crate) fn keep_only<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let kept: std::collections::HashSet<&Path> = paths.collect();
        self.0.lock().retain(|path, _| kept.contains(path.as_path()));
    }
}

fn read(path: &Path) -> Known {
    let file = File::open(path).map_err(|_| Condition::Damaged)?;
    let header = Header::new(&file);
    header
        .map(Arc::new)
        .map_err(|error| Condition::Unsupported { error: problem::not_loaded(&error) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a11_a_header_is_read_again_only_after_its_file_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let headers = Headers::default();
        let condition = |headers: &Headers| headers.of(&path).err();
        fs::write(&path, b"GGUF").unwrap();
        assert_eq!(condition(&headers), Some(Condition::Damaged));
        // The same size at the same time: it is not read again.
        let mut whole = Vec::new();
        lilims_gguf::Writer::default().str("a", "b").write(&mut whole).unwrap();
        let known = Err(Condition::Missing);
        headers.0.lock().insert(path.clone(), (Stamp::at(&path).unwrap(), known));
        assert_eq!(condition(&headers), Some(Condition::Missing));
        fs::write(&path, whole).unwrap();
        assert!(matches!(condition(&headers), Some(Condition::Unsupported { .. })));
        headers.keep_only(std::iter::empty());
        assert!(headers.0.lock().is_empty());
    }
}
