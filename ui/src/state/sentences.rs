//! What of a growing answer can be read aloud: whole sentences and lines.

use crate::markdown::plain_text;

/// What a screen reader was given of an answer.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    /// In bytes of the Markdown.
    said_bytes: usize,
}

impl Sentences {
    /// What follows `text`, which was said before.
    pub(super) fn after(text: &str) -> Self {
        Self { said_bytes: text.len() }
    }

    /// The plain text of the sentences that are complete and were not returned yet; `None` if there are none.
    /// `text` is the answer so far. A block of code comes as a whole.
    pub(super) fn next(&mut self, text: &str) -> Option<String> {
        let new = text.get(self.said_bytes..)?;
        let end = last_end(new)?;
        if new[..end].matches("```").count() % 2 == 1 {
            return None;
        }
        self.said_bytes += end;
        Some(spoken(&new[..end])).filter(|sentences| !sentences.is_empty())
    }

    /// The plain text that is left at the end of the answer.
    pub(super) fn rest(&mut self, text: &str) -> String {
        let rest = text.get(self.said_bytes..).unwrap_or_default();
        self.said_bytes = text.len();
        spoken(rest)
    }
}

/// Where the last complete sentence or line ends, in bytes.
fn last_end(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    let mut end = None;
    while let Some((at, char)) = chars.next() {
        let is_followed = chars.peek().is_some_and(|(_, next)| next.is_whitespace());
        let is_end = match char {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' | '؟' | '…' => is_followed,
            _ => false,
        };
        if is_end {
            end = Some(at + char.len_utf8());
        }
    }
    end
}

/// Plain text of a part of Markdown. Emphasis that another sentence ends leaves its marks.
fn spoken(markdown: &str) -> String {
    plain_text(markdown).replace("**", "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_said_once_and_whole() {
        let mut sentences = Sentences::default();
        let text = "**Yes. It costs 3.50 euros.** Is";
        assert_eq!(sentences.next("**Yes."), None, "more could follow");
        assert_eq!(sentences.next("**Yes. It costs 3."), Some("Yes.".to_owned()));
        assert_eq!(sentences.next(text), None);
        let text = format!("{text} that all?\n\n- one\n- two");
        assert_eq!(
            sentences.next(&text),
            Some("It costs 3.50 euros. Is that all?\none".to_owned())
        );
        assert_eq!(sentences.next(&text), None);
        assert_eq!(sentences.rest(&text), "two");
        assert_eq!(sentences.rest(&text), "");
    }

    #[test]
    fn code_is_said_as_a_whole() {
        let mut sentences = Sentences::default();
        assert_eq!(sentences.next("```\nlet a = 1;\n"), None);
        assert_eq!(sentences.next("```\nlet a = 1;\n```\n"), Some("let a = 1;".to_owned()));
    }
}
