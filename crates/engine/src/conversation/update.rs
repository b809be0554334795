//! Progress reports of a turn.

use crate::Progress;

/// What a turn does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reads the new tokens of the prompt.
    Prompt,
    /// Writes a summary of the messages that leave the window.
    Summary,
    /// Reads tokens again that were read before.
    Reread,
}

/// A progress report of a turn.
#[derive(Debug)]
pub enum Update<'a> {
    /// The answer has not begun.
    Reading {
        /// The current phase.
        phase: Phase,
        /// Tokens done.
        done: usize,
        /// Tokens to do, at most.
        total: usize,
    },
    /// More reasoning before the answer.
    Reasoning(&'a str, &'a Progress),
    /// More text of the answer.
    Text(&'a str, &'a Progress),
}
