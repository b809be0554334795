//! `cargo xtask reproduce`: builds the program `lilims` from two clones in different folders and compares
//! the two files.
//!
//! The clones are of the last commit. The paths of the build are mapped to fixed ones, since panics quote
//! the paths of source files. The page and the app are not built.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::app::program_name;
use crate::paths::Paths;
use crate::process;
use crate::report::{note, step};

/// The folders of the two builds. Their lengths differ, so that paths in the program move what follows.
const FOLDERS: [&str; 2] = ["reproduce/a", "reproduce/in-another-place"];

/// Builds twice and compares.
///
/// # Errors
/// If a build fails, or the programs differ; they stay for a comparison then.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let folders = FOLDERS.map(|folder| paths.target.join(folder));
    let mut programs = Vec::new();
    for folder in &folders {
        programs.push(step(&format!("build in {}", folder.display()), || build(paths, folder))?);
    }
    let contents = [fs::read(&programs[0])?, fs::read(&programs[1])?];
    for (program, content) in programs.iter().zip(&contents) {
        let digest = Sha256::digest(content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        note(&format!("{digest} {}", program.display()));
    }
    if let Some(at) = first_difference(&contents[0], &contents[1]) {
        bail!("the programs differ from byte {at} on");
    }
    note("both programs are the same");
    Ok(fs::remove_dir_all(paths.target.join("reproduce"))?)
}

/// Builds the last commit in a new folder and returns the program.
fn build(paths: &Paths, folder: &Path) -> Result<PathBuf> {
    if folder.is_dir() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let (source, target) = (folder.join("source"), folder.join("target"));
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--no-hardlinks", "--"]).arg(&paths.root).arg(&source);
    process::run(&mut clone)?;
    let mut command = process::cargo_in(&source, &target);
    command.args(["build", "--quiet", "--release", "--locked", "--bin", "lilims"]);
    command.env("CARGO_ENCODED_RUSTFLAGS", mapped_paths(folder, &cargo_home()?));
    let mut time = Command::new("git");
    time.args(["log", "-1", "--format=%ct"]).current_dir(&source);
    command.env("SOURCE_DATE_EPOCH", process::output(&mut time).context("no commit")?);
    process::run(&mut command)?;
    Ok(target.join("release").join(program_name("lilims")))
}

/// The compiler's options that give the folder of the build and that of cargo fixed names, in the form of
/// `CARGO_ENCODED_RUSTFLAGS`.
fn mapped_paths(folder: &Path, cargo_home: &Path) -> String {
    let map = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    [map(folder, "/build"), map(cargo_home, "/cargo")].join("\u{1f}")
}

fn cargo_home() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("there is no home folder")
}

/// Where the contents begin to differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (common < a.len().max(b.len())).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_different_byte_is_found() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"abc", b"abcd"), Some(3));
        assert_eq!(first_difference(b"", b"a"), Some(0));
    }

    #[test]
    fn both_folders_are_mapped() {
        let options = mapped_paths(Path::new("one"), Path::new("two"));
        let options: Vec<&str> = options.split('\u{1f}').collect();
        assert_eq!(options, ["--remap-path-prefix=one=/build", "--remap-path-prefix=two=/cargo"]);
    }
}
