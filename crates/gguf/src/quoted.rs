//! Names out of files in messages: as long as a person reads, however long they are.

use std::borrow::Cow;

/// The most characters of a name that a message quotes.
const MAX_QUOTED_CHARS: usize = 200;

/// `name` for a message: its first 200 characters, and `…` where it goes on.
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
    fn long_names_are_cut_between_characters() {
        assert_eq!(quoted("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
        assert_eq!(quoted(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(quoted(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
    }
}
