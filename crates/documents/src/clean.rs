//! Makes text harmless: one kind of line end, and nothing that no one can see.

use crate::Note;

/// The longest file name that is shown, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Unifies line ends and removes control characters and Unicode's tags.
///
/// A page break becomes a line end. Marks of the direction stay: right-to-left text needs them.
pub(crate) fn text(text: String, notes: &mut Vec<Note>) -> String {
    if !text.chars().any(is_changed) {
        return text;
    }
    let (mut clean, mut n_removed) = (String::with_capacity(text.len()), 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                if chars.peek() == Some(&'\n') {
                    chars.next();
                }
                clean.push('\n');
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            c if is_invisible(c) => n_removed += 1,
            c => clean.push(c),
        }
    }
    if n_removed > 0 {
        notes.push(Note::InvisibleCharacters { n_chars: n_removed });
    }
    clean
}

/// A name of others on one line, without control characters, of at most 200 characters.
pub(crate) fn line(name: &str) -> String {
    let is_allowed = |c: &char| !is_changed(*c) && !matches!(c, '\n' | '\t');
    let name: String = name.chars().filter(is_allowed).take(MAX_NAME_CHARS).collect();
    name.trim().to_owned()
}

fn is_changed(c: char) -> bool {
    matches!(c, '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}') || is_invisible(c)
}

/// Control characters; the byte order mark; the tags, with which a text that models read and people
/// do not see can be hidden anywhere. They also end the flags of England, Scotland and Wales, which
/// become black flags.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_one_kind_and_the_invisible_is_removed() {
        let mut notes = Vec::new();
        let clean = text(
            "a\r\nb\rc\u{2028}d\u{c}e\0\u{1b}[0m\u{feff}\u{e0041}\u{9d}f\tg".into(),
            &mut notes,
        );
        assert_eq!(clean, "a\nb\nc\nd\ne[0mf\tg");
        assert_eq!(notes, [Note::InvisibleCharacters { n_chars: 5 }]);
    }

    #[test]
    fn names_are_one_line() {
        assert_eq!(line(" a\nb\t\0c\u{202e}.txt "), "abc\u{202e}.txt");
        assert_eq!(line(&"é".repeat(500)).chars().count(), MAX_NAME_CHARS);
    }
}
