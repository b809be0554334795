//! Maps the tokens of a session to text and messages, and records which answers the session
//! generated.
//!
//! A prompt is tokenized as a whole, with one exception: answers that the session generated. As
//! long as such an answer is rendered unchanged and in the same position, its sampled tokens are
//! reused, which tokenizing its text might split differently, and only the text after it is
//! tokenized. If a control token follows the answer, as in nearly all chat templates, this changes
//! no other token. Positions of messages come from the spans of the rendering.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::generate::Answer;
use crate::prompt::Rendered;
use crate::{Error, Tokenizer};

/// The text and tokens of a session, with the positions of messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Transcript {
    text: String,
    /// Byte ranges of the text that come from messages, without the answer generated last.
    contents: Vec<Range<usize>>,
    pub(super) ids: Vec<u32>,
    /// The ends of the messages, in order.
    pub(super) marks: Vec<MessageEnd>,
    /// The answers that the session generated.
    written: Vec<GeneratedAnswer>,
    /// The number of system messages before the first question.
    pub(super) n_instructions: usize,
    /// The number of tokens before the first question.
    pub(super) n_before_question: usize,
}

/// The end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MessageEnd {
    /// The number of tokens up to it.
    pub(super) ids: usize,
    /// The number of messages up to it.
    pub(super) messages: usize,
}

/// An answer that keeps its sampled tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct GeneratedAnswer {
    /// Byte offset of its start in the text.
    start: usize,
    /// Byte offset of its end, without trailing white space.
    end: usize,
    /// Bytes of trailing white space, which templates may strip.
    n_spaces: usize,
    /// Byte offset up to which its tokens cover the text: before `end` if the text was cut within a
    /// token.
    covered: usize,
    /// The number of tokens up to its end.
    ids: usize,
    /// The number of messages up to and including it.
    messages: usize,
}

impl Transcript {
    /// The transcript of `rendered`, in which `n_more` messages are not rendered; `cached` is what
    /// the session has read and generated.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub(super) fn new(
        rendered: Rendered,
        n_more: usize,
        cached: &Self,
        tokenizer: &Tokenizer,
        cancel: &AtomicBool,
    ) -> Result<Self, Error> {
        let mut transcript = Self::default();
        let mut from = 0;
        let reused = cached
            .written
            .iter()
            .enumerate()
            .rev()
            .find_map(|(idx, written)| Some((idx, written.end_in(cached, &rendered, n_more)?)));
        let mut n_kept_messages = 0;
        if let Some((last, end)) = reused {
            let written = cached.written[last];
            transcript.ids.extend(&cached.ids[..written.ids]);
            transcript.written.extend(&cached.written[..last]);
            transcript.written.push(GeneratedAnswer { n_spaces: end - written.end, ..written });
            n_kept_messages = written.messages;
            let marks = cached.marks.iter().filter(|mark| mark.messages <= n_kept_messages);
            transcript.marks.extend(marks);
            transcript.n_before_question = cached.n_before_question;
            from = if written.covered < written.end { written.covered } else { end };
        }
        let (encoded, bos) = rendered.encode(tokenizer, from, cancel)?;
        transcript.ids.extend(bos);
        let n_held = transcript.ids.len();
        let tokens_before = |at: usize| n_held + tokenizer.tokens_before(&encoded, at);
        if reused.is_none() {
            transcript.n_before_question = tokens_before(rendered.question_start);
        }
        for span in &rendered.spans {
            let messages = span.message + 1 + n_more;
            if messages > n_kept_messages {
                transcript.marks.push(MessageEnd { ids: tokens_before(span.range.end), messages });
            }
        }
        transcript.ids.extend(encoded.ids);
        (transcript.text, transcript.contents) = (rendered.text, rendered.contents);
        Ok(transcript)
    }

    /// Appends an answer as the session generated it; it is message number `messages`.
    pub(super) fn push(&mut self, answer: &Answer, messages: usize) {
        let tokens = &answer.tokens[..answer.covered_tokens];
        if tokens.is_empty() {
            return;
        }
        let start = self.text.len();
        let end = start + answer.text.trim_end().len();
        self.text.push_str(&answer.text);
        self.ids.extend(tokens);
        let ids = self.ids.len();
        self.marks.push(MessageEnd { ids, messages });
        let (n_spaces, covered) = (self.text.len() - end, start + answer.covered_bytes);
        self.written.push(GeneratedAnswer { start, end, n_spaces, covered, ids, messages });
    }

    /// Whether offsets and lengths loaded from a file are consistent.
    pub(super) fn is_consistent(&self) -> bool {
        let is_part = |start: usize, end: usize| self.text.get(start..end).is_some();
        let n_ids = self.ids.len();
        let contents = self.contents.iter().flat_map(|part| [part.start, part.end]);
        contents.is_sorted()
            && self.contents.iter().all(|part| is_part(part.start, part.end))
            && self.marks.iter().all(|mark| mark.ids <= n_ids)
            && self.n_before_question <= n_ids
            && self.written.iter().all(|written| {
                let GeneratedAnswer { start, end, n_spaces, covered, ids, .. } = *written;
                let with_spaces = end.checked_add(n_spaces);
                is_part(start, end)
                    && with_spaces.is_some_and(|last| is_part(end, last))
                    && is_part(start, covered)
                    && ids <= n_ids
            })
    }
}

impl GeneratedAnswer {
    /// Where the answer ends in `rendered`, if everything up to there is unchanged since it was
    /// generated.
    fn end_in(&self, cached: &Transcript, rendered: &Rendered, n_more: usize) -> Option<usize> {
        let span = rendered.spans.iter().find(|span| span.message + 1 + n_more == self.messages)?;
        let end = span.range.end;
        let is_end = end == self.end || end == self.end + self.n_spaces;
        let same_text = || rendered.text.get(..end) == cached.text.get(..end);
        let before = |contents: &[Range<usize>]| -> Vec<Range<usize>> {
            let parts = contents.iter().take_while(|part| part.start < self.start);
            parts.map(|part| part.start..part.end.min(self.start)).collect()
        };
        let same_parts = || before(&rendered.contents) == before(&cached.contents);
        (is_end && same_text() && same_parts()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::MessageSpan;

    fn rendered(text: &str, contents: &[Range<usize>]) -> Rendered {
        let spans = contents.iter().cloned().enumerate();
        let spans = spans.map(|(message, range)| MessageSpan { message, range }).collect();
        let contents = contents.to_vec();
        Rendered { text: text.to_owned(), contents, spans, ..Rendered::default() }
    }

    #[test]
    fn t1_reuses_an_answer_only_in_its_position() {
        let written =
            GeneratedAnswer { start: 4, end: 7, n_spaces: 2, covered: 9, ids: 4, messages: 2 };
        let cached = Transcript {
            text: "<q> art  ".to_owned(),
            contents: std::iter::once(1..2).collect(),
            ids: vec![1, 2, 3, 4],
            written: vec![written],
            ..Transcript::default()
        };
        assert!(cached.is_consistent());
        let end = |text: &str, contents: &[Range<usize>], n_more| {
            written.end_in(&cached, &rendered(text, contents), n_more)
        };
        assert_eq!(end("<q> art<q>", &[1..2, 4..7], 0), Some(7));
        assert_eq!(end("<q> art  <q>", &[1..2, 4..9], 0), Some(9));
        // A longer answer, a different question, different contents, a different message.
        assert_eq!(end("<q> artful", &[1..2, 4..10], 0), None);
        assert_eq!(end("<p> art", &[1..2, 4..7], 0), None);
        assert_eq!(end("<q> art", &[0..2, 4..7], 0), None);
        assert_eq!(end("<q> art", &[1..2, 4..7], 1), None);
        let broken = GeneratedAnswer { n_spaces: usize::MAX, ..written };
        assert!(!Transcript { written: vec![broken], ..cached.clone() }.is_consistent());
        assert!(
            !Transcript { contents: std::iter::once(1..200).collect(), ..cached }.is_consistent()
        );
    }
}
