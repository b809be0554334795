//! Prints an answer while it grows, and its figures.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_core::{Note, Progress};
use serde::Serialize;

use crate::output;

/// Writes the text of an answer to standard output, and its reasoning, dimmed, to standard error.
pub(crate) struct AnswerOutput {
    is_shown: bool,
    written: io::Result<()>,
    is_in_reasoning: bool,
}

impl AnswerOutput {
    /// Nothing is written unless `is_shown`.
    pub(crate) fn new(is_shown: bool) -> Self {
        Self { is_shown, written: Ok(()), is_in_reasoning: false }
    }

    /// More of the answer. Once the reader has gone, the rest is not worth computing.
    pub(crate) fn text(&mut self, text: &str, cancel: &AtomicBool) {
        if !self.is_shown || self.written.is_err() || text.is_empty() {
            return;
        }
        self.end_reasoning();
        self.written = output::show_payload(text);
        cancel.fetch_or(self.written.is_err(), Ordering::SeqCst);
    }

    /// More reasoning.
    pub(crate) fn reasoning(&mut self, text: &str) {
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
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.end_reasoning();
        self.written
    }
}

/// A note on the prompt in JSON.
#[derive(Serialize)]
pub(crate) struct NoteReport {
    code: &'static str,
    text: String,
}

impl From<Note> for NoteReport {
    fn from(note: Note) -> Self {
        Self { code: note.code(), text: note.to_string() }
    }
}

/// What an answer took, in a line.
pub(crate) fn figures(progress: &Progress) -> String {
    let reread = match progress.reread_tokens {
        0 => String::new(),
        n => format!("; {n} tokens read again, since this model's window cannot slide"),
    };
    let unread = match progress.unread_tokens {
        0 => String::new(),
        n => format!("; {n} tokens of the prompt do not fit the context and were not read"),
    };
    format!(
        "[{} prompt tokens, {} read at {:.1}/s; {} tokens at {:.1}/s; first after {:.2} \
         s{reread}{unread}]",
        progress.prompt_tokens,
        progress.prefilled_tokens,
        progress.prefill_tps(),
        progress.tokens,
        progress.decode_tps(),
        progress.first_token.as_secs_f64(),
    )
}
