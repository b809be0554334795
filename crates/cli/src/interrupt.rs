//! Ctrl-C: stops an answer, then the program.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::output;

/// The exit code of a program that Ctrl-C ended: 128 and the signal's number, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// What Ctrl-C did so far and what it should do next.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    /// An answer is being written, so that Ctrl-C stops it.
    answering: AtomicBool,
    /// The answer should stop.
    cancel: AtomicBool,
    /// Another Ctrl-C at the prompt ends the program.
    armed: AtomicBool,
    /// At the prompt, the first Ctrl-C only tells how to end the conversation.
    conversation: bool,
}

impl Interrupt {
    /// Takes over Ctrl-C for a single answer: outside of it, Ctrl-C ends the program.
    pub(crate) fn for_answer() -> Result<Self> {
        Self::install(State::default())
    }

    /// Takes over Ctrl-C for a conversation: it ends the program only when pressed twice with
    /// nothing typed in between.
    pub(crate) fn for_conversation() -> Result<Self> {
        Self::install(State { conversation: true, ..State::default() })
    }

    fn install(state: State) -> Result<Self> {
        let interrupt = Self(Arc::new(state));
        let on_signal = interrupt.clone();
        ctrlc::set_handler(move || on_signal.pressed()).context("cannot take over Ctrl-C")?;
        Ok(interrupt)
    }

    /// Runs in the handler's own thread, where printing is safe.
    fn pressed(&self) {
        let state = &self.0;
        let answering = state.answering.load(Ordering::SeqCst);
        if answering && !state.cancel.swap(true, Ordering::SeqCst) {
            state.armed.store(true, Ordering::SeqCst);
        } else if !answering && state.conversation && !state.armed.swap(true, Ordering::SeqCst) {
            output::note("\n(Ctrl-C again or Ctrl-D ends the conversation)");
        } else {
            process::exit(INTERRUPTED.into());
        }
    }

    /// Runs `answer` with the flag that Ctrl-C sets to stop it.
    pub(crate) fn during<T>(&self, answer: impl FnOnce(&AtomicBool) -> T) -> T {
        self.0.cancel.store(false, Ordering::SeqCst);
        self.0.answering.store(true, Ordering::SeqCst);
        let result = answer(&self.0.cancel);
        self.0.answering.store(false, Ordering::SeqCst);
        result
    }

    /// Something was typed: Ctrl-C begins anew.
    pub(crate) fn disarm(&self) {
        self.0.armed.store(false, Ordering::SeqCst);
    }
}
