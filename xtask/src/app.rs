//! `cargo xtask app`: builds the release app with the page embedded, and opens it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::page;
use crate::paths::Paths;
use crate::process;
use crate::report::{note, step};
use crate::setup;

/// The packages and features of every cargo build. They are the same everywhere, so that no
/// dependency is compiled twice with different features. `custom-protocol` makes the shell load the
/// embedded page instead of a development server.
pub(crate) const WORKSPACE_SELECTION: [&str; 3] =
    ["--workspace", "--features", "lilims-app/custom-protocol,lilims-app/telemetry"];

/// Builds the app, opens it and waits until its window is closed.
///
/// # Errors
/// If a missing requirement cannot be installed, a build fails or there is no screen.
pub(crate) fn build_and_open(paths: &Paths) -> Result<()> {
    let program = build(paths)?;
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some());
    if cfg!(target_os = "linux") && !has_screen {
        bail!("no screen to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)");
    }
    step("app open; close its window to end", || {
        process::run(Command::new(&program).current_dir(&paths.root))
    })
}

/// Builds the app with its model beside it and returns the program's path.
///
/// # Errors
/// If a missing requirement cannot be installed, or a build fails.
pub(crate) fn build(paths: &Paths) -> Result<PathBuf> {
    let tools = setup::for_app(paths)?;
    // The page ends with minutes on one core, so what needs no page is compiled beside it.
    let mut without_page = release(&paths.root, &paths.target, "lilims");
    process::beside(without_page.arg("--quiet"), || page::build(paths, &tools.page))?;
    let mut with_page = release(&paths.root, &paths.target, "lilims-app");
    step("app, release build", || process::run(&mut with_page))?;
    let program = paths.target.join("release").join(program_name("lilims-app"));
    let model = copy_model_beside(&program, &tools.model)?;
    note(&format!("app:   {}", program.display()));
    note(&format!("model: {}", model.display()));
    Ok(program)
}

/// The command that builds a program of the workspace in `root` for release.
pub(crate) fn release(root: &Path, target: &Path, program: &str) -> Command {
    let mut command = process::cargo_in(root, target);
    command.args(["build", "--release"]).args(WORKSPACE_SELECTION).args(["--bin", program]);
    command
}

/// Puts the model where the program looks first and returns its path there. The program would not
/// find the repository's copy if the build folder is outside the repository.
fn copy_model_beside(program: &Path, model: &Path) -> Result<PathBuf> {
    let folder = program.parent().context("the program has no parent folder")?.join("models");
    let beside = folder.join(model.file_name().context("the model has no file name")?);
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    if size(&beside).is_none() || size(&beside) != size(model) {
        fs::create_dir_all(&folder)?;
        // A hard link takes no disk space; it fails across file systems.
        let partial = beside.with_extension("partial");
        let _ = fs::remove_file(&partial);
        fs::hard_link(model, &partial).or_else(|_| fs::copy(model, &partial).map(drop))?;
        lilims_files::rename_replacing(&partial, &beside)?;
    }
    Ok(beside)
}

/// The file name of a program on this system.
pub(crate) fn program_name(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}
