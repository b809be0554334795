//! Makes untrusted text (model names, file notes, messages of a hub) safe to show.
//!
//! Control characters and characters that reorder the surrounding text are replaced by visible
//! marks. `components::untrusted` also isolates the direction of the text.

use crate::markdown::{visible_bidi, visible_control};

/// The number of characters of a name that are shown at most.
const MAX_NAME_CHARS: usize = 200;

/// A name on one line: of bounded length, without control and reordering characters.
pub(crate) fn visible_name(name: &str) -> String {
    let line = |c| if matches!(c, '\n' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let mut characters = name.chars().map(|c| line(visible_bidi(visible_control(c))));
    let mut visible: String = characters.by_ref().take(MAX_NAME_CHARS).collect();
    if characters.next().is_some() {
        visible.push('…');
    }
    visible
}

/// A text of any length, without control and reordering characters; its line breaks stay.
pub(crate) fn visible_text(text: &str) -> String {
    text.chars().map(|c| visible_bidi(visible_control(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_control_and_bidi_characters_are_replaced() {
        let name = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}fugg\u{2066}\n.exe";
        assert_eq!(visible_name(name), "a␛]0;x␇\u{fffd}31m\u{fffd}fugg\u{fffd} .exe");
        assert_eq!(visible_text("a\nb\tc\0"), "a\nb\tc␀");
        assert_eq!(visible_name("نموذج 模型 e\u{301} 👩‍🚀"), "نموذج 模型 e\u{301} 👩‍🚀");
    }

    #[test]
    fn a9_long_names_are_truncated() {
        let shown = visible_name(&"ü".repeat(70_000));
        assert_eq!(shown.chars().count(), MAX_NAME_CHARS + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(visible_name(&"a".repeat(MAX_NAME_CHARS)), "a".repeat(MAX_NAME_CHARS));
    }
}
