//! `cargo xtask bench --ui`: measures how the page feels in the real window of the release app.

use std::fs;

use anyhow::Result;

use super::output_of;
use crate::app::{self, WORKSPACE_SELECTION, program_name};
use crate::document;
use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup;
use crate::test;

/// Measures, prints the table and rewrites it in `docs/benchmarks.md`.
///
/// # Errors
/// If a missing requirement cannot be installed, a build fails or the window does not do what is measured.
/// A missed figure is not an error.
pub(super) fn run(paths: &Paths) -> Result<()> {
    let tools = setup::for_tests(paths)?;
    let app = app::build(paths)?;
    let mut bare = process::cargo(paths);
    bare.args(["build", "--release", "--workspace", "--example", "bare", "--features"]);
    bare.arg("lilims-app/custom-protocol,lilims-app/telemetry,lilims-app/bare-window");
    step("a bare window to compare with", || process::run(&mut bare))?;
    let mut measuring = process::cargo(paths);
    measuring.arg("build").args(WORKSPACE_SELECTION).args(["--bin", "ui_bench"]);
    step("the measuring program", || process::run(&mut measuring))?;
    let program = paths.target.join("debug").join(program_name("ui_bench"));
    let mut command = std::process::Command::new(program);
    test::set_environment(&mut command, paths, &tools)?;
    command.env("LILIMS_APP", app);
    command.env("LILIMS_BARE", paths.target.join("release/examples").join(program_name("bare")));
    let table = step("measuring", || process::bytes(&mut command))?;
    let table = String::from_utf8_lossy(&table);
    print!("{table}");
    let date = output_of("date", &["-u", "+%Y-%m-%d"], &paths.root)?;
    let commit = output_of("git", &["describe", "--always", "--dirty"], &paths.root)?;
    let part = format!("Release app, {date}, {commit}, {table}");
    let file = paths.root.join("docs/benchmarks.md");
    let old = fs::read_to_string(&file)?;
    paths::write(&file, document::replace(&old, "bench", "ui", &part)?)?;
    note(&format!("{} rewritten", file.display()));
    Ok(())
}
