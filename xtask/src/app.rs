//! The release app: built with the page inside, and opened.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::page;
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup;

/// The packages and features of every cargo build: one selection, so that no dependency is compiled
/// again with other features. The feature makes the shell load the page from within itself instead of a
/// development server.
pub(crate) const EVERYTHING: [&str; 3] =
    ["--workspace", "--features", "lilims-app/custom-protocol"];

/// Builds the app and opens it; returns when the window is closed.
///
/// # Errors
/// When something is missing that cannot be installed, a build fails or there is no screen.
pub(crate) fn build_and_open(places: &Places) -> Result<()> {
    let program = build(places)?;
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    if cfg!(target_os = "linux") && !has_screen {
        bail!("no screen to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)");
    }
    step("app open; close its window to end", || {
        process::run(Command::new(&program).current_dir(&places.root))
    })
}

/// Sets up and builds the app with its model beside it, and returns its program.
///
/// # Errors
/// When something is missing that cannot be installed, or a build fails.
pub(crate) fn build(places: &Places) -> Result<PathBuf> {
    let tools = setup::for_app(places)?;
    page::build(places, &tools.page)?;
    step("app, release build", || {
        let mut command = process::cargo(places);
        command.args(["build", "--release"]).args(EVERYTHING).args(["--bin", "lilims-app"]);
        process::run(&mut command)
    })?;
    let program = places.target.join("release").join(program_name("lilims-app"));
    let model = put_beside(&program, &tools.model)?;
    note(&format!("app:   {}", program.display()));
    note(&format!("model: {}", model.display()));
    Ok(program)
}

/// Puts the model where the program looks for it first, and returns its place there. The build
/// folder may lie outside of the repository, where the program would find none.
fn put_beside(program: &Path, model: &Path) -> Result<PathBuf> {
    let folder = program.parent().context("a program lies in a folder")?.join("models");
    let beside = folder.join(model.file_name().context("a model has a file name")?);
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    if size(&beside).is_none() || size(&beside) != size(model) {
        fs::create_dir_all(&folder)?;
        // A link costs no room; another disk needs a copy.
        let partial = beside.with_extension("partial");
        let _ = fs::remove_file(&partial);
        fs::hard_link(model, &partial).or_else(|_| fs::copy(model, &partial).map(drop))?;
        fs::rename(&partial, &beside)?;
    }
    Ok(beside)
}

/// The file name of a program on this system.
pub(crate) fn program_name(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}
