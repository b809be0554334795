//! Tests of the conversation state, without a page or a shell.

use lilims_ipc::{
    Finish, Message, MessageState, ModelInfo, Phase, Problem, Reasoning, Role, Stats,
};

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
    let view = ContextView { used_tokens: 3, ..ContextView::default() };
    Event::Done { outcome: Outcome { finish, stats: STATS }, view }
}

/// The end of an answer after which the window begins with this message.
fn done_from(message: &str) -> Event {
    let window_start = Some(id(message));
    let view = ContextView { window_start, ..ContextView::default() };
    Event::Done { outcome: Outcome { finish: Finish::EndOfTurn, stats: STATS }, view }
}

fn id(id: &str) -> MessageId {
    MessageId(id.to_owned())
}

/// What the shell sends when it has stored a question.
fn asked(question: &str, answer: &str) -> Event {
    Event::Asked { question: id(question), answer: id(answer) }
}

fn conversation(messages: Vec<Message>) -> Conversation {
    Conversation {
        id: ConversationId("c".to_owned()),
        messages,
        overflow: Overflow::Slide,
        view: None,
        unsaved: None,
    }
}

/// Runs `test` with a new conversation.
fn with_chat(test: impl FnOnce(Chat)) {
    with_page(|chat| {
        assert!(chat.restore(conversation(Vec::new())).is_none());
        test(chat);
    });
}

/// Runs `test` with a page that just opened: nothing has arrived yet.
fn with_page(test: impl FnOnce(Chat)) {
    Owner::new().with(|| test(Chat::new()));
}

/// Asks a question, whose id is its text, and answers it with an id in capitals; returns the turn.
fn exchange(chat: Chat, question: &str, end: Event) -> u64 {
    let sent = chat.ask(question).unwrap();
    chat.apply(sent.turn, asked(question, &question.to_uppercase()));
    chat.apply(sent.turn, text("Answer"));
    chat.apply(sent.turn, end);
    sent.turn
}

fn message(message_id: &str, role: Role, content: &str) -> Message {
    let state = MessageState::Done { outcome: None };
    Message { id: id(message_id), role, content: content.to_owned(), reasoning: None, state }
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

/// The parent and the text of a request.
fn contents(outgoing: &Outgoing) -> (Option<&str>, Option<&str>) {
    let Request { parent, text, .. } = &outgoing.request;
    (parent.as_ref().map(|parent| parent.0.as_str()), text.as_deref())
}

#[test]
fn answer_streams_and_ends() {
    with_chat(|chat| {
        let sent = chat.ask("  Hi \n").unwrap();
        assert_eq!(contents(&sent), (None, Some("Hi")));
        assert_eq!(state(chat), AnswerState::Streaming);
        chat.apply(sent.turn, asked("q", "a"));
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
        assert_eq!(contents(&next), (Some("a"), Some("And?")));
    });
}

#[test]
fn waiting_for_a_model_is_shown_until_it_reads() {
    with_chat(|chat| {
        let sent = chat.ask("Hi").unwrap();
        assert!(chat.ask("Second").is_none());
        chat.apply(sent.turn, asked("q", "a"));
        chat.apply(sent.turn, Event::Loading);
        assert_eq!(state(chat), AnswerState::Waiting);
        chat.model_changed(ModelStatus::Failed { error: error() });
        chat.model_changed(ready());
        assert_eq!(state(chat), AnswerState::Waiting);
        chat.apply(sent.turn, text("Hello"));
        assert_eq!(state(chat), AnswerState::Streaming);
    });
}

#[test]
fn unsent_question_is_stopped_without_the_shell() {
    with_page(|chat| {
        assert!(chat.ask("Hi").is_none());
        assert!(!chat.stop());
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert!(chat.restore(conversation(Vec::new())).is_none());
    });
}

#[test]
fn question_that_was_stopped_while_it_waited_has_no_statistics() {
    with_chat(|chat| {
        let sent = chat.ask("Hi").unwrap();
        chat.apply(sent.turn, Event::Loading);
        assert!(chat.stop());
        let stats = Stats {
            prompt_tokens: 0,
            prefilled_tokens: 0,
            tokens: 0,
            first_token_ms: 0.0,
            tokens_per_second: 0.0,
        };
        let outcome = Outcome { finish: Finish::Stopped, stats };
        chat.apply(sent.turn, Event::Done { outcome, view: ContextView::default() });
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert_eq!((chat.speed.get_untracked(), chat.view.get_untracked()), (None, None));
    });
}

#[test]
fn streaming_answer_is_stopped_by_the_shell() {
    with_chat(|chat| {
        assert!(!chat.stop());
        let sent = chat.ask("Hi").unwrap();
        chat.apply(sent.turn, asked("q", "a"));
        chat.apply(sent.turn, text("Hel"));
        assert!(chat.stop());
        chat.apply(sent.turn, done(Finish::Stopped));
        assert_eq!(state(chat), AnswerState::Stopped { stats: Some(STATS) });
        let next = chat.ask("More").unwrap();
        assert_eq!(contents(&next), (Some("a"), Some("More")));
    });
}

#[test]
fn rejects_concurrent_and_blank_questions() {
    with_chat(|chat| {
        assert!(chat.ask(" \n ").is_none());
        chat.ask("Hi").unwrap();
        assert!(chat.ask("Hi again").is_none());
        assert!(chat.regenerate().is_none());
        assert_eq!(chat.turns.with_untracked(Vec::len), 1);
    });
}

#[test]
fn rejected_questions_are_asked_again_with_their_text() {
    with_chat(|chat| {
        let sent = chat.ask("Hi").unwrap();
        chat.rejected(sent.turn, error());
        assert_eq!(state(chat), AnswerState::Failed { error: error() });
        assert_eq!(chat.announcement.get_untracked(), crate::text::error(&error()));
        let again = chat.regenerate().unwrap();
        assert_eq!(contents(&again), (None, Some("Hi")));
        chat.rejected(again.turn, error());
        assert_eq!(contents(&chat.ask("Else").unwrap()), (None, Some("Else")));
    });
}

#[test]
fn regenerating_replaces_the_last_answer() {
    with_chat(|chat| {
        assert!(chat.regenerate().is_none());
        let first = chat.ask("Hi").unwrap();
        chat.apply(first.turn, asked("q", "a"));
        chat.apply(first.turn, text("A"));
        chat.apply(first.turn, done(Finish::EndOfTurn));
        let second = chat.regenerate().unwrap();
        assert_eq!(contents(&second), (Some("q"), None));
        assert_ne!(first.turn, second.turn);
        chat.apply(first.turn, text("late"));
        chat.apply(second.turn, text("B"));
        let text = chat.turns.with_untracked(|turns| turns[0].answer.body.text.get_untracked());
        assert_eq!(text, "B");
    });
}

#[test]
fn editing_replaces_the_last_question() {
    with_chat(|chat| {
        let sent = chat.ask("Helo").unwrap();
        assert!(chat.edit(sent.turn).is_none(), "not while it is answered");
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        assert_eq!(chat.edit(sent.turn).as_deref(), Some("Helo"));
        assert_eq!(contents(&chat.ask("Hello").unwrap()), (None, Some("Hello")));
        assert_eq!(chat.turns.with_untracked(Vec::len), 1);
        assert_eq!(chat.editing.get_untracked(), None);
    });
}

#[test]
fn new_conversation_drops_late_events_and_waits_for_its_id() {
    with_chat(|chat| {
        let sent = chat.ask("Hi").unwrap();
        assert_eq!(chat.clear(), Some(ConversationId("c".to_owned())));
        chat.apply(sent.turn, text("late"));
        assert!(chat.turns.with_untracked(Vec::is_empty));
        assert!(chat.ask("New").is_none());
        chat.apply(sent.turn, text("later"));
        let new = Conversation { id: ConversationId("d".to_owned()), ..conversation(Vec::new()) };
        let next = chat.begin(new).unwrap();
        assert_eq!(contents(&next), (None, Some("New")));
        assert_eq!(next.request.conversation.0, "d");
        let answer = chat.turns.with_untracked(|turns| turns[0].answer.body.text.get_untracked());
        assert_eq!(answer, "");
    });
}

#[test]
fn conversation_that_cannot_be_deleted_is_shown_again() {
    with_chat(|chat| {
        chat.clear();
        chat.conversation_failed(error());
        assert_eq!(chat.failure.get_untracked(), Some(error()));
        chat.restore(conversation(vec![message("q", Role::User, "Old")]));
        assert_eq!(questions(chat), ["Old"]);
        assert_eq!(chat.failure.get_untracked(), None);
    });
}

#[test]
fn blocks_and_tail_make_the_complete_answer() {
    with_chat(|chat| {
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
fn window_begins_at_a_question_or_an_answer() {
    with_chat(|chat| {
        let first = exchange(chat, "one", done(Finish::EndOfTurn));
        assert_eq!(window_start(chat), None);
        let second = exchange(chat, "two", done_from("ONE"));
        assert_eq!(window_start(chat), Some((first, Part::Answer)));
        exchange(chat, "three", done_from("two"));
        assert_eq!(window_start(chat), Some((second, Part::Question)));
        let fourth = exchange(chat, "four", done_from("FOUR"));
        assert_eq!(window_start(chat), Some((fourth, Part::Answer)));
        chat.clear();
        assert_eq!(window_start(chat), None);
        assert_eq!(chat.view.get_untracked(), None);
    });
}

#[test]
fn window_start_is_cleared_with_its_message() {
    with_chat(|chat| {
        let first = exchange(chat, "one", done(Finish::EndOfTurn));
        let second = exchange(chat, "two", done_from("two"));
        assert_eq!(window_start(chat), Some((second, Part::Question)));
        chat.edit(second).unwrap();
        let again = chat.ask("Two, better").unwrap();
        assert_eq!(window_start(chat), None);
        chat.apply(again.turn, asked("better", "BETTER"));
        chat.apply(again.turn, done_from("better"));
        assert_eq!(window_start(chat), Some((again.turn, Part::Question)));
        chat.regenerate().unwrap();
        assert_eq!(window_start(chat), None);
        let sent = chat.answering.get_untracked().unwrap();
        chat.apply(sent, done_from("ONE"));
        assert_eq!(window_start(chat), Some((first, Part::Answer)));
        chat.regenerate().unwrap();
        assert_eq!(window_start(chat), Some((first, Part::Answer)), "the message still exists");
    });
}

#[test]
fn restores_the_saved_conversation() {
    with_page(|chat| {
        let window_start_id = Some(id("lost"));
        let view =
            ContextView { used_tokens: 7, window_start: window_start_id, ..ContextView::default() };
        let failed = Message {
            state: MessageState::Failed { error: error() },
            ..message("a2", Role::Assistant, "Half")
        };
        let outgoing = chat.restore(Conversation {
            overflow: Overflow::Stop,
            view: Some(view.clone()),
            ..conversation(vec![
                message("s", Role::System, "Be brief."),
                message("one", Role::User, "One"),
                message("a1", Role::Assistant, "*First*"),
                message("lost", Role::User, "Lost"),
                message("broken", Role::User, "Broken"),
                failed,
                message("two", Role::User, "Two"),
            ])
        });
        assert!(outgoing.is_none());
        assert_eq!(questions(chat), ["One", "Lost", "Broken", "Two"]);
        let turns = chat.turns.get_untracked();
        let done = AnswerState::Done { finish: Finish::EndOfTurn, stats: None };
        assert_eq!(turns[0].answer.state.get_untracked(), done);
        assert_eq!(turns[0].answer.body.text.get_untracked(), "*First*");
        assert_eq!(
            turns[0].answer.body.tail.get_untracked(),
            "<p dir=\"auto\"><em>First</em></p>\n"
        );
        assert_eq!(turns[2].answer.state.get_untracked(), AnswerState::Failed { error: error() });
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert_eq!(window_start(chat), Some((turns[1].id, Part::Question)));
        assert_eq!(chat.view.get_untracked(), Some(view));
        assert_eq!(chat.overflow.get_untracked(), Overflow::Stop);
        assert_eq!(chat.answering.get_untracked(), None);
        assert_eq!(contents(&chat.regenerate().unwrap()), (Some("two"), None));
    });
}

#[test]
fn early_question_follows_the_restored_conversation() {
    with_page(|chat| {
        assert!(chat.ask("New").is_none());
        let saved = || {
            conversation(vec![
                message("q", Role::User, "Old"),
                message("a", Role::Assistant, "Yes"),
            ])
        };
        let sent = chat.restore(saved()).unwrap();
        assert_eq!(questions(chat), ["Old", "New"]);
        assert_eq!(contents(&sent), (Some("a"), Some("New")));
        assert!(chat.restore(saved()).is_none(), "once");
        assert_eq!(questions(chat), ["Old", "New"]);
        chat.apply(sent.turn, done(Finish::EndOfTurn));
        chat.edit(sent.turn).unwrap();
        assert_eq!(contents(&chat.ask("Newer").unwrap()), (Some("a"), Some("Newer")));
        assert_eq!(questions(chat), ["Old", "Newer"]);
    });
}

#[test]
fn new_conversation_is_not_replaced_by_the_saved_one() {
    with_page(|chat| {
        assert_eq!(chat.clear(), None);
        assert!(chat.restore(conversation(vec![message("q", Role::User, "Old")])).is_none());
        assert!(questions(chat).is_empty());
        assert!(chat.ask("New").is_none());
        let sent = chat.begin(conversation(Vec::new())).unwrap();
        assert_eq!(contents(&sent), (None, Some("New")));
    });
}

#[test]
fn reading_is_shown_until_text_arrives() {
    with_chat(|chat| {
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
    with_chat(|chat| {
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
    });
}

#[test]
fn t10_splits_tags_in_streamed_and_saved_answers() {
    with_chat(|chat| {
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
        let saved = conversation(vec![
            message("q", Role::User, "Hi"),
            message("a", Role::Assistant, "<think>Why</think>Yes."),
            message("r", Role::User, "And?"),
            Message {
                reasoning: Some(Reasoning { text: "Hm".into(), elapsed_ms: Some(5) }),
                ..message("b", Role::Assistant, "No.")
            },
        ]);
        assert!(chat.restore(saved).is_none());
        let turns = chat.turns.get_untracked();
        let shown = |index: usize| {
            let answer = &turns[index].answer;
            (answer.reasoning.text.get_untracked(), answer.body.text.get_untracked())
        };
        assert_eq!(shown(0), ("Why".to_owned(), "Yes.".to_owned()));
        assert_eq!(shown(1), ("Hm".to_owned(), "No.".to_owned()));
        assert_eq!(turns[1].answer.reasoning_ms.get_untracked(), Some(5));
    });
}
