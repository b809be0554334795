//! Development: the app from source, the page served and reloaded on change.
//!
//! Uses the Tauri command line where npm can fetch it, which also rebuilds the shell on change.
//! Without it, Trunk and the shell run side by side and only the page follows changes.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::page;
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup::{self, PageTools};

/// The npm package of the Tauri command line and its version.
const TAURI_CLI: &str = "@tauri-apps/cli@2.12.5";
/// How long npm may take to fetch it.
const NPM_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Makes the Tauri command line serve the page through xtask, which knows the WebAssembly toolchain.
const SERVE_PAGE: &str = r#"{"build":{"beforeDevCommand":"cargo xtask page --serve"}}"#;
/// How often the programs that run side by side are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Runs the app until its window is closed or Ctrl-C is pressed.
///
/// # Errors
/// When set-up or a build fails.
pub(crate) fn run(places: &Places) -> Result<()> {
    let tools = setup::for_app(places)?;
    page::build_served(places, &tools.page)?;
    match step("set-up: Tauri command line", || tauri_cli(places)) {
        Ok(cli) => with_tauri(places, &cli),
        Err(error) => {
            note(&format!("going on without the Tauri command line: {error:#}"));
            side_by_side(places, &tools.page)
        }
    }
}

fn with_tauri(places: &Places, cli: &PathBuf) -> Result<()> {
    note("`tauri dev`: edit ui/ and the page reloads; Ctrl-C ends it");
    let mut command = Command::new(cli);
    command.args(["dev", "--config", SERVE_PAGE]).current_dir(places.root.join("src-tauri"));
    command.env("CARGO_TARGET_DIR", &places.target);
    process::run(&mut command)
}

/// Runs Trunk and the shell together; when one ends, the other is ended.
fn side_by_side(places: &Places, tools: &PageTools) -> Result<()> {
    note("trunk serve and cargo run: edit ui/ and the page reloads; Ctrl-C ends both");
    let mut trunk = page::serve_command(places, tools)?.spawn().context("starting trunk")?;
    let mut shell = process::cargo(places);
    let shell =
        shell.args(["run", "--package", "lilims-app"]).spawn().context("starting the shell");
    let mut shell = match shell {
        Ok(shell) => shell,
        Err(error) => {
            end(&mut trunk)?;
            return Err(error);
        }
    };
    while trunk.try_wait()?.is_none() && shell.try_wait()?.is_none() {
        thread::sleep(POLL);
    }
    end(&mut trunk)?;
    end(&mut shell)
}

/// Ends the program if it still runs, and waits for it.
fn end(child: &mut Child) -> Result<()> {
    // An error means that it has ended by itself.
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

/// The Tauri command line in the cache, fetched once.
fn tauri_cli(places: &Places) -> Result<PathBuf> {
    let folder = places.tools().join("tauri-cli");
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
    fs::write(&marker, TAURI_CLI)?;
    Ok(program)
}
