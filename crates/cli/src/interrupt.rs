//! Signals that end things: Ctrl-C, and what the system sends to programs that should end
//! (`SIGTERM`) or whose terminal closed (`SIGHUP`).
//!
//! The first one stops the work under way, which then keeps or clears away what it has to; a second
//! one ends the program at once. The exit code is 128 and the signal's number, as shells have it.

use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::output;

/// Ctrl-C's number.
const INTERRUPT: u8 = 2;
/// Added to a signal's number for the exit code.
const BY_SIGNAL: u8 = 128;

/// What signals did so far and what the next should do: there is one for the whole process.
static STATE: State = State {
    working: AtomicBool::new(false),
    cancel: AtomicBool::new(false),
    ending: AtomicBool::new(false),
    armed: AtomicBool::new(false),
    conversation: AtomicBool::new(false),
    signal: AtomicU8::new(INTERRUPT),
    on_stop: Mutex::new(None),
};

/// Notifies the waiting thread that the work should stop; `false` where that fails.
type OnStop = Box<dyn Fn() -> bool + Send>;

struct State {
    /// Work is under way that a signal stops.
    working: AtomicBool,
    /// It should stop.
    cancel: AtomicBool,
    /// The program should end once it has kept what it has to.
    ending: AtomicBool,
    /// Another Ctrl-C at the prompt ends the program.
    armed: AtomicBool,
    /// Ctrl-C stops an answer and not the program.
    conversation: AtomicBool,
    /// The last signal that came.
    signal: AtomicU8,
    /// Called when the work, or a wait for input, should stop.
    on_stop: Mutex<Option<OnStop>>,
}

/// The handle to what signals did.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt;

/// Takes over the signals. Without work under way they end the program, as they would anyway.
pub(crate) fn install() -> Result<()> {
    system::handle(received).context("cannot take over Ctrl-C")
}

impl Interrupt {
    /// Signals stop what [`Interrupt::during`] runs, and then the program.
    pub(crate) fn for_answer() -> Self {
        Self
    }

    /// Ctrl-C stops what [`Interrupt::during`] runs, and the program only when pressed twice with
    /// nothing typed in between. Other signals end the program, once it has kept what it has to.
    pub(crate) fn for_conversation() -> Self {
        STATE.conversation.store(true, Ordering::SeqCst);
        Self
    }

    /// Runs `work` with the flag that a signal sets to stop it.
    pub(crate) fn during<T>(self, work: impl FnOnce(&AtomicBool) -> T) -> T {
        STATE.cancel.store(false, Ordering::SeqCst);
        STATE.working.store(true, Ordering::SeqCst);
        if self.is_ending() {
            // The signal came just before, when there was nothing to stop.
            STATE.cancel.store(true, Ordering::SeqCst);
        }
        let result = work(&STATE.cancel);
        STATE.working.store(false, Ordering::SeqCst);
        result
    }

    /// Runs `work`, which a signal stops by `on_stop`. Where that returns `false`, the signal ends
    /// the program at once.
    pub(crate) fn during_with<T>(
        self,
        on_stop: impl Fn() -> bool + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        set_on_stop(Some(Box::new(on_stop)));
        let result = self.during(|_| work());
        set_on_stop(None);
        result
    }

    /// Has `on_stop` called when a signal ends a conversation that waits for input.
    pub(crate) fn while_waiting(self, on_stop: impl Fn() -> bool + Send + 'static) {
        set_on_stop(Some(Box::new(on_stop)));
    }

    /// Something was typed: Ctrl-C begins again.
    pub(crate) fn disarm(self) {
        STATE.armed.store(false, Ordering::SeqCst);
    }

    /// Whether a signal came that ends the program.
    pub(crate) fn is_ending(self) -> bool {
        STATE.ending.load(Ordering::SeqCst)
    }

    /// The exit code of a program that the last signal ended.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(code())
    }
}

fn code() -> u8 {
    BY_SIGNAL + STATE.signal.load(Ordering::SeqCst)
}

fn set_on_stop(on_stop: Option<OnStop>) {
    *STATE.on_stop.lock().unwrap_or_else(PoisonError::into_inner) = on_stop;
}

/// Notifies the registered listener; `false` where that failed, `None` where there is none.
fn tell_to_stop() -> Option<bool> {
    let on_stop = STATE.on_stop.lock().unwrap_or_else(PoisonError::into_inner);
    on_stop.as_ref().map(|on_stop| on_stop())
}

/// Runs in a thread of its own, where everything is safe.
fn received(signal: u8) {
    let working = STATE.working.load(Ordering::SeqCst);
    let conversation = STATE.conversation.load(Ordering::SeqCst);
    let is_second = STATE.ending.load(Ordering::SeqCst)
        || working && STATE.cancel.load(Ordering::SeqCst)
        || signal == INTERRUPT && !working && STATE.armed.load(Ordering::SeqCst);
    STATE.signal.store(signal, Ordering::SeqCst);
    if is_second || !working && !conversation {
        process::exit(code().into());
    }
    let ends = signal != INTERRUPT || !conversation;
    STATE.armed.store(true, Ordering::SeqCst);
    STATE.ending.fetch_or(ends, Ordering::SeqCst);
    if working {
        STATE.cancel.store(true, Ordering::SeqCst);
    } else if !ends {
        output::note("\n(Ctrl-C again or Ctrl-D ends the conversation)");
    }
    let notified = if ends { tell_to_stop() } else { Some(true) };
    if notified == Some(false) || notified.is_none() && !working {
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
