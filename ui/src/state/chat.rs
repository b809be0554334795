//! The conversation: turns of a question and its answer, and what the model is doing.
//!
//! One answer is written at a time. It waits while the model loads, then streams, then is done,
//! stopped or failed. Events of an answer that is no longer awaited are dropped.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{Error, Event, Finish, Message, ModelStatus, Options, Request, Role, Stats};

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
        /// What it took.
        stats: Stats,
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
    /// An empty conversation.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            turns: RwSignal::default(),
            model: RwSignal::default(),
            options: RwSignal::new(options),
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
    /// Returns what to send now: nothing while the model loads, while an answer is being written
    /// or when the question is blank.
    pub(crate) fn ask(&self, question: &str) -> Option<Outgoing> {
        let question = question.trim();
        if question.is_empty() || self.answering.get_untracked().is_some() {
            return None;
        }
        if let Some(edited) = self.editing.get_untracked() {
            self.editing.set(None);
            self.turns.update(|turns| turns.retain(|turn| turn.id < edited));
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

    /// Notes where the model stands. Returns the request that waited for it.
    pub(crate) fn model_changed(&self, status: ModelStatus) -> Option<Outgoing> {
        let is_ready = matches!(status, ModelStatus::Ready { .. });
        if self.model.with_untracked(|model| model.as_ref() != Some(&status)) {
            self.model.set(Some(status));
        }
        let turn = self.answering.get_untracked()?;
        let answer = self.answer(turn)?;
        let waits = answer.state.with_untracked(|state| *state == AnswerState::Waiting);
        (is_ready && waits).then(|| self.begin(turn, &answer))
    }

    /// Takes over an event of the answer to `turn`.
    pub(crate) fn apply(&self, turn: u64, event: Event) {
        if self.answering.get_untracked() != Some(turn) {
            return;
        }
        let Some(answer) = self.answer(turn) else { return };
        match event {
            Event::Text { text, tokens_per_second, .. } => {
                self.speed.set(Some(tokens_per_second));
                self.append(&answer, &text);
            }
            Event::Done { finish, stats } => {
                self.speed.set(Some(stats.tokens_per_second));
                let state = match finish {
                    Finish::Stopped => AnswerState::Stopped { stats: Some(stats) },
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
        self.turns.set(Vec::new());
        tell
    }

    fn open_turn(&self, question: Arc<str>) -> Option<Outgoing> {
        let turn = Turn { id: self.next_id.get_value(), question, answer: Answer::default() };
        self.next_id.set_value(turn.id + 1);
        self.stream.set_value(Stream::default());
        self.speed.set(None);
        self.answering.set(Some(turn.id));
        let is_ready =
            self.model.with_untracked(|model| matches!(model, Some(ModelStatus::Ready { .. })));
        let (id, answer) = (turn.id, turn.answer.clone());
        self.turns.update(|turns| turns.push(turn));
        is_ready.then(|| self.begin(id, &answer))
    }

    fn begin(&self, turn: u64, answer: &Answer) -> Outgoing {
        answer.state.set(AnswerState::Streaming);
        let messages = self.turns.with_untracked(|turns| messages(turns));
        Outgoing { turn, request: Request { messages, options: self.options.get_untracked() } }
    }

    fn append(&self, answer: &Answer, text: &str) {
        self.stream.update_value(|stream| {
            if stream.push(text) == Change::Blocks {
                answer.blocks.set(stream.blocks().to_vec());
            }
            answer.tail.set(stream.tail_html().to_owned());
        });
        answer.text.update(|whole| whole.push_str(text));
    }

    fn close(&self, answer: &Answer, state: AnswerState) {
        self.announcement.set(match &state {
            AnswerState::Done { .. } => answer.text.with_untracked(|text| plain_text(text)),
            AnswerState::Stopped { .. } => "Stopped.".into(),
            AnswerState::Failed { error } => error.message.clone(),
            AnswerState::Waiting | AnswerState::Streaming => String::new(),
        });
        answer.state.set(state);
        self.answering.set(None);
    }

    fn answer(&self, turn: u64) -> Option<Answer> {
        self.turns.with_untracked(|turns| {
            let turn = turns.iter().rev().find(|candidate| candidate.id == turn)?;
            Some(turn.answer.clone())
        })
    }
}

/// The conversation as the shell takes it. Questions that got no answer are left out, since chat
/// templates want the roles to alternate; the last question always stands.
fn messages(turns: &[Turn]) -> Vec<Message> {
    let Some((last, earlier)) = turns.split_last() else { return Vec::new() };
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    let mut messages = Vec::with_capacity(turns.len() * 2);
    for turn in earlier {
        turn.answer.text.with_untracked(|text| {
            if !text.trim().is_empty() {
                messages.push(message(Role::User, &turn.question));
                messages.push(message(Role::Assistant, text));
            }
        });
    }
    messages.push(message(Role::User, &last.question));
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use lilims_ipc::{ErrorCode, ModelInfo};

    const STATS: Stats = Stats {
        prompt_tokens: 9,
        prefilled_tokens: 9,
        tokens: 2,
        first_token_ms: 5.0,
        tokens_per_second: 50.0,
    };

    fn ready() -> ModelStatus {
        ModelStatus::Ready {
            model: ModelInfo {
                name: "M".into(),
                family: "llama".into(),
                quantisation: "Q4_1".into(),
                size_bytes: 1,
                context_tokens: 1,
                backend: "cpu".into(),
            },
        }
    }

    fn error() -> Error {
        Error { code: ErrorCode::Busy, message: "Busy.".into(), detail: None }
    }

    fn text(text: &str) -> Event {
        Event::Text { text: text.into(), tokens: 1, tokens_per_second: 40.0 }
    }

    fn done(finish: Finish) -> Event {
        Event::Done { finish, stats: STATS }
    }

    /// Runs `test` with a chat, with its model ready if asked.
    fn with_chat(is_ready: bool, test: impl FnOnce(Chat)) {
        Owner::new().with(|| {
            let chat = Chat::new(Options::default());
            if is_ready {
                assert!(chat.model_changed(ready()).is_none());
            }
            test(chat);
        });
    }

    fn state(chat: Chat) -> AnswerState {
        chat.turns.with_untracked(|turns| turns.last().unwrap().answer.state.get_untracked())
    }

    fn contents(outgoing: &Outgoing) -> Vec<(Role, &str)> {
        let messages = &outgoing.request.messages;
        messages.iter().map(|message| (message.role, message.content.as_str())).collect()
    }

    #[test]
    fn an_answer_streams_and_ends() {
        with_chat(true, |chat| {
            let sent = chat.ask("  Hi \n").unwrap();
            assert_eq!(contents(&sent), [(Role::User, "Hi")]);
            assert_eq!(state(chat), AnswerState::Streaming);
            chat.apply(sent.turn, text("*Hel"));
            chat.apply(sent.turn, text("lo*\n\nyou"));
            assert_eq!(chat.speed.get_untracked(), Some(40.0));
            assert_eq!(chat.announcement.get_untracked(), "");
            chat.apply(sent.turn, done(Finish::EndOfTurn));
            assert_eq!(state(chat), AnswerState::Done { finish: Finish::EndOfTurn, stats: STATS });
            assert_eq!(chat.announcement.get_untracked(), "Hello\nyou");
            assert_eq!(chat.answering.get_untracked(), None);
            let next = chat.ask("And?").unwrap();
            assert_eq!(
                contents(&next),
                [(Role::User, "Hi"), (Role::Assistant, "*Hello*\n\nyou"), (Role::User, "And?")]
            );
        });
    }

    #[test]
    fn a_question_waits_for_the_model() {
        with_chat(false, |chat| {
            assert!(chat.ask("Hi").is_none());
            assert_eq!(state(chat), AnswerState::Waiting);
            assert!(chat.ask("Second").is_none());
            assert!(chat.model_changed(ModelStatus::Loading { name: "M".into() }).is_none());
            assert!(chat.model_changed(ModelStatus::Failed { error: error() }).is_none());
            let sent = chat.model_changed(ready()).unwrap();
            assert_eq!(contents(&sent), [(Role::User, "Hi")]);
            assert!(chat.model_changed(ready()).is_none(), "sent once");
        });
    }

    #[test]
    fn a_waiting_question_is_stopped_without_the_shell() {
        with_chat(false, |chat| {
            chat.ask("Hi");
            assert!(!chat.stop());
            assert_eq!(state(chat), AnswerState::Stopped { stats: None });
            assert!(chat.model_changed(ready()).is_none());
        });
    }

    #[test]
    fn a_streaming_answer_is_stopped_by_the_shell() {
        with_chat(true, |chat| {
            assert!(!chat.stop());
            let sent = chat.ask("Hi").unwrap();
            chat.apply(sent.turn, text("Hel"));
            assert!(chat.stop());
            chat.apply(sent.turn, done(Finish::Stopped));
            assert_eq!(state(chat), AnswerState::Stopped { stats: Some(STATS) });
            let next = chat.ask("More").unwrap();
            assert_eq!(contents(&next)[1], (Role::Assistant, "Hel"));
        });
    }

    #[test]
    fn one_answer_at_a_time_and_no_blank_questions() {
        with_chat(true, |chat| {
            assert!(chat.ask(" \n ").is_none());
            chat.ask("Hi").unwrap();
            assert!(chat.ask("Hi again").is_none());
            assert!(chat.regenerate().is_none());
            assert_eq!(chat.turns.with_untracked(Vec::len), 1);
        });
    }

    #[test]
    fn failed_answers_leave_no_trace_in_later_requests() {
        with_chat(true, |chat| {
            let sent = chat.ask("Hi").unwrap();
            chat.refused(sent.turn, error());
            assert_eq!(state(chat), AnswerState::Failed { error: error() });
            assert_eq!(chat.announcement.get_untracked(), "Busy.");
            assert_eq!(contents(&chat.ask("Again").unwrap()), [(Role::User, "Again")]);
        });
    }

    #[test]
    fn regenerating_replaces_the_last_answer() {
        with_chat(true, |chat| {
            assert!(chat.regenerate().is_none());
            let first = chat.ask("Hi").unwrap();
            chat.apply(first.turn, text("A"));
            chat.apply(first.turn, done(Finish::EndOfTurn));
            let second = chat.regenerate().unwrap();
            assert_eq!(contents(&second), [(Role::User, "Hi")]);
            assert_ne!(first.turn, second.turn);
            chat.apply(first.turn, text("late"));
            chat.apply(second.turn, text("B"));
            let text = chat.turns.with_untracked(|turns| turns[0].answer.text.get_untracked());
            assert_eq!(text, "B");
        });
    }

    #[test]
    fn editing_replaces_the_last_question() {
        with_chat(true, |chat| {
            let sent = chat.ask("Helo").unwrap();
            assert!(chat.edit(sent.turn).is_none(), "not while it is answered");
            chat.apply(sent.turn, done(Finish::EndOfTurn));
            assert_eq!(chat.edit(sent.turn).as_deref(), Some("Helo"));
            assert_eq!(contents(&chat.ask("Hello").unwrap()), [(Role::User, "Hello")]);
            assert_eq!(chat.turns.with_untracked(Vec::len), 1);
            assert_eq!(chat.editing.get_untracked(), None);
        });
    }

    #[test]
    fn a_new_conversation_drops_late_events() {
        with_chat(true, |chat| {
            let sent = chat.ask("Hi").unwrap();
            assert!(chat.clear());
            chat.apply(sent.turn, text("late"));
            assert!(chat.turns.with_untracked(Vec::is_empty));
            let next = chat.ask("New").unwrap();
            chat.apply(sent.turn, text("later"));
            assert_eq!(contents(&next), [(Role::User, "New")]);
            let answer = chat.turns.with_untracked(|turns| turns[0].answer.text.get_untracked());
            assert_eq!(answer, "");
        });
    }

    #[test]
    fn blocks_and_tail_make_the_whole_answer() {
        with_chat(true, |chat| {
            let sent = chat.ask("Hi").unwrap();
            chat.apply(sent.turn, text("# A\n\nb\n\nc"));
            chat.apply(sent.turn, text("d\n"));
            let answer = chat.turns.with_untracked(|turns| turns[0].answer.clone());
            let blocks = answer.blocks.get_untracked();
            let html: Vec<_> = blocks.iter().map(|block| &*block.html).collect();
            assert_eq!(html, ["<h1>A</h1>\n", "<p>b</p>\n"]);
            assert_eq!(answer.tail.get_untracked(), "<p>cd</p>\n");
        });
    }
}
