//! Conversations: tokens read by turns and edits, sliding, summaries, and reopening.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::conversation::{Phase, Update};
use lilims_engine::{
    Answer, BackendKind, Conversation, Error, GenerateOptions, KvType, LoadOptions, Message, Model,
    Overflow, Role,
};

use crate::{GEMMA, SMOLLM2, real_model};

const QUESTIONS: [&str; 4] = [
    "Name a river in Europe and tell me where it ends.",
    "And one in Asia?",
    "Which of both is longer? Answer in one short sentence, please.",
    "Thank you. What is 2 + 2?",
];

fn load(name: &str, context: usize) -> Arc<Model> {
    let (backend, kv_type) = (BackendKind::Cpu, KvType::F16);
    let options = LoadOptions { backend, kv_type, threads: Some(2), context: Some(context) };
    Model::load(&real_model(name), &options).unwrap()
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

/// A conversation with its messages.
struct Chat {
    conversation: Conversation,
    messages: Vec<Message>,
    phases: Vec<Phase>,
    max_tokens: usize,
}

impl Chat {
    fn new(model: &Arc<Model>, max_tokens: usize) -> Self {
        Self::of(Conversation::new(model).unwrap(), Vec::new(), max_tokens)
    }

    fn of(conversation: Conversation, messages: Vec<Message>, max_tokens: usize) -> Self {
        Self { conversation, messages, phases: Vec::new(), max_tokens }
    }

    fn ask(&mut self, question: &str) -> Result<Answer, Error> {
        self.messages.push(message(Role::User, question));
        self.answer()
    }

    /// Answers the last message, a question.
    fn answer(&mut self) -> Result<Answer, Error> {
        let Self { conversation, messages, phases, max_tokens } = self;
        let options = GenerateOptions { max_tokens: *max_tokens, ..GenerateOptions::default() };
        let cancel = AtomicBool::new(false);
        let answer = conversation.answer(messages, &options, &cancel, &mut |update| {
            if let Update::Reading { phase, done, total } = update {
                assert!(done <= total);
                phases.push(phase);
            }
        })?;
        messages.push(message(Role::Assistant, &answer.text));
        Ok(answer)
    }

    /// The number of tokens that the session has read.
    fn read(&self) -> u64 {
        self.conversation.session().counters().read
    }
}

/// Asks `turns` questions and checks that each turn reads only its own tokens.
fn check_turns(chat: &mut Chat, turns: usize) {
    let mut held = chat.conversation.session().tokens().len();
    for turn in 0..turns {
        let read = chat.read();
        let answer = chat.ask(QUESTIONS[turn % QUESTIONS.len()]).unwrap();
        let progress = &answer.progress;
        // The last token of a truncated answer was sampled but not read, so it is new as well.
        assert_eq!(progress.prefilled_tokens, progress.prompt_tokens - held, "turn {turn}");
        assert!(progress.prefilled_tokens < 45 || turn == 0, "turn {turn}: {progress:?}");
        held = chat.conversation.session().tokens().len();
        let generated = held - progress.prompt_tokens;
        let expected = (progress.prefilled_tokens + generated) as u64;
        assert_eq!(chat.read() - read, expected, "turn {turn}");
    }
}

#[test]
fn forty_turns_read_only_their_own_tokens_while_the_window_slides() {
    let model = load(SMOLLM2, 400);
    let mut chat = Chat::new(&model, 10);
    chat.messages.push(message(Role::System, "You answer briefly and like rivers."));
    check_turns(&mut chat, 40);
    let view = chat.conversation.view();
    assert!(view.context.left() > 400, "{view:?}");
    assert_eq!(view.context.used(), 400);
    // Everything before the first question is kept.
    let text =
        model.tokenizer().decode(&chat.conversation.session().tokens()[..view.context.sinks]);
    assert!(text.contains("like rivers.") && !text.contains("Name"), "{text:?}");
    assert!((20..chat.messages.len()).contains(&view.first_message), "{view:?}");
    assert!(chat.phases.iter().all(|&phase| phase == Phase::Prompt));
}

#[test]
fn a_continued_answer_is_the_one_that_was_not_interrupted() {
    for name in [SMOLLM2, GEMMA] {
        let model = load(name, 600);
        let whole = Chat::new(&model, 24).ask(QUESTIONS[0]).unwrap().text;

        let mut chat = Chat::new(&model, 9);
        let first = chat.ask(QUESTIONS[0]).unwrap();
        chat.max_tokens = 15;
        let more = chat.answer().unwrap();
        assert_eq!(format!("{}{}", first.text, more.text), whole, "{name}");
        // The last token of the first part was sampled but not read.
        assert_eq!(more.progress.prefilled_tokens, 1, "{name}: {:?}", more.progress);

        // The next question reads itself only.
        let continued = chat.messages.pop().unwrap().content;
        chat.messages.last_mut().unwrap().content.push_str(&continued);
        let next = chat.ask(QUESTIONS[3]).unwrap();
        assert!(next.progress.prefilled_tokens < 45, "{name}: {:?}", next.progress);

        // Without what the session holds, the same prompt is made of the text. What follows may be
        // another text, since reading and writing round differently.
        let half = vec![message(Role::User, QUESTIONS[0]), message(Role::Assistant, &first.text)];
        let mut fresh = Chat::of(Conversation::new(&model).unwrap(), half, 15);
        let again = fresh.answer().unwrap();
        assert_eq!(again.progress.prompt_tokens, more.progress.prompt_tokens, "{name}");
    }
}

#[test]
fn models_without_a_template_read_only_new_tokens_too() {
    let mut chat = Chat::new(&load(GEMMA, 600), 16);
    check_turns(&mut chat, 8);
}

#[test]
fn edits_read_from_the_edit_on_and_regenerating_reads_nothing() {
    let model = load(SMOLLM2, 2048);
    let mut chat = Chat::new(&model, 24);
    check_turns(&mut chat, 8);
    chat.messages.pop();
    let again = chat.answer().unwrap();
    assert_eq!(again.progress.prefilled_tokens, 0);

    // The third question differs from its fourth word on.
    chat.messages.truncate(5);
    chat.messages[4].content = "Which of both carries more water?".to_owned();
    let before = model.tokenizer().encode("Which of both is longer?", false).unwrap();
    let held = chat.conversation.session().tokens().to_vec();
    let starts = held.windows(3).position(|ids| ids == &before[..3]).unwrap();
    let edited = chat.answer().unwrap();
    let progress = &edited.progress;
    assert_eq!(progress.prefilled_tokens, progress.prompt_tokens - (starts + 3));
    check_turns(&mut chat, 2);
}

#[test]
fn evicted_messages_are_summarised_and_pinned() {
    let mut chat = Chat::new(&load(SMOLLM2, 512), 60);
    chat.conversation.set_overflow(Overflow::Summarise);
    for turn in 0..14 {
        chat.ask(QUESTIONS[turn % QUESTIONS.len()]).unwrap();
        assert_eq!(
            chat.conversation.view().context.left(),
            0,
            "nothing is evicted without a summary"
        );
    }
    let view = chat.conversation.view();
    let summary = view.summary.expect("the messages exceed the context");
    assert!(!summary.is_empty() && view.first_message > 0, "{summary:?}");
    assert_eq!(chat.messages[view.first_message].role, Role::User);
    let tokens = chat.conversation.session().tokens();
    let text = chat.conversation.session().model().tokenizer().decode(tokens);
    assert!(text.contains(&summary), "{text}");
    assert!(chat.phases.contains(&Phase::Summary));
    // An edit before the summarised messages invalidates the summary.
    chat.messages.truncate(1);
    chat.messages[0].content = "Name a lake.".to_owned();
    chat.answer().unwrap();
    assert_eq!(chat.conversation.view().summary, None);
}

#[test]
fn full_context_is_an_error_with_overflow_stop() {
    let mut chat = Chat::new(&load(SMOLLM2, 128), 40);
    chat.conversation.set_overflow(Overflow::Stop);
    let refused = (0..10).find_map(|_| chat.ask(QUESTIONS[0]).err()).expect("the context is full");
    assert!(matches!(refused, Error::ContextFull { context: 128, .. }), "{refused:?}");
    // The user can continue with another overflow mode.
    chat.conversation.set_overflow(Overflow::Slide);
    chat.answer().unwrap();
}

#[test]
fn reopened_conversation_reads_only_its_new_tokens() {
    let model = load(SMOLLM2, 300);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.session");
    let mut chat = Chat::new(&model, 24);
    check_turns(&mut chat, 12);
    chat.conversation.save(&path).unwrap();
    let conversation = Conversation::load(&model, &path).unwrap();
    assert_eq!(conversation.view(), chat.conversation.view());
    let mut reopened = Chat::of(conversation, chat.messages.clone(), 24);
    check_turns(&mut reopened, 3);
    let expected: Vec<_> = (0..3).map(|turn| chat.ask(QUESTIONS[turn]).unwrap().text).collect();
    let answers = reopened.messages.iter().skip(25).step_by(2).map(|message| &message.content);
    assert!(answers.eq(&expected), "{expected:?}");

    // Without the saved session, everything inside the window is read again.
    let mut rebuilt = Chat::new(&model, 24);
    rebuilt.messages = reopened.messages.clone();
    let answer = rebuilt.ask(QUESTIONS[3]).unwrap();
    assert_eq!(answer.progress.prefilled_tokens, 300);
    assert!(rebuilt.phases.iter().all(|&phase| phase == Phase::Reread));
    assert!(rebuilt.conversation.view().first_message > 10);
}
