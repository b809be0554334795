//! Conversations: what a turn reads, what an edit reads, what leaves and what stays.

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
struct Talk {
    conversation: Conversation,
    messages: Vec<Message>,
    phases: Vec<Phase>,
    max_tokens: usize,
}

impl Talk {
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

    /// Answers the last message, which is a question.
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

    /// The tokens that the session has read, and how many of them are in its tokens.
    fn read(&self) -> u64 {
        self.conversation.session().counters().read
    }
}

/// Asks `turns` questions and checks that each turn reads its own tokens only.
fn check_turns(talk: &mut Talk, turns: usize) {
    let mut held = talk.conversation.session().tokens().len();
    for turn in 0..turns {
        let read = talk.read();
        let answer = talk.ask(QUESTIONS[turn % QUESTIONS.len()]).unwrap();
        let progress = &answer.progress;
        // The last token of an answer that was cut off was drawn and not read: it is new as well.
        assert_eq!(progress.prefilled_tokens, progress.prompt_tokens - held, "turn {turn}");
        assert!(progress.prefilled_tokens < 45 || turn == 0, "turn {turn}: {progress:?}");
        held = talk.conversation.session().tokens().len();
        let generated = held - progress.prompt_tokens;
        let expected = (progress.prefilled_tokens + generated) as u64;
        assert_eq!(talk.read() - read, expected, "turn {turn}");
    }
}

#[test]
fn forty_turns_read_their_own_tokens_while_the_window_slides() {
    let model = load(SMOLLM2, 400);
    let mut talk = Talk::new(&model, 24);
    talk.messages.push(message(Role::System, "You answer briefly and like rivers."));
    check_turns(&mut talk, 40);
    let view = talk.conversation.view();
    assert!(view.context.left() > 400, "{view:?}");
    assert_eq!(view.context.used(), 400);
    // What stands before the first question stays.
    let text =
        model.tokenizer().decode(&talk.conversation.session().tokens()[..view.context.sinks]);
    assert!(text.contains("like rivers.") && !text.contains("Name"), "{text:?}");
    assert!((20..talk.messages.len()).contains(&view.first_message), "{view:?}");
    assert!(talk.phases.iter().all(|&phase| phase == Phase::Prompt));
}

#[test]
fn models_without_a_template_read_their_own_tokens_too() {
    let mut talk = Talk::new(&load(GEMMA, 600), 16);
    check_turns(&mut talk, 8);
}

#[test]
fn an_edit_reads_from_the_edit_on_and_writing_anew_reads_nothing() {
    let model = load(SMOLLM2, 2048);
    let mut talk = Talk::new(&model, 24);
    check_turns(&mut talk, 8);
    talk.messages.pop();
    let again = talk.answer().unwrap();
    assert_eq!(again.progress.prefilled_tokens, 0);

    // The third question is another from its fourth word on.
    talk.messages.truncate(5);
    talk.messages[4].content = "Which of both carries more water?".to_owned();
    let before = model.tokenizer().encode("Which of both is longer?", false).unwrap();
    let held = talk.conversation.session().tokens().to_vec();
    let starts = held.windows(3).position(|ids| ids == &before[..3]).unwrap();
    let edited = talk.answer().unwrap();
    let progress = &edited.progress;
    assert_eq!(progress.prefilled_tokens, progress.prompt_tokens - (starts + 3));
    check_turns(&mut talk, 2);
}

#[test]
fn what_leaves_is_summarised_and_pinned() {
    let mut talk = Talk::new(&load(SMOLLM2, 512), 60);
    talk.conversation.set_overflow(Overflow::Summarise);
    for turn in 0..14 {
        talk.ask(QUESTIONS[turn % QUESTIONS.len()]).unwrap();
        assert_eq!(talk.conversation.view().context.left(), 0, "nothing leaves unsummarised");
    }
    let view = talk.conversation.view();
    let summary = view.summary.expect("more was said than fits");
    assert!(!summary.is_empty() && view.first_message > 0, "{summary:?}");
    assert_eq!(talk.messages[view.first_message].role, Role::User);
    let tokens = talk.conversation.session().tokens();
    let text = talk.conversation.session().model().tokenizer().decode(tokens);
    assert!(text.contains(&summary), "{text}");
    assert!(talk.phases.contains(&Phase::Summary));
    // An edit before what was summarised: the summary no longer stands for it.
    talk.messages.truncate(1);
    talk.messages[0].content = "Name a lake.".to_owned();
    talk.answer().unwrap();
    assert_eq!(talk.conversation.view().summary, None);
}

#[test]
fn a_full_context_stops_where_that_was_asked_for() {
    let mut talk = Talk::new(&load(SMOLLM2, 128), 40);
    talk.conversation.set_overflow(Overflow::Stop);
    let refused = (0..10).find_map(|_| talk.ask(QUESTIONS[0]).err()).expect("it is full");
    assert!(matches!(refused, Error::ContextFull { context: 128, .. }), "{refused:?}");
    // Going on is the user's to choose.
    talk.conversation.set_overflow(Overflow::Slide);
    talk.answer().unwrap();
}

#[test]
fn a_reopened_conversation_reads_its_new_tokens_only() {
    let model = load(SMOLLM2, 300);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.session");
    let mut talk = Talk::new(&model, 24);
    check_turns(&mut talk, 12);
    talk.conversation.save(&path).unwrap();
    let conversation = Conversation::load(&model, &path).unwrap();
    assert_eq!(conversation.view(), talk.conversation.view());
    let mut reopened = Talk::of(conversation, talk.messages.clone(), 24);
    check_turns(&mut reopened, 3);
    let expected: Vec<_> = (0..3).map(|turn| talk.ask(QUESTIONS[turn]).unwrap().text).collect();
    let answers = reopened.messages.iter().skip(25).step_by(2).map(|message| &message.content);
    assert!(answers.eq(&expected), "{expected:?}");

    // Without the saved session all is read again, as far as it is seen.
    let mut rebuilt = Talk::new(&model, 24);
    rebuilt.messages = reopened.messages.clone();
    let answer = rebuilt.ask(QUESTIONS[3]).unwrap();
    assert_eq!(answer.progress.prefilled_tokens, 300);
    assert!(rebuilt.phases.iter().all(|&phase| phase == Phase::Reread));
    assert!(rebuilt.conversation.view().first_message > 10);
}
