//! Installs build tools from cargo packages at fixed versions, into a cache shared by clones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process;
use crate::report::{note, step};

/// A program from a cargo package.
#[derive(Debug)]
pub(crate) struct Tool {
    package: &'static str,
    program: &'static str,
    version: String,
    /// Whether to build with the package's own lock file.
    locked: bool,
}

/// The page's bundler.
pub(crate) fn trunk() -> Tool {
    Tool { package: "trunk", program: "trunk", version: "0.21.14".into(), locked: true }
}

/// The generator of the page's JavaScript glue, at exactly the version that the page links.
///
/// # Errors
/// If `Cargo.lock` has no wasm-bindgen.
pub(crate) fn wasm_bindgen(paths: &Paths) -> Result<Tool> {
    let lock = paths.root.join("Cargo.lock");
    let text = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let version = locked_version(&text, "wasm-bindgen")
        .with_context(|| format!("{} has no wasm-bindgen", lock.display()))?;
    // The package's own lock file may need versions that a registry mirror does not have yet.
    Ok(Tool { package: "wasm-bindgen-cli", program: "wasm-bindgen", version, locked: false })
}

/// The WebDriver server for the app's window, for tests.
pub(crate) fn tauri_driver() -> Tool {
    Tool { package: "tauri-driver", program: "tauri-driver", version: "2.1.0".into(), locked: true }
}

/// The checker of licences, sources and known vulnerabilities.
pub(crate) fn cargo_deny() -> Tool {
    Tool { package: "cargo-deny", program: "cargo-deny", version: "0.20.2".into(), locked: true }
}

/// The writer of the software bill of materials.
pub(crate) fn cargo_cyclonedx() -> Tool {
    Tool {
        package: "cargo-cyclonedx",
        program: "cargo-cyclonedx",
        version: "0.5.9".into(),
        locked: true,
    }
}

/// Installs the tool if it is missing. Returns the folder to put first on `PATH`; `None` if `PATH`
/// has the right version already.
///
/// # Errors
/// If the package cannot be built; the message contains the failed command.
pub(crate) fn ensure(paths: &Paths, tool: &Tool) -> Result<Option<PathBuf>> {
    let root = paths.tools();
    let folder = root.join("bin");
    if is_installed(&root, tool) {
        note(&format!("{} {} in {}", tool.program, tool.version, folder.display()));
        return Ok(Some(folder));
    }
    if is_on_path(tool) {
        note(&format!("{} {} on PATH", tool.program, tool.version));
        return Ok(None);
    }
    let name = format!("building {} {} (takes minutes, once)", tool.package, tool.version);
    step(&name, || install(paths, &root, tool))?;
    Ok(Some(folder))
}

/// Removes the build files of the tools, about a gigabyte.
pub(crate) fn remove_build_files(paths: &Paths) -> Result<()> {
    let folder = build_folder(paths);
    if folder.is_dir() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// The tools' common build folder, so that they share dependencies and interrupted builds resume.
fn build_folder(paths: &Paths) -> PathBuf {
    paths.target.join("tools")
}

fn install(paths: &Paths, root: &Path, tool: &Tool) -> Result<()> {
    let mut command = process::cargo(paths);
    command.args(["install", tool.package, "--version", &tool.version, "--force", "--root"]);
    command.arg(root);
    if tool.locked {
        command.arg("--locked");
    }
    command.env("CARGO_TARGET_DIR", build_folder(paths));
    // The tools' release profiles optimise for minutes, without effect on a page this small.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    process::run(&mut command)
}

/// Whether cargo's record of installed packages under `root` has the tool at this version.
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
    fn locked_version_is_read() {
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
