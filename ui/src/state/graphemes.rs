//! Holds back the end of a growing text while more characters may belong to its last grapheme, so that
//! a family does not appear as its members, nor a syllable in parts.
//!
//! The rules are simpler than those of Unicode: a few characters more are held back in scripts that
//! combine, and a Latin letter never waits for an accent, which models write as one character.

/// The most characters that are held back.
const MAX_HELD_CHARS: usize = 24;
const JOINER: char = '\u{200d}';

/// The text that is held back.
#[derive(Debug, Default)]
pub(super) struct WholeGraphemes {
    held: String,
}

impl WholeGraphemes {
    /// Adds `text` and returns what can be shown.
    pub(super) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        let rest = self.held.split_off(complete_bytes(&self.held));
        std::mem::replace(&mut self.held, rest)
    }

    /// Returns what was held back.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the text without a last grapheme that may go on.
fn complete_bytes(text: &str) -> usize {
    let mut start = text.len();
    let mut follows_joiner = false;
    for (at, c) in text.char_indices().rev().take(MAX_HELD_CHARS) {
        let belongs = extends(c)
            || combines(c)
            || is_emoji(c)
                && (start == text.len() || {
                    // A base before its modifiers, and what a joiner connects.
                    let next = text[start..].chars().next().unwrap_or_default();
                    extends(next) || is_flag_letter(c) && is_flag_letter(next)
                });
        if !belongs && !follows_joiner {
            break;
        }
        follows_joiner = c == JOINER;
        start = at;
    }
    start
}

/// Whether `c` changes the character before it.
fn extends(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | JOINER | '\u{fe00}'..='\u{fe0f}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

/// Whether `c` is of a script whose characters combine: Hebrew to Myanmar, Hangul's parts, Khmer.
fn combines(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}')
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

fn is_flag_letter(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown after each character.
    fn shown(text: &str) -> Vec<String> {
        let mut graphemes = WholeGraphemes::default();
        let mut shown = Vec::new();
        let mut so_far = String::new();
        for c in text.chars() {
            so_far.push_str(&graphemes.push(&c.to_string()));
            shown.push(so_far.clone());
        }
        so_far.push_str(&graphemes.finish());
        assert_eq!(so_far, text);
        shown
    }

    #[test]
    fn joined_characters_appear_at_once() {
        for whole in ["👨‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇩🇪", "नमस्ते", "한"]
        {
            for shown in shown(&format!("a{whole} b")) {
                let inside = shown.trim_start_matches('a').trim_end_matches(['b', ' ']);
                assert!(inside.is_empty() || inside == whole, "{shown:?} of {whole}");
            }
        }
    }

    #[test]
    fn other_text_is_not_held_back() {
        for text in ["plain text 42", "Größe, ça, да", "日本語の文", "a → b. "] {
            let shown = shown(text);
            assert_eq!(shown.last().map(String::as_str), Some(text));
        }
        let long = "ก".repeat(100);
        assert!(shown(&long)[99].chars().count() >= 100 - MAX_HELD_CHARS);
    }
}
