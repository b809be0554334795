//! The paths of Lilims's data folder and of the bundled model. Creates and downloads nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use crate::{Catalogue, Error};

/// How many folders above the program are searched for `models/bundled`: cargo puts programs into
/// `target/debug`, tests into `target/debug/deps`, and one level deeper with a target triple.
const MAX_FOLDERS_UP: usize = 5;

/// Folders relative to the program that may hold the model: beside the program, in the layouts of
/// Linux packages, and in a macOS bundle.
const BESIDE_PROGRAM: [&str; 7] = [
    "",
    "models",
    "models/bundled",
    "../lib/lilims/models",
    "../lib/Lilims/models",
    "../share/lilims/models",
    "../Resources/models",
];

/// The folder of all data of Lilims: `LILIMS_HOME`, else the system's data folder for applications.
///
/// The folder may not exist yet.
///
/// # Errors
/// [`Error::NoHome`] if the system reports no such folder.
pub fn data_dir() -> Result<PathBuf, Error> {
    if let Some(home) = variable("LILIMS_HOME") {
        return Ok(home);
    }
    let dirs = ProjectDirs::from("", "", "Lilims").ok_or(Error::NoHome)?;
    Ok(dirs.data_dir().to_owned())
}

/// Finds the model file that ships with Lilims.
///
/// Search order: the file that `LILIMS_MODEL` names; `models/` in the app's `resource_dir`; beside
/// the running program, where packages and people put it (see [`BESIDE_PROGRAM`]);
/// `models/bundled/` a few folders above it, for programs in a build folder; `models/` in
/// [`data_dir`].
///
/// # Errors
/// [`Error::NamedModelMissing`] if `LILIMS_MODEL` is not a file, [`Error::BundledModelMissing`] if
/// no searched folder has the model.
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
        .expect("a test checks that the catalogue bundles one model");
    let program_dir = program.and_then(Path::parent);
    let beside_program = program_dir.into_iter().flat_map(|folder| {
        BESIDE_PROGRAM.iter().map(|subfolder| match *subfolder {
            "" => folder.to_owned(),
            subfolder => folder.join(subfolder),
        })
    });
    let above_program = program_dir
        .into_iter()
        .flat_map(|folder| folder.ancestors().skip(1).take(MAX_FOLDERS_UP - 1));
    let folders: Vec<PathBuf> = (resource_dir.map(|folder| folder.join("models")).into_iter())
        .chain(beside_program)
        .chain(above_program.map(|folder| folder.join("models").join("bundled")))
        .chain(data_dir.map(|folder| folder.join("models")))
        .collect();
    match folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(Error::BundledModelMissing { file, looked_in: folders }),
    }
}

/// The path in an environment variable; an empty variable counts as unset.
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
    fn folders_are_searched_in_order() {
        let root = tempfile::tempdir().unwrap();
        let (resources, data) = (root.path().join("resources"), root.path().join("data"));
        let program = root.path().join("target").join("debug").join("lilims");
        let find = || find_bundled(Some(&resources), Some(&program), Some(&data));

        let in_data = put(&data.join("models"));
        assert_eq!(find().unwrap(), in_data);
        let above_program = put(&root.path().join("models").join("bundled"));
        assert_eq!(find().unwrap(), above_program);
        for subfolder in BESIDE_PROGRAM.iter().rev() {
            let folder = program.parent().unwrap().join(subfolder);
            let beside_program = put(&folder);
            assert_eq!(
                find().unwrap().canonicalize().unwrap(),
                beside_program.canonicalize().unwrap()
            );
        }
        let in_resources = put(&resources.join("models"));
        assert_eq!(find().unwrap(), in_resources);
    }

    #[test]
    fn error_lists_searched_folders() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        // A folder with the model's name does not count.
        fs::create_dir_all(data.join("models").join(FILE)).unwrap();
        let error = find_bundled(None, None, Some(&data)).unwrap_err().to_string();
        for part in [FILE, data.to_str().unwrap()] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("xtask") && !error.contains("LILIMS_"), "{error}");
    }
}
