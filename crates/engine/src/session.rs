//! A conversation's state: the tokens that were read and their keys and values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{Runner, Want};
use crate::sampler::Sampler;
use crate::text::DecodeStream;
use crate::{Error, Model, Sampling};

/// The most tokens that are read at once.
pub(crate) const MAX_CHUNK: usize = 256;
/// Room for so many tokens is there from the start, so that generating allocates nothing.
const MAX_RESERVED: usize = 1 << 17;
/// The most logits that one chunk may leave: 64 MiB of f32.
const MAX_CHUNK_LOGITS: usize = 1 << 24;

/// The most tokens of a chunk whose logits can all be had.
pub(crate) fn max_logit_rows(n_vocab: usize) -> usize {
    (MAX_CHUNK_LOGITS / n_vocab).clamp(1, MAX_CHUNK)
}

/// How to generate an answer.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How to pick tokens.
    pub sampling: Sampling,
    /// The answer ends after this many tokens.
    pub max_tokens: usize,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
    /// Goes on past end-of-turn tokens.
    pub ignore_eos: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { sampling: Sampling::default(), max_tokens: 512, stop: Vec::new(), ignore_eos: false }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// A stop text came up.
    StopText,
    /// The limit of tokens was reached.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The caller cancelled.
    Cancelled,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were read now; the rest was in the cache.
    pub prefilled_tokens: usize,
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
    /// Its tokens, the end-of-turn token not included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// What it took.
    pub progress: Progress,
}

/// A conversation's cache and position.
pub struct Session {
    model: Arc<Model>,
    runner: Box<dyn Runner>,
    /// The tokens whose keys and values the runner's cache holds.
    tokens: Vec<u32>,
    /// The logits after the last token read, where they were wanted.
    logits: Vec<f32>,
}

impl Session {
    pub(crate) fn new(model: Arc<Model>, runner: Box<dyn Runner>) -> Self {
        let tokens = Vec::with_capacity(model.context().min(MAX_RESERVED));
        Self { model, runner, tokens, logits: Vec::new() }
    }

    /// The model that it runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The tokens whose keys and values are cached.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    /// Reads `ids` after the tokens already held.
    ///
    /// *Errors*: as for [`Session::logits`].
    pub fn append(&mut self, ids: &[u32]) -> Result<(), Error> {
        let mut no_logits = Vec::new();
        for chunk in ids.chunks(self.chunk_len(Want::Nothing)) {
            self.read(chunk, Want::Nothing, &mut no_logits)?;
        }
        Ok(())
    }

    /// Reads `ids` after the tokens already held and returns the logits of each, in nats.
    ///
    /// *Shapes*: `[ids.len(), n_vocab]`, row by row.
    ///
    /// *Errors*: [`Error::ContextFull`], [`Error::UnknownToken`], [`Error::Candle`].
    pub fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let mut logits = Vec::with_capacity(ids.len() * self.model.spec().n_vocab);
        for chunk in ids.chunks(self.chunk_len(Want::All)) {
            self.read(chunk, Want::All, &mut logits)?;
        }
        Ok(logits)
    }

    /// Reads `ids` after the tokens already held and returns the logits of the last, in nats.
    ///
    /// *Shapes*: `[n_vocab]`; nothing where there are no ids.
    ///
    /// *Errors*: as for [`Session::logits`].
    pub fn read_last(&mut self, ids: &[u32]) -> Result<&[f32], Error> {
        self.logits.clear();
        let Some(last) = ids.chunks(self.chunk_len(Want::Last)).next_back() else { return Ok(&[]) };
        self.append(&ids[..ids.len() - last.len()])?;
        let mut logits = std::mem::take(&mut self.logits);
        let read = self.read(last, Want::Last, &mut logits);
        self.logits = logits;
        read.map(|()| &self.logits[..])
    }

    /// Answers `prompt`, the whole conversation in tokens. What the cache holds of it already is
    /// not read again. `on_text` gets each piece of text, whole characters, as it is decoded.
    ///
    /// *Errors*: [`Error::ContextFull`] when the prompt leaves no room, [`Error::UnknownToken`],
    /// [`Error::Candle`]. Cancelling is no error: the answer so far is returned.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_text: &mut dyn FnMut(&str, &Progress),
    ) -> Result<Answer, Error> {
        let start = Instant::now();
        let context = self.model.context();
        if prompt.is_empty() || prompt.len() >= context {
            return Err(Error::ContextFull { needed: prompt.len() + 1, context });
        }
        let mut progress = Progress { prompt_tokens: prompt.len(), ..Progress::default() };
        let cancelled = !self.prefill(prompt, cancel, &mut progress)?;
        progress.prefill = start.elapsed();
        if cancelled {
            return Ok(Answer {
                text: String::new(),
                tokens: vec![],
                finish: Finish::Cancelled,
                progress,
            });
        }
        let model = Arc::clone(&self.model);
        let mut writer = AnswerWriter::new(&model, options);
        let mut sampler = Sampler::new(&options.sampling);
        let mut logits = std::mem::take(&mut self.logits);
        let finish = loop {
            if writer.tokens.len() >= options.max_tokens {
                break Finish::MaxTokens;
            }
            if cancel.load(Ordering::Relaxed) {
                break Finish::Cancelled;
            }
            let id = sampler.sample(&mut logits, &self.tokens);
            if progress.tokens == 0 {
                progress.first_token = start.elapsed();
            }
            progress.tokens += 1;
            progress.decode = start.elapsed() - progress.first_token;
            if model.tokenizer().ends_turn(id) && !options.ignore_eos {
                break Finish::EndOfTurn;
            }
            if writer.push(id, &progress, on_text) {
                break Finish::StopText;
            }
            if self.tokens.len() >= context {
                break Finish::ContextFull;
            }
            if writer.tokens.len() >= options.max_tokens {
                break Finish::MaxTokens;
            }
            logits.clear();
            self.read(&[id], Want::Last, &mut logits)?;
        };
        progress.decode = start.elapsed().saturating_sub(progress.first_token);
        self.logits = logits;
        Ok(writer.finish(finish, progress, on_text))
    }

    /// Reads what the cache does not hold of `prompt`, in chunks; false if it was cancelled.
    fn prefill(
        &mut self,
        prompt: &[u32],
        cancel: &AtomicBool,
        progress: &mut Progress,
    ) -> Result<bool, Error> {
        let shared = prompt.iter().zip(&self.tokens).take_while(|(a, b)| a == b).count();
        // The last token is read even when it is cached: its logits are not kept.
        self.truncate(shared.min(prompt.len() - 1));
        let mut logits = std::mem::take(&mut self.logits);
        logits.clear();
        let rest = &prompt[self.tokens.len()..];
        progress.prefilled_tokens = rest.len();
        let mut chunks = rest.chunks(self.chunk_len(Want::Last)).peekable();
        while let Some(chunk) = chunks.next() {
            if cancel.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let want = if chunks.peek().is_some() { Want::Nothing } else { Want::Last };
            self.read(chunk, want, &mut logits)?;
        }
        self.logits = logits;
        Ok(true)
    }

    /// Reads one chunk and appends the logits that are wanted.
    fn read(&mut self, ids: &[u32], want: Want, logits: &mut Vec<f32>) -> Result<(), Error> {
        let n_vocab = self.model.spec().n_vocab;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(Error::UnknownToken { id, n_vocab });
        }
        let (needed, context) = (self.tokens.len() + ids.len(), self.model.context());
        if needed > context {
            return Err(Error::ContextFull { needed, context });
        }
        self.runner.run(ids, self.tokens.len(), want, logits)?;
        self.tokens.extend_from_slice(ids);
        Ok(())
    }

    /// Tokens that are read at once: fewer where all logits are wanted of a large vocabulary.
    fn chunk_len(&self, want: Want) -> usize {
        match want {
            Want::All => max_logit_rows(self.model.spec().n_vocab),
            _ => MAX_CHUNK,
        }
    }
}

/// Collects an answer's text and holds back what may become a stop text.
struct AnswerWriter<'a> {
    stream: DecodeStream<'a>,
    stop: &'a [String],
    tokens: Vec<u32>,
    text: String,
    /// How much of `text` was given out, in bytes.
    sent: usize,
}

impl<'a> AnswerWriter<'a> {
    fn new(model: &'a Model, options: &'a GenerateOptions) -> Self {
        let stream = DecodeStream::new(model.tokenizer());
        Self { stream, stop: &options.stop, tokens: Vec::new(), text: String::new(), sent: 0 }
    }

    /// Takes a token; true if a stop text is complete now, which is then cut off.
    fn push(
        &mut self,
        id: u32,
        progress: &Progress,
        on_text: &mut dyn FnMut(&str, &Progress),
    ) -> bool {
        self.tokens.push(id);
        self.text.push_str(&self.stream.push(id));
        let found = first_stop(&self.text[self.sent..], self.stop);
        if let Some(at) = found {
            self.text.truncate(self.sent + at);
        }
        let held = if found.is_some() { 0 } else { held_back(&self.text[self.sent..], self.stop) };
        self.send(self.text.len() - held, progress, on_text);
        found.is_some()
    }

    fn finish(
        self,
        finish: Finish,
        progress: Progress,
        on_text: &mut dyn FnMut(&str, &Progress),
    ) -> Answer {
        let Self { stream, tokens, mut text, sent, .. } = self;
        if finish != Finish::StopText {
            text.push_str(&stream.finish());
        }
        if sent < text.len() {
            on_text(&text[sent..], &progress);
        }
        Answer { text, tokens, finish, progress }
    }

    fn send(&mut self, end: usize, progress: &Progress, on_text: &mut dyn FnMut(&str, &Progress)) {
        if end > self.sent {
            on_text(&self.text[self.sent..end], progress);
            self.sent = end;
        }
    }
}

/// Where the first stop text starts in `text`.
fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min()
}

/// How many last bytes of `text` are the beginning of a stop text.
fn held_back(text: &str, stop: &[String]) -> usize {
    let begins = |len: &usize| {
        text.is_char_boundary(text.len() - len)
            && stop
                .iter()
                .any(|stop| stop.len() > *len && stop.starts_with(&text[text.len() - len..]))
    };
    let longest = stop.iter().map(String::len).max().unwrap_or(0);
    (1..=longest.min(text.len())).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_found_and_held_back() {
        let stop = ["END".to_owned(), "é!".to_owned()];
        assert_eq!(first_stop("a END", &stop), Some(2));
        assert_eq!(first_stop("aé!END", &stop), Some(1));
        assert_eq!(first_stop("a EN", &stop), None);
        assert_eq!(held_back("a EN", &stop), 2);
        assert_eq!(held_back("a é", &stop), 2);
        assert_eq!(held_back("abc", &stop), 0);
        assert_eq!(held_back("abc", &[]), 0);
    }
}
