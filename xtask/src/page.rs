//! Builds the page with Trunk into `ui/dist`, or serves it for development.
//!
//! A stamp file holds hashes of the inputs and the result, so that an unchanged page is not rebuilt
//! and a damaged one is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup::PageTools;

/// The port from which the shell's development build loads the page (`devUrl` in
/// `tauri.conf.json`).
pub(crate) const PORT: &str = "1420";

/// The inputs of the page, relative to the repository.
const INPUTS: &[&str] = &["ui", "crates/ipc", "Cargo.lock", "Cargo.toml"];

/// Types of views are erased: each view would otherwise be code of its own. The page's WebAssembly is 13%
/// smaller, compressed or not.
const RUSTFLAGS: &str = "--cfg erase_components";

/// Builds the page into `ui/dist` unless inputs and result are unchanged.
///
/// # Errors
/// If Trunk or the compiler fails.
pub(crate) fn build(paths: &Paths, tools: &PageTools) -> Result<()> {
    step("page", || {
        let stamp = stamp_file(paths);
        let dist = paths.root.join("ui/dist");
        let inputs = inputs_hash(paths, tools)?;
        if fs::read_to_string(&stamp).is_ok_and(|text| Some(text) == stamp_text(&inputs, &dist)) {
            note("ui/dist is up to date");
            return Ok(());
        }
        let mut command = trunk(paths, tools)?;
        command.args(["build", "--release", "--cargo-profile", "page"]);
        process::run(&mut command)?;
        let text = stamp_text(&inputs, &dist).context("Trunk created no ui/dist/index.html")?;
        paths::write(&stamp, text)
    })
}

/// Serves the page and reloads it on change, until stopped.
///
/// # Errors
/// If Trunk fails.
pub(crate) fn serve(paths: &Paths, tools: &PageTools) -> Result<()> {
    process::run(&mut serve_command(paths, tools)?)
}

/// Compiles the page for [`serve`] in advance: programs wait for the server with a time limit.
///
/// # Errors
/// If Trunk or the compiler fails.
pub(crate) fn build_served(paths: &Paths, tools: &PageTools) -> Result<()> {
    step("page, development build", || process::run(&mut development(paths, tools, "build")?))
}

/// The command behind [`serve`], to run it beside other programs.
pub(crate) fn serve_command(paths: &Paths, tools: &PageTools) -> Result<Command> {
    let mut command = development(paths, tools, "serve")?;
    command.args(["--address", "127.0.0.1", "--port", PORT]);
    command.args(["--watch", ".", "--watch", "../crates/ipc"]);
    Ok(command)
}

/// The command `trunk SUBCOMMAND` for the development build.
fn development(paths: &Paths, tools: &PageTools, subcommand: &str) -> Result<Command> {
    let mut command = trunk(paths, tools)?;
    // The `page` profile optimises for size and takes minutes after each edit.
    command.args([subcommand, "--cargo-profile", "dev", "--dist"]);
    // A separate folder, so that a development build never ends up in the app.
    command.arg(page_target(paths).join("served"));
    Ok(command)
}

/// A `trunk` command that runs in `ui/` with its environment set.
fn trunk(paths: &Paths, tools: &PageTools) -> Result<Command> {
    // Looked up here, since `Command` may search the PATH of this process instead of the child's.
    let program =
        tools.folders.iter().map(|folder| folder.join("trunk")).find(|file| file.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| "trunk".into()));
    tools.toolchain.prepare(&mut command, &tools.folders)?;
    fs::create_dir_all(page_target(paths))?;
    command.env("CARGO_TARGET_DIR", page_target(paths));
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", RUSTFLAGS);
    // Trunk accepts only `true` or `false`, but `1` is common.
    command.env_remove("NO_COLOR");
    command.current_dir(paths.root.join("ui"));
    Ok(command)
}

fn page_target(paths: &Paths) -> PathBuf {
    paths.target.join("page")
}

/// The stamp file. There is one for each clone, since clones may share a build folder.
fn stamp_file(paths: &Paths) -> PathBuf {
    let clone = hex(Sha256::digest(paths.root.as_os_str().as_encoded_bytes()).as_slice());
    page_target(paths).join(format!("stamp-{}", &clone[..16]))
}

/// The stamp's text for these inputs and the result in `dist`; `None` without a result.
fn stamp_text(inputs: &str, dist: &Path) -> Option<String> {
    if !dist.join("index.html").is_file() {
        return None;
    }
    let mut hasher = Sha256::new();
    hash_tree(&mut hasher, dist).ok()?;
    Some(format!("{inputs} {}\n", hex(hasher.finalize().as_slice())))
}

fn inputs_hash(paths: &Paths, tools: &PageTools) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(tools.toolchain.version().unwrap_or_default());
    hasher.update(RUSTFLAGS);
    for input in INPUTS {
        hash_tree(&mut hasher, &paths.root.join(input))?;
    }
    Ok(hex(hasher.finalize().as_slice()))
}

/// Hashes names and contents of all files below the path, except build results.
fn hash_tree(hasher: &mut Sha256, path: &Path) -> Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let mut entries: Vec<PathBuf> = entries.collect::<std::io::Result<_>>()?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_os_string();
            if name != "dist" && name != "target" {
                hasher.update(name.as_encoded_bytes());
                hash_tree(hasher, &entry)?;
            }
        }
        return Ok(());
    }
    let content = fs::read(path).with_context(|| path.display().to_string())?;
    hasher.update((content.len() as u64).to_le_bytes());
    hasher.update(content);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_hash(path: &Path) -> String {
        let mut hasher = Sha256::new();
        hash_tree(&mut hasher, path).expect("readable");
        hex(hasher.finalize().as_slice())
    }

    #[test]
    fn hash_depends_on_names_and_contents_of_inputs_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        fs::create_dir_all(path.join("src")).expect("creating");
        fs::write(path.join("src/main.rs"), "a").expect("writing");
        let first = tree_hash(path);
        fs::create_dir_all(path.join("dist")).expect("creating");
        fs::write(path.join("dist/index.html"), "result").expect("writing");
        assert_eq!(tree_hash(path), first);
        fs::write(path.join("src/main.rs"), "b").expect("writing");
        let second = tree_hash(path);
        assert_ne!(second, first);
        fs::rename(path.join("src/main.rs"), path.join("src/lib.rs")).expect("renaming");
        assert_ne!(tree_hash(path), second);
    }

    #[test]
    fn stamp_needs_a_page_and_depends_on_it() {
        let dist = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(stamp_text("inputs", dist.path()), None);
        fs::write(dist.path().join("index.html"), "one").expect("writing");
        let one = stamp_text("inputs", dist.path());
        assert!(one.is_some());
        fs::write(dist.path().join("index.html"), "two").expect("writing");
        assert_ne!(stamp_text("inputs", dist.path()), one);
    }
}
