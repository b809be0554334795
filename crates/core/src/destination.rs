//! Checks the file that a command writes before the work, which may take long.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Checks that `out` is a regular file or a free name, and none of the `inputs`, which may be folders.
///
/// # Errors
/// [`Error::File`], [`Error::OverwritesInput`].
pub fn check_destination(out: &Path, inputs: &[&Path]) -> Result<(), Error> {
    lilims_files::check_replaceable(out)?;
    let is_input = |input: &&Path| is_same(out, input) || is_part_of_checkpoint(out, input);
    match inputs.iter().any(is_input) {
        true => Err(Error::OverwritesInput(out.to_owned())),
        false => Ok(()),
    }
}

/// Whether both names lead to one file.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let id = |path: &Path| path.metadata().ok().map(|it| (it.dev(), it.ino()));
        id(a).is_some() && id(a) == id(b)
    }
    #[cfg(not(unix))]
    {
        canonical(a).is_some() && canonical(a) == canonical(b)
    }
}

/// Whether `out` exists and is one of the files of the checkpoint in `folder`. A GGUF file is not: an
/// earlier conversion may have written it there.
fn is_part_of_checkpoint(out: &Path, folder: &Path) -> bool {
    let is_result = out.extension().is_some_and(|it| it.eq_ignore_ascii_case("gguf"));
    let (Some(out), Some(folder)) = (canonical(out), canonical(folder)) else { return false };
    folder.is_dir() && out.starts_with(folder) && !is_result
}

fn canonical(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}
