//! Signals that end things: Ctrl-C, and those that the system sends to programs that should end
//! (`SIGTERM`) or whose terminal closed (`SIGHUP`).
//!
//! The first one stops the work under way, which then saves or removes what it has to; a second one ends
//! the program at once. The exit code is 128 plus the signal's number, as shells have it.

use std::process::{self, ExitCode};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU8};

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::output;

/// The number of Ctrl-C's signal.
const INTERRUPT: u8 = 2;
/// Added to a signal's number for the exit code.
const BY_SIGNAL: u8 = 128;

/// Work is under way that a signal stops.
static IS_WORKING: AtomicBool = AtomicBool::new(false);
/// The work should stop.
static CANCEL: AtomicBool = AtomicBool::new(false);
/// The program should end once it has saved what it has to.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Another Ctrl-C at the prompt ends the program.
static IS_ARMED: AtomicBool = AtomicBool::new(false);
/// Ctrl-C stops an answer and not the program.
static IS_CONVERSATION: AtomicBool = AtomicBool::new(false);
/// The last signal that came.
static SIGNAL: AtomicU8 = AtomicU8::new(INTERRUPT);
/// Called when the work, or a wait for input, should stop.
static ON_STOP: Mutex<Option<OnStop>> = Mutex::new(None);

/// Notifies the waiting thread that the work should stop; `false` where that fails.
type OnStop = Box<dyn Fn() -> bool + Send>;

/// Takes over the signals. Without work under way they end the program, as they would anyway.
pub fn install() -> Result<()> {
    system::handle(received).context("cannot take over Ctrl-C")
}

/// From now on Ctrl-C stops what [`during`] runs, and the program only when pressed twice with nothing
/// typed in between. `on_stop` is called when a signal ends the program while it waits for input.
pub fn begin_conversation(on_stop: impl Fn() -> bool + Send + 'static) {
    IS_CONVERSATION.store(true, SeqCst);
    set_on_stop(Some(Box::new(on_stop)));
}

/// Something was typed: the next Ctrl-C counts as the first.
pub fn disarm() {
    IS_ARMED.store(false, SeqCst);
}

/// Runs `work` with the flag that a signal sets to stop it.
pub fn during<T>(work: impl FnOnce(&AtomicBool) -> T) -> T {
    // A signal may have come just before, when there was nothing to stop.
    CANCEL.store(false, SeqCst);
    IS_WORKING.store(true, SeqCst);
    CANCEL.fetch_or(is_ending(), SeqCst);
    let result = work(&CANCEL);
    IS_WORKING.store(false, SeqCst);
    result
}

/// Runs `work`, which a signal stops by `on_stop`. Where that returns `false`, the signal ends the
/// program at once.
pub fn during_with<T>(on_stop: impl Fn() -> bool + Send + 'static, work: impl FnOnce() -> T) -> T {
    set_on_stop(Some(Box::new(on_stop)));
    let result = during(|_| work());
    set_on_stop(None);
    result
}

/// Whether a signal came that ends the program.
pub fn is_ending() -> bool {
    IS_ENDING.load(SeqCst)
}

/// The exit code of a program that the last signal ended.
pub fn exit_code() -> ExitCode {
    code().into()
}

fn code() -> u8 {
    BY_SIGNAL + SIGNAL.load(SeqCst)
}

fn set_on_stop(on_stop: Option<OnStop>) {
    *ON_STOP.lock() = on_stop;
}

/// Runs in a thread of its own, where everything is safe.
fn received(signal: u8) {
    let (is_working, is_conversation) = (IS_WORKING.load(SeqCst), IS_CONVERSATION.load(SeqCst));
    let is_second = is_ending()
        || is_working && CANCEL.load(SeqCst)
        || signal == INTERRUPT && !is_working && IS_ARMED.load(SeqCst);
    SIGNAL.store(signal, SeqCst);
    if is_second || !is_working && !is_conversation {
        process::exit(code().into());
    }
    let ends = signal != INTERRUPT || !is_conversation;
    IS_ARMED.store(true, SeqCst);
    IS_ENDING.fetch_or(ends, SeqCst);
    if is_working {
        CANCEL.store(true, SeqCst);
    } else if !ends {
        output::note("\n(Ctrl-C again or Ctrl-D ends the conversation)");
    }
    if !ends {
        return;
    }
    let on_stop = ON_STOP.lock();
    if !on_stop.as_ref().map_or(is_working, |on_stop| on_stop()) {
        process::exit(code().into());
    }
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    /// Has `received` called with the number of each signal.
    pub(super) fn handle(received: fn(u8)) -> io::Result<()> {
        let mut signals = vec![SIGINT, SIGTERM];
        if !ignores_hang_up() {
            signals.push(SIGHUP);
        }
        let mut signals = Signals::new(signals)?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                received(u8::try_from(signal).unwrap_or(super::INTERRUPT));
            }
        })?;
        Ok(())
    }

    /// Whether the program was started so that it outlives its terminal, as `nohup` does it. Known on
    /// Linux alone.
    fn ignores_hang_up() -> bool {
        let status = lilims_files::read_to_string("/proc/self/status".as_ref(), 1 << 16);
        let mask = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        });
        mask.is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
    }
}

#[cfg(not(unix))]
mod system {
    /// Has `received` called with Ctrl-C's number each time the system wants the program to end.
    pub(super) fn handle(received: fn(u8)) -> Result<(), ctrlc::Error> {
        ctrlc::set_handler(move || received(super::INTERRUPT))
    }
}
