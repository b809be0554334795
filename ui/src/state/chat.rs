//! The conversation: turns of a question and its answer, and the status of the model.
//!
//! One answer is written at a time. It waits while the model loads, then streams, then is done,
//! stopped or failed. Events of an earlier answer are dropped. A question also waits while the saved
//! conversation is being restored, so that it follows that conversation.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{
    ContextView, Conversation, Error, Event, Finish, ModelStatus, Options, Overflow, Request,
};

use super::answer::{Answer, AnswerState, AnswerWriter};
use super::messages::{self, MessagePosition};
use super::reading::Reading;
use crate::markdown::plain_text;
use crate::text::{self, text};

/// A question and its answer.
#[derive(Clone)]
pub(crate) struct Turn {
    /// Stable and never reused.
    pub(crate) id: u64,
    /// What the user wrote.
    pub(crate) question: Arc<str>,
    /// Its answer.
    pub(crate) answer: Answer,
}

/// A request to the shell, and the turn that its events belong to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The id of the turn to answer.
    pub(crate) turn: u64,
    /// The request.
    pub(crate) request: Request,
}

/// The state of the conversation. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    /// The conversation, oldest first.
    pub(crate) turns: RwSignal<Vec<Turn>>,
    /// The status of the model; `None` until it is known.
    pub(crate) model: RwSignal<Option<ModelStatus>>,
    /// How answers are sampled.
    pub(crate) options: RwSignal<Options>,
    /// What happens when this conversation outgrows the context.
    pub(crate) overflow: RwSignal<Overflow>,
    /// The model's context after the last answer.
    pub(crate) view: RwSignal<Option<ContextView>>,
    /// The message that the model's window begins with; `None` if the window holds everything.
    pub(crate) window_start: RwSignal<Option<MessagePosition>>,
    /// Whether the saved conversation has not arrived yet.
    pub(crate) is_restoring: RwSignal<bool>,
    /// The turn whose answer waits or streams.
    pub(crate) answering: RwSignal<Option<u64>>,
    /// The speed of the last answer in tokens per second.
    pub(crate) speed: RwSignal<Option<f32>>,
    /// The turn whose question is being edited.
    pub(crate) editing: RwSignal<Option<u64>>,
    /// The next announcement for screen readers.
    pub(crate) announcement: RwSignal<String>,
    next_id: StoredValue<u64>,
    writer: StoredValue<AnswerWriter>,
}

impl Chat {
    /// An empty conversation, until [`restore`](Self::restore) adds the saved one.
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
            writer: StoredValue::new(AnswerWriter::default()),
        }
    }

    /// Asks `question`, in place of the edited one if there is one.
    ///
    /// Returns the request to send now. There is none while the model loads, the saved conversation
    /// is being restored or an answer is being written, or if the question is blank.
    pub(crate) fn ask(&self, question: &str) -> Option<Outgoing> {
        let question = question.trim();
        if question.is_empty() || self.answering.get_untracked().is_some() {
            return None;
        }
        if let Some(edited) = self.editing.get_untracked() {
            self.editing.set(None);
            self.turns.update(|turns| {
                if let Some(index) = turns.iter().position(|turn| turn.id == edited) {
                    turns.truncate(index);
                }
            });
        }
        self.open_turn(question.into())
    }

    /// Regenerates the last answer. Returns the request to send now.
    pub(crate) fn regenerate(&self) -> Option<Outgoing> {
        if self.answering.get_untracked().is_some() {
            return None;
        }
        self.editing.set(None);
        let last = self.turns.try_update(Vec::pop).flatten()?;
        self.open_turn(last.question)
    }

    /// Starts editing a question and returns its text.
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

    /// Restores the saved conversation, if there is one. A question asked since the page opened follows
    /// it. Returns the request that waited for it.
    pub(crate) fn restore(&self, conversation: Option<Conversation>) -> Option<Outgoing> {
        if !self.is_restoring.get_untracked() {
            // A new conversation was started before the saved one arrived.
            return None;
        }
        self.is_restoring.set(false);
        if let Some(Conversation { messages, overflow, view }) = conversation {
            let (mut turns, positions) = messages::turns(&messages, || self.take_id());
            if let Some(view) = view {
                self.window_start.set(messages::window_start(&view, &positions));
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
        self.send_waiting()
    }

    /// Updates the status of the model. Returns the request that waited for it.
    pub(crate) fn model_changed(&self, status: ModelStatus) -> Option<Outgoing> {
        if self.model.with_untracked(|model| model.as_ref() != Some(&status)) {
            self.model.set(Some(status));
        }
        self.send_waiting()
    }

    /// Applies an event of the answer to `turn`.
    pub(crate) fn apply(&self, turn: u64, event: Event) {
        if self.answering.get_untracked() != Some(turn) {
            return;
        }
        let Some(answer) = self.answer(turn) else { return };
        match event {
            Event::Reading { phase, read_tokens, total_tokens } => {
                answer.reading.set(Some(Reading { phase, read_tokens, total_tokens }));
            }
            Event::Reasoning { text, elapsed_ms, tokens_per_second, .. } => {
                self.begin_writing(&answer, tokens_per_second);
                self.writer.update_value(|it| answer.add_reasoning(it, &text, elapsed_ms));
            }
            Event::Text { text, tokens_per_second, .. } => {
                self.begin_writing(&answer, tokens_per_second);
                self.writer.update_value(|it| answer.add_text(it, &text));
            }
            Event::Done { finish, stats, view } => {
                self.speed.set(Some(stats.tokens_per_second));
                self.set_view(view);
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

    /// Records that the model writes, at this speed.
    fn begin_writing(&self, answer: &Answer, tokens_per_second: f32) {
        self.speed.set(Some(tokens_per_second));
        if answer.reading.with_untracked(Option::is_some) {
            answer.reading.set(None);
        }
    }

    /// Records that the shell rejected the request of `turn`.
    pub(crate) fn rejected(&self, turn: u64, error: Error) {
        self.apply(turn, Event::Failed { error });
    }

    /// Stops the answer. Returns whether the shell must be called to stop it.
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

    /// Starts a new conversation. Returns whether the shell must be called to stop the answer.
    pub(crate) fn clear(&self) -> bool {
        let must_stop = self.stop();
        self.answering.set(None);
        self.editing.set(None);
        self.speed.set(None);
        self.view.set(None);
        self.window_start.set(None);
        self.overflow.set(Overflow::default());
        self.is_restoring.set(false);
        self.turns.set(Vec::new());
        must_stop
    }

    fn open_turn(&self, question: Arc<str>) -> Option<Outgoing> {
        let turn = Turn { id: self.take_id(), question, answer: Answer::default() };
        self.writer.set_value(AnswerWriter::default());
        self.speed.set(None);
        self.answering.set(Some(turn.id));
        self.turns.update(|turns| turns.push(turn));
        self.drop_stale_window_start();
        self.send_waiting()
    }

    /// Returns the request of a waiting question once the model and the conversation are ready.
    fn send_waiting(&self) -> Option<Outgoing> {
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

    /// Stores the model's context after the answer to the last turn.
    fn set_view(&self, view: ContextView) {
        // The turns are still those of the request: they do not change while it is answered.
        let positions = self.turns.with_untracked(|turns| messages::positions(turns));
        self.window_start.set(messages::window_start(&view, &positions));
        self.view.set(Some(view));
    }

    /// Clears the window start if its message no longer exists.
    fn drop_stale_window_start(&self) {
        let Some(start) = self.window_start.get_untracked() else { return };
        let exists =
            self.turns.with_untracked(|turns| turns.iter().any(|turn| turn.id == start.turn));
        if !exists {
            self.window_start.set(None);
        }
    }

    fn take_id(&self) -> u64 {
        let id = self.next_id.get_value();
        self.next_id.set_value(id + 1);
        id
    }

    fn close(&self, answer: &Answer, state: AnswerState) {
        self.writer.update_value(|writer| answer.finish(writer));
        self.announcement.set(match &state {
            AnswerState::Done { .. } => answer.body.text.with_untracked(|text| plain_text(text)),
            AnswerState::Stopped { .. } => text!(announce.stopped).into(),
            AnswerState::Failed { error } => text::error(error),
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
