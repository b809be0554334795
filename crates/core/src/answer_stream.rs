//! Carries an answer to a door and to its record: text in batches, at most one in two frames, then exactly
//! one end.

use std::time::{Duration, Instant};

use lilims_engine::Progress;
use lilims_ipc::{ContextView, Error, Event, Finish, MessageId, Outcome, Phase, Settings};
use lilims_store::MessageState;
use serde_json::Value;

use crate::conversations::to_json;
use crate::journal::AnswerRecord;

/// Two frames at 60 Hz. One batch a frame would double the time that the page needs for drawing.
const PACE: Duration = Duration::from_millis(33);

/// The end of an answer that did not fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Why it ended, and what it took.
    pub outcome: Outcome,
    /// The view of the context then.
    pub view: ContextView,
}

/// An answer on its way to a door. Dropping it without an end sends a failure.
pub struct AnswerStream {
    sink: Box<dyn Fn(Event) + Send>,
    record: Option<AnswerRecord>,
    /// The name of the model that writes.
    model: Option<String>,
    /// The settings that apply, as they are stored.
    settings: Option<Value>,
    /// Reasoning, which comes before the text.
    pending_reasoning: String,
    pending: String,
    reasoning_began_at: Option<Instant>,
    reasoning_ms: u32,
    tokens: u32,
    tokens_per_second: f32,
    sent_at: Option<Instant>,
    has_ended: bool,
}

impl AnswerStream {
    /// A stream that hands its events to `sink`.
    pub fn new(sink: impl Fn(Event) + Send + 'static) -> Self {
        Self {
            sink: Box::new(sink),
            record: None,
            model: None,
            settings: None,
            pending_reasoning: String::new(),
            pending: String::new(),
            reasoning_began_at: None,
            reasoning_ms: 0,
            tokens: 0,
            tokens_per_second: 0.0,
            sent_at: None,
            has_ended: false,
        }
    }

    /// A stream that also records the answer. Sends that the question was stored.
    pub(crate) fn recorded(
        sink: impl Fn(Event) + Send + 'static,
        record: AnswerRecord,
        question: MessageId,
        answer: MessageId,
    ) -> Self {
        sink(Event::Asked { question, answer });
        let mut stream = Self::new(sink);
        stream.record = Some(record);
        stream
    }

    /// Sends that the question waits for a model.
    pub(crate) fn loading(&self) {
        (self.sink)(Event::Loading);
    }

    /// Sets the name of the model that writes the answer.
    pub(crate) fn set_model(&mut self, name: &str) {
        self.model = Some(name.to_owned());
    }

    /// Sets the settings that apply to the answer.
    pub fn set_settings(&mut self, settings: &Settings) {
        self.settings = to_json(settings);
    }

    /// Sends the progress of reading, once in two frames and when it is done.
    pub fn reading(&mut self, phase: Phase, read: usize, total: usize) {
        let now = Instant::now();
        let is_due = self.sent_at.is_none_or(|sent_at| now.duration_since(sent_at) >= PACE);
        if is_due || read == total {
            self.sent_at = Some(now);
            let (read_tokens, total_tokens) = (read as u32, total as u32);
            (self.sink)(Event::Reading { phase, read_tokens, total_tokens });
        }
    }

    /// Adds `text`, and sends what is pending once two frames are over.
    pub fn push(&mut self, text: &str, progress: &Progress) {
        if let Some(record) = self.record.as_ref().filter(|_| !text.is_empty()) {
            record.text(text);
        }
        self.push_at(Instant::now(), text, progress);
    }

    /// Adds reasoning as [`push`](Self::push) adds text.
    pub fn push_reasoning(&mut self, text: &str, progress: &Progress) {
        let now = Instant::now();
        let began_at = *self.reasoning_began_at.get_or_insert(now);
        let elapsed_ms = now.duration_since(began_at).as_millis();
        self.reasoning_ms = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        self.pending_reasoning.push_str(text);
        if let Some(record) = &self.record {
            record.reasoning(text, self.reasoning_ms);
        }
        self.send_if_due(now, progress);
    }

    fn push_at(&mut self, now: Instant, text: &str, progress: &Progress) {
        self.pending.push_str(text);
        self.send_if_due(now, progress);
    }

    fn send_if_due(&mut self, now: Instant, progress: &Progress) {
        self.tokens = progress.tokens as u32;
        self.tokens_per_second = progress.decode_tps() as f32;
        if self.sent_at.is_none_or(|sent_at| now.duration_since(sent_at) >= PACE) {
            self.flush();
            self.sent_at = Some(now);
        }
    }

    /// Sends the rest of the text and the end, once both are recorded. An answer that cannot be
    /// recorded fails.
    pub fn end(mut self, result: Result<Ending, Error>) {
        self.send_end(result);
    }

    fn send_end(&mut self, result: Result<Ending, Error>) {
        self.flush();
        self.has_ended = true;
        let recorded = self.record.take().map_or(Ok(()), |record| {
            let (model, settings) = (self.model.take(), self.settings.take());
            record.finish(lilims_store::Ending { model, settings, ..recorded_ending(&result) })
        });
        (self.sink)(match result.and_then(|ending| recorded.map(|()| ending)) {
            Ok(Ending { outcome, view }) => Event::Done { outcome, view },
            Err(error) => Event::Failed { error },
        });
    }

    fn flush(&mut self) {
        if !self.pending_reasoning.is_empty() {
            let text = std::mem::take(&mut self.pending_reasoning);
            let (tokens, tokens_per_second) = (self.tokens, self.tokens_per_second);
            let elapsed_ms = self.reasoning_ms;
            (self.sink)(Event::Reasoning { text, elapsed_ms, tokens, tokens_per_second });
        }
        if !self.pending.is_empty() {
            let text = std::mem::take(&mut self.pending);
            let (tokens, tokens_per_second) = (self.tokens, self.tokens_per_second);
            (self.sink)(Event::Text { text, tokens, tokens_per_second });
        }
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        if !self.has_ended {
            self.send_end(Err(Error::internal("the model's thread ended")));
        }
    }
}

/// The end of an answer as it is stored.
fn recorded_ending(result: &Result<Ending, Error>) -> lilims_store::Ending {
    let state = match result {
        Ok(Ending { outcome: Outcome { finish: Finish::Stopped, .. }, .. }) => {
            MessageState::Stopped
        }
        Ok(_) => MessageState::Done,
        Err(_) => MessageState::Failed,
    };
    let ending = result.as_ref().ok();
    // An answer that never began says nothing about the context.
    let view = ending.map(|it| &it.view).filter(|view| **view != ContextView::default());
    lilims_store::Ending {
        error: result.as_ref().err().and_then(to_json),
        stats: ending.and_then(|ending| to_json(&ending.outcome)),
        view: view.and_then(to_json),
        ..lilims_store::Ending::of(state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use lilims_ipc::Stats;

    use super::*;

    fn ending() -> Ending {
        let stats = Stats {
            prompt_tokens: 3,
            prefilled_tokens: 3,
            tokens: 4,
            first_token_ms: 1.0,
            tokens_per_second: 10.0,
        };
        let outcome = Outcome { finish: Finish::EndOfTurn, stats };
        Ending { outcome, view: ContextView::default() }
    }

    fn stream() -> (AnswerStream, Receiver<Event>) {
        let (sender, events) = channel();
        (AnswerStream::new(move |event| sender.send(event).unwrap()), events)
    }

    fn text(event: &Event) -> &str {
        match event {
            Event::Text { text, .. } => text,
            _ => panic!("{event:?} is not text"),
        }
    }

    #[test]
    fn two_frames_carry_one_batch_and_the_end_flushes_the_rest() {
        let (mut stream, events) = stream();
        let start = Instant::now();
        for (at_ms, text) in [(0, "a"), (5, "b"), (32, "c"), (33, "d"), (40, "e")] {
            let progress = Progress { tokens: 1, ..Progress::default() };
            stream.push_at(start + Duration::from_millis(at_ms), text, &progress);
        }
        stream.end(Ok(ending()));
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events.iter().take(3).map(text).collect::<Vec<_>>(), ["a", "bcd", "e"]);
        let Ending { outcome, view } = ending();
        assert_eq!(events[3], Event::Done { outcome, view });
        assert_eq!(events.len(), 4);
    }

    #[test]
    fn t10_reasoning_comes_before_the_text_and_apart_from_it() {
        let (mut stream, events) = stream();
        for piece in ["Is", " it", "?"] {
            stream.push_reasoning(piece, &Progress::default());
        }
        stream.push("Yes", &Progress::default());
        stream.push(".", &Progress::default());
        stream.end(Ok(ending()));
        let (mut reasoning, mut answer) = (String::new(), String::new());
        for event in events.iter() {
            match event {
                Event::Reasoning { text, .. } => {
                    assert!(answer.is_empty(), "reasoning after {answer:?}");
                    reasoning.push_str(&text);
                }
                Event::Text { text, .. } => answer.push_str(&text),
                _ => {}
            }
        }
        assert_eq!((&*reasoning, &*answer), ("Is it?", "Yes."));
    }

    #[test]
    fn pieces_without_text_send_nothing() {
        let (mut stream, events) = stream();
        stream.push("", &Progress::default());
        stream.end(Ok(ending()));
        assert_eq!(events.iter().count(), 1);
    }

    #[test]
    fn reading_is_reported_at_the_same_pace_and_when_done() {
        let (mut stream, events) = stream();
        for read in [1, 2, 3, 4] {
            stream.reading(Phase::Prompt, read, 4);
        }
        stream.end(Ok(ending()));
        let read = events.iter().filter_map(|event| match event {
            Event::Reading { read_tokens, .. } => Some(read_tokens),
            _ => None,
        });
        let read: Vec<_> = read.collect();
        assert_eq!((read.first(), read.last()), (Some(&1), Some(&4)));
    }

    #[test]
    fn a_dropped_stream_still_ends() {
        let (mut stream, events) = stream();
        stream.push("a", &Progress::default());
        stream.push("b", &Progress::default());
        drop(stream);
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events.iter().take(2).map(text).collect::<String>(), "ab");
        assert!(matches!(events[2..], [Event::Failed { .. }]));
    }
}
