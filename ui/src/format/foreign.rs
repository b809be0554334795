//! Texts that others wrote (names, notes, messages of a hub) as the page may show them.
//!
//! Characters that control a terminal or reorder the text around them are shown as marks. What is
//! drawn goes through `components::Foreign` besides, which isolates the direction of the text.

use crate::markdown::{visible_bidi, visible_control};

/// The most characters of a name that are shown.
const MAX_NAME_CHARS: usize = 200;

/// A name on one line: bounded, and without characters that act.
pub(crate) fn visible_name(name: &str) -> String {
    let line = |c| if matches!(c, '\n' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c };
    let mut characters = name.chars().map(|c| line(visible_bidi(visible_control(c))));
    let mut visible: String = characters.by_ref().take(MAX_NAME_CHARS).collect();
    if characters.next().is_some() {
        visible.push('…');
    }
    visible
}

/// A text of any length and of several lines, without characters that act.
pub(crate) fn visible_text(text: &str) -> String {
    text.chars().map(|c| visible_bidi(visible_control(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_names_of_others_cannot_act() {
        let name = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}fugg\u{2066}\n.exe";
        assert_eq!(visible_name(name), "a␛]0;x␇\u{fffd}31m\u{fffd}fugg\u{fffd} .exe");
        assert_eq!(visible_text("a\nb\tc\0"), "a\nb\tc␀");
        assert_eq!(visible_name("نموذج 模型 e\u{301} 👩‍🚀"), "نموذج 模型 e\u{301} 👩‍🚀");
    }

    #[test]
    fn a9_endless_names_are_bounded() {
        let shown = visible_name(&"ü".repeat(70_000));
        assert_eq!(shown.chars().count(), MAX_NAME_CHARS + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(visible_name(&"a".repeat(MAX_NAME_CHARS)), "a".repeat(MAX_NAME_CHARS));
    }
}
