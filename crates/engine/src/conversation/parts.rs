//! Reasoning and text of an answer, as they come.

use super::Update;
use crate::generate::{Answer, Progress};
use crate::reasoning::{Piece, ReasoningMarks, ReasoningSplitter};

/// Collects the parts of an answer and passes them on.
pub(super) struct AnswerParts {
    splitter: ReasoningSplitter,
    reasoning: String,
    text: String,
}

impl AnswerParts {
    /// The parts of an answer that goes on after `tail`, what the prompt ends with.
    pub(super) fn new(marks: Option<&'static ReasoningMarks>, tail: &str) -> Self {
        let is_open = marks.is_some_and(|marks| marks.is_open(tail));
        let splitter = ReasoningSplitter::new(marks, is_open);
        Self { splitter, reasoning: String::new(), text: String::new() }
    }

    /// Takes more of the answer.
    pub(super) fn push(
        &mut self,
        text: &str,
        progress: &Progress,
        on_update: &mut dyn FnMut(Update<'_>),
    ) {
        let pieces = self.splitter.push(text);
        self.take(pieces, progress, on_update);
    }

    fn take(
        &mut self,
        pieces: Vec<Piece>,
        progress: &Progress,
        on_update: &mut dyn FnMut(Update<'_>),
    ) {
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => {
                    self.reasoning.push_str(&text);
                    on_update(Update::Reasoning(&text, progress));
                }
                Piece::Text(text) => {
                    self.text.push_str(&text);
                    on_update(Update::Text(&text, progress));
                }
            }
        }
    }

    /// `answer` with its reasoning apart.
    pub(super) fn finish(
        mut self,
        answer: Answer,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Answer {
        let none = ReasoningSplitter::new(None, false);
        let rest = std::mem::replace(&mut self.splitter, none).finish();
        self.take(rest, &answer.progress, on_update);
        let reasoning = Some(self.reasoning).filter(|reasoning| !reasoning.is_empty());
        Answer { text: self.text, reasoning, ..answer }
    }
}
