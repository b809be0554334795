//! Normalized text for the parser: `\n` is the only line end, and control characters are visible.
//!
//! A model may write anything, so the text is normalized before it is parsed: a lone carriage return
//! ends a line in CommonMark but not for code that looks for `\n`, and parsers disagree on whether a
//! form feed is a space.

use std::ops::Deref;

/// Normalized text, complete or growing.
#[derive(Debug, Default)]
pub(super) struct Source {
    text: String,
    /// Whether the last piece ended in a carriage return: a following line feed belongs to it.
    ended_in_return: bool,
}

impl Source {
    /// The complete `text`.
    pub(super) fn of(text: &str) -> Self {
        let mut source = Self::default();
        source.push(text);
        source
    }

    /// Appends `piece`.
    pub(super) fn push(&mut self, piece: &str) {
        self.text.reserve(piece.len());
        for c in piece.chars() {
            match c {
                '\n' if self.ended_in_return => {}
                '\r' => self.text.push('\n'),
                c => self.text.push(visible_control(c)),
            }
            self.ended_in_return = c == '\r';
        }
    }
}

impl Deref for Source {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Replaces a control character by a visible one; other characters are unchanged.
pub(crate) fn visible_control(c: char) -> char {
    match c {
        '\t' | '\n' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        c => c,
    }
}

/// Replaces a character that reorders the surrounding text by U+FFFD; others are unchanged.
pub(crate) fn visible_bidi(c: char) -> char {
    if matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_line_ends_and_controls_in_any_pieces() {
        let text = "a\r\nb\rc\r\r\nd\n\re\0f\u{1b}[1m\u{7f}\u{9b}g\th\r";
        let whole = "a\nb\nc\n\nd\n\ne␀f␛[1m␡\u{fffd}g\th\n";
        assert_eq!(&*Source::of(text), whole);
        let mut pieces = Source::default();
        for c in text.chars() {
            pieces.push(&c.to_string());
        }
        assert_eq!(&*pieces, whole);
    }
}
