//! The page: built with Trunk into `ui/dist`, or served for development.
//!
//! A stamp remembers what the page was built from and what came out, so that an unchanged page is not
//! built again and a damaged one is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup::PageTools;

/// The port that the shell's development build loads the page from (`devUrl` of `tauri.conf.json`).
pub(crate) const PORT: &str = "1420";

/// What the page is built from, relative to the repository.
const INPUTS: &[&str] = &["ui", "crates/ipc", "Cargo.lock", "Cargo.toml"];

/// Builds the page into `ui/dist` if anything changed since.
///
/// # Errors
/// When Trunk or the compiler fails.
pub(crate) fn build(places: &Places, tools: &PageTools) -> Result<()> {
    step("page", || {
        let stamp = stamp_file(places);
        let dist = places.root.join("ui/dist");
        let inputs = inputs_hash(places, tools)?;
        if fs::read_to_string(&stamp).is_ok_and(|text| Some(text) == stamp_text(&inputs, &dist)) {
            note("nothing changed since ui/dist was built");
            return Ok(());
        }
        let mut command = trunk(places, tools)?;
        command.args(["build", "--release", "--cargo-profile", "page"]);
        process::run(&mut command)?;
        let text = stamp_text(&inputs, &dist).context("Trunk left no ui/dist/index.html")?;
        Ok(fs::write(&stamp, text)?)
    })
}

/// Serves the page and reloads it on change, until stopped.
///
/// # Errors
/// When Trunk fails.
pub(crate) fn serve(places: &Places, tools: &PageTools) -> Result<()> {
    process::run(&mut serve_command(places, tools)?)
}

/// Compiles the page for [`serve`]: whoever waits for the server should not wait for the compiler.
///
/// # Errors
/// When Trunk or the compiler fails.
pub(crate) fn build_served(places: &Places, tools: &PageTools) -> Result<()> {
    step("page, development build", || process::run(&mut development(places, tools, "build")?))
}

/// The command behind [`serve`], for those who run it beside others.
pub(crate) fn serve_command(places: &Places, tools: &PageTools) -> Result<Command> {
    let mut command = development(places, tools, "serve")?;
    command.args(["--address", "127.0.0.1", "--port", PORT]);
    command.args(["--watch", ".", "--watch", "../crates/ipc"]);
    Ok(command)
}

/// Trunk's `subcommand` on the development build.
fn development(places: &Places, tools: &PageTools, subcommand: &str) -> Result<Command> {
    let mut command = trunk(places, tools)?;
    // The page's own profile is for size and takes minutes after each edit.
    command.args([subcommand, "--cargo-profile", "dev", "--dist"]);
    // A folder of its own, so that a development build never ends up in the app.
    command.arg(page_target(places).join("served"));
    Ok(command)
}

/// A `trunk` command that runs in `ui/` with everything that it needs.
fn trunk(places: &Places, tools: &PageTools) -> Result<Command> {
    // The program is looked up here, since `Command` may search the PATH of this process instead.
    let program =
        tools.folders.iter().map(|folder| folder.join("trunk")).find(|file| file.is_file());
    let mut command = Command::new(program.unwrap_or_else(|| "trunk".into()));
    tools.toolchain.prepare(&mut command, &tools.folders)?;
    fs::create_dir_all(page_target(places))?;
    command.env("CARGO_TARGET_DIR", page_target(places));
    // Trunk wants `true` or `false` there, where others set `1`.
    command.env_remove("NO_COLOR");
    command.current_dir(places.root.join("ui"));
    Ok(command)
}

fn page_target(places: &Places) -> PathBuf {
    places.target.join("page")
}

/// One stamp for each clone, since clones may share a build folder.
fn stamp_file(places: &Places) -> PathBuf {
    let clone = hex(Sha256::digest(places.root.as_os_str().as_encoded_bytes()).as_slice());
    page_target(places).join(format!("stamp-{}", &clone[..16]))
}

/// What the stamp says of these inputs and this result, or nothing without a result.
fn stamp_text(inputs: &str, dist: &Path) -> Option<String> {
    if !dist.join("index.html").is_file() {
        return None;
    }
    let mut hasher = Sha256::new();
    hash_tree(&mut hasher, dist).ok()?;
    Some(format!("{inputs} {}\n", hex(hasher.finalize().as_slice())))
}

fn inputs_hash(places: &Places, tools: &PageTools) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(tools.toolchain.version().unwrap_or_default());
    for input in INPUTS {
        hash_tree(&mut hasher, &places.root.join(input))?;
    }
    Ok(hex(hasher.finalize().as_slice()))
}

/// Adds names and contents of everything below the path, build results aside.
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
    fn a_changed_or_renamed_input_changes_the_hash_and_a_result_does_not() {
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
    fn there_is_no_stamp_without_a_page_and_another_for_another_page() {
        let dist = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(stamp_text("inputs", dist.path()), None);
        fs::write(dist.path().join("index.html"), "one").expect("writing");
        let one = stamp_text("inputs", dist.path());
        assert!(one.is_some());
        fs::write(dist.path().join("index.html"), "two").expect("writing");
        assert_ne!(stamp_text("inputs", dist.path()), one);
    }
}
