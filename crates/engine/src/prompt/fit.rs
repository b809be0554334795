//! Texts longer than any context holds: their middle is left out before they become tokens.
//!
//! The window keeps the beginning of a prompt and its end. A token covers a bounded number of bytes, so
//! of a long enough text most can be neither, and need not be looked at.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Message, Tokenizer};

/// The most bytes that a token is taken to cover; some vocabularies have runs of 128 spaces.
const MAX_TOKEN_BYTES: usize = 256;
/// What stands where something was left out.
const GAP: &str = "\n[…]\n";

/// How much of a text a context can hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    /// Bytes kept at each end.
    end_bytes: usize,
}

impl Fit {
    /// For texts of at most `n_bytes`.
    pub(crate) fn new(tokenizer: &Tokenizer, context: usize, n_bytes: usize) -> Self {
        // Looking at all tokens takes longer than a short text needs.
        if n_bytes / 2 <= context {
            return Self { end_bytes: n_bytes };
        }
        let token_bytes = tokenizer.longest_token().clamp(1, MAX_TOKEN_BYTES);
        Self { end_bytes: context.saturating_mul(token_bytes) }
    }

    /// For `messages`.
    pub(crate) fn of(tokenizer: &Tokenizer, context: usize, messages: &[Message]) -> Self {
        let texts = |message: &Message| {
            message.content.len().max(message.reasoning.as_ref().map_or(0, String::len))
        };
        Self::new(tokenizer, context, messages.iter().map(texts).max().unwrap_or(0))
    }

    /// The middle of `text` that no context can hold, if there is one.
    fn gap(&self, text: &str) -> Option<Range<usize>> {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let (last, first) = (self.end_bytes, text.len().saturating_sub(self.end_bytes));
        let start = (0..=last.min(text.len())).rev().find(is_boundary).unwrap_or(0);
        let end = (first..text.len()).find(is_boundary).unwrap_or(text.len());
        (end > start.saturating_add(GAP.len())).then_some(start..end)
    }

    /// `text` as far as a context could hold it, and how many bytes of it are left out.
    pub(crate) fn text<'t>(&self, text: &'t str) -> (Cow<'t, str>, usize) {
        match self.gap(text) {
            Some(gap) => ([&text[..gap.start], GAP, &text[gap.end..]].concat().into(), gap.len()),
            None => (text.into(), 0),
        }
    }

    /// `messages` as far as a context could hold each, and how many bytes of them are left out.
    pub(crate) fn messages<'m>(&self, messages: &'m [Message]) -> (Cow<'m, [Message]>, usize) {
        let texts =
            |message: &'m Message| std::iter::once(&message.content).chain(&message.reasoning);
        if messages.iter().flat_map(texts).all(|text| self.gap(text).is_none()) {
            return (messages.into(), 0);
        }
        let mut left_out = 0;
        let mut kept = |text: &String| {
            let (text, bytes) = self.text(text);
            left_out += bytes;
            text.into_owned()
        };
        let fitting = messages.iter().map(|message| Message {
            role: message.role,
            content: kept(&message.content),
            reasoning: message.reasoning.as_ref().map(&mut kept),
        });
        let fitting: Vec<_> = fitting.collect();
        (fitting.into(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn a7_only_what_no_context_can_hold_is_left_out() {
        let fit = Fit { end_bytes: 4 };
        assert_eq!(fit.text("abcdefgh"), ("abcdefgh".into(), 0));
        assert_eq!(fit.text("abcdefghijkl"), ("abcdefghijkl".into(), 0));
        let long = format!("abcd{}wxyz", "-".repeat(100));
        assert_eq!(fit.text(&long), (format!("abcd{GAP}wxyz").into(), 100));
        // Characters stay whole.
        let text = format!("e{}", "é".repeat(99));
        assert_eq!(fit.text(&text), (format!("eé{GAP}éé").into(), 199 - 7));
    }

    #[test]
    fn a7_messages_are_as_they_were_unless_one_is_too_long() {
        let fit = Fit { end_bytes: 4 };
        let mut messages =
            [Message::new(Role::User, "short"), Message::new(Role::Assistant, "-".repeat(50))];
        messages[1].reasoning = Some("+".repeat(30));
        assert!(matches!(fit.messages(&messages[..1]), (Cow::Borrowed(_), 0)));
        let (fitting, left_out) = fit.messages(&messages);
        assert_eq!(left_out, 42 + 22);
        assert_eq!(fitting[0], messages[0]);
        assert_eq!(fitting[1].reasoning.as_deref(), Some(&*format!("++++{GAP}++++")));
    }
}
