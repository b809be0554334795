//! The conversation: turns of a question and its answer, and what the model is doing.
//!
//! One answer is written at a time. It waits while the model loads, then streams, then is done,
//! stopped or failed. Events of an answer that is no longer awaited are dropped. A question also
//! waits while the conversation of the last visit is on its way, so that it follows that one.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{
    ContextView, Conversation, Error, Event, Finish, ModelStatus, Options, Overflow, Request, Stats,
};

use super::messages::{self, Place};
use super::reading::Reading;
use crate::markdown::{Block, Change, Stream, plain_text};

/// A question and its answer.
#[derive(Clone)]
pub(crate) struct Turn {
    /// Stable and never reused.
    pub(crate) id: u64,
    /// What the user wrote.
    pub(crate) question: Arc<str>,
    /// What came of it.
    pub(crate) answer: Answer,
}

/// An answer, whole or growing. A clone shares its signals.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    /// The Markdown as the model wrote it.
    pub(crate) text: ArcRwSignal<String>,
    /// The rendered blocks that will not change.
    pub(crate) blocks: ArcRwSignal<Vec<Block>>,
    /// The HTML that follows the blocks and may change.
    pub(crate) tail: ArcRwSignal<String>,
    /// How far it is.
    pub(crate) state: ArcRwSignal<AnswerState>,
    /// What the model reads before it goes on writing.
    pub(crate) reading: ArcRwSignal<Option<Reading>>,
}

impl Answer {
    /// An answer of an earlier visit.
    pub(super) fn restored(text: &str, state: AnswerState) -> Self {
        let answer = Self::default();
        answer.append(&mut Stream::default(), text);
        answer.state.set(state);
        answer
    }

    /// Adds `text`, which `stream` renders.
    fn append(&self, stream: &mut Stream, text: &str) {
        if stream.push(text) == Change::Blocks {
            self.blocks.set(stream.blocks().to_vec());
        }
        self.tail.set(stream.tail_html().to_owned());
        self.text.update(|whole| whole.push_str(text));
    }
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

/// A request for the shell, and the turn that its events belong to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The id of the turn to be answered.
    pub(crate) turn: u64,
    /// What to send.
    pub(crate) request: Request,
}

/// The state of the page. A copy shares its signals.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    /// The conversation, oldest first.
    pub(crate) turns: RwSignal<Vec<Turn>>,
    /// Where the model stands; `None` until the shell has told.
    pub(crate) model: RwSignal<Option<ModelStatus>>,
    /// How answers are sampled.
    pub(crate) options: RwSignal<Options>,
    /// What happens when this conversation outgrows the context.
    pub(crate) overflow: RwSignal<Overflow>,
    /// What the model saw of this conversation after the last answer.
    pub(crate) view: RwSignal<Option<ContextView>>,
    /// The message that the model's window begins with, where something has left it.
    pub(crate) window_start: RwSignal<Option<Place>>,
    /// Whether the conversation of the last visit is still on its way.
    pub(crate) is_restoring: RwSignal<bool>,
    /// The turn whose answer waits or streams.
    pub(crate) answering: RwSignal<Option<u64>>,
    /// The speed of the newest answer in tokens per second.
    pub(crate) speed: RwSignal<Option<f32>>,
    /// The turn whose question is being rewritten.
    pub(crate) editing: RwSignal<Option<u64>>,
    /// What a screen reader is told next.
    pub(crate) announcement: RwSignal<String>,
    next_id: StoredValue<u64>,
    stream: StoredValue<Stream>,
}

impl Chat {
    /// An empty conversation, until [`restore`](Self::restore) brings that of the last visit.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            turns: RwSignal::default(),
            model: RwSignal::default(),
            options: RwSignal::new(options),
            overflow: RwSignal::default(),
            view: RwSignal::default(),
            window_start: RwSignal::default(),
            is_restoring: RwSignal::new(true),
            answering: RwSignal::default(),
            speed: RwSignal::default(),
            editing: RwSignal::default(),
            announcement: RwSignal::default(),
            next_id: StoredValue::new(0),
            stream: StoredValue::new(Stream::default()),
        }
    }

    /// Asks `question`, in place of the one being edited if there is one.
    ///
    /// Returns what to send now: nothing while the model loads or the last visit's conversation is
    /// on its way, while an answer is being written or when the question is blank.
    pub(crate) fn ask(&self, question: &str) -> Option<Outgoing> {
        let question = question.trim();
        if question.is_empty() || self.answering.get_untracked().is_some() {
            return None;
        }
        if let Some(edited) = self.editing.get_untracked() {
            self.editing.set(None);
            self.turns.update(|turns| {
                if let Some(at) = turns.iter().position(|turn| turn.id == edited) {
                    turns.truncate(at);
                }
            });
        }
        self.open_turn(question.into())
    }

    /// Writes the last answer anew. Returns what to send now.
    pub(crate) fn regenerate(&self) -> Option<Outgoing> {
        if self.answering.get_untracked().is_some() {
            return None;
        }
        self.editing.set(None);
        let last = self.turns.try_update(Vec::pop).flatten()?;
        self.open_turn(last.question)
    }

    /// Begins to rewrite the last question and returns its text.
    pub(crate) fn edit(&self, turn: u64) -> Option<Arc<str>> {
        if self.answering.get_untracked().is_some() {
            return None;
        }
        let question = self.turns.with_untracked(|turns| {
            turns.iter().find(|candidate| candidate.id == turn).map(|turn| turn.question.clone())
        })?;
        self.editing.set(Some(turn));
        Some(question)
    }

    /// Takes over the conversation of the last visit, if there was one. What was asked since the
    /// page opened follows it. Returns the request that waited for it.
    pub(crate) fn restore(&self, conversation: Option<Conversation>) -> Option<Outgoing> {
        if !self.is_restoring.get_untracked() {
            // A new conversation was begun before the old one arrived.
            return None;
        }
        self.is_restoring.set(false);
        if let Some(Conversation { messages, overflow, view }) = conversation {
            let (mut turns, places) = messages::turns(&messages, || self.take_id());
            if let Some(view) = view {
                self.window_start.set(messages::window_start(&view, &places));
                self.view.set(Some(view));
            }
            if self.overflow.get_untracked() == Overflow::default() {
                self.overflow.set(overflow);
            }
            self.turns.update(|asked| {
                turns.append(asked);
                *asked = turns;
            });
        }
        self.begin_waiting()
    }

    /// Notes where the model stands. Returns the request that waited for it.
    pub(crate) fn model_changed(&self, status: ModelStatus) -> Option<Outgoing> {
        if self.model.with_untracked(|model| model.as_ref() != Some(&status)) {
            self.model.set(Some(status));
        }
        self.begin_waiting()
    }

    /// Takes over an event of the answer to `turn`.
    pub(crate) fn apply(&self, turn: u64, event: Event) {
        if self.answering.get_untracked() != Some(turn) {
            return;
        }
        let Some(answer) = self.answer(turn) else { return };
        match event {
            Event::Reading { phase, read_tokens, total_tokens } => {
                answer.reading.set(Some(Reading { phase, read_tokens, total_tokens }));
            }
            Event::Text { text, tokens_per_second, .. } => {
                self.speed.set(Some(tokens_per_second));
                if answer.reading.with_untracked(Option::is_some) {
                    answer.reading.set(None);
                }
                self.stream.update_value(|stream| answer.append(stream, &text));
            }
            Event::Done { finish, stats, view } => {
                self.speed.set(Some(stats.tokens_per_second));
                self.take_view(view);
                let stats = Some(stats);
                let state = match finish {
                    Finish::Stopped => AnswerState::Stopped { stats },
                    _ => AnswerState::Done { finish, stats },
                };
                self.close(&answer, state);
            }
            Event::Failed { error } => self.close(&answer, AnswerState::Failed { error }),
        }
    }

    /// Notes that the shell refused the request of `turn`.
    pub(crate) fn refused(&self, turn: u64, error: Error) {
        self.apply(turn, Event::Failed { error });
    }

    /// Stops the answer. Returns whether the shell has to be told.
    pub(crate) fn stop(&self) -> bool {
        let Some(answer) = self.answering.get_untracked().and_then(|turn| self.answer(turn)) else {
            return false;
        };
        if answer.state.with_untracked(|state| *state == AnswerState::Waiting) {
            self.close(&answer, AnswerState::Stopped { stats: None });
            return false;
        }
        true
    }

    /// Begins a new conversation. Returns whether the shell has to be told to stop.
    pub(crate) fn clear(&self) -> bool {
        let tell = self.stop();
        self.answering.set(None);
        self.editing.set(None);
        self.speed.set(None);
        self.view.set(None);
        self.window_start.set(None);
        self.overflow.set(Overflow::default());
        self.is_restoring.set(false);
        self.turns.set(Vec::new());
        tell
    }

    fn open_turn(&self, question: Arc<str>) -> Option<Outgoing> {
        let turn = Turn { id: self.take_id(), question, answer: Answer::default() };
        self.stream.set_value(Stream::default());
        self.speed.set(None);
        self.answering.set(Some(turn.id));
        self.turns.update(|turns| turns.push(turn));
        self.drop_stale_window_start();
        self.begin_waiting()
    }

    /// Sends the question that waits, as soon as nothing is left that it waits for.
    fn begin_waiting(&self) -> Option<Outgoing> {
        let is_ready =
            self.model.with_untracked(|model| matches!(model, Some(ModelStatus::Ready { .. })));
        if !is_ready || self.is_restoring.get_untracked() {
            return None;
        }
        let turn = self.answering.get_untracked()?;
        let answer = self.answer(turn)?;
        if answer.state.with_untracked(|state| *state != AnswerState::Waiting) {
            return None;
        }
        answer.state.set(AnswerState::Streaming);
        let request = Request {
            messages: self.turns.with_untracked(|turns| messages::of(turns)),
            options: self.options.get_untracked(),
            overflow: self.overflow.get_untracked(),
        };
        Some(Outgoing { turn, request })
    }

    /// Notes what the model sees after the answer to the last turn.
    fn take_view(&self, view: ContextView) {
        // The turns are still those of the request: none comes or goes while it is answered.
        let places = self.turns.with_untracked(|turns| messages::places(turns));
        self.window_start.set(messages::window_start(&view, &places));
        self.view.set(Some(view));
    }

    /// Forgets where the window begins if that message is gone.
    fn drop_stale_window_start(&self) {
        let Some(place) = self.window_start.get_untracked() else { return };
        let is_there =
            self.turns.with_untracked(|turns| turns.iter().any(|turn| turn.id == place.turn));
        if !is_there {
            self.window_start.set(None);
        }
    }

    fn take_id(&self) -> u64 {
        let id = self.next_id.get_value();
        self.next_id.set_value(id + 1);
        id
    }

    fn close(&self, answer: &Answer, state: AnswerState) {
        self.announcement.set(match &state {
            AnswerState::Done { .. } => answer.text.with_untracked(|text| plain_text(text)),
            AnswerState::Stopped { .. } => "Stopped.".into(),
            AnswerState::Failed { error } => error.message.clone(),
            AnswerState::Waiting | AnswerState::Streaming => String::new(),
        });
        answer.state.set(state);
        answer.reading.set(None);
        self.answering.set(None);
    }

    fn answer(&self, turn: u64) -> Option<Answer> {
        self.turns.with_untracked(|turns| {
            let turn = turns.iter().rev().find(|candidate| candidate.id == turn)?;
            Some(turn.answer.clone())
        })
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
