//! `cargo xtask dev`: runs the app from source and reloads the page on change.
//!
//! Uses the Tauri command line if npm can download it, which also rebuilds the shell on change.
//! Without it, Trunk and the shell run side by side and only the page reloads.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::page;
use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup::{self, PageTools};

/// The npm package of the Tauri command line and its version.
const TAURI_CLI: &str = "@tauri-apps/cli@2.12.5";
/// The time limit of the npm installation.
const NPM_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Makes the Tauri command line serve the page through xtask, which sets up the WebAssembly
/// toolchain.
const SERVE_PAGE: &str = r#"{"build":{"beforeDevCommand":"cargo xtask page --serve"}}"#;
/// The polling interval for programs that run side by side.
const POLL: Duration = Duration::from_millis(200);

/// Runs the app until its window is closed or Ctrl-C is pressed.
///
/// # Errors
/// If set-up or a build fails.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let tools = setup::for_app(paths)?;
    page::build_served(paths, &tools.page)?;
    match step("set-up: Tauri command line", || tauri_cli(paths)) {
        Ok(cli) => with_tauri(paths, &cli),
        Err(error) => {
            note(&format!("continuing without the Tauri command line: {error:#}"));
            side_by_side(paths, &tools.page)
        }
    }
}

fn with_tauri(paths: &Paths, cli: &PathBuf) -> Result<()> {
    note("`tauri dev`: edit ui/ and the page reloads; Ctrl-C ends it");
    let mut command = Command::new(cli);
    command.args(["dev", "--config", SERVE_PAGE]).current_dir(paths.root.join("src-tauri"));
    command.env("CARGO_TARGET_DIR", &paths.target);
    process::run(&mut command)
}

/// Runs Trunk and the shell together; when one exits, the other is killed.
fn side_by_side(paths: &Paths, tools: &PageTools) -> Result<()> {
    note("trunk serve and cargo run: edit ui/ and the page reloads; Ctrl-C ends both");
    let mut trunk = page::serve_command(paths, tools)?.spawn().context("starting trunk")?;
    let mut shell = process::cargo(paths);
    let shell =
        shell.args(["run", "--package", "lilims-app"]).spawn().context("starting the shell");
    let mut shell = match shell {
        Ok(shell) => shell,
        Err(error) => {
            stop(&mut trunk)?;
            return Err(error);
        }
    };
    while trunk.try_wait()?.is_none() && shell.try_wait()?.is_none() {
        thread::sleep(POLL);
    }
    stop(&mut trunk)?;
    stop(&mut shell)
}

/// Kills the program if it still runs, and waits for it.
fn stop(child: &mut Child) -> Result<()> {
    // An error means that it has already exited.
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

/// Installs the Tauri command line into the cache, once, and returns its path.
fn tauri_cli(paths: &Paths) -> Result<PathBuf> {
    let folder = paths.tools().join("tauri-cli");
    let program = folder.join("node_modules/.bin/tauri");
    let marker = folder.join("installed");
    if program.exists() && fs::read_to_string(&marker).is_ok_and(|text| text == TAURI_CLI) {
        note("nothing to do");
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(TAURI_CLI);
    process::run_within(&mut npm, NPM_LIMIT)?;
    paths::write(&marker, TAURI_CLI)?;
    Ok(program)
}
