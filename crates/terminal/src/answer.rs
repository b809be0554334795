//! Prints an answer while it grows.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::output;

/// Writes the text of an answer to standard output, and its reasoning, dimmed, to standard error.
pub struct AnswerOutput {
    is_shown: bool,
    written: io::Result<()>,
    is_in_reasoning: bool,
}

impl AnswerOutput {
    /// Nothing is written unless `is_shown`.
    pub fn new(is_shown: bool) -> Self {
        Self { is_shown, written: Ok(()), is_in_reasoning: false }
    }

    /// More of the answer. Once the reader has gone, the rest is not worth computing.
    pub fn text(&mut self, text: &str, cancel: &AtomicBool) {
        if !self.is_shown || self.written.is_err() || text.is_empty() {
            return;
        }
        self.end_reasoning();
        self.written = output::show_payload(text);
        cancel.fetch_or(self.written.is_err(), Ordering::SeqCst);
    }

    /// More reasoning.
    pub fn reasoning(&mut self, text: &str) {
        if self.is_shown {
            self.is_in_reasoning = true;
            output::aside(text);
        }
    }

    fn end_reasoning(&mut self) {
        if std::mem::take(&mut self.is_in_reasoning) {
            output::note("");
        }
    }

    /// Whether all could be written.
    pub fn end(mut self) -> io::Result<()> {
        self.end_reasoning();
        self.written
    }
}
