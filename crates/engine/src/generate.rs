//! Generates answers: reads a prompt, samples tokens one by one, and streams their text.

mod turn;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use self::turn::Turn;
use crate::backend::WantedLogits;
use crate::constraint::{AnswerStart, Constraint};
use crate::session::Overflow;
use crate::text::DecodeStream;
use crate::window::Window;
use crate::{Error, Model, Sampling, Session, Tokenizer};

/// Options for generating an answer.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Sampling settings.
    pub sampling: Sampling,
    /// The most tokens of the answer.
    pub max_tokens: usize,
    /// Stop texts: the answer ends before the first of them.
    pub stop: Vec<String>,
    /// Continues past end-of-turn tokens.
    pub ignore_eos: bool,
    /// The most tokens drafted at once by prompt lookup; 0 switches it off. It does not change the
    /// answer.
    pub lookup: usize,
    /// A JSON schema that the answer follows, after any reasoning. An answer that ends early, at
    /// the token limit or a stop text, is the beginning of such JSON.
    pub json_schema: Option<String>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens: 512,
            stop: Vec::new(),
            ignore_eos: false,
            lookup: 0,
            json_schema: None,
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// A stop text was generated.
    StopText,
    /// The token limit was reached.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The caller cancelled.
    Cancelled,
}

/// Progress and timings of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Length of the prompt, in tokens.
    pub prompt_tokens: usize,
    /// Prompt tokens to read now; the rest is in the cache or does not fit into the window.
    pub prefilled_tokens: usize,
    /// Number of those read so far.
    pub read_tokens: usize,
    /// Prompt tokens that are skipped because the prompt is longer than the context.
    pub unread_tokens: usize,
    /// Tokens that were read again because the window cannot slide.
    pub reread_tokens: usize,
    /// Tokens generated.
    pub tokens: usize,
    /// Time spent reading the prompt.
    pub prefill: Duration,
    /// Time from the call to the first token.
    pub first_token: Duration,
    /// Time spent generating after the first token.
    pub decode: Duration,
}

impl Progress {
    /// Prompt tokens read per second.
    pub fn prefill_tps(&self) -> f64 {
        rate(self.prefilled_tokens, self.prefill)
    }

    /// Tokens generated per second after the first.
    pub fn decode_tps(&self) -> f64 {
        rate(self.tokens.saturating_sub(1), self.decode)
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// A finished answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Reasoning before the answer, without its tags. A [`Session`] leaves it in `text`; a
    /// [`Conversation`](crate::Conversation) separates it.
    pub reasoning: Option<String>,
    /// Its tokens, without the end-of-turn token and those of a stop text; if the text was cut
    /// within a token, the tokens before it.
    pub tokens: Vec<u32>,
    /// The number of leading tokens that form whole characters: fewer than all if the answer ended
    /// within a character.
    pub covered_tokens: usize,
    /// Bytes of text (including reasoning and its tags) that those tokens cover: fewer than all if
    /// the text was cut within a token.
    pub covered_bytes: usize,
    /// Why it ended.
    pub finish: Finish,
    /// Token counts and timings.
    pub progress: Progress,
}

impl Answer {
    /// The answer of a turn that was cancelled before its prompt was built.
    pub(crate) fn cancelled() -> Self {
        Self {
            text: String::new(),
            reasoning: None,
            tokens: Vec::new(),
            covered_tokens: 0,
            covered_bytes: 0,
            finish: Finish::Cancelled,
            progress: Progress::default(),
        }
    }
}

/// Callback for each piece of text, in whole characters, with the progress. While the prompt is
/// read, the text is empty.
pub type OnText<'a> = dyn FnMut(&str, &Progress) + 'a;

impl Session {
    /// Generates an answer to `prompt`, the whole conversation in tokens. The part that the cache
    /// already holds is not read again. If the prompt does not fit, the sinks and the last tokens
    /// are read.
    ///
    /// # Errors
    /// [`Error::Gguf`] if the model file changed; text passed to `on_text` before stays valid.
    /// [`Error::ContextFull`] if the prompt is empty, or leaves no room under [`Overflow::Stop`],
    /// [`Error::Schema`] before anything is read, [`Error::UnknownToken`], [`Error::NotFinite`],
    /// [`Error::Candle`]. Cancelling is not an error: the answer so far is returned.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_text: &mut OnText<'_>,
    ) -> Result<Answer, Error> {
        self.generate_from(prompt, &AnswerStart::default(), options, cancel, on_text)
    }

    /// Like [`Session::generate`], for an answer that begins as `answer_start` says.
    pub(crate) fn generate_from(
        &mut self,
        prompt: &[u32],
        answer_start: &AnswerStart<'_>,
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_text: &mut OnText<'_>,
    ) -> Result<Answer, Error> {
        let start = Instant::now();
        self.model.check_unchanged()?;
        let constraint = Constraint::for_answer(&self.model, options, answer_start)?;
        let context = self.window.context;
        if prompt.is_empty() || (self.overflow() == Overflow::Stop && prompt.len() >= context) {
            return Err(Error::ContextFull { needed: prompt.len() + 1, context });
        }
        let reread_before = self.counters.reread;
        let mut progress = Progress { prompt_tokens: prompt.len(), ..Progress::default() };
        let is_read = match self.prefill(prompt, cancel, &mut progress, on_text) {
            Err(Error::Cancelled) => false,
            read => read.map(|()| true)?,
        };
        progress.prefill = start.elapsed();
        let model = Arc::clone(&self.model);
        // Token texts are read from the mapped file, too: stop streaming once the file is damaged.
        let on_text: &mut OnText<'_> = &mut |text, progress| {
            if !model.is_damaged() {
                on_text(text, progress);
            }
        };
        let mut writer = AnswerWriter::new(&model, options);
        let finish = if is_read {
            let ahead = Vec::with_capacity(self.max_exact());
            let result = Turn { session: self, options, constraint, cancel, start, on_text, ahead }
                .write(&mut writer, &mut progress);
            if let Err(Error::NotFinite { .. }) = result {
                // The cache contains NaN, too, and cannot be continued.
                self.reset();
            }
            result?
        } else {
            Finish::Cancelled
        };
        progress.reread_tokens = (self.counters.reread - reread_before) as usize;
        let answer = writer.finish(finish, progress, on_text);
        model.check_unchanged()?;
        Ok(answer)
    }

    /// Reads the part of `prompt` that is not cached, in chunks, and leaves the logits after it.
    pub(crate) fn prefill(
        &mut self,
        prompt: &[u32],
        cancel: &AtomicBool,
        progress: &mut Progress,
        on_text: &mut OnText<'_>,
    ) -> Result<(), Error> {
        let shared = prompt.iter().zip(&self.tokens).take_while(|(a, b)| a == b).count();
        let has_logits = shared == prompt.len() && self.after_prompt.0 == shared;
        if has_logits && self.truncate(shared) == shared {
            self.logits.clone_from(&self.after_prompt.1);
            return Ok(());
        }
        // The last token is read even if it is cached, because its logits are not.
        self.truncate(shared.min(prompt.len() - 1));
        let mut logits = std::mem::take(&mut self.logits);
        logits.clear();
        let parts = self.parts_to_read(prompt);
        progress.prefilled_tokens = parts.iter().map(ExactSizeIterator::len).sum();
        progress.unread_tokens = prompt.len() - self.tokens.len() - progress.prefilled_tokens;
        let chunk_len = self.chunk_len(WantedLogits::Last);
        for part in parts {
            self.skip_to(prompt, part.start);
            for chunk in prompt[part].chunks(chunk_len) {
                let is_last = self.tokens.len() + chunk.len() == prompt.len();
                let want = if is_last { WantedLogits::Last } else { WantedLogits::None };
                self.read(chunk, want, cancel, &mut logits)?;
                progress.read_tokens += chunk.len();
                on_text("", progress);
            }
        }
        self.after_prompt.0 = prompt.len();
        self.after_prompt.1.clone_from(&logits);
        self.logits = logits;
        Ok(())
    }

    /// The parts of `prompt` to read: everything that is not cached, or, if that does not fit, the
    /// sinks and the last tokens.
    fn parts_to_read(&self, prompt: &[u32]) -> [Range<usize>; 2] {
        let Window { context, n_sinks, .. } = self.window;
        let (n_held, len) = (self.tokens.len(), prompt.len());
        let n_last = if self.model.can_slide() { context - n_sinks } else { context / 2 };
        let first_seen = len.saturating_sub(n_last);
        let all_leaves = len - self.base > context && first_seen > n_held.max(n_sinks);
        if all_leaves {
            [n_held.min(n_sinks)..n_sinks, first_seen..len]
        } else {
            [n_held..len, len..len]
        }
    }

    /// Continues at token `start` of `prompt`, skipping the tokens before it.
    fn skip_to(&mut self, prompt: &[u32], start: usize) {
        if start <= self.tokens.len() {
            return;
        }
        self.tokens.clear();
        self.tokens.extend_from_slice(&prompt[..start]);
        if self.model.can_slide() {
            self.window.start = start;
        } else {
            self.base = start;
            self.window = Window::new(self.window.context, self.window.n_sinks);
        }
    }
}

/// Collects the text of an answer and holds back text that may become a stop text.
struct AnswerWriter<'a> {
    stream: DecodeStream<'a>,
    stop: &'a [String],
    tokens: Vec<u32>,
    text: String,
    /// Bytes of `text` already passed on.
    sent: usize,
}

impl<'a> AnswerWriter<'a> {
    fn new(model: &'a Model, options: &'a GenerateOptions) -> Self {
        let stream = DecodeStream::new(model.tokenizer());
        Self { stream, stop: &options.stop, tokens: Vec::new(), text: String::new(), sent: 0 }
    }

    /// Appends a token; returns true if it completes a stop text, which is then cut off.
    fn push(&mut self, id: u32, progress: &Progress, on_text: &mut OnText<'_>) -> bool {
        self.tokens.push(id);
        self.text.push_str(&self.stream.push(id));
        let found = first_stop(&self.text[self.sent..], self.stop);
        if let Some(at) = found {
            self.text.truncate(self.sent + at);
        }
        let n_held =
            if found.is_some() { 0 } else { stop_prefix_len(&self.text[self.sent..], self.stop) };
        self.send(self.text.len() - n_held, progress, on_text);
        found.is_some()
    }

    fn finish(self, finish: Finish, progress: Progress, on_text: &mut OnText<'_>) -> Answer {
        let Self { stream, mut tokens, mut text, sent, .. } = self;
        let tokenizer = stream.tokenizer();
        let rest = stream.finish();
        if finish != Finish::StopText {
            text.push_str(&rest);
        }
        if sent < text.len() {
            on_text(&text[sent..], &progress);
        }
        let (mut covered_tokens, mut covered_bytes) = (tokens.len(), text.len());
        if finish == Finish::StopText || !rest.is_empty() {
            (covered_tokens, covered_bytes) = whole_tokens(tokenizer, &tokens, text.len());
        }
        if finish == Finish::StopText {
            // The tokens end where the text ends: a later prompt must not contain the stop text.
            tokens.truncate(covered_tokens);
        }
        Answer { text, reasoning: None, tokens, covered_tokens, covered_bytes, finish, progress }
    }

    fn send(&mut self, end: usize, progress: &Progress, on_text: &mut OnText<'_>) {
        if end > self.sent {
            on_text(&self.text[self.sent..end], progress);
            self.sent = end;
        }
    }
}

/// The number of `tokens` that form whole characters within the first `len` bytes of their text,
/// and the number of those bytes.
fn whole_tokens(tokenizer: &Tokenizer, tokens: &[u32], len: usize) -> (usize, usize) {
    let mut stream = DecodeStream::new(tokenizer);
    let (mut whole, mut bytes) = ((0, 0), 0);
    for (idx, &id) in tokens.iter().enumerate() {
        bytes += stream.push(id).len();
        if bytes > len {
            break;
        }
        if !stream.holds_back() {
            whole = (idx + 1, bytes);
        }
    }
    whole
}

/// Offset of the first stop text in `text`.
fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min()
}

/// The number of last bytes of `text` that are the beginning of a stop text.
fn stop_prefix_len(text: &str, stop: &[String]) -> usize {
    let is_prefix = |len: &usize| {
        text.is_char_boundary(text.len() - len)
            && stop
                .iter()
                .any(|stop| stop.len() > *len && stop.starts_with(&text[text.len() - len..]))
    };
    let longest = stop.iter().map(String::len).max().unwrap_or(0);
    (1..=longest.min(text.len())).rev().find(is_prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_holds_back_stop_texts() {
        let stop = ["END".to_owned(), "é!".to_owned()];
        assert_eq!(first_stop("a END", &stop), Some(2));
        assert_eq!(first_stop("aé!END", &stop), Some(1));
        assert_eq!(first_stop("a EN", &stop), None);
        assert_eq!(stop_prefix_len("a EN", &stop), 2);
        assert_eq!(stop_prefix_len("a é", &stop), 2);
        assert_eq!(stop_prefix_len("abc", &stop), 0);
        assert_eq!(stop_prefix_len("abc", &[]), 0);
    }
}
