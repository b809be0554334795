//! How the model's thread behaves, with a stand-in for the model.

use std::sync::mpsc::RecvTimeoutError;

use lilims_engine::Progress;
use lilims_ipc::{Message, Options, Role};

use super::*;

/// Fails a test that would hang; nothing here takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says `hello` and ends, or as the question commands: `panic`, `wait` until it is stopped.
struct Parrot;

impl ChatBackend for Parrot {
    fn answer(
        &mut self,
        request: &Request,
        _saved: &mut SavedConversation,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        stream.push("hello", &Progress::default());
        match request.messages[0].content.as_str() {
            "panic" => panic!("as the test asked"),
            "wait" => {
                while !cancel.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                Ok(stopped_early())
            }
            _ => Ok(Ending { finish: Finish::EndOfTurn, ..stopped_early() }),
        }
    }

    fn discard(&mut self) {}

    fn reset(&mut self) {}

    fn save(&mut self, _saved: &SavedConversation) {}
}

/// A model that stays loaded.
const NEVER: Idle = Idle { after: Duration::MAX, is_short: || false };

fn loaded() -> Result<Loaded, Error> {
    let model = ModelInfo {
        name: "Parrot".to_owned(),
        family: "bird".to_owned(),
        quantisation: "F32".to_owned(),
        size_bytes: 1,
        context_tokens: 1,
        backend: "test".to_owned(),
        cache_bytes: 1,
        can_slide: true,
    };
    Ok((model, Box::new(Parrot)))
}

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
        let _ = lock(&sender).send(status.clone());
    };
    let load = move |target: &Target, _: &SavedConversation, on_name: &dyn Fn(String)| {
        load(target, on_name)
    };
    let saved = SavedConversation::in_memory();
    (ModelHost::start(notify, load, saved, idle, suspended), statuses)
}

fn ask(thread: &ModelHost, question: &str) -> Result<Receiver<Event>, Error> {
    let message = Message::new(Role::User, question);
    let request =
        Request { messages: vec![message], options: Options::default(), overflow: Overflow::Slide };
    let (sender, events) = channel();
    thread.send(request, move |event| {
        let _ = sender.send(event);
    })?;
    Ok(events)
}

/// All events of an answer; the channel closes with the stream.
fn all(events: &Receiver<Event>) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(event) => all.push(event),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("the answer never ended: {all:?}"),
        }
    }
}

fn finish(events: &[Event]) -> Finish {
    match events {
        [Event::Text { .. }, Event::Done { finish, .. }] => *finish,
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
    let first = events.recv_timeout(PATIENCE).unwrap();
    thread.stop();
    let mut heard = vec![first];
    heard.extend(all(&events));
    assert_eq!(finish(&heard), Finish::Stopped);
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
}

#[test]
fn a_panic_fails_the_answer_and_the_next_works() {
    let (thread, _statuses) = start(|_| loaded());
    let events = all(&ask(&thread, "panic").unwrap());
    let [Event::Text { .. }, Event::Failed { error }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(error.problem, Problem::Internal);
    assert_eq!(finish(&all(&ask(&thread, "hi").unwrap())), Finish::EndOfTurn);
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
    assert!(matches!(all(&events).last(), Some(Event::Done { finish: Finish::Stopped, .. })));
    assert!(
        lock(&thread.ended)
            .recv_timeout(PATIENCE)
            .is_err_and(|error| { error == RecvTimeoutError::Disconnected })
    );
}

#[test]
fn an_empty_request_is_refused() {
    let (thread, _statuses) = start(|_| loaded());
    let request =
        Request { messages: Vec::new(), options: Options::default(), overflow: Overflow::Slide };
    assert!(thread.send(request, |_| ()).is_err());
}

#[test]
fn an_idle_model_gives_its_memory_back_and_the_next_question_loads_it() {
    let idle = Idle { after: Duration::ZERO, is_short: || false };
    let (thread, statuses) = start_with(|_, _| loaded(), idle, None);
    wait_for(&statuses, |status| matches!(status, ModelStatus::Unloaded { .. }));
    let events = ask(&thread, "question").unwrap();
    wait_for(&statuses, |status| matches!(status, ModelStatus::Ready { .. }));
    let last = events.iter().last().unwrap();
    assert!(matches!(last, Event::Done { .. }), "{last:?}");
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
    let target = Target { name: Some("other".to_owned()), context_tokens: Some(512) };
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

/// Waits until the thread reports such a status.
fn wait_for(statuses: &Receiver<ModelStatus>, is_it: impl Fn(&ModelStatus) -> bool) {
    while !is_it(&statuses.recv_timeout(PATIENCE).unwrap()) {}
}

#[test]
fn a_conversation_is_deleted_for_good_with_no_model_loaded() {
    for is_loaded in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("current.json");
        let saved = SavedConversation::at(path.clone());
        let load = move |_: &Target, _: &SavedConversation, _: &dyn Fn(String)| match is_loaded {
            true => loaded(),
            false => Err(Problem::ModelDamaged.into()),
        };
        let (sender, statuses) = channel();
        let sender = Mutex::new(sender);
        let notify = move |status: &ModelStatus| drop(lock(&sender).send(status.clone()));
        let idle = Idle { after: Duration::ZERO, is_short: || false };
        let host = ModelHost::start(notify, load, saved, idle, None);
        if is_loaded {
            all(&ask(&host, "hi").unwrap());
            wait_for(&statuses, |status| matches!(status, ModelStatus::Unloaded { .. }));
        } else {
            wait_for_failure(&statuses);
            std::fs::write(&path, r#"{"messages":[{"role":"user","content":"a"}]}"#).unwrap();
        }
        let session = folder.path().join("current.json.session");
        std::fs::write(&session, "read").unwrap();
        assert!(path.exists());
        host.forget().unwrap();
        host.shut_down();
        assert!(!path.exists() && !session.exists(), "loaded before: {is_loaded}");
    }
}
