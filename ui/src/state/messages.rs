//! The messages that the page shows, and how they are made of stored ones.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{Attachment, Message, MessageId, MessageState, Outcome, Role};

use super::answer::{Answer, AnswerState};

/// A message as the page shows it. Clones share the signals.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Stable and never reused.
    pub(crate) key: u64,
    /// Its id in the database, once it is stored.
    pub(crate) id: ArcRwSignal<Option<MessageId>>,
    /// All versions of it, itself among them; empty where there is one alone.
    pub(crate) versions: ArcRwSignal<Vec<MessageId>>,
    /// The documents that were sent with it; only questions have some.
    pub(crate) attachments: Arc<[Attachment]>,
    /// The stored question whose documents it has; `None` where they are those of the draft.
    pub(super) attachments_of: Option<MessageId>,
    /// What it is.
    pub(crate) body: Body,
}

/// The content of a message.
#[derive(Clone)]
pub(crate) enum Body {
    /// Instructions to the model.
    Instructions(Arc<str>),
    /// What the user wrote.
    Question(Arc<str>),
    /// What the model wrote.
    Answer(Answer),
}

impl Entry {
    /// A message that is not stored.
    pub(super) fn new(key: u64, body: Body) -> Self {
        let (id, versions) = (ArcRwSignal::default(), ArcRwSignal::default());
        Self { key, id, versions, attachments: Arc::default(), attachments_of: None, body }
    }

    /// Another version of this message, which is not stored yet.
    pub(super) fn another(&self, key: u64, body: Body) -> Self {
        let mut versions = self.versions.get_untracked();
        if versions.is_empty() {
            versions.extend(self.id.get_untracked());
        }
        let attachments_of = self.id.get_untracked().or_else(|| self.attachments_of.clone());
        let versions = ArcRwSignal::new(versions);
        let attachments = Arc::clone(&self.attachments);
        Self { versions, attachments, attachments_of, ..Self::new(key, body) }
    }

    /// Records that the message was stored.
    pub(super) fn stored(&self, id: MessageId) {
        self.versions.update(|versions| {
            if !versions.is_empty() && !versions.contains(&id) {
                versions.push(id.clone());
            }
        });
        self.id.set(Some(id));
    }

    /// The answer, where it is one.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.body {
            Body::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// The text of a question.
    pub(super) fn question(&self) -> Option<&Arc<str>> {
        match &self.body {
            Body::Question(text) => Some(text),
            _ => None,
        }
    }

    fn has_id(&self, id: &MessageId) -> bool {
        self.id.with_untracked(|own| own.as_ref() == Some(id))
    }
}

/// The message with this id.
pub(super) fn find<'a>(entries: &'a [Entry], id: &MessageId) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.has_id(id))
}

/// The place of the message with this id.
pub(super) fn position(entries: &[Entry], id: &MessageId) -> Option<usize> {
    entries.iter().position(|entry| entry.has_id(id))
}

/// The entries of stored messages; those in `known` are used again, so that what is on the page stays.
/// A question at the end without an answer gets one that was stopped.
pub(super) fn entries(
    messages: &[Message],
    known: &[Entry],
    mut new_key: impl FnMut() -> u64,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(messages.len() + 1);
    for message in messages {
        let entry = find(known, &message.id).cloned().unwrap_or_else(|| {
            let attachments = message.attachments.as_slice().into();
            let entry = Entry { attachments, ..Entry::new(new_key(), body(message)) };
            entry.id.set(Some(message.id.clone()));
            entry
        });
        if entry.versions.with_untracked(|versions| *versions != message.versions) {
            entry.versions.set(message.versions.clone());
        }
        entries.push(entry);
    }
    if entries.last().is_some_and(|last| last.question().is_some()) {
        let answer = Answer::default();
        answer.state.set(AnswerState::Stopped { stats: None });
        entries.push(Entry::new(new_key(), Body::Answer(answer)));
    }
    entries
}

fn body(message: &Message) -> Body {
    match message.role {
        Role::System => Body::Instructions(message.content.as_str().into()),
        Role::User => Body::Question(message.content.as_str().into()),
        Role::Assistant => Body::Answer(Answer::restored(message, state(&message.state))),
    }
}

/// The state of a saved answer. One that is still being written has no channel to this page.
fn state(state: &MessageState) -> AnswerState {
    let stats = |outcome: &Option<Outcome>| outcome.map(|outcome| outcome.stats);
    match state {
        MessageState::Writing => AnswerState::Stopped { stats: None },
        MessageState::Stopped { outcome } => AnswerState::Stopped { stats: stats(outcome) },
        MessageState::Done { outcome } => AnswerState::Done {
            finish: outcome.map_or(lilims_ipc::Finish::EndOfTurn, |outcome| outcome.finish),
            stats: stats(outcome),
        },
        MessageState::Failed { error } => AnswerState::Failed { error: error.clone() },
    }
}
