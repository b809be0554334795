//! Shortens names from files for error messages.

use std::borrow::Cow;

/// The number of characters of a name that a message quotes.
const MAX_QUOTED_CHARS: usize = 200;

/// Returns `name` for use in a message: its first 200 characters, followed by `…` if it is longer.
pub fn quoted(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncates_long_names_at_a_character_boundary() {
        assert_eq!(quoted("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
        assert_eq!(quoted(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(quoted(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
    }
}
