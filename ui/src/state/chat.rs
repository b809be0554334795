//! The conversation that is shown, and the answer that is being written.
//!
//! The shell owns the conversations; this is what the page shows of one of them. One answer is written
//! at a time, also while another conversation is shown. Events of an earlier answer are dropped. A
//! question waits until the conversation has arrived from the shell; everything after that is the
//! shell's.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{
    AssistantId, Attachment, ContextView, Conversation, ConversationId, Error, Event, Finish,
    MessageId, ModelStatus, Outcome, Overflow, Request,
};

use super::answer::{Answer, AnswerState, AnswerWriter};
use super::messages::{self, Body, Entry};
use super::reading::Reading;
use super::sentences::Sentences;
use crate::text::{self, text};

/// A request to the shell, and the answer that its events belong to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The key of the answer.
    pub(crate) answer: u64,
    /// The request.
    pub(crate) request: Request,
}

/// A request that was not sent yet, since the conversation has not arrived.
#[derive(Clone)]
enum Unsent {
    /// The question that stands before the answer.
    Question,
    /// The stored question that is answered again, or the stored answer that is continued.
    Again(MessageId),
}

/// The answer that waits or streams.
#[derive(Clone)]
struct Live {
    /// The question before it.
    question: Option<Entry>,
    answer: Entry,
}

/// The state of the conversation. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    /// The conversation that is shown; `None` until it has arrived.
    pub(crate) conversation: RwSignal<Option<ConversationId>>,
    /// Its messages, oldest first.
    pub(crate) entries: RwSignal<Vec<Entry>>,
    /// The status of the model; `None` until it is known.
    pub(crate) model: RwSignal<Option<ModelStatus>>,
    /// The assistant of the conversation.
    pub(crate) assistant: RwSignal<Option<AssistantId>>,
    /// What happens when this conversation outgrows the context.
    pub(crate) overflow: RwSignal<Overflow>,
    /// The model's context after the last answer.
    pub(crate) view: RwSignal<Option<ContextView>>,
    /// The message that the model's window begins with; `None` if the window holds everything.
    pub(crate) window_start: RwSignal<Option<u64>>,
    /// Whether the conversation has not arrived yet.
    pub(crate) is_restoring: RwSignal<bool>,
    /// Why the conversation could not be opened or changed.
    pub(crate) failure: RwSignal<Option<Error>>,
    /// Why conversations last only as long as the app.
    pub(crate) unsaved: RwSignal<Option<Error>>,
    /// The answer that waits or streams, also in another conversation.
    pub(crate) answering: RwSignal<Option<u64>>,
    /// The conversation of that answer; `None` where it is the one that has not arrived yet.
    pub(crate) answering_in: RwSignal<Option<ConversationId>>,
    /// The speed of the last answer in tokens per second.
    pub(crate) speed: RwSignal<Option<f32>>,
    /// The message that is being edited.
    pub(crate) editing: RwSignal<Option<u64>>,
    /// The next announcement for screen readers.
    pub(crate) announcement: RwSignal<String>,
    live: StoredValue<Option<Live>>,
    unsent: StoredValue<Option<Unsent>>,
    next_key: StoredValue<u64>,
    writer: StoredValue<AnswerWriter>,
    sentences: StoredValue<Sentences>,
}

impl Chat {
    /// An empty conversation, until [`show`](Self::show) shows one.
    pub(crate) fn new() -> Self {
        Self {
            conversation: RwSignal::default(),
            entries: RwSignal::default(),
            model: RwSignal::default(),
            assistant: RwSignal::default(),
            overflow: RwSignal::default(),
            view: RwSignal::default(),
            window_start: RwSignal::default(),
            is_restoring: RwSignal::new(true),
            failure: RwSignal::default(),
            unsaved: RwSignal::default(),
            answering: RwSignal::default(),
            answering_in: RwSignal::default(),
            speed: RwSignal::default(),
            editing: RwSignal::default(),
            announcement: RwSignal::default(),
            live: StoredValue::new(None),
            unsent: StoredValue::new(None),
            next_key: StoredValue::new(0),
            writer: StoredValue::new(AnswerWriter::default()),
            sentences: StoredValue::new(Sentences::default()),
        }
    }

    /// Asks `question` with the documents of the draft after the last message.
    ///
    /// Returns the request to send now. There is none until the conversation has arrived, while an
    /// answer is being written, or if the question is blank and without documents.
    pub(crate) fn ask(&self, question: &str, attachments: Arc<[Attachment]>) -> Option<Outgoing> {
        let question = question.trim();
        if question.is_empty() && attachments.is_empty() || self.is_answering() {
            return None;
        }
        let entry = Entry::new(self.take_key(), Body::Question(question.into()));
        self.ask_entry(Entry { attachments, ..entry })
    }

    /// Asks an edited question as another version of the one with this key. Returns as for
    /// [`ask`](Self::ask).
    pub(crate) fn edit_question(&self, key: u64, question: &str) -> Option<Outgoing> {
        let question = question.trim();
        if question.is_empty() || self.is_answering() {
            return None;
        }
        let edited = self.cut(key)?;
        let entry = edited.another(self.take_key(), Body::Question(question.into()));
        self.ask_entry(entry)
    }

    /// Has the question before the answer with this key answered again: another version of what follows the
    /// question. Returns as for [`ask`](Self::ask).
    pub(crate) fn again(&self, key: u64) -> Option<Outgoing> {
        if self.is_answering() {
            return None;
        }
        let (before, first) = self.question_before(key)?;
        let question = before.question()?.clone();
        let Some(id) = before.id.get_untracked() else {
            // It was never stored.
            let question = self.cut(before.key)?.another(self.take_key(), Body::Question(question));
            return self.ask_entry(question);
        };
        let old = self.cut(first)?;
        let answer = old.another(self.take_key(), Body::Answer(Answer::default()));
        self.open(None, answer, Unsent::Again(id))
    }

    /// Has the model write more of the last answer. Returns as for [`ask`](Self::ask).
    pub(crate) fn continue_answer(&self, key: u64) -> Option<Outgoing> {
        let last = self.entries.with_untracked(|entries| entries.last().cloned())?;
        if self.is_answering() || last.key != key {
            return None;
        }
        let (id, answer) = (last.id.get_untracked()?, last.answer()?.clone());
        let text = answer.body.text.get_untracked();
        let reasoning = answer.reasoning.text.get_untracked();
        answer.state.set(AnswerState::Streaming);
        let outgoing = self.open(None, last, Unsent::Again(id));
        self.writer.set_value(AnswerWriter::after(&reasoning, &text));
        self.sentences.set_value(Sentences::after(&text));
        outgoing
    }

    /// Shows a conversation that has arrived. A question asked since the page opened follows it. Returns
    /// the request that waited for it.
    pub(crate) fn show(&self, conversation: Conversation) -> Option<Outgoing> {
        let live = self.live.get_value();
        let mut known = self.entries.get_untracked();
        known.extend(live.iter().flat_map(|it| it.question.clone()));
        known.extend(live.iter().map(|it| it.answer.clone()));
        let mut entries = messages::entries(&conversation.messages, &known, || self.take_key());
        if self.unsent.with_value(Option::is_some) {
            entries
                .extend(live.into_iter().flat_map(|it| it.question.into_iter().chain([it.answer])));
            self.answering_in.set(Some(conversation.id.clone()));
        }
        self.editing.set(None);
        self.entries.set(entries);
        self.overflow.set(conversation.overflow);
        self.assistant.set(conversation.assistant);
        match conversation.view {
            Some(view) => self.set_view(view),
            None => {
                self.view.set(None);
                self.window_start.set(None);
            }
        }
        self.is_restoring.set(false);
        self.failure.set(None);
        self.unsaved.set(conversation.unsaved);
        self.conversation.set(Some(conversation.id));
        self.send_waiting()
    }

    /// Empties the page for a conversation that is about to arrive. An answer that is being written
    /// goes on; a question that was never sent is dropped.
    pub(crate) fn leave(&self) {
        if self.unsent.try_update_value(Option::take).flatten().is_some() {
            self.end_live();
        }
        self.editing.set(None);
        self.speed.set(None);
        self.view.set(None);
        self.window_start.set(None);
        self.overflow.set(Overflow::default());
        self.assistant.set(None);
        self.failure.set(None);
        self.entries.set(Vec::new());
        self.conversation.set(None);
        self.is_restoring.set(true);
    }

    /// Whether an answer is being written, here or in another conversation.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.with_untracked(Option::is_some)
    }

    /// Whether the answer that is being written belongs to the conversation that is shown. Tracks both.
    pub(crate) fn answers_here(&self) -> bool {
        self.answering.with(Option::is_some)
            && self.answering_in.with(|its| its.is_none() || *its == self.conversation.get())
    }

    /// Updates the status of the model.
    pub(crate) fn model_changed(&self, status: ModelStatus) {
        if self.model.with_untracked(|model| model.as_ref() != Some(&status)) {
            self.model.set(Some(status));
        }
    }

    /// Applies an event of the answer with this key.
    pub(crate) fn apply(&self, key: u64, event: Event) {
        let Some(live) = self.live.get_value().filter(|live| live.answer.key == key) else {
            return;
        };
        let Some(answer) = live.answer.answer().cloned() else { return };
        match event {
            Event::Asked { question: question_id, answer: answer_id } => {
                if let Some(question) = &live.question {
                    question.stored(question_id);
                }
                live.answer.stored(answer_id);
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
                if self.answers_here() {
                    self.say_sentences(&answer);
                }
            }
            Event::Done { outcome: Outcome { finish, stats }, view } => {
                self.speed.set((stats.tokens > 0).then_some(stats.tokens_per_second));
                if view != ContextView::default() && self.answers_here() {
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

    /// Records that the shell rejected the request of this answer.
    pub(crate) fn rejected(&self, key: u64, error: Error) {
        self.apply(key, Event::Failed { error });
    }

    /// Stops the answer. Returns whether the shell must be called to stop it.
    pub(crate) fn stop(&self) -> bool {
        let Some(live) = self.live.get_value() else { return false };
        if self.unsent.try_update_value(Option::take).flatten().is_some() {
            if let Some(answer) = live.answer.answer() {
                self.close(answer, AnswerState::Stopped { stats: None });
            }
            return false;
        }
        true
    }

    /// Records that the conversation could not be opened or changed. The next try shows what is saved.
    pub(crate) fn conversation_failed(&self, error: Error) {
        self.failure.set(Some(error));
    }

    /// The text of a message that can be edited.
    pub(crate) fn text_of(&self, key: u64) -> Option<String> {
        self.entries.with_untracked(|entries| {
            let entry = entries.iter().find(|entry| entry.key == key)?;
            Some(match &entry.body {
                Body::Instructions(text) | Body::Question(text) => text.to_string(),
                Body::Answer(answer) => answer.body.text.get_untracked(),
            })
        })
    }

    /// The id of a message, once it is stored.
    pub(crate) fn id_of(&self, key: u64) -> Option<MessageId> {
        self.entries.with_untracked(|entries| {
            entries.iter().find(|entry| entry.key == key)?.id.get_untracked()
        })
    }

    /// The end of the branch that is shown.
    pub(crate) fn leaf(&self) -> Option<MessageId> {
        self.entries.with_untracked(|entries| {
            entries.iter().rev().find_map(|entry| entry.id.get_untracked())
        })
    }

    fn ask_entry(&self, question: Entry) -> Option<Outgoing> {
        let answer = Entry::new(self.take_key(), Body::Answer(Answer::default()));
        self.open(Some(question), answer, Unsent::Question)
    }

    /// Shows what is asked, and returns the request to send now.
    fn open(&self, question: Option<Entry>, answer: Entry, unsent: Unsent) -> Option<Outgoing> {
        self.editing.set(None);
        self.writer.set_value(AnswerWriter::default());
        self.sentences.set_value(Sentences::default());
        self.speed.set(None);
        self.answering.set(Some(answer.key));
        self.answering_in.set(self.conversation.get_untracked());
        self.unsent.set_value(Some(unsent));
        self.entries.update(|entries| {
            let is_shown = |entry: &Entry| entries.iter().any(|it| it.key == entry.key);
            let new: Vec<Entry> =
                question.iter().chain([&answer]).filter(|it| !is_shown(it)).cloned().collect();
            entries.extend(new);
        });
        self.live.set_value(Some(Live { question, answer }));
        self.drop_stale_window_start();
        self.send_waiting()
    }

    /// Returns the request that was not sent yet, once the conversation has arrived.
    fn send_waiting(&self) -> Option<Outgoing> {
        let conversation = self.conversation.get_untracked()?;
        let unsent = self.unsent.try_update_value(Option::take).flatten()?;
        let Live { question, answer } = self.live.get_value()?;
        let (parent, text, attachments_of) = match unsent {
            Unsent::Again(message) => (Some(message), None, None),
            Unsent::Question => {
                let question = question?;
                let text = question.question().map(|it| it.to_string());
                (self.stored_before(question.key), text, question.attachments_of)
            }
        };
        let request = Request { conversation, parent, text, attachments_of };
        Some(Outgoing { answer: answer.key, request })
    }

    /// The last message before this one that is stored.
    fn stored_before(&self, key: u64) -> Option<MessageId> {
        self.entries.with_untracked(|entries| {
            let earlier = entries.iter().take_while(|entry| entry.key != key);
            earlier.filter_map(|entry| entry.id.get_untracked()).last()
        })
    }

    /// The last question before the message with this key, and the key of what follows it. Between them may
    /// be more answers, in a conversation of another program.
    fn question_before(&self, key: u64) -> Option<(Entry, u64)> {
        self.entries.with_untracked(|entries| {
            let at = entries.iter().position(|entry| entry.key == key)?;
            let question = entries[..at].iter().rposition(|entry| entry.question().is_some())?;
            Some((entries[question].clone(), entries[question + 1].key))
        })
    }

    /// Takes the message with this key and all that follow off the page, and returns the first.
    fn cut(&self, key: u64) -> Option<Entry> {
        self.entries.try_update(|entries| {
            let at = entries.iter().position(|entry| entry.key == key)?;
            entries.drain(at..).next()
        })?
    }

    /// Stores what the model sees of the conversation.
    fn set_view(&self, view: ContextView) {
        let start = view.window_start.as_ref();
        let key = self.entries.with_untracked(|entries| {
            start.and_then(|id| messages::find(entries, id)).map(|entry| entry.key)
        });
        self.window_start.set(key);
        self.view.set(Some(view));
    }

    /// Clears the window start if its message is no longer shown.
    fn drop_stale_window_start(&self) {
        let Some(start) = self.window_start.get_untracked() else { return };
        let is_shown = self.entries.with_untracked(|it| it.iter().any(|entry| entry.key == start));
        if !is_shown {
            self.window_start.set(None);
        }
    }

    fn take_key(&self) -> u64 {
        let key = self.next_key.get_value();
        self.next_key.set_value(key + 1);
        key
    }

    /// Announces the sentences that are complete.
    fn say_sentences(&self, answer: &Answer) {
        let sentences = answer.body.text.with_untracked(|text| {
            self.sentences.try_update_value(|sentences| sentences.next(text)).flatten()
        });
        if let Some(sentences) = sentences {
            self.announcement.set(sentences);
        }
    }

    fn close(&self, answer: &Answer, state: AnswerState) {
        self.writer.update_value(|writer| answer.finish(writer));
        self.announcement.set(match &state {
            AnswerState::Done { .. } => answer.body.text.with_untracked(|text| {
                self.sentences.try_update_value(|it| it.rest(text)).unwrap_or_default()
            }),
            AnswerState::Stopped { .. } => text!(announce.stopped).into(),
            AnswerState::Failed { error } => text::error(error),
            AnswerState::Waiting | AnswerState::Streaming => String::new(),
        });
        answer.state.set(state);
        answer.reading.set(None);
        self.end_live();
    }

    fn end_live(&self) {
        self.live.set_value(None);
        self.answering.set(None);
        self.answering_in.set(None);
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
