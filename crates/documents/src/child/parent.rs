//! Starts the child, gives it the file, waits for the text within the bounds, and leaves no process
//! behind.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::{ARGUMENT, Extracted, TRAILER_LEN, decode, error};
use crate::{Error, Options};

/// How often the clock, the flag and the child's memory are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long a child may take to end after it closed its output.
const END_TIME: Duration = Duration::from_secs(1);
/// How much of what a child complains about is read.
const MAX_COMPLAINT_BYTES: u64 = 4096;
/// What a library may print beside the text.
const SPARE_BYTES: u64 = 1 << 20;
/// How Rust's allocator says, before it aborts, that the system refused memory.
const REFUSED_MEMORY: &[u8] = b"memory allocation of";

/// Reads a PDF in a child process.
pub(super) fn extract(
    bytes: Vec<u8>,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Extracted, Error> {
    let mut child = start(options)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let max_output = (options.text_bytes + TRAILER_LEN) as u64 + SPARE_BYTES;
    thread::scope(|scope| {
        scope.spawn(move || {
            // A child that ends early closes the pipe; how it ended says more than this error.
            let _ = stdin.map(|mut stdin| stdin.write_all(&bytes));
        });
        let (sender, output) = mpsc::channel();
        scope.spawn(move || {
            let mut output = Vec::new();
            let read = stdout.map(|out| out.take(max_output).read_to_end(&mut output));
            // The receiver is gone if the child was given up.
            let _ = sender.send(read.is_some_and(|read| read.is_ok()).then_some(output));
        });
        let complaint = scope.spawn(move || stderr.map(read_complaint).unwrap_or_default());
        let output = wait_for_output(&child, &output, options, cancel);
        // Ended or not: the threads above end with the child's pipes.
        let status = end(&mut child, if output.is_ok() { END_TIME } else { Duration::ZERO });
        let complaint = complaint.join().unwrap_or_default();
        let output = output?.unwrap_or_default();
        if output.len() as u64 == max_output {
            return Err(Error::TextTooLong { limit_bytes: options.text_bytes });
        }
        match decode(output) {
            Some(Ok(extracted)) => Ok(extracted),
            Some(Err(failure)) => Err(error(failure, options)),
            None => Err(crashed(status, &complaint, options, cancel)),
        }
    })
}

fn start(options: &Options) -> Result<Child, Error> {
    let program = match &options.program {
        Some(program) => program.clone(),
        // Right even after an update has replaced the program's file.
        None if cfg!(target_os = "linux") => "/proc/self/exe".into(),
        None => std::env::current_exe().map_err(Error::Process)?,
    };
    let time_ms = u64::try_from(options.time.as_millis()).unwrap_or(u64::MAX);
    let numbers = [options.file_bytes, options.text_bytes as u64, time_ms, options.memory_bytes];
    Command::new(program)
        .arg(ARGUMENT)
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::Process)
}

/// Waits until the child has closed its output, unless a bound is reached before.
fn wait_for_output(
    child: &Child,
    output: &Receiver<Option<Vec<u8>>>,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Option<Vec<u8>>, Error> {
    let started = Instant::now();
    let (mut system, pid) = (System::new(), Pid::from_u32(child.id()));
    loop {
        match output.recv_timeout(TICK) {
            Ok(output) => return Ok(output),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if started.elapsed() > options.time {
            return Err(Error::TookTooLong { limit: options.time });
        }
        let memory = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, memory);
        if system.process(pid).is_some_and(|process| process.memory() > options.memory_bytes) {
            return Err(Error::TooMuchMemory { limit_bytes: options.memory_bytes });
        }
    }
}

/// Waits for the child's end, at most for `time`, kills it otherwise, and takes it off the system's
/// list in any case.
fn end(child: &mut Child, time: Duration) -> io::Result<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < time {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()
}

/// The beginning of what the child complains about. The rest is read, too, so that it never waits.
fn read_complaint(mut stderr: ChildStderr) -> Vec<u8> {
    let mut complaint = Vec::new();
    let _ = stderr.by_ref().take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint);
    let _ = io::copy(&mut stderr, &mut io::sink());
    complaint
}

/// Why a child ended without a result.
fn crashed(
    status: io::Result<ExitStatus>,
    complaint: &[u8],
    options: &Options,
    cancel: &AtomicBool,
) -> Error {
    tracing::warn!(?status, "the process that reads PDFs ended without a result");
    // Ctrl-C in a terminal goes to the child, too.
    if cancel.load(Ordering::Relaxed) {
        return Error::Cancelled;
    }
    if complaint.windows(REFUSED_MEMORY.len()).any(|window| window == REFUSED_MEMORY) {
        return Error::TooMuchMemory { limit_bytes: options.memory_bytes };
    }
    Error::Damaged { what: "its reader crashed" }
}
