//! A conversation's state: the tokens that were read and their keys and values.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::{Error, Sampling};

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
pub struct Session {}

impl Session {
    /// The tokens whose keys and values are cached.
    pub fn tokens(&self) -> &[u32] {
        unimplemented!()
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, _len: usize) {
        unimplemented!()
    }

    /// Reads `ids` after the tokens already held and returns the logits of each, in nats.
    ///
    /// *Shapes*: `[ids.len(), n_vocab]`, row by row.
    ///
    /// *Errors*: [`Error::ContextFull`], [`Error::UnknownToken`], [`Error::Candle`].
    pub fn logits(&mut self, _ids: &[u32]) -> Result<Vec<f32>, Error> {
        unimplemented!()
    }

    /// Answers `prompt`, the whole conversation in tokens. What the cache holds of it already is
    /// not read again. `on_text` gets each piece of text, whole characters, as it is decoded.
    ///
    /// *Errors*: [`Error::ContextFull`] when the prompt leaves no room, [`Error::UnknownToken`],
    /// [`Error::Candle`]. Cancelling is no error: the answer so far is returned.
    pub fn generate(
        &mut self,
        _prompt: &[u32],
        _options: &GenerateOptions,
        _cancel: &AtomicBool,
        _on_text: &mut dyn FnMut(&str, &Progress),
    ) -> Result<Answer, Error> {
        unimplemented!()
    }
}
