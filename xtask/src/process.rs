//! Runs other programs: with output shown, with output captured, or with a time limit.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::paths::Paths;

/// The polling interval for a program with a time limit.
const POLL: Duration = Duration::from_millis(50);

/// Runs the command with its output shown.
///
/// # Errors
/// If it does not start or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    succeeded(command, status)
}

/// Runs the command with its output shown, and kills it at the time limit.
///
/// # Errors
/// If it does not start, fails or is still running at the limit.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| not_started(command))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(command, status);
        }
        if Instant::now() >= deadline {
            // An error means that it has exited since `try_wait`.
            let _ = child.kill();
            child.wait()?;
            bail!("`{}` did not finish within {} s", line(command), limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Runs the command while `action` runs, and kills it if `action` fails.
///
/// # Errors
/// The error of `action`, or that the command does not start or fails.
pub(crate) fn beside<T>(command: &mut Command, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut child = command.spawn().with_context(|| not_started(command))?;
    let outcome = action();
    if outcome.is_err() {
        // An error means that it has exited.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let value = outcome?;
    succeeded(command, status)?;
    Ok(value)
}

/// The cargo that runs xtask, with the repository's root and build folder.
pub(crate) fn cargo(paths: &Paths) -> Command {
    cargo_in(&paths.root, &paths.target)
}

/// The cargo that runs xtask, with another folder of sources and of results.
pub(crate) fn cargo_in(root: &Path, target: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("CARGO_TARGET_DIR", target);
    command
}

/// The trimmed standard output of the command; `None` if it does not start or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// Runs the command and parses its standard output as one JSON value.
///
/// # Errors
/// If it does not start or fails, with what it wrote to standard error unless that is shown; if it
/// prints no JSON.
pub(crate) fn json(command: &mut Command) -> Result<Value> {
    serde_json::from_slice(&bytes(command)?)
        .with_context(|| format!("`{}` printed no JSON", line(command)))
}

/// Runs the command and returns its standard output.
///
/// # Errors
/// If it does not start or fails, with what it wrote to standard error unless that is shown.
pub(crate) fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().with_context(|| not_started(command))?;
    succeeded(command, output.status).map_err(|error| {
        match String::from_utf8_lossy(&output.stderr).trim() {
            "" => error,
            stderr => anyhow!("{error}: {stderr}"),
        }
    })?;
    Ok(output.stdout)
}

/// The first file called `program` on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// `PATH` with the given folders first.
pub(crate) fn path_with_first(folders: &[PathBuf]) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(env::split_paths(&path));
    env::join_paths(all).context("a folder of PATH contains the separator")
}

/// The command as one line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![Path::new(command.get_program()).display().to_string()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn not_started(command: &Command) -> String {
    format!("`{}` does not start", line(command))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn program_past_its_limit_is_killed_and_named() {
        let start = Instant::now();
        let error = run_within(Command::new("sleep").arg("60"), Duration::from_millis(100))
            .expect_err("sleep outlasts the limit");
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(error.to_string().contains("sleep 60"), "{error}");
    }

    #[test]
    fn command_beside_an_action_ends_with_it() {
        assert_eq!(beside(&mut Command::new("true"), || Ok(1)).expect("both succeed"), 1);
        assert!(beside(&mut Command::new("false"), || Ok(())).is_err());
        let start = Instant::now();
        let error = beside(Command::new("sleep").arg("60"), || -> Result<()> { bail!("no page") });
        assert_eq!(error.expect_err("the action failed").to_string(), "no page");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_is_trimmed_and_none_on_failure() {
        assert_eq!(output(Command::new("echo").arg("hello")).as_deref(), Some("hello"));
        assert_eq!(output(&mut Command::new("false")), None);
        assert_eq!(output(&mut Command::new("no-such-program-here")), None);
    }

    #[test]
    fn json_is_parsed_and_failures_quote_standard_error() {
        assert_eq!(json(Command::new("echo").arg("[1]")).expect("valid"), serde_json::json!([1]));
        assert!(json(Command::new("echo").arg("[")).is_err());
        let error = bytes(Command::new("ls").arg("/no/such/file")).expect_err("it fails");
        assert!(format!("{error:#}").contains("No such file"), "{error:#}");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-here").is_none());
    }
}
