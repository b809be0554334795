//! Separates the reasoning and the text of an answer as they are generated.

use super::update::Update;
use crate::generate::{Answer, Progress};
use crate::reasoning::{AnswerChunk, ReasoningSplitter, ReasoningTags};

/// Collects the parts of an answer and passes them on.
pub(super) struct AnswerParts {
    splitter: ReasoningSplitter,
    reasoning: String,
    text: String,
}

impl AnswerParts {
    /// For an answer that continues `tail`, the end of the prompt.
    pub(super) fn new(tags: Option<&'static ReasoningTags>, tail: &str) -> Self {
        let is_open = tags.is_some_and(|tags| tags.is_open(tail));
        let splitter = ReasoningSplitter::new(tags, is_open);
        Self { splitter, reasoning: String::new(), text: String::new() }
    }

    /// Takes more text of the answer.
    pub(super) fn push(
        &mut self,
        text: &str,
        progress: &Progress,
        on_update: &mut dyn FnMut(Update<'_>),
    ) {
        let chunks = self.splitter.push(text);
        self.take(chunks, progress, on_update);
    }

    fn take(
        &mut self,
        chunks: Vec<AnswerChunk>,
        progress: &Progress,
        on_update: &mut dyn FnMut(Update<'_>),
    ) {
        for chunk in chunks {
            match chunk {
                AnswerChunk::Reasoning(text) => {
                    self.reasoning.push_str(&text);
                    on_update(Update::Reasoning(&text, progress));
                }
                AnswerChunk::Text(text) => {
                    self.text.push_str(&text);
                    on_update(Update::Text(&text, progress));
                }
            }
        }
    }

    /// Returns `answer` with its reasoning separated from its text.
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
