//! The conversation: turns of a question and its answer, and the status of the model.
//!
//! The shell owns the conversation; this is what the page shows of it. One answer is written at a time.
//! Events of an earlier answer are dropped. A question waits until the conversation has arrived from
//! the shell; everything after that is the shell's.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{
    ContextView, Conversation, ConversationId, Error, Event, Finish, MessageId, ModelStatus,
    Options, Outcome, Overflow, Request,
};

use super::answer::{Answer, AnswerState, AnswerWriter};
use super::messages::{self, MessagePosition, StoredTurn};
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
    /// Its messages in the database, once they are stored.
    pub(crate) stored: ArcStoredValue<Option<StoredTurn>>,
}

impl Turn {
    /// A turn that is not stored, without an answer.
    pub(super) fn new(id: u64, question: Arc<str>) -> Self {
        Self { id, question, answer: Answer::default(), stored: ArcStoredValue::default() }
    }
}

/// A request to the shell, and the turn that its events belong to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The id of the turn to answer.
    pub(crate) turn: u64,
    /// The request.
    pub(crate) request: Request,
}

/// A question that was not sent yet.
#[derive(Clone)]
struct Unsent {
    turn: u64,
    /// The stored question that is answered again.
    again: Option<MessageId>,
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
    /// Why the conversation could not be opened or deleted.
    pub(crate) failure: RwSignal<Option<Error>>,
    /// Why conversations last only as long as the app.
    pub(crate) unsaved: RwSignal<Option<Error>>,
    /// The turn whose answer waits or streams.
    pub(crate) answering: RwSignal<Option<u64>>,
    /// The speed of the last answer in tokens per second.
    pub(crate) speed: RwSignal<Option<f32>>,
    /// The turn whose question is being edited.
    pub(crate) editing: RwSignal<Option<u64>>,
    /// The next announcement for screen readers.
    pub(crate) announcement: RwSignal<String>,
    /// The conversation; `None` until it has arrived.
    conversation: StoredValue<Option<ConversationId>>,
    /// The question that waits for the conversation.
    unsent: StoredValue<Option<Unsent>>,
    next_id: StoredValue<u64>,
    writer: StoredValue<AnswerWriter>,
}

impl Chat {
    /// An empty conversation, until [`restore`](Self::restore) adds the saved one.
    pub(crate) fn new() -> Self {
        Self {
            turns: RwSignal::default(),
            model: RwSignal::default(),
            options: RwSignal::default(),
            overflow: RwSignal::default(),
            view: RwSignal::default(),
            window_start: RwSignal::default(),
            is_restoring: RwSignal::new(true),
            failure: RwSignal::default(),
            unsaved: RwSignal::default(),
            answering: RwSignal::default(),
            speed: RwSignal::default(),
            editing: RwSignal::default(),
            announcement: RwSignal::default(),
            conversation: StoredValue::new(None),
            unsent: StoredValue::new(None),
            next_id: StoredValue::new(0),
            writer: StoredValue::new(AnswerWriter::default()),
        }
    }

    /// Asks `question`, in place of the edited one if there is one.
    ///
    /// Returns the request to send now. There is none until the conversation has arrived, while an
    /// answer is being written, or if the question is blank.
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
        self.open_turn(question.into(), None)
    }

    /// Regenerates the last answer. Returns the request to send now.
    pub(crate) fn regenerate(&self) -> Option<Outgoing> {
        if self.answering.get_untracked().is_some() {
            return None;
        }
        self.editing.set(None);
        let last = self.turns.try_update(Vec::pop).flatten()?;
        let again = last.stored.get_value().map(|stored| stored.question);
        self.open_turn(last.question, again)
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

    /// Shows the saved conversation, unless a new one was started before it arrived. A question asked
    /// since the page opened follows it. Returns the request that waited for it.
    pub(crate) fn restore(&self, conversation: Conversation) -> Option<Outgoing> {
        if !self.is_restoring.get_untracked() {
            return None;
        }
        let mut turns = messages::turns(&conversation.messages, || self.take_id());
        self.turns.update(|asked| {
            turns.append(asked);
            *asked = turns;
        });
        if let Some(view) = &conversation.view {
            self.set_view(view.clone());
        }
        self.overflow.set(conversation.overflow);
        self.begin(conversation)
    }

    /// Begins the conversation that the shell started. Returns the request that waited for it.
    pub(crate) fn begin(&self, conversation: Conversation) -> Option<Outgoing> {
        self.is_restoring.set(false);
        self.failure.set(None);
        self.unsaved.set(conversation.unsaved);
        self.conversation.set_value(Some(conversation.id));
        self.send_waiting()
    }

    /// The conversation, once it has arrived.
    pub(crate) fn conversation(&self) -> Option<ConversationId> {
        self.conversation.get_value()
    }

    /// Updates the status of the model.
    pub(crate) fn model_changed(&self, status: ModelStatus) {
        if self.model.with_untracked(|model| model.as_ref() != Some(&status)) {
            self.model.set(Some(status));
        }
    }

    /// Applies an event of the answer to `turn`.
    pub(crate) fn apply(&self, turn: u64, event: Event) {
        if self.answering.get_untracked() != Some(turn) {
            return;
        }
        let Some(answer) = self.answer(turn) else { return };
        match event {
            Event::Asked { question, answer } => {
                let stored = Some(StoredTurn { question, answer: Some(answer) });
                self.with_turn(turn, |turn| turn.stored.set_value(stored));
            }
            Event::Loading => answer.state.set(AnswerState::Waiting),
            Event::Reading { phase, read_tokens, total_tokens } => {
                self.model_answers(&answer);
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
            Event::Done { outcome: Outcome { finish, stats }, view } => {
                self.speed.set((stats.tokens > 0).then_some(stats.tokens_per_second));
                if view != ContextView::default() {
                    self.set_view(view);
                }
                let stats = (stats.tokens > 0 || stats.prompt_tokens > 0).then_some(stats);
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
        self.model_answers(answer);
        self.speed.set(Some(tokens_per_second));
        if answer.reading.with_untracked(Option::is_some) {
            answer.reading.set(None);
        }
    }

    /// Records that the question waits no longer for a model.
    fn model_answers(&self, answer: &Answer) {
        if answer.state.with_untracked(|state| *state == AnswerState::Waiting) {
            answer.state.set(AnswerState::Streaming);
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
        if self.unsent.try_update_value(Option::take).flatten().is_some() {
            self.close(&answer, AnswerState::Stopped { stats: None });
            return false;
        }
        true
    }

    /// Empties the page for a new conversation, which the shell [begins](Self::begin). Returns the
    /// conversation to delete, if it has arrived.
    pub(crate) fn clear(&self) -> Option<ConversationId> {
        self.answering.set(None);
        self.editing.set(None);
        self.speed.set(None);
        self.view.set(None);
        self.window_start.set(None);
        self.overflow.set(Overflow::default());
        self.is_restoring.set(false);
        self.unsent.set_value(None);
        self.turns.set(Vec::new());
        self.conversation.try_update_value(Option::take).flatten()
    }

    /// Records that the conversation could not be opened or deleted. The next try shows what is saved.
    pub(crate) fn conversation_failed(&self, error: Error) {
        self.is_restoring.set(true);
        self.failure.set(Some(error));
    }

    fn open_turn(&self, question: Arc<str>, again: Option<MessageId>) -> Option<Outgoing> {
        let turn = Turn::new(self.take_id(), question);
        self.writer.set_value(AnswerWriter::default());
        self.speed.set(None);
        self.answering.set(Some(turn.id));
        self.unsent.set_value(Some(Unsent { turn: turn.id, again }));
        self.turns.update(|turns| turns.push(turn));
        self.drop_stale_window_start();
        self.send_waiting()
    }

    /// Returns the request of a question that was not sent yet, once the conversation has arrived.
    fn send_waiting(&self) -> Option<Outgoing> {
        let conversation = self.conversation()?;
        let Unsent { turn, again } = self.unsent.try_update_value(Option::take).flatten()?;
        let (parent, text) = match again {
            Some(question) => (Some(question), None),
            None => self.turns.with_untracked(|turns| {
                let earlier = turns.iter().rev().skip_while(|it| it.id != turn).skip(1);
                let stored = earlier.filter_map(|turn| turn.stored.get_value()).next();
                let question =
                    turns.iter().find(|it| it.id == turn).map(|it| it.question.to_string());
                (stored.map(|stored| stored.last().clone()), question)
            }),
        };
        Some(Outgoing { turn, request: Request { conversation, parent, text } })
    }

    /// Stores what the model sees of the conversation.
    fn set_view(&self, view: ContextView) {
        let start = view.window_start.as_ref();
        let position = self
            .turns
            .with_untracked(|turns| start.and_then(|message| messages::position(turns, message)));
        self.window_start.set(position);
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
        self.with_turn(turn, |turn| turn.answer.clone())
    }

    fn with_turn<T>(&self, id: u64, read: impl FnOnce(&Turn) -> T) -> Option<T> {
        self.turns.with_untracked(|turns| turns.iter().rev().find(|turn| turn.id == id).map(read))
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
