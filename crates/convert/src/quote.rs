//! Quotes text from checkpoints in messages: truncated, and with unprintable characters escaped.

use serde_json::Value as Json;

/// The most characters of a checkpoint's text in a message.
const MAX_CHARS: usize = 200;

/// Quotes a JSON value.
pub(crate) fn quoted_json(value: &Json) -> String {
    quoted(&value.to_string())
}

/// Quotes a text from a checkpoint: its first 200 characters, unprintable ones escaped, and `…`
/// where it goes on.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    for c in characters.by_ref().take(MAX_CHARS) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}
