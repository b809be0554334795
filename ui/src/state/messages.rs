//! Converts turns to the messages of a request, and saved messages and message indices of the shell
//! back to turns.

use leptos::prelude::{Set, WithUntracked};
use lilims_ipc::{ContextView, Finish, Message, Role};

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

/// The messages of a request. Unanswered questions are left out, since chat templates require
/// alternating roles; the last question is always included.
pub(super) fn of(turns: &[Turn]) -> Vec<Message> {
    let Some((last, earlier)) = turns.split_last() else { return Vec::new() };
    let question = |turn: &Turn| Message::new(Role::User, &*turn.question);
    let mut messages = Vec::with_capacity(turns.len() * 2);
    for turn in earlier.iter().filter(|turn| is_answered(turn)) {
        messages.extend([question(turn), turn.answer.message()]);
    }
    messages.push(question(last));
    messages
}

/// The position of each message of [`of`], followed by that of the answer.
pub(super) fn positions(turns: &[Turn]) -> Vec<Option<MessagePosition>> {
    let Some((last, earlier)) = turns.split_last() else { return Vec::new() };
    let answered = earlier.iter().filter(|turn| is_answered(turn));
    let both_parts = |turn: &Turn| [Part::Question, Part::Answer].map(|part| turn.position(part));
    answered.chain([last]).flat_map(both_parts).map(Some).collect()
}

/// The message that the window of `view` begins with; `None` if it holds the whole conversation. An
/// index past the end gives the last message: then no message is completely in the window.
pub(super) fn window_start(
    view: &ContextView,
    positions: &[Option<MessagePosition>],
) -> Option<MessagePosition> {
    let index = usize::try_from(view.first_message).unwrap_or(usize::MAX);
    if index == 0 {
        return None;
    }
    let first = positions.iter().skip(index).flatten().next();
    first.or_else(|| positions.iter().flatten().next_back()).copied()
}

/// The turns of saved `messages`, and the position of each message. A question without an answer
/// counts as stopped; messages that belong to no question have no position.
pub(super) fn turns(
    messages: &[Message],
    mut new_id: impl FnMut() -> u64,
) -> (Vec<Turn>, Vec<Option<MessagePosition>>) {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len() / 2 + 1);
    let mut awaits_answer = false;
    let positions = messages.iter().map(|message| match message.role {
        Role::User => {
            awaits_answer = true;
            let answer = Answer::default();
            answer.state.set(AnswerState::Stopped { stats: None });
            turns.push(Turn { id: new_id(), question: message.content.as_str().into(), answer });
            turns.last().map(|turn| turn.position(Part::Question))
        }
        Role::Assistant if awaits_answer => {
            awaits_answer = false;
            let state = AnswerState::Done { finish: Finish::EndOfTurn, stats: None };
            turns.last_mut().map(|turn| {
                turn.answer = Answer::restored(message, state);
                turn.position(Part::Answer)
            })
        }
        Role::Assistant | Role::System => None,
    });
    let positions = positions.collect();
    (turns, positions)
}

impl Turn {
    fn position(&self, part: Part) -> MessagePosition {
        MessagePosition { turn: self.id, part }
    }
}

fn is_answered(turn: &Turn) -> bool {
    turn.answer.body.text.with_untracked(|text| !text.trim().is_empty())
}
