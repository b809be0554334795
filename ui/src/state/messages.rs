//! Converts the messages of a conversation to turns, and finds messages among turns.

use leptos::prelude::{GetValue, Set, SetValue, UpdateValue};
use lilims_ipc::{Message, MessageId, MessageState, Outcome, Role};

use super::answer::{Answer, AnswerState};
use super::chat::Turn;

/// The position of a message in the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessagePosition {
    /// The id of its turn.
    pub(crate) turn: u64,
    /// Which half of the turn it is.
    pub(crate) part: Part,
}

/// The halves of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What the user wrote.
    Question,
    /// What the model answered.
    Answer,
}

/// The messages of a turn in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredTurn {
    /// The question.
    pub(crate) question: MessageId,
    /// The answer, if there is one.
    pub(crate) answer: Option<MessageId>,
}

impl StoredTurn {
    /// The message that the next question follows.
    pub(super) fn last(&self) -> &MessageId {
        self.answer.as_ref().unwrap_or(&self.question)
    }
}

/// The position of a message; `None` if it is in none of the turns.
pub(super) fn position(turns: &[Turn], message: &MessageId) -> Option<MessagePosition> {
    turns.iter().find_map(|turn| {
        let stored = turn.stored.get_value()?;
        let part = match message {
            it if *it == stored.question => Part::Question,
            it if Some(it) == stored.answer.as_ref() => Part::Answer,
            _ => return None,
        };
        Some(MessagePosition { turn: turn.id, part })
    })
}

/// The turns of saved `messages`. A question without an answer counts as stopped; messages that belong
/// to no question are left out.
pub(super) fn turns(messages: &[Message], mut new_id: impl FnMut() -> u64) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len() / 2 + 1);
    let mut awaits_answer = false;
    for message in messages {
        match message.role {
            Role::User => {
                awaits_answer = true;
                let turn = Turn::new(new_id(), message.content.as_str().into());
                turn.answer.state.set(AnswerState::Stopped { stats: None });
                let stored = StoredTurn { question: message.id.clone(), answer: None };
                turn.stored.set_value(Some(stored));
                turns.push(turn);
            }
            Role::Assistant if awaits_answer => {
                awaits_answer = false;
                if let Some(turn) = turns.last_mut() {
                    turn.answer = Answer::restored(message, state(&message.state));
                    turn.stored.update_value(|stored| {
                        if let Some(stored) = stored {
                            stored.answer = Some(message.id.clone());
                        }
                    });
                }
            }
            Role::Assistant | Role::System => {}
        }
    }
    turns
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
