//! Subprocesses of the benchmark: xtask starts itself to time one program, or to keep one core
//! busy.
//!
//! The system reports peak memory only for all children of a process together, so each timed
//! program gets its own parent process.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// The first argument of a child that times the program in the remaining arguments.
const TIME: &str = "bench-time";
/// The first argument of a child that keeps a core busy.
const SPIN: &str = "bench-spin";

/// The run time and peak memory of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// Runs as a child if the arguments say so; `None` if they do not.
pub(crate) fn run_as_child(arguments: &[OsString]) -> Option<ExitCode> {
    let mode = arguments.get(1)?;
    let outcome = if mode == TIME {
        time_program(&arguments[2..])
            .map(|cost| println!("{} {}", cost.seconds, cost.peak_rss_bytes))
    } else if mode == SPIN {
        spin()
    } else {
        return None;
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// Runs the command without input and output, and measures it.
///
/// # Errors
/// If it does not start or fails.
pub(crate) fn cost(command: &Command) -> Result<Cost> {
    let mut child = Command::new(env::current_exe()?);
    child.arg(TIME).arg(command.get_program()).args(command.get_args());
    child.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = child.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "`{}` could not be timed", process::line(command));
    let text = String::from_utf8(output.stdout)?;
    let (seconds, bytes) = text.trim().split_once(' ').context("expected two numbers")?;
    Ok(Cost { seconds: seconds.parse()?, peak_rss_bytes: bytes.parse()? })
}

fn time_program(words: &[OsString]) -> Result<Cost> {
    let (program, arguments) = words.split_first().context("no program to time")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status.success(), "`{}` failed ({status})", process::line(&command));
    Ok(Cost { seconds, peak_rss_bytes: peak_rss_of_children()? })
}

#[cfg(unix)]
fn peak_rss_of_children() -> Result<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // Apple reports bytes, other systems KiB.
    const UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(u64::try_from(usage.max_rss())? * UNIT)
}

#[cfg(not(unix))]
fn peak_rss_of_children() -> Result<u64> {
    bail!("peak memory is measured on Linux and macOS only")
}

/// A process that keeps the first core busy until this value is dropped.
#[derive(Debug)]
pub(crate) struct BusyNeighbour(Child);

impl BusyNeighbour {
    /// Starts the process and waits until the core is busy.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(SPIN).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut neighbour = Self(command.spawn()?);
        let stdout = neighbour.0.stdout.take().context("standard output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            bail!("the busy neighbour did not start");
        }
        Ok(neighbour)
    }
}

impl Drop for BusyNeighbour {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps the first core busy until standard input closes. It closes when the parent process ends,
/// even if that is killed.
fn spin() -> Result<()> {
    pin_to_first_core()?;
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    println!("busy");
    loop {
        std::hint::spin_loop();
    }
}

#[cfg(target_os = "linux")]
fn pin_to_first_core() -> Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;

    let mut cores = CpuSet::new();
    cores.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// Other systems may move the process to another core; it still keeps one busy.
#[cfg(not(target_os = "linux"))]
fn pin_to_first_core() -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn measures_time_and_peak_memory() {
        let cost = time_program(&words(&["sleep", "0.05"])).expect("sleep runs");
        assert!((0.05..30.0).contains(&cost.seconds), "{cost:?}");
        assert!(cost.peak_rss_bytes > 1 << 16, "{cost:?}");
        let error = time_program(&words(&["false"])).expect_err("false fails");
        assert!(error.to_string().contains("`false` failed"), "{error}");
    }

    #[test]
    fn other_arguments_do_not_run_a_child() {
        assert!(run_as_child(&words(&["xtask", "test"])).is_none());
        assert!(run_as_child(&words(&["xtask"])).is_none());
    }
}
