//! What an answer took, and what is to be said of its prompt.

use lilims_core::{Note, Progress};
use serde::Serialize;

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
