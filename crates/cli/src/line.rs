//! A line on standard error that is written over itself, to tell how far something is.

use std::io::{self, Write};

use crate::output;

/// A line on standard error that is written over itself.
#[derive(Default)]
pub(crate) struct Line {
    shown: String,
}

impl Line {
    /// Shows `text` in place of what was there. Where nobody reads that, nothing is lost.
    pub(crate) fn rewrite(&mut self, text: &str) {
        if self.shown != text {
            self.write(&output::printable(text));
            text.clone_into(&mut self.shown);
        }
    }

    /// Takes the line away, if there is one.
    pub(crate) fn clear(&mut self) {
        if !self.shown.is_empty() {
            self.write("");
            self.shown.clear();
        }
    }

    fn write(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r\u{1b}[K{text}").and_then(|()| stderr.flush());
    }
}
