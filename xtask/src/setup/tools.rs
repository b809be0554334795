//! Build tools from cargo packages, each of one fixed version, in a cache that outlives a clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::places::Places;
use crate::process;
use crate::report::{note, step};

/// A program from a cargo package.
#[derive(Debug)]
pub(crate) struct Tool {
    package: &'static str,
    program: &'static str,
    version: String,
    /// Whether the package's own lock file is used.
    locked: bool,
}

/// The bundler of the page.
pub(crate) fn trunk() -> Tool {
    Tool { package: "trunk", program: "trunk", version: "0.21.14".into(), locked: true }
}

/// The generator of the page's JavaScript glue, of exactly the version that the page links.
///
/// # Errors
/// When `Cargo.lock` does not name the version.
pub(crate) fn wasm_bindgen(places: &Places) -> Result<Tool> {
    let lock = places.root.join("Cargo.lock");
    let text = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let version = locked_version(&text, "wasm-bindgen")
        .with_context(|| format!("{} names no wasm-bindgen", lock.display()))?;
    // The package's own lock file may name versions that a registry mirror does not serve yet.
    Ok(Tool { package: "wasm-bindgen-cli", program: "wasm-bindgen", version, locked: false })
}

/// Drives the app's window over WebDriver in tests.
pub(crate) fn tauri_driver() -> Tool {
    Tool { package: "tauri-driver", program: "tauri-driver", version: "2.1.0".into(), locked: true }
}

/// Installs the tool where it is missing. Returns the folder that has to come first on `PATH`, or
/// nothing where `PATH` holds the right version already.
///
/// # Errors
/// When the package cannot be built; the message names the command to try by hand.
pub(crate) fn ensure(places: &Places, tool: &Tool) -> Result<Option<PathBuf>> {
    let root = places.tools();
    let folder = root.join("bin");
    if is_installed(&root, tool) {
        note(&format!("{} {} in {}", tool.program, tool.version, folder.display()));
        return Ok(Some(folder));
    }
    if is_on_path(tool) {
        note(&format!("{} {} on PATH", tool.program, tool.version));
        return Ok(None);
    }
    let name = format!("building {} {} (some minutes, once)", tool.package, tool.version);
    step(&name, || install(places, &root, tool))?;
    Ok(Some(folder))
}

/// Removes what building the tools left behind: a gigabyte that nobody needs again.
pub(crate) fn forget_build_files(places: &Places) -> Result<()> {
    let folder = build_folder(places);
    if folder.is_dir() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// The folder that the tools share, so that they share dependencies and an interrupted build resumes.
fn build_folder(places: &Places) -> PathBuf {
    places.target.join("tools")
}

fn install(places: &Places, root: &Path, tool: &Tool) -> Result<()> {
    let mut command = process::cargo(places);
    command.args(["install", tool.package, "--version", &tool.version, "--force", "--root"]);
    command.arg(root);
    if tool.locked {
        command.arg("--locked");
    }
    command.env("CARGO_TARGET_DIR", build_folder(places));
    // The tools' own release profiles spend minutes on speed that a small page never notices.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    process::run(&mut command)
}

/// Whether cargo's record of installed packages under `root` names the tool in this version.
fn is_installed(root: &Path, tool: &Tool) -> bool {
    let record = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    let entry = format!("\"{} {} (", tool.package, tool.version);
    record.contains(&entry) && root.join("bin").join(tool.program).is_file()
}

fn is_on_path(tool: &Tool) -> bool {
    let Some(file) = process::on_path(tool.program) else { return false };
    let cargo_root = file.parent().and_then(Path::parent);
    if cargo_root.is_some_and(|root| is_installed(root, tool)) {
        return true;
    }
    process::output(Command::new(&file).arg("--version"))
        .is_some_and(|text| text.split_whitespace().any(|word| word == tool.version))
}

/// The version of the package in a `Cargo.lock`.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let found = packages
        .iter()
        .find(|entry| entry.get("name").and_then(toml::Value::as_str) == Some(package))?;
    Some(found.get("version")?.as_str()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_read() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }

    #[test]
    fn only_the_right_version_counts_as_installed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("bin")).expect("creating");
        fs::write(root.path().join("bin/trunk"), "").expect("writing");
        let record = "[v1]\n\"trunk 0.21.14 (registry+…)\" = [\"trunk\"]\n";
        fs::write(root.path().join(".crates.toml"), record).expect("writing");
        assert!(is_installed(root.path(), &trunk()));
        let other = Tool { version: "0.21.1".into(), ..trunk() };
        assert!(!is_installed(root.path(), &other));
        assert!(!is_installed(root.path(), &tauri_driver()));
    }
}
