//! Which turn a message of a request belongs to: turns become messages for the shell, and the
//! shell's indices and kept messages become turns again.

use leptos::prelude::WithUntracked;
use lilims_ipc::{ContextView, Finish, Message, Role};

use super::chat::{Answer, AnswerState, Turn};

/// A message of the conversation, found by its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
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

/// The conversation as the shell takes it. Questions that got no answer are left out, since chat
/// templates want the roles to alternate; the last question always stands.
pub(super) fn of(turns: &[Turn]) -> Vec<Message> {
    let Some((last, earlier)) = turns.split_last() else { return Vec::new() };
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    let mut messages = Vec::with_capacity(turns.len() * 2);
    for turn in earlier.iter().filter(|turn| is_answered(turn)) {
        messages.push(message(Role::User, &turn.question));
        turn.answer.text.with_untracked(|text| messages.push(message(Role::Assistant, text)));
    }
    messages.push(message(Role::User, &last.question));
    messages
}

/// The place of each message of [`of`], and after them that of the answer.
pub(super) fn places(turns: &[Turn]) -> Vec<Option<Place>> {
    let Some((last, earlier)) = turns.split_last() else { return Vec::new() };
    let answered = earlier.iter().filter(|turn| is_answered(turn));
    let both_parts = |turn: &Turn| [Part::Question, Part::Answer].map(|part| turn.place(part));
    answered.chain([last]).flat_map(both_parts).map(Some).collect()
}

/// The message that the window of `view` begins with; none where it holds the whole conversation.
/// Past the last place it is the last one: then no message is wholly in the window.
pub(super) fn window_start(view: &ContextView, places: &[Option<Place>]) -> Option<Place> {
    let index = usize::try_from(view.first_message).unwrap_or(usize::MAX);
    if index == 0 {
        return None;
    }
    let from_there = places.iter().skip(index).flatten().next();
    from_there.or_else(|| places.iter().flatten().next_back()).copied()
}

/// The turns of the kept `messages`, and the place of each message. A question without an answer
/// counts as stopped; messages that belong to no question have no place.
pub(super) fn turns(
    messages: &[Message],
    mut new_id: impl FnMut() -> u64,
) -> (Vec<Turn>, Vec<Option<Place>>) {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len() / 2 + 1);
    let mut awaits_answer = false;
    let places = messages.iter().map(|Message { role, content }| match role {
        Role::User => {
            awaits_answer = true;
            let answer = Answer::restored("", AnswerState::Stopped { stats: None });
            turns.push(Turn { id: new_id(), question: content.as_str().into(), answer });
            turns.last().map(|turn| turn.place(Part::Question))
        }
        Role::Assistant if awaits_answer => {
            awaits_answer = false;
            let state = AnswerState::Done { finish: Finish::EndOfTurn, stats: None };
            turns.last_mut().map(|turn| {
                turn.answer = Answer::restored(content, state);
                turn.place(Part::Answer)
            })
        }
        Role::Assistant | Role::System => None,
    });
    let places = places.collect();
    (turns, places)
}

impl Turn {
    fn place(&self, part: Part) -> Place {
        Place { turn: self.id, part }
    }
}

fn is_answered(turn: &Turn) -> bool {
    turn.answer.text.with_untracked(|text| !text.trim().is_empty())
}
