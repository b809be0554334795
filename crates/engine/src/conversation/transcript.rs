//! What a session's tokens say, and which of them it wrote itself.
//!
//! The tokens of a prompt are those of its rendering, which is tokenised whole. The one exception are
//! answers that the session wrote: as long as the rendering shows such an answer unchanged and in its
//! place, its tokens stay as they were drawn, which tokenising its text might split otherwise, and only
//! what follows is tokenised. Where a control token follows, as in nearly all chat templates, that
//! changes nothing else. Places of messages come from the marks of the rendering.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::generate::Answer;
use crate::prompt::Rendered;
use crate::{Error, Tokenizer};

/// What the session's tokens say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Transcript {
    text: String,
    /// The parts of the text that come from messages; the answer that was written last is not among
    /// them.
    contents: Vec<Range<usize>>,
    pub(super) ids: Vec<u32>,
    /// Where messages end, in order.
    pub(super) marks: Vec<Mark>,
    /// The answers whose tokens the session wrote.
    written: Vec<Written>,
    /// Instructions before the first question, among the messages.
    pub(super) n_instructions: usize,
    /// Tokens before the first question.
    pub(super) n_before_question: usize,
}

/// The end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Tokens before it.
    pub(super) ids: usize,
    /// Messages that end before it.
    pub(super) messages: usize,
}

/// An answer with the tokens that were drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    /// Bytes of text before it.
    start: usize,
    /// Bytes of text up to its end, white space left out.
    end: usize,
    /// Bytes of white space after it, which templates may leave out.
    n_spaces: usize,
    /// Bytes of text that its tokens cover: less than all of it where it was cut within a token.
    covered: usize,
    /// Tokens up to its end.
    ids: usize,
    /// Messages that end with it.
    messages: usize,
}

impl Transcript {
    /// The tokens of `rendered`, in which `n_more` messages are not shown; `held` is what the session
    /// has read and written.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub(super) fn new(
        rendered: Rendered,
        n_more: usize,
        held: &Self,
        tokenizer: &Tokenizer,
        cancel: &AtomicBool,
    ) -> Result<Self, Error> {
        let mut transcript = Self::default();
        let mut from = 0;
        let kept = held
            .written
            .iter()
            .enumerate()
            .rev()
            .find_map(|(idx, written)| Some((idx, written.place_in(held, &rendered, n_more)?)));
        let mut n_kept_messages = 0;
        if let Some((last, end)) = kept {
            let written = held.written[last];
            transcript.ids.extend(&held.ids[..written.ids]);
            transcript.written.extend(&held.written[..last]);
            transcript.written.push(Written { n_spaces: end - written.end, ..written });
            n_kept_messages = written.messages;
            let marks = held.marks.iter().filter(|mark| mark.messages <= n_kept_messages);
            transcript.marks.extend(marks);
            transcript.n_before_question = held.n_before_question;
            from = if written.covered < written.end { written.covered } else { end };
        }
        let (encoded, bos) = rendered.encode(tokenizer, from, cancel)?;
        transcript.ids.extend(bos);
        let n_held = transcript.ids.len();
        let tokens_before = |at: usize| n_held + tokenizer.tokens_before(&encoded, at);
        if kept.is_none() {
            transcript.n_before_question = tokens_before(rendered.question);
        }
        for place in &rendered.places {
            let messages = place.message + 1 + n_more;
            if messages > n_kept_messages {
                transcript.marks.push(Mark { ids: tokens_before(place.range.end), messages });
            }
        }
        transcript.ids.extend(encoded.ids);
        (transcript.text, transcript.contents) = (rendered.text, rendered.contents);
        Ok(transcript)
    }

    /// Adds an answer, which is message number `messages`, as the session wrote it.
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
        self.marks.push(Mark { ids, messages });
        let (n_spaces, covered) = (self.text.len() - end, start + answer.covered_bytes);
        self.written.push(Written { start, end, n_spaces, covered, ids, messages });
    }

    /// Whether it can be used, as far as can be seen.
    pub(super) fn is_consistent(&self) -> bool {
        let is_part = |start: usize, end: usize| self.text.get(start..end).is_some();
        let n_ids = self.ids.len();
        let contents = self.contents.iter().flat_map(|part| [part.start, part.end]);
        contents.is_sorted()
            && self.contents.iter().all(|part| is_part(part.start, part.end))
            && self.marks.iter().all(|mark| mark.ids <= n_ids)
            && self.n_before_question <= n_ids
            && self.written.iter().all(|written| {
                let Written { start, end, n_spaces, covered, ids, .. } = *written;
                let with_spaces = end.checked_add(n_spaces);
                is_part(start, end)
                    && with_spaces.is_some_and(|last| is_part(end, last))
                    && is_part(start, covered)
                    && ids <= n_ids
            })
    }
}

impl Written {
    /// Where the answer ends in `rendered`, if all up to there is as it was when it was written.
    fn place_in(&self, held: &Transcript, rendered: &Rendered, n_more: usize) -> Option<usize> {
        let place =
            rendered.places.iter().find(|place| place.message + 1 + n_more == self.messages)?;
        let end = place.range.end;
        let is_end = end == self.end || end == self.end + self.n_spaces;
        let same_text = || rendered.text.get(..end) == held.text.get(..end);
        let before = |contents: &[Range<usize>]| -> Vec<Range<usize>> {
            let parts = contents.iter().take_while(|part| part.start < self.start);
            parts.map(|part| part.start..part.end.min(self.start)).collect()
        };
        let same_parts = || before(&rendered.contents) == before(&held.contents);
        (is_end && same_text() && same_parts()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Place;

    fn rendered(text: &str, contents: &[Range<usize>]) -> Rendered {
        let places = contents.iter().cloned().enumerate();
        let places = places.map(|(message, range)| Place { message, range }).collect();
        let contents = contents.to_vec();
        Rendered { text: text.to_owned(), contents, places, ..Rendered::default() }
    }

    #[test]
    fn t1_an_answer_is_kept_in_its_place_only() {
        let written = Written { start: 4, end: 7, n_spaces: 2, covered: 9, ids: 4, messages: 2 };
        let held = Transcript {
            text: "<q> art  ".to_owned(),
            contents: std::iter::once(1..2).collect(),
            ids: vec![1, 2, 3, 4],
            written: vec![written],
            ..Transcript::default()
        };
        assert!(held.is_consistent());
        let place = |text: &str, contents: &[Range<usize>], n_more| {
            written.place_in(&held, &rendered(text, contents), n_more)
        };
        assert_eq!(place("<q> art<q>", &[1..2, 4..7], 0), Some(7));
        assert_eq!(place("<q> art  <q>", &[1..2, 4..9], 0), Some(9));
        // A longer answer, another question, contents elsewhere, another message.
        assert_eq!(place("<q> artful", &[1..2, 4..10], 0), None);
        assert_eq!(place("<p> art", &[1..2, 4..7], 0), None);
        assert_eq!(place("<q> art", &[0..2, 4..7], 0), None);
        assert_eq!(place("<q> art", &[1..2, 4..7], 1), None);
        let broken = Written { n_spaces: usize::MAX, ..written };
        assert!(!Transcript { written: vec![broken], ..held.clone() }.is_consistent());
        assert!(
            !Transcript { contents: std::iter::once(1..200).collect(), ..held }.is_consistent()
        );
    }
}
