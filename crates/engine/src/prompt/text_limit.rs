//! Truncates the middle of texts that are longer than the context can hold, before they are
//! tokenized.
//!
//! The window keeps the beginning and the end of a prompt. A token covers a bounded number of
//! bytes, so the middle of a long enough text can be in neither, and need not be tokenized.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Message, Tokenizer};

/// The most bytes per token; some vocabularies have tokens of 128 spaces.
const MAX_TOKEN_BYTES: usize = 256;
/// The marker of omitted text.
const GAP: &str = "\n[…]\n";

/// The length of text that a context can hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextLimit {
    /// Bytes kept at each end.
    end_bytes: usize,
}

impl TextLimit {
    /// For texts of at most `n_bytes`.
    pub(crate) fn new(tokenizer: &Tokenizer, context: usize, n_bytes: usize) -> Self {
        // Finding the longest token takes longer than tokenizing a short text.
        if n_bytes / 2 <= context {
            return Self { end_bytes: n_bytes };
        }
        let token_bytes = tokenizer.longest_token().clamp(1, MAX_TOKEN_BYTES);
        Self { end_bytes: context.saturating_mul(token_bytes) }
    }

    /// For `messages`.
    pub(crate) fn for_messages(
        tokenizer: &Tokenizer,
        context: usize,
        messages: &[Message],
    ) -> Self {
        let texts = |message: &Message| {
            message.content.len().max(message.reasoning.as_ref().map_or(0, String::len))
        };
        Self::new(tokenizer, context, messages.iter().map(texts).max().unwrap_or(0))
    }

    /// The middle of `text` that the context cannot hold, if there is one.
    fn gap(&self, text: &str) -> Option<Range<usize>> {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let (last, first) = (self.end_bytes, text.len().saturating_sub(self.end_bytes));
        let start = (0..=last.min(text.len())).rev().find(is_boundary).unwrap_or(0);
        let end = (first..text.len()).find(is_boundary).unwrap_or(text.len());
        (end > start.saturating_add(GAP.len())).then_some(start..end)
    }

    /// Returns `text` with its middle truncated if necessary, and the number of omitted bytes.
    pub(crate) fn text<'t>(&self, text: &'t str) -> (Cow<'t, str>, usize) {
        match self.gap(text) {
            Some(gap) => ([&text[..gap.start], GAP, &text[gap.end..]].concat().into(), gap.len()),
            None => (text.into(), 0),
        }
    }

    /// Returns `messages` with their middles truncated if necessary, and the number of omitted
    /// bytes.
    pub(crate) fn messages<'m>(&self, messages: &'m [Message]) -> (Cow<'m, [Message]>, usize) {
        let texts =
            |message: &'m Message| std::iter::once(&message.content).chain(&message.reasoning);
        if messages.iter().flat_map(texts).all(|text| self.gap(text).is_none()) {
            return (messages.into(), 0);
        }
        let mut n_omitted = 0;
        let mut truncate = |text: &String| {
            let (text, bytes) = self.text(text);
            n_omitted += bytes;
            text.into_owned()
        };
        let truncated = messages.iter().map(|message| Message {
            role: message.role,
            content: truncate(&message.content),
            reasoning: message.reasoning.as_ref().map(&mut truncate),
        });
        let truncated: Vec<_> = truncated.collect();
        (truncated.into(), n_omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn a7_truncates_only_what_no_context_can_hold() {
        let fit = TextLimit { end_bytes: 4 };
        assert_eq!(fit.text("abcdefgh"), ("abcdefgh".into(), 0));
        assert_eq!(fit.text("abcdefghijkl"), ("abcdefghijkl".into(), 0));
        let long = format!("abcd{}wxyz", "-".repeat(100));
        assert_eq!(fit.text(&long), (format!("abcd{GAP}wxyz").into(), 100));
        // Characters stay whole.
        let text = format!("e{}", "é".repeat(99));
        assert_eq!(fit.text(&text), (format!("eé{GAP}éé").into(), 199 - 7));
    }

    #[test]
    fn a7_keeps_messages_unless_one_is_too_long() {
        let fit = TextLimit { end_bytes: 4 };
        let mut messages =
            [Message::new(Role::User, "short"), Message::new(Role::Assistant, "-".repeat(50))];
        messages[1].reasoning = Some("+".repeat(30));
        assert!(matches!(fit.messages(&messages[..1]), (Cow::Borrowed(_), 0)));
        let (truncated, n_omitted) = fit.messages(&messages);
        assert_eq!(n_omitted, 42 + 22);
        assert_eq!(truncated[0], messages[0]);
        assert_eq!(truncated[1].reasoning.as_deref(), Some(&*format!("++++{GAP}++++")));
    }
}
