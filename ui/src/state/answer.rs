//! An answer, complete or growing: the reasoning, the text, and its progress.

use leptos::prelude::*;
use lilims_ipc::{Error, Finish, Message, Stats};

use super::graphemes::WholeGraphemes;
use super::reading::Reading;
use super::think::{Parts, ThinkSplitter};
use crate::markdown::{Block, Change, Stream};

/// Growing Markdown and its rendering. Clones share the signals.
#[derive(Clone, Default)]
pub(crate) struct Growing {
    /// The Markdown as the model wrote it.
    pub(crate) text: ArcRwSignal<String>,
    /// The rendered blocks that will not change.
    pub(crate) blocks: ArcRwSignal<Vec<Block>>,
    /// The HTML that follows the blocks and may change.
    pub(crate) tail: ArcRwSignal<String>,
}

impl Growing {
    /// A text that is complete, which is rendered once it is drawn.
    fn complete(text: String) -> Self {
        Self { text: ArcRwSignal::new(text), ..Self::default() }
    }

    /// Renders a text that was restored, unless it is rendered.
    fn draw(&self) {
        let is_drawn = self.blocks.with_untracked(|blocks| !blocks.is_empty())
            || self.tail.with_untracked(|tail| !tail.is_empty());
        if !is_drawn {
            let mut stream = Stream::default();
            self.text.with_untracked(|text| stream.push(text));
            self.blocks.set(stream.blocks().to_vec());
            self.tail.set(stream.tail_html().to_owned());
        }
    }

    /// Appends `text`; `stream` renders it.
    fn append(&self, stream: &mut Stream, text: &str) {
        if text.is_empty() {
            return;
        }
        if stream.push(text) == Change::Blocks {
            self.blocks.set(stream.blocks().to_vec());
        }
        self.tail.set(stream.tail_html().to_owned());
        self.text.update(|whole| whole.push_str(text));
    }
}

/// An answer, complete or growing. Clones share the signals.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    /// The model's reasoning before the answer.
    pub(crate) reasoning: Growing,
    /// The duration of the reasoning in milliseconds, where it was measured.
    pub(crate) reasoning_ms: ArcRwSignal<Option<u32>>,
    /// The answer.
    pub(crate) body: Growing,
    /// Its state.
    pub(crate) state: ArcRwSignal<AnswerState>,
    /// What the model reads before it continues writing.
    pub(crate) reading: ArcRwSignal<Option<Reading>>,
}

impl Answer {
    /// A saved answer. Answers saved before reasoning was stored separately have it in their text.
    pub(super) fn restored(message: &Message, state: AnswerState) -> Self {
        let (parts, reasoning_ms) = match &message.reasoning {
            Some(reasoning) => {
                let text = reasoning.text.clone();
                (Parts { reasoning: text, body: message.content.clone() }, reasoning.elapsed_ms)
            }
            None => (Parts::of(&message.content), None),
        };
        Self {
            reasoning: Growing::complete(parts.reasoning),
            reasoning_ms: ArcRwSignal::new(reasoning_ms),
            body: Growing::complete(parts.body),
            state: ArcRwSignal::new(state),
            reading: ArcRwSignal::default(),
        }
    }

    /// Renders what was restored; a long conversation would take too long to render as a whole.
    pub(crate) fn draw(&self) {
        self.reasoning.draw();
        self.body.draw();
    }

    /// Appends text from the shell.
    pub(super) fn add_text(&self, writer: &mut AnswerWriter, text: &str) {
        let parts = writer.splitter.push(&writer.graphemes.push(text));
        self.append(writer, &parts);
    }

    /// Appends reasoning from the shell.
    pub(super) fn add_reasoning(&self, writer: &mut AnswerWriter, text: &str, elapsed_ms: u32) {
        // The shell separates reasoning: text that follows is not split again.
        writer.splitter = ThinkSplitter::disabled();
        self.reasoning_ms.set(Some(elapsed_ms));
        self.reasoning.append(&mut writer.reasoning, text);
    }

    /// Appends text that was held back because it could have become a tag.
    pub(super) fn finish(&self, writer: &mut AnswerWriter) {
        let rest = writer.graphemes.finish();
        let parts = writer.splitter.push(&rest);
        self.append(writer, &parts);
        let parts = writer.splitter.finish();
        self.append(writer, &parts);
    }

    fn append(&self, writer: &mut AnswerWriter, parts: &Parts) {
        self.reasoning.append(&mut writer.reasoning, &parts.reasoning);
        self.body.append(&mut writer.body, &parts.body);
    }
}

/// Renders the growing answer.
#[derive(Debug, Default)]
pub(super) struct AnswerWriter {
    graphemes: WholeGraphemes,
    splitter: ThinkSplitter,
    reasoning: Stream,
    body: Stream,
}

impl AnswerWriter {
    /// Goes on after a complete answer.
    pub(super) fn after(reasoning: &str, text: &str) -> Self {
        let mut writer = Self { splitter: ThinkSplitter::disabled(), ..Self::default() };
        writer.reasoning.push(reasoning);
        writer.body.push(text);
        writer
    }
}

/// The state of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum AnswerState {
    /// The question waits until a model is loaded.
    Waiting,
    /// Text is arriving, or about to.
    #[default]
    Streaming,
    /// Complete, or ended by a limit.
    Done {
        /// Why it ended.
        finish: Finish,
        /// Its statistics; unknown for a saved answer.
        stats: Option<Stats>,
    },
    /// The user stopped it.
    Stopped {
        /// Its statistics, if it had begun.
        stats: Option<Stats>,
    },
    /// It ended with an error.
    Failed {
        /// The error.
        error: Error,
    },
}

impl AnswerState {
    /// The stable value of the attribute `data-state`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Streaming => "streaming",
            Self::Done { .. } => "done",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether more text may arrive.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting | Self::Streaming)
    }
}
