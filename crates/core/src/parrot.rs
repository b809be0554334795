//! A stand-in for the model, for tests of the model's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lilims_engine::{Model, Progress};
use lilims_ipc::{
    ContextView, ConversationId, Error, Event, Finish, ModelInfo, ModelStatus, Outcome, Settings,
    Stats,
};

use crate::answer_stream::{AnswerStream, Ending};
use crate::conversations::Question;
use crate::model_host::{ChatBackend, Loaded};
use crate::token_count::CountTokens;

/// Fails a test that would hang; nothing here takes a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Says `hello` and ends, or does what the question says: `panic`, `wait` until it is stopped, `silent`.
pub(crate) struct Parrot;

impl ChatBackend for Parrot {
    fn recommended(&self) -> Settings {
        Settings::new()
    }

    fn model(&self) -> Option<Arc<Model>> {
        None
    }

    fn answer(
        &mut self,
        question: &Question,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        let text = question.messages.last().map_or("", |message| message.content.as_str());
        if text != "silent" {
            stream.push("hello", &Progress::default());
        }
        match text {
            "panic" => panic!("as the test asked"),
            "wait" => {
                while !cancel.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                Ok(ending(Finish::Stopped))
            }
            _ => Ok(ending(Finish::EndOfTurn)),
        }
    }

    fn title(&mut self, question: &str, _answer: &str, _cancel: &AtomicBool) -> Option<String> {
        Some(format!("On {question}"))
    }

    /// Words are its tokens.
    fn count_tokens(&self) -> Option<CountTokens> {
        Some(Arc::new(|text| Some(text.split_whitespace().count())))
    }

    fn discard(&mut self) {}

    fn forget(&mut self, _conversation: &ConversationId) {}

    fn save(&mut self) {}
}

fn ending(finish: Finish) -> Ending {
    let stats = Stats {
        prompt_tokens: 1,
        prefilled_tokens: 1,
        tokens: 1,
        first_token_ms: 1.0,
        tokens_per_second: 1.0,
    };
    let view = ContextView { used_tokens: 2, ..ContextView::default() };
    Ending { outcome: Outcome { finish, stats }, view }
}

/// The loaded parrot.
pub(crate) fn loaded() -> Result<Loaded, Error> {
    let model = ModelInfo {
        name: "Parrot".to_owned(),
        family: "bird".to_owned(),
        quantisation: "F32".to_owned(),
        size_bytes: 1,
        context_tokens: 400,
        backend: "test".to_owned(),
        cache_bytes: 1,
        can_slide: true,
    };
    Ok((model, Box::new(Parrot)))
}

/// A sink, and the events that it gets.
pub(crate) fn sink() -> (impl Fn(Event) + Send + 'static, Receiver<Event>) {
    let (sender, events) = channel();
    (move |event| drop(sender.send(event)), events)
}

/// All events of an answer; the channel closes with the stream.
pub(crate) fn all(events: &Receiver<Event>) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(event) => all.push(event),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("the answer never ended: {all:?}"),
        }
    }
}

/// Waits until the thread reports such a status.
pub(crate) fn wait_for(statuses: &Receiver<ModelStatus>, is_it: impl Fn(&ModelStatus) -> bool) {
    while !is_it(&statuses.recv_timeout(PATIENCE).unwrap()) {}
}
