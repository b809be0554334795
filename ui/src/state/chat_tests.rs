//! Tests of the conversation state, without a page or a shell.

use lilims_ipc::{
    Finish, Message, MessageState, ModelInfo, Phase, Problem, Reasoning, Role, Stats,
};

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
        assistant: None,
        overflow: Overflow::Slide,
        view: None,
        draft: String::new(),
        unsaved: None,
    }
}

/// Runs `test` with a new conversation.
fn with_chat(test: impl FnOnce(Chat)) {
    with_page(|chat| {
        assert!(chat.show(conversation(Vec::new())).is_none());
        test(chat);
    });
}

/// Runs `test` with a page that just opened: nothing has arrived yet.
fn with_page(test: impl FnOnce(Chat)) {
    Owner::new().with(|| test(Chat::new()));
}

/// Asks a question, whose id is its text, and answers it with an id in capitals.
fn exchange(chat: Chat, question: &str, end: Event) {
    let sent = chat.ask(question, Arc::default()).unwrap();
    chat.apply(sent.answer, asked(question, &question.to_uppercase()));
    chat.apply(sent.answer, text("Answer"));
    chat.apply(sent.answer, end);
}

fn message(message_id: &str, role: Role, content: &str) -> Message {
    let state = MessageState::Done { outcome: None };
    let (content, versions) = (content.to_owned(), Vec::new());
    Message {
        id: id(message_id),
        role,
        content,
        attachments: Vec::new(),
        reasoning: None,
        state,
        versions,
    }
}

/// The id of the message with which the window begins.
fn window_start(chat: Chat) -> Option<String> {
    let key = chat.window_start.get_untracked()?;
    Some(chat.id_of(key)?.0)
}

fn questions(chat: Chat) -> Vec<String> {
    let entries = chat.entries.get_untracked();
    entries.iter().filter_map(|entry| entry.question()).map(|it| it.to_string()).collect()
}

fn answers(chat: Chat) -> Vec<Answer> {
    chat.entries.get_untracked().iter().filter_map(|entry| entry.answer().cloned()).collect()
}

fn texts(chat: Chat) -> Vec<String> {
    answers(chat).iter().map(|answer| answer.body.text.get_untracked()).collect()
}

fn state(chat: Chat) -> AnswerState {
    answers(chat).pop().unwrap().state.get_untracked()
}

/// The key of the last message, which is an answer.
fn last(chat: Chat) -> u64 {
    chat.entries.get_untracked().last().unwrap().key
}

/// The key of the last question.
fn last_question(chat: Chat) -> u64 {
    let entries = chat.entries.get_untracked();
    entries.iter().rev().find(|entry| entry.question().is_some()).unwrap().key
}

/// Has the last question answered again.
fn again(chat: Chat) -> Outgoing {
    chat.again(last(chat)).unwrap()
}

/// The parent and the text of a request.
fn contents(outgoing: &Outgoing) -> (Option<&str>, Option<&str>) {
    let Request { parent, text, .. } = &outgoing.request;
    (parent.as_ref().map(|parent| parent.0.as_str()), text.as_deref())
}

#[test]
fn answer_streams_and_ends() {
    with_chat(|chat| {
        let sent = chat.ask("  Hi \n", Arc::default()).unwrap();
        assert_eq!(contents(&sent), (None, Some("Hi")));
        assert_eq!(state(chat), AnswerState::Streaming);
        chat.apply(sent.answer, asked("q", "a"));
        chat.apply(sent.answer, text("*Hel"));
        chat.apply(sent.answer, text("lo*\n\nyou"));
        assert_eq!(chat.speed.get_untracked(), Some(40.0));
        assert_eq!(chat.announcement.get_untracked(), "Hello");
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        assert_eq!(
            state(chat),
            AnswerState::Done { finish: Finish::EndOfTurn, stats: Some(STATS) }
        );
        assert_eq!(chat.announcement.get_untracked(), "you");
        assert_eq!(chat.answering.get_untracked(), None);
        let next = chat.ask("And?", Arc::default()).unwrap();
        assert_eq!(contents(&next), (Some("a"), Some("And?")));
    });
}

#[test]
fn waiting_for_a_model_is_shown_until_it_reads() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        assert!(chat.ask("Second", Arc::default()).is_none());
        chat.apply(sent.answer, asked("q", "a"));
        chat.apply(sent.answer, Event::Loading);
        assert_eq!(state(chat), AnswerState::Waiting);
        chat.model_changed(ModelStatus::Failed { error: error() });
        chat.model_changed(ready());
        assert_eq!(state(chat), AnswerState::Waiting);
        chat.apply(sent.answer, text("Hello"));
        assert_eq!(state(chat), AnswerState::Streaming);
    });
}

#[test]
fn unsent_question_is_stopped_without_the_shell() {
    with_page(|chat| {
        assert!(chat.ask("Hi", Arc::default()).is_none());
        assert!(!chat.stop());
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert!(chat.show(conversation(Vec::new())).is_none());
    });
}

#[test]
fn question_that_was_stopped_while_it_waited_has_no_statistics() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        chat.apply(sent.answer, Event::Loading);
        assert!(chat.stop());
        let stats = Stats {
            prompt_tokens: 0,
            prefilled_tokens: 0,
            tokens: 0,
            first_token_ms: 0.0,
            tokens_per_second: 0.0,
        };
        let outcome = Outcome { finish: Finish::Stopped, stats };
        chat.apply(sent.answer, Event::Done { outcome, view: ContextView::default() });
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert_eq!((chat.speed.get_untracked(), chat.view.get_untracked()), (None, None));
    });
}

#[test]
fn streaming_answer_is_stopped_by_the_shell() {
    with_chat(|chat| {
        assert!(!chat.stop());
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        chat.apply(sent.answer, asked("q", "a"));
        chat.apply(sent.answer, text("Hel"));
        assert!(chat.stop());
        chat.apply(sent.answer, done(Finish::Stopped));
        assert_eq!(state(chat), AnswerState::Stopped { stats: Some(STATS) });
        let next = chat.ask("More", Arc::default()).unwrap();
        assert_eq!(contents(&next), (Some("a"), Some("More")));
    });
}

#[test]
fn rejects_concurrent_and_blank_questions() {
    with_chat(|chat| {
        assert!(chat.ask(" \n ", Arc::default()).is_none());
        chat.ask("Hi", Arc::default()).unwrap();
        assert!(chat.ask("Hi again", Arc::default()).is_none());
        assert!(chat.again(last(chat)).is_none());
        assert_eq!(questions(chat), ["Hi"]);
    });
}

#[test]
fn rejected_questions_are_asked_again_with_their_text() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        chat.rejected(sent.answer, error());
        assert_eq!(state(chat), AnswerState::Failed { error: error() });
        assert_eq!(chat.announcement.get_untracked(), crate::text::error(&error()));
        let again = again(chat);
        assert_eq!(contents(&again), (None, Some("Hi")));
        chat.rejected(again.answer, error());
        assert_eq!(contents(&chat.ask("Else", Arc::default()).unwrap()), (None, Some("Else")));
    });
}

#[test]
fn an_answer_again_is_another_version() {
    with_chat(|chat| {
        let first = chat.ask("Hi", Arc::default()).unwrap();
        chat.apply(first.answer, asked("q", "a"));
        chat.apply(first.answer, text("A"));
        chat.apply(first.answer, done(Finish::EndOfTurn));
        let second = again(chat);
        assert_eq!(contents(&second), (Some("q"), None));
        assert_ne!(first.answer, second.answer);
        chat.apply(first.answer, text("late"));
        chat.apply(second.answer, asked("q", "b"));
        chat.apply(second.answer, text("B"));
        assert_eq!(texts(chat), ["B"]);
        let entry = chat.entries.get_untracked().pop().unwrap();
        assert_eq!(entry.versions.get_untracked(), [id("a"), id("b")]);
    });
}

#[test]
fn an_answer_after_an_answer_is_written_again_from_the_question() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::EndOfTurn));
        let more = Entry::new(chat.take_key(), Body::Answer(Answer::default()));
        chat.entries.update(|entries| entries.push(more));
        assert_eq!(contents(&again(chat)), (Some("one"), None));
        assert_eq!(chat.entries.with_untracked(Vec::len), 2);
    });
}

#[test]
fn an_edited_question_is_another_version_and_what_followed_is_not_shown() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::EndOfTurn));
        exchange(chat, "helo", done(Finish::EndOfTurn));
        let key = last_question(chat);
        exchange(chat, "three", done(Finish::EndOfTurn));
        let edited = chat.edit_question(key, " hello ").unwrap();
        assert_eq!(contents(&edited), (Some("ONE"), Some("hello")));
        assert_eq!(questions(chat), ["one", "hello"]);
        assert!(chat.edit_question(last_question(chat), "x").is_none(), "while it is answered");
        chat.apply(edited.answer, asked("hello", "HELLO"));
        let entries = chat.entries.get_untracked();
        assert_eq!(entries[2].versions.get_untracked(), [id("helo"), id("hello")]);
        assert_eq!(entries[3].versions.get_untracked(), []);
    });
}

#[test]
fn an_answer_is_continued_where_it_ended() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::Stopped));
        let more = chat.continue_answer(last(chat)).unwrap();
        assert_eq!(contents(&more), (Some("ONE"), None));
        assert_eq!(state(chat), AnswerState::Streaming);
        chat.apply(more.answer, asked("one", "ONE"));
        chat.apply(more.answer, text(" and *more*"));
        chat.apply(more.answer, done(Finish::EndOfTurn));
        assert_eq!(texts(chat), ["Answer and *more*"]);
        let html = answers(chat)[0].body.tail.get_untracked();
        assert_eq!(html, "<p dir=\"auto\">Answer and <em>more</em></p>\n");
    });
}

#[test]
fn an_answer_goes_on_while_another_conversation_is_shown() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        chat.apply(sent.answer, asked("q", "a"));
        chat.apply(sent.answer, text("One"));
        chat.leave();
        assert!(chat.entries.with_untracked(Vec::is_empty));
        let other = Conversation { id: ConversationId("d".to_owned()), ..conversation(Vec::new()) };
        chat.show(other);
        assert!(chat.is_answering() && !chat.answers_here());
        assert!(chat.ask("New", Arc::default()).is_none());
        chat.apply(sent.answer, text(" two"));
        chat.leave();
        let writing = Message { state: MessageState::Writing, ..message("a", Role::Assistant, "") };
        chat.show(conversation(vec![message("q", Role::User, "Hi"), writing]));
        assert!(chat.answers_here());
        chat.apply(sent.answer, text(" three"));
        assert_eq!(texts(chat), ["One two three"]);
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        assert!(matches!(state(chat), AnswerState::Done { .. }));
        assert!(!chat.is_answering());
    });
}

#[test]
fn a_question_waits_for_its_new_conversation() {
    with_chat(|chat| {
        chat.leave();
        assert!(chat.ask("New", Arc::default()).is_none());
        let new = Conversation { id: ConversationId("d".to_owned()), ..conversation(Vec::new()) };
        let next = chat.show(new).unwrap();
        assert_eq!(contents(&next), (None, Some("New")));
        assert_eq!(next.request.conversation.0, "d");
        assert_eq!(texts(chat), [""]);
    });
}

#[test]
fn messages_that_stay_keep_their_keys() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::EndOfTurn));
        let before: Vec<u64> = chat.entries.get_untracked().iter().map(|it| it.key).collect();
        let versions = vec![id("ONE"), id("other")];
        let other = Message { versions, ..message("other", Role::Assistant, "Else") };
        chat.show(conversation(vec![message("one", Role::User, "one"), other]));
        let after = chat.entries.get_untracked();
        assert_eq!(after[0].key, before[0]);
        assert_ne!(after[1].key, before[1]);
        assert_eq!(chat.leaf(), Some(id("other")));
    });
}

#[test]
fn messages_of_any_order_are_shown() {
    with_page(|chat| {
        let messages = [
            message("s", Role::System, "Be brief."),
            message("a", Role::Assistant, "Hello"),
            message("b", Role::Assistant, "Still there?"),
        ];
        chat.show(conversation(messages.to_vec()));
        assert_eq!(texts(chat), ["Hello", "Still there?"]);
        assert_eq!(chat.text_of(0).as_deref(), Some("Be brief."));
        assert_eq!(chat.text_of(2).as_deref(), Some("Still there?"));
    });
}

#[test]
fn blocks_and_tail_make_the_complete_answer() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        chat.apply(sent.answer, text("# A\n\nb\n\nc"));
        chat.apply(sent.answer, text("d\n"));
        let answer = answers(chat).remove(0);
        let blocks = answer.body.blocks.get_untracked();
        let html: Vec<_> = blocks.iter().map(|block| &*block.html).collect();
        assert_eq!(html, ["<h1 dir=\"auto\">A</h1>\n", "<p dir=\"auto\">b</p>\n"]);
        assert_eq!(answer.body.tail.get_untracked(), "<p dir=\"auto\">cd</p>\n");
    });
}

#[test]
fn window_begins_at_a_question_or_an_answer() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::EndOfTurn));
        assert_eq!(window_start(chat), None);
        exchange(chat, "two", done_from("ONE"));
        assert_eq!(window_start(chat).as_deref(), Some("ONE"));
        exchange(chat, "three", done_from("two"));
        assert_eq!(window_start(chat).as_deref(), Some("two"));
        exchange(chat, "four", done_from("FOUR"));
        assert_eq!(window_start(chat).as_deref(), Some("FOUR"));
        chat.leave();
        assert_eq!(window_start(chat), None);
        assert_eq!(chat.view.get_untracked(), None);
    });
}

#[test]
fn window_start_is_cleared_with_its_message() {
    with_chat(|chat| {
        exchange(chat, "one", done(Finish::EndOfTurn));
        exchange(chat, "two", done_from("two"));
        assert_eq!(window_start(chat).as_deref(), Some("two"));
        let edited = chat.edit_question(last_question(chat), "Two, better").unwrap();
        assert_eq!(window_start(chat), None);
        chat.apply(edited.answer, asked("better", "BETTER"));
        chat.apply(edited.answer, done_from("BETTER"));
        assert_eq!(window_start(chat).as_deref(), Some("BETTER"));
        let sent = again(chat);
        assert_eq!(window_start(chat), None);
        chat.apply(sent.answer, done_from("ONE"));
        assert_eq!(window_start(chat).as_deref(), Some("ONE"));
        again(chat);
        assert_eq!(window_start(chat).as_deref(), Some("ONE"), "the message is still shown");
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
        let outgoing = chat.show(Conversation {
            assistant: None,
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
        let answers = answers(chat);
        let done = AnswerState::Done { finish: Finish::EndOfTurn, stats: None };
        assert_eq!(answers[0].state.get_untracked(), done);
        assert_eq!(answers[0].body.text.get_untracked(), "*First*");
        answers[0].draw();
        let html = answers[0].body.tail.get_untracked();
        assert_eq!(html, "<p dir=\"auto\"><em>First</em></p>\n");
        assert_eq!(answers[1].state.get_untracked(), AnswerState::Failed { error: error() });
        assert_eq!(state(chat), AnswerState::Stopped { stats: None });
        assert_eq!(window_start(chat).as_deref(), Some("lost"));
        assert_eq!(chat.view.get_untracked(), Some(view));
        assert_eq!(chat.overflow.get_untracked(), Overflow::Stop);
        assert_eq!(chat.answering.get_untracked(), None);
        assert_eq!(contents(&again(chat)), (Some("two"), None));
    });
}

#[test]
fn early_question_follows_the_restored_conversation() {
    with_page(|chat| {
        assert!(chat.ask("New", Arc::default()).is_none());
        let saved = || {
            conversation(vec![
                message("q", Role::User, "Old"),
                message("a", Role::Assistant, "Yes"),
            ])
        };
        let sent = chat.show(saved()).unwrap();
        assert_eq!(questions(chat), ["Old", "New"]);
        assert_eq!(contents(&sent), (Some("a"), Some("New")));
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        let edited = chat.edit_question(last_question(chat), "Newer").unwrap();
        assert_eq!(contents(&edited), (Some("a"), Some("Newer")));
        assert_eq!(questions(chat), ["Old", "Newer"]);
    });
}

#[test]
fn reading_is_shown_until_text_arrives() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        let reading = || answers(chat)[0].reading.get_untracked();
        let event =
            |read_tokens| Event::Reading { phase: Phase::Prompt, read_tokens, total_tokens: 1024 };
        assert_eq!(reading(), None);
        chat.apply(sent.answer, event(256));
        chat.apply(sent.answer, event(512));
        assert_eq!(reading().and_then(|reading| reading.percent()), Some(50));
        assert_eq!(state(chat), AnswerState::Streaming);
        assert_eq!(chat.announcement.get_untracked(), "");
        chat.apply(sent.answer, text("A"));
        assert_eq!(reading(), None);
        chat.apply(sent.answer, event(768));
        chat.apply(sent.answer, done(Finish::Stopped));
        assert_eq!(reading(), None);
    });
}

#[test]
fn t10_reasoning_is_separate_and_not_announced() {
    with_chat(|chat| {
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        let reasoning = |text: &str, elapsed_ms| Event::Reasoning {
            text: text.into(),
            elapsed_ms,
            tokens: 1,
            tokens_per_second: 40.0,
        };
        chat.apply(sent.answer, reasoning("Is *it*", 0));
        chat.apply(sent.answer, reasoning("?", 2300));
        chat.apply(sent.answer, text("<think> is"));
        chat.apply(sent.answer, text(" a tag."));
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        let answer = answers(chat).remove(0);
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
        let sent = chat.ask("Hi", Arc::default()).unwrap();
        for piece in ["<th", "ink>\nW", "hy</thi", "nk>\n\nYes", "."] {
            chat.apply(sent.answer, text(piece));
        }
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        let answer = answers(chat).remove(0);
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
        assert!(chat.show(saved).is_none());
        let answers = answers(chat);
        let shown = |index: usize| {
            let answer = &answers[index];
            (answer.reasoning.text.get_untracked(), answer.body.text.get_untracked())
        };
        assert_eq!(shown(0), ("Why".to_owned(), "Yes.".to_owned()));
        assert_eq!(shown(1), ("Hm".to_owned(), "No.".to_owned()));
        assert_eq!(answers[1].reasoning_ms.get_untracked(), Some(5));
    });
}

#[test]
fn an_edited_question_keeps_the_documents_of_the_first_version() {
    with_chat(|chat| {
        let document = lilims_ipc::Attachment {
            id: lilims_ipc::AttachmentId("1".into()),
            name: "a.txt".into(),
            kind: lilims_ipc::AttachmentKind::Text,
            size_bytes: 1,
            tokens: None,
            fits: None,
            sent_as: lilims_ipc::AttachmentUse::Whole,
            sent_tokens: None,
            notes: Vec::new(),
        };
        let documents: Arc<[Attachment]> = vec![document.clone()].into();
        let sent = chat.ask("Hi", documents).unwrap();
        assert_eq!(sent.request.attachments_of, None);
        chat.apply(sent.answer, asked("q", "a"));
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        let sent = chat.edit_question(last_question(chat), "Hello").unwrap();
        assert_eq!(sent.request.attachments_of, Some(id("q")));
        let shown = chat.entries.get_untracked();
        assert_eq!(shown[0].attachments.first(), Some(&document));
        chat.apply(sent.answer, asked("q2", "a2"));
        chat.apply(sent.answer, done(Finish::EndOfTurn));
        let stored = Message { attachments: vec![document], ..message("q3", Role::User, "Hi") };
        chat.show(conversation(vec![stored]));
        assert_eq!(chat.entries.get_untracked()[0].attachments.len(), 1);
    });
}
