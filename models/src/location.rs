//! Where Lilims keeps its data on this device and where the bundled model lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use crate::{Catalogue, Error};

/// How many folders above a program may hold `models/bundled`: a program that cargo built lies
/// in `target/debug`, a test in `target/debug/deps`, with a target triple one deeper.
const MAX_FOLDERS_UP: usize = 5;

/// The folder of all of Lilims's data: `LILIMS_HOME`, else what the system prescribes.
///
/// The folder need not exist.
///
/// *Errors*: [`Error::NoHome`].
pub fn data_dir() -> Result<PathBuf, Error> {
    if let Some(home) = variable("LILIMS_HOME") {
        return Ok(home);
    }
    let dirs = ProjectDirs::from("", "", "Lilims").ok_or(Error::NoHome)?;
    Ok(dirs.data_dir().to_owned())
}

/// The file of the model that ships with Lilims.
///
/// The first of: the file that `LILIMS_MODEL` names, `models/` in the app's `resource_dir`,
/// `models/bundled/` beside the running program or a few folders above it, `models/` in
/// [`data_dir`].
///
/// *Errors*: [`Error::NamedModelMissing`], [`Error::BundledModelMissing`].
pub fn bundled_model(resource_dir: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = variable("LILIMS_MODEL") {
        return if path.is_file() { Ok(path) } else { Err(Error::NamedModelMissing { path }) };
    }
    let program = std::env::current_exe().ok();
    let data_dir = data_dir().ok();
    find_bundled(resource_dir, program.as_deref(), data_dir.as_deref())
}

fn find_bundled(
    resource_dir: Option<&Path>,
    program: Option<&Path>,
    data_dir: Option<&Path>,
) -> Result<PathBuf, Error> {
    let file = Catalogue::curated()
        .bundled()
        .map(|entry| entry.file.clone())
        .expect("a test holds that the catalogue bundles one model");
    let beside_program =
        program.into_iter().flat_map(|program| program.ancestors().skip(1).take(MAX_FOLDERS_UP));
    let folders: Vec<PathBuf> = (resource_dir.map(|folder| folder.join("models")).into_iter())
        .chain(beside_program.map(|folder| folder.join("models").join("bundled")))
        .chain(data_dir.map(|folder| folder.join("models")))
        .collect();
    match folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(Error::BundledModelMissing { file, looked_in: folders }),
    }
}

/// An environment variable that names a path; one that is empty counts as unset.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

    fn put(folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(FILE);
        fs::write(&path, b"GGUF").unwrap();
        path
    }

    #[test]
    fn places_are_searched_in_order() {
        let root = tempfile::tempdir().unwrap();
        let (resources, data) = (root.path().join("resources"), root.path().join("data"));
        let program = root.path().join("target").join("debug").join("lilims");
        let find = || find_bundled(Some(&resources), Some(&program), Some(&data));

        let in_data = put(&data.join("models"));
        assert_eq!(find().unwrap(), in_data);
        let above_program = put(&root.path().join("models").join("bundled"));
        assert_eq!(find().unwrap(), above_program);
        let in_resources = put(&resources.join("models"));
        assert_eq!(find().unwrap(), in_resources);
    }

    #[test]
    fn the_error_tells_where_it_looked_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        // A folder of the file's name is not the file.
        fs::create_dir_all(data.join("models").join(FILE)).unwrap();
        let error = find_bundled(None, None, Some(&data)).unwrap_err().to_string();
        for part in [FILE, "cargo xtask app", "LILIMS_MODEL", data.to_str().unwrap()] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
