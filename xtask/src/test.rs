//! Everything that CI runs: set-up, the rules of the house, formatting, the page, all tests, clippy.
//!
//! The app and the command line are built in the same cargo invocation as the tests, with the same
//! features, so that no dependency is compiled twice. The last line printed counts the tests.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::app::{EMBED_PAGE, program_name};
use crate::emulation;
use crate::page;
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup::{self, AppTools};
use crate::tidy;

/// The packages and features of every cargo command here: one selection, one build.
const EVERYTHING: [&str; 3] = ["--workspace", "--features", EMBED_PAGE];

/// Runs all checks and tests. Checks that fail do not keep the tests from running.
///
/// # Errors
/// When set-up or a build fails; failing checks and tests are told by the exit code.
pub(crate) fn run(places: &Places) -> Result<ExitCode> {
    let tools = step("set-up", || setup::for_tests(places))?;
    let mut checks = vec![
        step("tidy", || tidy::run(places)),
        step("formatting", || {
            process::run(process::cargo(places).args(["fmt", "--all", "--check"]))
        }),
    ];
    page::build(places, &tools.page)?;
    step("build of the app, the command line and the tests", || {
        let mut command = process::cargo(places);
        process::run(command.arg("build").args(EVERYTHING).args(["--bins", "--lib", "--tests"]))
    })?;
    let mut counts = Counts::default();
    checks.push(step("tests", || run_tests(places, &tools, &mut counts)));
    if emulation::is_possible() {
        checks.push(step("tests of the Arm kernels under emulation", || {
            emulation::PROCESSORS.iter().try_for_each(|(processor, isa)| {
                note(&format!("on the processor {processor}, which has {isa}"));
                let mut command = emulation::test_command(places, processor, isa);
                run_counted(command.args(["--color", "never"]), &mut counts)
            })
        }));
    }
    checks.push(step("clippy", || {
        let mut command = process::cargo(places);
        command.arg("clippy").args(EVERYTHING).args(["--all-targets", "--", "-D", "warnings"]);
        process::run(&mut command)
    }));
    let failures: Vec<anyhow::Error> = checks.into_iter().filter_map(Result::err).collect();
    for failure in &failures {
        eprintln!("error: {failure:#}");
    }
    // The last line is what many readers look at alone.
    let broken = match failures.len() {
        0 => String::new(),
        n => format!(", {n} checks failed (see the errors above)"),
    };
    println!("{} passed, {} failed{broken}", counts.passed, counts.failed);
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests of the whole workspace.
fn run_tests(places: &Places, tools: &AppTools, counts: &mut Counts) -> Result<()> {
    let mut command = process::cargo(places);
    command.arg("test").args(EVERYTHING).args(["--no-fail-fast", "--color", "never"]);
    set_environment(&mut command, places, tools)?;
    run_counted(&mut command, counts)
}

/// Runs a `cargo test`, shows its output and counts its results.
fn run_counted(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let before = counts.passed;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("standard output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        counts.add_line(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", process::line(command));
    }
    if counts.passed == before {
        bail!("no test ran");
    }
    Ok(())
}

/// Tells the tests where the programs and the models are.
fn set_environment(command: &mut Command, places: &Places, tools: &AppTools) -> Result<()> {
    let programs = places.target.join("debug");
    command.env("LILIMS_APP", programs.join(program_name("lilims-app")));
    command.env("LILIMS_CLI", programs.join(program_name("lilims")));
    command.env("LILIMS_TEST_MODELS", places.models());
    // The build folder may lie outside of the repository, where programs do not find the model.
    command.env("LILIMS_MODEL", &tools.model);
    command.env("PATH", process::path_with_first(&tools.page.folders)?);
    if env::var_os("RUST_BACKTRACE").is_none() {
        command.env("RUST_BACKTRACE", "1");
    }
    Ok(())
}

/// How many tests passed and failed, over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds what a line of the form `test result: ok. 3 passed; 0 failed; …` says; ignores others.
    fn add_line(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        self.passed += count_before(result, " passed;");
        self.failed += count_before(result, " failed;");
    }
}

/// The number that stands right before the word.
fn count_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_test_programs() {
        let mut counts = Counts::default();
        for line in [
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1 s",
            "12 passed; said by a test itself",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            counts.add_line(line);
        }
        assert_eq!(counts, Counts { passed: 15, failed: 2 });
    }
}
