//! How the model's thread behaves, with a stand-in for the model.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::RecvTimeoutError;

use lilims_ipc::{Event, Message, MessageId, MessageState, Role, Settings};

use super::*;
use crate::parrot::{PATIENCE, all, loaded, sink, wait_for};

/// A model that stays loaded.
const NEVER: Idle = Idle { after: Duration::MAX, is_short: || false };

fn start(
    mut load: impl FnMut(&dyn Fn(String)) -> Result<Loaded, Error> + Send + 'static,
) -> (ModelHost, Receiver<ModelStatus>) {
    start_with(move |_, on_name| load(on_name), NEVER, None)
}

fn start_with(
    mut load: impl FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error> + Send + 'static,
    idle: Idle,
    suspended: Option<Attempt>,
) -> (ModelHost, Receiver<ModelStatus>) {
    let (sender, statuses) = channel();
    let sender = Mutex::new(sender);
    let notify = move |status: &ModelStatus| {
        let _ = sender.lock().send(status.clone());
    };
    let load = move |target: &Target, on_name: &dyn Fn(String)| load(target, on_name);
    (ModelHost::start(Target::default, notify, load, idle, |_, _| {}, suspended), statuses)
}

fn question(text: &str) -> Question {
    let state = MessageState::Done { outcome: None };
    let id = MessageId("question".to_owned());
    let content = text.to_owned();
    Question {
        conversation: ConversationId("conversation".to_owned()),
        messages: vec![Message {
            id,
            role: Role::User,
            content,
            attachments: Vec::new(),
            reasoning: None,
            state,
            versions: Vec::new(),
        }],
        answer: MessageId("answer".to_owned()),
        settings: Settings::new(),
        session: PathBuf::new(),
    }
}

fn ask(thread: &ModelHost, question: &str) -> Result<Receiver<Event>, Error> {
    let turn = thread.begin_turn(&ConversationId("conversation".to_owned()))?;
    let (sink, events) = sink();
    thread.send(turn, self::question(question), AnswerStream::new(sink));
    Ok(events)
}

fn finish(events: &[Event]) -> Finish {
    let events: Vec<_> = events.iter().filter(|event| **event != Event::Loading).collect();
    match &*events {
        [Event::Text { .. }, Event::Done { outcome, .. }] => outcome.finish,
        _ => panic!("{events:?}"),
    }
}

fn wait_for_failure(statuses: &Receiver<ModelStatus>) -> Error {
    loop {
        if let ModelStatus::Failed { error } = statuses.recv_timeout(PATIENCE).unwrap() {
            return error;
        }
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_question_waits_for_the_model() {
    let (open, gate) = channel::<()>();
    let (thread, statuses) = start(move |found| {
        found("parrot".to_owned());
        gate.recv().unwrap();
        loaded()
    });
    assert_eq!(statuses.recv_timeout(PATIENCE).unwrap(), loading("parrot"));
    let events = ask(&thread, "hi").unwrap();
    open.send(()).unwrap();
    assert_eq!(finish(&all(&events)), Finish::EndOfTurn);
    assert!(matches!(thread.status(), ModelStatus::Ready { .. }));
}

#[test]
fn one_answer_at_a_time_and_stop_ends_it() {
    let (thread, _statuses) = start(|_| loaded());
    let events = ask(&thread, "wait").unwrap();
    assert_eq!(ask(&thread, "hi").unwrap_err().problem, Problem::Answering);
    // Only once it is under way: a question that is stopped earlier has no text.
    let is_text = |event: &Event| matches!(event, Event::Text { .. });
    let first = events.iter().find(is_text).unwrap();
    thread.stop();
    let mut received = vec![first];
    received.extend(all(&events));
    assert_eq!(finish(&received), Finish::Stopped);
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
}

#[test]
fn a_panic_fails_the_answer_and_the_next_works() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let (thread, statuses) = start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        loaded()
    });
    let mut events = all(&ask(&thread, "panic").unwrap());
    events.retain(|event| *event != Event::Loading);
    let [Event::Text { .. }, Event::Failed { error }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(error.problem, Problem::Internal);
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
    assert_eq!(loads.load(Ordering::Relaxed), 2, "the model is loaded again, with new workers");
    let reasons = statuses.try_iter().filter_map(|status| match status {
        ModelStatus::Unloaded { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [UnloadReason::Failed]);
}

#[test]
fn a_panic_outside_of_a_job_ends_neither_thread_nor_app() {
    // The notice of a status panics once, where no job catches it.
    let panicked = AtomicBool::new(false);
    let notify = move |status: &ModelStatus| {
        let is_idle = matches!(status, ModelStatus::Unloaded { .. });
        assert!(!is_idle || panicked.swap(true, Ordering::Relaxed), "as the test asked");
    };
    let idle = Idle { after: Duration::from_secs(60), is_short: || false };
    let nothing = |_: &mut dyn ChatBackend, _: &AtomicBool| {};
    let load = |_: &Target, _: &dyn Fn(String)| loaded();
    let thread = ModelHost::start(Target::default, notify, load, idle, nothing, None);
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
    thread.unload().unwrap();
    until(|| matches!(thread.status(), ModelStatus::Unloaded { .. }));
    // A question that waits while the thread panics fails; the next one loads the model again.
    let is_end = |event: &Event| matches!(event, Event::Done { .. });
    until(|| all(&ask(&thread, "hi").unwrap()).iter().any(is_end));
}

#[test]
fn a_panic_while_loading_is_a_failure() {
    let (thread, statuses) = start(|_| panic!("as the test asked"));
    assert_eq!(wait_for_failure(&statuses).problem, Problem::Internal);
    assert_eq!(ask(&thread, "hi").unwrap_err().problem, Problem::Internal);
}

#[test]
fn loading_again_can_succeed() {
    let mut tries = 0;
    let (thread, statuses) = start(move |_| {
        tries += 1;
        if tries == 1 { Err(Problem::OutOfMemory.into()) } else { loaded() }
    });
    wait_for_failure(&statuses);
    assert!(ask(&thread, "hi").is_err());
    thread.retry_load().unwrap();
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
}

#[test]
fn shutting_down_ends_the_answer_under_way() {
    let (thread, _statuses) = start(|_| loaded());
    let events = ask(&thread, "wait").unwrap();
    thread.shut_down();
    assert!(matches!(
        all(&events).last(),
        Some(Event::Done { outcome: Outcome { finish: Finish::Stopped, .. }, .. })
    ));
    assert!(
        thread
            .ended
            .lock()
            .recv_timeout(PATIENCE)
            .is_err_and(|error| { error == RecvTimeoutError::Disconnected })
    );
}

#[test]
fn an_idle_model_gives_its_memory_back_and_the_next_question_loads_it() {
    let idle = Idle { after: Duration::ZERO, is_short: || false };
    let (thread, statuses) = start_with(|_, _| loaded(), idle, None);
    wait_for(&statuses, |status| matches!(status, ModelStatus::Unloaded { .. }));
    let events = ask(&thread, "question").unwrap();
    wait_for(&statuses, |status| matches!(status, ModelStatus::Ready { .. }));
    let events = all(&events);
    assert_eq!(events.first(), Some(&Event::Loading));
    assert!(matches!(events.last(), Some(Event::Done { .. })), "{events:?}");
}

#[test]
fn memory_that_runs_short_takes_the_model() {
    let idle = Idle { after: Duration::MAX, is_short: || true };
    let (_thread, statuses) = start_with(|_, _| loaded(), idle, None);
    wait_for(&statuses, |status| {
        matches!(status, ModelStatus::Unloaded { reason: UnloadReason::MemoryShort, .. })
    });
}

#[test]
fn another_model_is_loaded_by_name_and_the_first_unloaded_by_hand() {
    let (sender, targets) = channel();
    let load = move |target: &Target, _: &dyn Fn(String)| {
        sender.send(target.clone()).unwrap();
        loaded()
    };
    let (thread, statuses) = start_with(load, NEVER, None);
    assert_eq!(targets.recv_timeout(PATIENCE).unwrap(), Target::default());
    thread.unload().unwrap();
    wait_for(&statuses, |status| matches!(status, ModelStatus::Unloaded { .. }));
    let target = Target { name: Some("other".to_owned()), context_tokens: Some(512), draft: None };
    thread.use_model(target.clone()).unwrap();
    assert_eq!(targets.recv_timeout(PATIENCE).unwrap(), target);
    wait_for(&statuses, |status| matches!(status, ModelStatus::Ready { .. }));
}

#[test]
fn a_load_that_ended_the_app_is_not_tried_again_by_itself() {
    let attempt = Attempt {
        name: "Parrot".to_owned(),
        context_tokens: 8192,
        needed_bytes: 2,
        available_bytes: 1,
        safer_context_tokens: 2048,
    };
    let (thread, statuses) = start_with(|_, _| loaded(), NEVER, Some(attempt));
    assert!(matches!(thread.status(), ModelStatus::LoadSuspended { .. }));
    assert_eq!(ask(&thread, "question").unwrap_err().problem, Problem::LoadSuspended);
    thread.retry_load().unwrap();
    wait_for(&statuses, |status| matches!(status, ModelStatus::Ready { .. }));
}

#[test]
fn a_question_waits_until_some_model_loads_and_can_be_stopped_before() {
    let (open, gate) = channel::<()>();
    let load = move |target: &Target, _: &dyn Fn(String)| match target.name {
        Some(_) => loaded(),
        None => {
            let _ = gate.recv();
            Err(Problem::OutOfMemory.into())
        }
    };
    let (thread, statuses) = start_with(load, NEVER, None);
    let stopped = ask(&thread, "hi").unwrap();
    thread.stop();
    let stopped = all(&stopped);
    let [Event::Loading, Event::Done { outcome, .. }] = &*stopped else { panic!("{stopped:?}") };
    assert_eq!(outcome.finish, Finish::Stopped);
    let waiting = ask(&thread, "hi").unwrap();
    open.send(()).unwrap();
    wait_for_failure(&statuses);
    thread.use_model(Target { name: Some("other".to_owned()), ..Target::default() }).unwrap();
    assert_eq!(finish(&all(&waiting)), Finish::EndOfTurn);
}

#[test]
fn a_question_that_is_stopped_while_it_is_stored_does_not_wait() {
    let (_open, gate) = channel::<()>();
    let load = move |_: &Target, _: &dyn Fn(String)| {
        let _ = gate.recv();
        loaded()
    };
    let (thread, _statuses) = start_with(load, NEVER, None);
    let turn = thread.begin_turn(&ConversationId("conversation".to_owned())).unwrap();
    thread.stop();
    let (sink, events) = sink();
    thread.send(turn, question("hi"), AnswerStream::new(sink));
    assert!(matches!(all(&events).last(), Some(Event::Done { .. })));
}
