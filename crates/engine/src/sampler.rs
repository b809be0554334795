//! Picks the next token from logits.

/// How to pick the next token. The defaults are greedy: no penalties, temperature 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is argmax.
    pub temperature: f32,
    /// Keeps the `top_k` likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the likeliest tokens that together hold this probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this likely relative to the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted from a recent token's logit for each occurrence; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted once from the logit of each recent token; 0 is off.
    pub presence_penalty: f32,
    /// How many last tokens count as recent.
    pub penalty_window: usize,
    /// Fixes the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
        }
    }
}

/// Draws tokens: the settings with their random state.
pub struct Sampler {}

impl Sampler {
    /// A sampler at the start of its random sequence.
    pub fn new(_sampling: &Sampling) -> Self {
        unimplemented!()
    }

    /// Picks a token from `logits` (one per token of the vocabulary, in nats), given the `recent`
    /// tokens, oldest first, for the penalties. May change `logits`.
    pub fn sample(&mut self, _logits: &mut [f32], _recent: &[u32]) -> u32 {
        unimplemented!()
    }
}
