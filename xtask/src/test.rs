//! `cargo xtask test`, everything that CI runs: set-up, tidy, formatting, the page, all tests,
//! clippy.
//!
//! The app and the command line are built in the same cargo invocation as the tests, with the same
//! features, so that no dependency is compiled twice. The last line printed counts the tests.

mod counts;
mod slowest;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::app::{WORKSPACE_SELECTION, program_name};
use crate::emulation;
use crate::page;
use crate::paths::Paths;
use crate::process;
use crate::report::step;
use crate::setup::{self, AppTools};
use crate::tidy;
use counts::Counts;
use slowest::Slowest;

/// Runs all checks and tests. Tests run even if a check fails.
///
/// The last line of the output is always `N passed, N failed, N skipped`. A failed check counts as
/// failed, and the line before lists it.
pub(crate) fn run(paths: &Paths) -> ExitCode {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    if let Err(error) = run_all(paths, &mut counts, &mut failures) {
        failures.push(Failure::check(error));
    }
    for what in &counts.skipped {
        println!("skipped: {what}");
    }
    for Failure { error, .. } in &failures {
        eprintln!("error: {error:#}");
    }
    counts.failed += failures.iter().filter(|failure| !failure.is_counted).count() as u64;
    if !failures.is_empty() {
        // The step's name is the outermost context.
        let names: Vec<_> = failures.iter().map(|failure| failure.error.to_string()).collect();
        println!("failed: {}", names.join(", "));
    }
    println!("{}", counts.line());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A step that failed.
struct Failure {
    error: anyhow::Error,
    /// Whether its failed tests are counted one by one.
    is_counted: bool,
}

impl Failure {
    /// The failure of a step that is not a test run.
    fn check(error: anyhow::Error) -> Self {
        Self { error, is_counted: false }
    }
}

fn run_all(paths: &Paths, counts: &mut Counts, failures: &mut Vec<Failure>) -> Result<()> {
    let tools = step("set-up", || setup::for_tests(paths))?;
    let mut check = |result: Result<()>| failures.extend(result.err().map(Failure::check));
    check(step("tidy", || tidy::run(paths)));
    check(step("formatting", || {
        process::run(process::cargo(paths).args(["fmt", "--all", "--check"]))
    }));
    page::build(paths, &tools.page).context("the page")?;
    step("build of the app, the command line and the tests", || {
        let mut command = process::cargo(paths);
        process::run(
            command.arg("build").args(WORKSPACE_SELECTION).args(["--bins", "--lib", "--tests"]),
        )
    })?;
    failures.extend(run_tests(paths, &tools, counts)?);
    failures.extend(run_checked_kernels(paths, counts));
    failures.extend(run_emulated(paths, counts));
    let clippy = step("clippy", || {
        let mut command = process::cargo(paths);
        command.arg("clippy").args(WORKSPACE_SELECTION).args([
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        process::run(&mut command)
    });
    failures.extend(clippy.err().map(Failure::check));
    Ok(())
}

/// Runs the tests of the whole workspace: with `cargo nextest` where it is installed, which runs tests
/// of several programs at once, and the examples of the documentation after them.
fn run_tests(paths: &Paths, tools: &AppTools, counts: &mut Counts) -> Result<Vec<Failure>> {
    let command = |test: &[&str]| -> Result<Command> {
        let mut command = process::cargo(paths);
        command.args(test).args(WORKSPACE_SELECTION).args(["--no-fail-fast", "--color", "never"]);
        set_environment(&mut command, paths, tools)?;
        Ok(command)
    };
    let skips = paths.target.join("skipped-tests.txt");
    match fs::remove_file(&skips) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut failures = Vec::new();
    let mut run = |name: &str, mut command: Command| {
        command.env("LILIMS_TEST_SKIPS", &skips);
        failures.extend(run_counted(name, &mut command, counts));
    };
    if has_nextest(paths) {
        run("tests", command(&["nextest", "run"])?);
        run("examples of the documentation", command(&["test", "--doc"])?);
    } else {
        run("tests", command(&["test"])?);
    }
    counts.add_skips(&skips).context("cannot count the skipped tests")?;
    Ok(failures)
}

/// Whether `cargo nextest` is installed.
fn has_nextest(paths: &Paths) -> bool {
    let mut command = process::cargo(paths);
    command.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs the tests of this machine's kernels with checks of unsafe code.
fn run_checked_kernels(paths: &Paths, counts: &mut Counts) -> Option<Failure> {
    let mut command = process::cargo(paths);
    command.args(emulation::CHECKED_KERNEL_TESTS).args(["--color", "never"]);
    run_counted("tests of the kernels with checks of unsafe code", &mut command, counts)
}

/// Runs the tests of the Arm kernels on each emulated processor, or counts them as skipped.
fn run_emulated(paths: &Paths, counts: &mut Counts) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (processor, isa) in emulation::PROCESSORS {
        let name = format!("tests of the Arm kernels on an emulated {processor} ({isa})");
        if !emulation::is_possible() {
            let why = "the emulator is set up on Debian and Ubuntu on x86-64 only";
            counts.skip(format!("{name}: {why}"));
            continue;
        }
        let mut command = emulation::test_command(paths, processor, isa);
        failures.extend(run_counted(&name, command.args(["--color", "never"]), counts));
    }
    failures
}

/// Runs a test command, shows its output, counts its results and lists the slowest tests.
fn run_counted(name: &str, command: &mut Command, counts: &mut Counts) -> Option<Failure> {
    let failed = counts.failed;
    let error = step(name, || show_and_count(command, counts)).err()?;
    Some(Failure { error, is_counted: counts.failed > failed })
}

fn show_and_count(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let before = counts.passed;
    // `cargo nextest` reports to standard error.
    let (output, writer) = io::pipe()?;
    let mut child =
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command holds copies of the writing end, which would keep the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut slowest = Slowest::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        counts.add_line(&line);
        slowest.add_line(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    slowest.lines().iter().for_each(|line| println!("{line}"));
    if !status.success() {
        bail!("`{}` failed ({status})", process::line(command));
    }
    if counts.passed == before {
        bail!("no test ran");
    }
    Ok(())
}

/// Passes the paths of programs and models to the tests.
///
/// # Errors
/// If the folders of tools cannot stand on `PATH`.
pub(crate) fn set_environment(
    command: &mut Command,
    paths: &Paths,
    tools: &AppTools,
) -> Result<()> {
    let programs = paths.target.join("debug");
    command.env("LILIMS_APP", programs.join(program_name("lilims-app")));
    command.env("LILIMS_CLI", programs.join(program_name("lilims")));
    command.env("LILIMS_TEST_MODELS", paths.models());
    // Programs do not find the model if the build folder is outside the repository.
    command.env("LILIMS_MODEL", &tools.model);
    command.env("PATH", process::path_with_first(&tools.page.folders)?);
    if env::var_os("RUST_BACKTRACE").is_none() {
        command.env("RUST_BACKTRACE", "1");
    }
    Ok(())
}
