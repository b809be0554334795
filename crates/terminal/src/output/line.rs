//! A line on standard error that is written over itself, to tell how far something is.

use super::{escape, write_stderr};

/// A line on standard error that is written over itself.
#[derive(Default)]
pub struct Line {
    shown: String,
}

impl Line {
    /// Shows `text` in place of what was there. Where nobody reads that, nothing is lost.
    pub fn rewrite(&mut self, text: &str) {
        if self.shown != text {
            let line = escape::one_line(text);
            write_stderr(&format!("{ERASE}{}", escape::clipped(&line, escape::QUOTED_CHARS)));
            text.clone_into(&mut self.shown);
        }
    }

    /// Takes the line away, if there is one.
    pub fn clear(&mut self) {
        if !self.shown.is_empty() {
            write_stderr(ERASE);
            self.shown.clear();
        }
    }
}

/// To the beginning of the line, and nothing stands there.
const ERASE: &str = "\r\u{1b}[K";
