//! The release app: built with the page inside, and opened.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::page;
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup;

/// The feature that makes the shell load the page from within itself instead of a development server.
pub(crate) const EMBED_PAGE: &str = "lilims-app/custom-protocol";

/// Builds the app and opens it; returns when the window is closed.
///
/// # Errors
/// When something is missing that cannot be installed, a build fails or there is no screen.
pub(crate) fn build_and_open(places: &Places) -> Result<()> {
    let (program, model) = build(places)?;
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    if cfg!(target_os = "linux") && !has_screen {
        bail!("no screen to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)");
    }
    step("app open; close its window to end", || {
        let mut command = Command::new(&program);
        // The build folder may lie outside of the repository, where the app finds no model.
        process::run(command.current_dir(&places.root).env("LILIMS_MODEL", model))
    })
}

/// Sets up and builds the app, and returns its program and its model.
///
/// # Errors
/// When something is missing that cannot be installed, or a build fails.
pub(crate) fn build(places: &Places) -> Result<(PathBuf, PathBuf)> {
    let tools = setup::for_app(places)?;
    page::build(places, &tools.page)?;
    step("app, release build", || {
        let mut command = process::cargo(places);
        command.args(["build", "--release", "--package", "lilims-app", "--features", EMBED_PAGE]);
        process::run(&mut command)
    })?;
    let program = places.target.join("release").join(program_name("lilims-app"));
    note(&format!("app:   {}", program.display()));
    note(&format!("model: {}", tools.model.display()));
    Ok((program, tools.model))
}

/// The file name of a program on this system.
pub(crate) fn program_name(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}
