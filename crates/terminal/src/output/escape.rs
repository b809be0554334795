//! Foreign text made harmless and short: what a file, a model or a hub says must not steer the
//! terminal, reorder a line or fill the screen.
//!
//! *Source*: ECMA-48 for control characters; Unicode UAX #9 for the characters that reorder text.

use std::borrow::Cow;

/// The most characters of one foreign text that a message quotes.
pub(crate) const QUOTED_CHARS: usize = 200;
/// The most characters of a line of a message.
const LINE_CHARS: usize = 600;
/// Of a word that is cut, so many characters of its end stay: the file's name of a long path.
const END_CHARS: usize = 60;

/// Whether a terminal or an editor would obey the character instead of showing it: C0, DEL, C1,
/// bidirectional marks, embeddings, overrides and isolates, and the line and paragraph separators.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}')
        || matches!(c, '\u{2066}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// `text` with everything spelled out that a terminal would obey, except line breaks and tabs.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    spelled_out(text, |c| is_obeyed(c) && c != '\n' && c != '\t')
}

/// `text` on one line: as [`lines`], with line breaks and tabs spelled out as well.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    spelled_out(text, is_obeyed)
}

fn spelled_out(text: &str, is_unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unwanted) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unwanted(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// JSON that says the same with the characters that a terminal would obey as `\u` escapes. Outside
/// of texts JSON has none of them but line breaks and tabs.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let is_unwanted = |c: char| is_obeyed(c) && c != '\n' && c != '\t' && c != '\r';
    if !text.contains(is_unwanted) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unwanted(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// `text`, or its first characters and `…` where it has more than `n_chars`.
pub(super) fn clipped(text: &str, n_chars: usize) -> Cow<'_, str> {
    if text.char_indices().nth(n_chars).is_none() {
        return text.into();
    }
    text.chars().take(n_chars.saturating_sub(1)).chain(['…']).collect()
}

/// A message in which no foreign text takes more than [`QUOTED_CHARS`]: what stands between
/// backquotes loses its end, longer words their middle, endless lines their end.
pub(super) fn message(text: &str) -> Cow<'_, str> {
    if text.len() <= QUOTED_CHARS {
        return text.into();
    }
    let cut = |(idx, part): (usize, &str)| match idx % 2 {
        1 => clipped(part, QUOTED_CHARS).into_owned(),
        _ => part.to_owned(),
    };
    let text = text.split('`').enumerate().map(cut).collect::<Vec<_>>().join("`");
    let mut out = String::new();
    for piece in text.split_inclusive('\n') {
        let line = piece.strip_suffix('\n').unwrap_or(piece);
        let mut short = String::new();
        for word in line.split_inclusive(char::is_whitespace) {
            let n_chars = word.chars().count();
            // The space behind it counts for nothing.
            if n_chars > QUOTED_CHARS + 1 {
                short.extend(word.chars().take(QUOTED_CHARS - END_CHARS - 1));
                short.push('…');
                short.extend(word.chars().skip(n_chars - END_CHARS));
            } else {
                short.push_str(word);
            }
        }
        out.push_str(&clipped(&short, LINE_CHARS));
        out.push_str(&piece[line.len()..]);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(lines("a\u{1b}[2Jé\n\tb\r"), "a\\u{1b}[2Jé\n\tb\\r");
        assert_eq!(lines("\u{9b}31m\u{7f}\u{8}"), "\\u{9b}31m\\u{7f}\\u{8}");
        assert_eq!(lines("\u{202e}a\u{2066}\u{2069}"), "\\u{202e}a\\u{2066}\\u{2069}");
        assert_eq!(lines("\u{200f}\u{2028}\u{2029}"), "\\u{200f}\\u{2028}\\u{2029}");
        // Joiners and emoji belong to ordinary text.
        assert!(matches!(lines("می\u{200c}خواهم 👩\u{200d}🔬 שלום"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn a8_json_stays_json_and_harmless() {
        let text = "\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}\u{2066}\u{feff}é\n\"";
        let json = json(&serde_json::to_string(text).unwrap()).into_owned();
        assert!(json.chars().all(|c| !is_obeyed(c)), "{json:?}");
        assert!(json.contains("\\u009b") && json.contains("\\u007f"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn a9_messages_quote_a_bounded_part() {
        assert_eq!(clipped("abcde", 5), "abcde");
        assert_eq!(clipped("abcdef", 5), "abcd…");
        for unit in ["x", "x "] {
            let long = format!("`{}` is no tensor", unit.repeat(70_000));
            let short = message(&long);
            assert!(short.ends_with("` is no tensor") && short.chars().count() < 220, "{short}");
        }
        let long = format!("cannot read {}model.gguf: no", "x/".repeat(2000));
        assert!(message(&long).ends_with("x/model.gguf: no"), "{}", message(&long));
        let spaced = format!("first\n{}\nlast", "x ".repeat(70_000));
        let short = message(&spaced);
        assert!(short.starts_with("first\nx x ") && short.ends_with("…\nlast"), "{short}");
        assert!(short.len() < 700);
    }
}
