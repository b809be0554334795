//! Tests of the conversation state, without a page or a shell.

use lilims_ipc::{Finish, Message, ModelInfo, Phase, Problem, Role, Stats};

use super::super::Part;
use super::*;

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
            cache_bytes: 1,
            can_slide: true,
        },
    }
}

fn error() -> Error {
    Problem::Answering.into()
}

fn text(text: &str) -> Event {
    Event::Text { text: text.into(), tokens: 1, tokens_per_second: 40.0 }
}

fn done(finish: Finish) -> Event {
    Event::Done { finish, stats: STATS, view: ContextView::default() }
}

/// The end of an answer after which the window begins with this message of its request.
fn done_from(first_message: u32) -> Event {
    let view = ContextView { first_message, ..ContextView::default() };
    Event::Done { finish: Finish::EndOfTurn, stats: STATS, view }
}

/// Runs `test` with a new conversation, with its model ready if `is_ready`.
fn with_chat(is_ready: bool, test: impl FnOnce(Chat)) {
    with_page(|chat| {
        assert!(chat.restore(None).is_none());
        if is_ready {
            assert!(chat.model_changed(ready()).is_none());
        }
        test(chat);
    });
}

/// Runs `test` with a page that just opened: nothing has arrived yet.
fn with_page(test: impl FnOnce(Chat)) {
    Owner::new().with(|| test(Chat::new(Options::default())));
}

/// Asks a question and answers it; returns the turn.
fn exchange(chat: Chat, question: &str, end: Event) -> u64 {
    let sent = chat.ask(question).unwrap();
    chat.apply(sent.turn, text("Answer"));
    chat.apply(sent.turn, end);
    sent.turn
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

fn window_start(chat: Chat) -> Option<(u64, Part)> {
    chat.window_start.get_untracked().map(|start| (start.turn, start.part))
}

fn questions(chat: Chat) -> Vec<String> {
    chat.turns.with_untracked(|turns| turns.iter().map(|turn| turn.question.to_string()).collect())
}

fn state(chat: Chat) -> AnswerState {
    chat.turns.with_untracked(|turns| turns.last().unwrap().answer.state.get_untracked())
}

fn contents(outgoing: &Outgoing) -> Vec<(Role, &str)> {
    let messages = &outgoing.request.messages;
    messages.iter().map(|message| (message.role, message.content.as_str())).collect()
}

#[test]
fn answer_streams_and_ends() {
    with_chat(true, |chat| {
        let sent = chat.ask("  Hi \n").unwrap();
        assert_eq!(contents(&sent), [(Role::User, "Hi")]);
        assert_eq!(state(chat), AnswerState::Streaming);
        chat.apply(sent.turn, text("*Hel"));
        chat.apply(sent.turn, text("lo*\n\nyou"));
        assert_eq!(chat.speed.get_untracked(), Some(40.0));
        assert_eq!(chat.announcement.get_untracked(), "");
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        assert_eq!(
            state(chat),
            AnswerState::Done { finish: Finish::EndOfTurn, stats: Some(STATS) }
        );
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
fn question_waits_for_the_model() {
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
fn waiting_question_is_stopped_without_the_shell() {
    with_chat(false, |chat| {
        chat.ask("Hi");
        assert!(!chat.stop());
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert!(chat.model_changed(ready()).is_none());
    });
}

#[test]
fn streaming_answer_is_stopped_by_the_shell() {
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
fn rejects_concurrent_and_blank_questions() {
    with_chat(true, |chat| {
        assert!(chat.ask(" \n ").is_none());
        chat.ask("Hi").unwrap();
        assert!(chat.ask("Hi again").is_none());
        assert!(chat.regenerate().is_none());
        assert_eq!(chat.turns.with_untracked(Vec::len), 1);
    });
}

#[test]
fn failed_answers_are_left_out_of_later_requests() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        chat.rejected(sent.turn, error());
        assert_eq!(state(chat), AnswerState::Failed { error: error() });
        assert_eq!(chat.announcement.get_untracked(), crate::text::error(&error()));
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
        let text = chat.turns.with_untracked(|turns| turns[0].answer.body.text.get_untracked());
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
fn new_conversation_drops_late_events() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        assert!(chat.clear());
        chat.apply(sent.turn, text("late"));
        assert!(chat.turns.with_untracked(Vec::is_empty));
        let next = chat.ask("New").unwrap();
        chat.apply(sent.turn, text("later"));
        assert_eq!(contents(&next), [(Role::User, "New")]);
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.body.text.get_untracked());
        assert_eq!(answer, "");
    });
}

#[test]
fn blocks_and_tail_make_the_complete_answer() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        chat.apply(sent.turn, text("# A\n\nb\n\nc"));
        chat.apply(sent.turn, text("d\n"));
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.clone());
        let blocks = answer.body.blocks.get_untracked();
        let html: Vec<_> = blocks.iter().map(|block| &*block.html).collect();
        assert_eq!(html, ["<h1 dir=\"auto\">A</h1>\n", "<p dir=\"auto\">b</p>\n"]);
        assert_eq!(answer.body.tail.get_untracked(), "<p dir=\"auto\">cd</p>\n");
    });
}

#[test]
fn requests_carry_the_overflow_choice() {
    with_chat(true, |chat| {
        let first = chat.ask("Hi").unwrap();
        assert_eq!(first.request.overflow, Overflow::Slide);
        chat.apply(first.turn, done(Finish::EndOfTurn));
        chat.overflow.set(Overflow::Summarise);
        assert_eq!(chat.ask("And?").unwrap().request.overflow, Overflow::Summarise);
        chat.clear();
        assert_eq!(chat.ask("New").unwrap().request.overflow, Overflow::Slide);
    });
}

#[test]
fn window_begins_at_a_question_or_an_answer() {
    with_chat(true, |chat| {
        let first = exchange(chat, "One", done_from(0));
        assert_eq!(window_start(chat), None);
        let second = exchange(chat, "Two", done_from(1));
        assert_eq!(window_start(chat), Some((first, Part::Answer)));
        let third = exchange(chat, "Three", done_from(2));
        assert_eq!(window_start(chat), Some((second, Part::Question)));
        exchange(chat, "Four", done_from(4));
        assert_eq!(window_start(chat), Some((third, Part::Question)));
        assert_eq!(chat.view.get_untracked().unwrap().first_message, 4);
        chat.clear();
        assert_eq!(window_start(chat), None);
        assert_eq!(chat.view.get_untracked(), None);
    });
}

#[test]
fn unanswered_questions_do_not_shift_the_window_start() {
    with_chat(true, |chat| {
        exchange(chat, "One", done_from(0));
        let refused = chat.ask("Unanswered").unwrap();
        chat.rejected(refused.turn, error());
        let third = exchange(chat, "Three", done_from(0));
        // The request holds One, its answer, Three, its answer and Four.
        exchange(chat, "Four", done_from(2));
        assert_eq!(window_start(chat), Some((third, Part::Question)));
        exchange(chat, "Five", done_from(3));
        assert_eq!(window_start(chat), Some((third, Part::Answer)));
    });
}

#[test]
fn window_without_a_complete_message_begins_at_the_answer() {
    with_chat(true, |chat| {
        let first = exchange(chat, "One", done_from(1));
        assert_eq!(window_start(chat), Some((first, Part::Answer)));
        let second = exchange(chat, "Two", done_from(u32::MAX));
        assert_eq!(window_start(chat), Some((second, Part::Answer)));
    });
}

#[test]
fn window_start_is_cleared_with_its_message() {
    with_chat(true, |chat| {
        let first = exchange(chat, "One", done_from(0));
        let second = exchange(chat, "Two", done_from(2));
        assert_eq!(window_start(chat), Some((second, Part::Question)));
        chat.edit(second).unwrap();
        let again = chat.ask("Two, better").unwrap();
        assert_eq!(window_start(chat), None);
        chat.apply(again.turn, done_from(2));
        assert_eq!(window_start(chat), Some((again.turn, Part::Question)));
        chat.regenerate().unwrap();
        assert_eq!(window_start(chat), None);
        let sent = chat.answering.get_untracked().unwrap();
        chat.apply(sent, done_from(1));
        assert_eq!(window_start(chat), Some((first, Part::Answer)));
        chat.regenerate().unwrap();
        assert_eq!(window_start(chat), Some((first, Part::Answer)), "the message still exists");
    });
}

#[test]
fn restores_the_saved_conversation() {
    with_page(|chat| {
        assert!(chat.model_changed(ready()).is_none());
        let view = ContextView { used_tokens: 7, first_message: 3, ..ContextView::default() };
        let outgoing = chat.restore(Some(Conversation {
            messages: vec![
                message(Role::System, "Be brief."),
                message(Role::User, "One"),
                message(Role::Assistant, "*First*"),
                message(Role::User, "Lost"),
                message(Role::User, "Two"),
            ],
            overflow: Overflow::Stop,
            view: Some(view.clone()),
        }));
        assert!(outgoing.is_none());
        assert_eq!(questions(chat), ["One", "Lost", "Two"]);
        let turns = chat.turns.get_untracked();
        let done = AnswerState::Done { finish: Finish::EndOfTurn, stats: None };
        assert_eq!(turns[0].answer.state.get_untracked(), done);
        assert_eq!(turns[0].answer.body.text.get_untracked(), "*First*");
        assert_eq!(
            turns[0].answer.body.tail.get_untracked(),
            "<p dir=\"auto\"><em>First</em></p>\n"
        );
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert_eq!(window_start(chat), Some((turns[1].id, Part::Question)));
        assert_eq!(chat.view.get_untracked(), Some(view));
        assert_eq!(chat.answering.get_untracked(), None);
        let again = chat.regenerate().unwrap();
        assert_eq!(again.request.overflow, Overflow::Stop);
        let expected = [(Role::User, "One"), (Role::Assistant, "*First*"), (Role::User, "Two")];
        assert_eq!(contents(&again), expected);
    });
}

#[test]
fn early_question_follows_the_restored_conversation() {
    with_page(|chat| {
        assert!(chat.model_changed(ready()).is_none());
        assert!(chat.ask("New").is_none());
        assert_eq!(state(chat), AnswerState::Waiting);
        let saved = || Conversation {
            messages: vec![message(Role::User, "Old"), message(Role::Assistant, "Yes")],
            ..Conversation::default()
        };
        let sent = chat.restore(Some(saved())).unwrap();
        assert_eq!(questions(chat), ["Old", "New"]);
        let expected = [(Role::User, "Old"), (Role::Assistant, "Yes"), (Role::User, "New")];
        assert_eq!(contents(&sent), expected);
        assert!(chat.restore(Some(saved())).is_none(), "once");
        assert_eq!(questions(chat), ["Old", "New"]);
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        chat.edit(sent.turn).unwrap();
        chat.ask("Newer").unwrap();
        assert_eq!(questions(chat), ["Old", "Newer"]);
    });
}

#[test]
fn question_waits_for_restore_and_model_in_either_order() {
    with_page(|chat| {
        assert!(chat.ask("Hi").is_none());
        assert!(chat.restore(None).is_none());
        assert!(chat.model_changed(ready()).is_some());
    });
    with_page(|chat| {
        assert!(chat.ask("Hi").is_none());
        assert!(chat.model_changed(ready()).is_none());
        assert!(chat.restore(None).is_some());
    });
}

#[test]
fn new_conversation_is_not_replaced_by_the_saved_one() {
    with_page(|chat| {
        assert!(chat.model_changed(ready()).is_none());
        chat.clear();
        let saved =
            Conversation { messages: vec![message(Role::User, "Old")], ..Default::default() };
        assert!(chat.restore(Some(saved)).is_none());
        assert!(questions(chat).is_empty());
        assert_eq!(contents(&chat.ask("New").unwrap()), [(Role::User, "New")]);
    });
}

#[test]
fn reading_is_shown_until_text_arrives() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        let reading = || chat.turns.with_untracked(|turns| turns[0].answer.reading.get_untracked());
        let event =
            |read_tokens| Event::Reading { phase: Phase::Prompt, read_tokens, total_tokens: 1024 };
        assert_eq!(reading(), None);
        chat.apply(sent.turn, event(256));
        chat.apply(sent.turn, event(512));
        assert_eq!(reading().and_then(|reading| reading.percent()), Some(50));
        assert_eq!(state(chat), AnswerState::Streaming);
        assert_eq!(chat.announcement.get_untracked(), "");
        chat.apply(sent.turn, text("A"));
        assert_eq!(reading(), None);
        chat.apply(sent.turn, event(768));
        chat.apply(sent.turn, done(Finish::Stopped));
        assert_eq!(reading(), None);
    });
}

#[test]
fn t10_reasoning_is_separate_and_not_announced() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        let reasoning = |text: &str, elapsed_ms| Event::Reasoning {
            text: text.into(),
            elapsed_ms,
            tokens: 1,
            tokens_per_second: 40.0,
        };
        chat.apply(sent.turn, reasoning("Is *it*", 0));
        chat.apply(sent.turn, reasoning("?", 2300));
        chat.apply(sent.turn, text("<think> is"));
        chat.apply(sent.turn, text(" a tag."));
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.clone());
        assert_eq!(answer.reasoning.text.get_untracked(), "Is *it*?");
        assert_eq!(answer.reasoning.tail.get_untracked(), "<p dir=\"auto\">Is <em>it</em>?</p>\n");
        assert_eq!(answer.reasoning_ms.get_untracked(), Some(2300));
        assert_eq!(answer.body.text.get_untracked(), "<think> is a tag.");
        assert_eq!(chat.announcement.get_untracked(), "<think> is a tag.");
        let next = chat.ask("And?").unwrap();
        let sent = &next.request.messages[1];
        assert_eq!(sent.content, "<think> is a tag.");
        assert_eq!(sent.reasoning.as_ref().unwrap().text, "Is *it*?");
    });
}

#[test]
fn t10_splits_tags_in_streamed_and_saved_answers() {
    with_chat(true, |chat| {
        let sent = chat.ask("Hi").unwrap();
        for piece in ["<th", "ink>\nW", "hy</thi", "nk>\n\nYes", "."] {
            chat.apply(sent.turn, text(piece));
        }
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.clone());
        assert_eq!(answer.reasoning.text.get_untracked(), "Why");
        assert_eq!(answer.body.text.get_untracked(), "Yes.");
    });
    with_page(|chat| {
        let saved = Conversation {
            messages: vec![
                message(Role::User, "Hi"),
                message(Role::Assistant, "<think>Why</think>Yes."),
            ],
            ..Conversation::default()
        };
        assert!(chat.restore(Some(saved)).is_none());
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.clone());
        assert_eq!(answer.reasoning.text.get_untracked(), "Why");
        assert_eq!(answer.body.text.get_untracked(), "Yes.");
    });
}
