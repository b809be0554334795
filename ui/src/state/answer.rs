//! An answer, whole or growing: what the model wrote for itself, what it answers, and how far it is.

use leptos::prelude::*;
use lilims_ipc::{Error, Finish, Message, Reasoning, Role, Stats};

use super::reading::Reading;
use super::think::{Parts, ThinkSplitter};
use crate::markdown::{Block, Change, Stream};

/// Markdown that grows, and its rendering. A clone shares its signals.
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
    /// Adds `text`, which `stream` renders.
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

/// An answer, whole or growing. A clone shares its signals.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    /// What the model wrote for itself before it answered.
    pub(crate) reasoning: Growing,
    /// How long that took in milliseconds, where it was measured.
    pub(crate) reasoning_ms: ArcRwSignal<Option<u32>>,
    /// The answer itself.
    pub(crate) body: Growing,
    /// How far it is.
    pub(crate) state: ArcRwSignal<AnswerState>,
    /// What the model reads before it goes on writing.
    pub(crate) reading: ArcRwSignal<Option<Reading>>,
}

impl Answer {
    /// An answer of an earlier visit. One that was kept before reasoning was separate has it in its
    /// text.
    pub(super) fn restored(message: &Message, state: AnswerState) -> Self {
        let answer = Self::default();
        let parts = match &message.reasoning {
            Some(reasoning) => {
                answer.reasoning_ms.set(reasoning.elapsed_ms);
                Parts { reasoning: reasoning.text.clone(), body: message.content.clone() }
            }
            None => Parts::of(&message.content),
        };
        answer.append(&mut AnswerWriter::default(), &parts);
        answer.state.set(state);
        answer
    }

    /// As the shell takes it.
    pub(super) fn message(&self) -> Message {
        let reasoning = self.reasoning.text.with_untracked(|text| {
            let elapsed_ms = self.reasoning_ms.get_untracked();
            (!text.is_empty()).then(|| Reasoning { text: text.clone(), elapsed_ms })
        });
        Message { role: Role::Assistant, content: self.body.text.get_untracked(), reasoning }
    }

    /// Adds what the shell sent as text.
    pub(super) fn add_text(&self, writer: &mut AnswerWriter, text: &str) {
        let parts = writer.splitter.push(text);
        self.append(writer, &parts);
    }

    /// Adds what the shell sends as reasoning.
    pub(super) fn add_reasoning(&self, writer: &mut AnswerWriter, text: &str, elapsed_ms: u32) {
        // The text that follows is not looked at once more.
        writer.splitter = ThinkSplitter::idle();
        self.reasoning_ms.set(Some(elapsed_ms));
        self.reasoning.append(&mut writer.reasoning, text);
    }

    /// Adds what was held back, since it might have become a mark.
    pub(super) fn finish(&self, writer: &mut AnswerWriter) {
        let parts = writer.splitter.finish();
        self.append(writer, &parts);
    }

    fn append(&self, writer: &mut AnswerWriter, parts: &Parts) {
        self.reasoning.append(&mut writer.reasoning, &parts.reasoning);
        self.body.append(&mut writer.body, &parts.body);
    }
}

/// Writes the answer that grows.
#[derive(Debug, Default)]
pub(super) struct AnswerWriter {
    splitter: ThinkSplitter,
    reasoning: Stream,
    body: Stream,
}

/// How far an answer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum AnswerState {
    /// The model is not ready yet; the question is sent as soon as it is.
    #[default]
    Waiting,
    /// Text is arriving, or about to.
    Streaming,
    /// Complete, as far as the limits allowed.
    Done {
        /// Why it ended.
        finish: Finish,
        /// What it took; unknown where it is of an earlier visit.
        stats: Option<Stats>,
    },
    /// The user stopped it.
    Stopped {
        /// What it took, if it had begun.
        stats: Option<Stats>,
    },
    /// It broke off.
    Failed {
        /// Why, and what to do.
        error: Error,
    },
}

impl AnswerState {
    /// The stable name of the attribute `data-state`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Streaming => "streaming",
            Self::Done { .. } => "done",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether more may come.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting | Self::Streaming)
    }
}
