//! How fast a model reads and generates, with llama-bench's meaning of each figure.
//!
//! A prefill sample reads `prompt_tokens` tokens, of which only the last one's logits are computed. A
//! decode sample reads `generate_tokens` tokens one by one, with the logits of each, and neither
//! samples nor decodes to text. Both start from a cache that holds `depth` tokens; filling it is not
//! timed. One run of each that is not timed comes first. What the tokens are does not matter to the
//! time, so they are pseudo-random and the same each time.
//!
//! *Source*: llama.cpp, `tools/llama-bench`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lilims_engine::{Error, Model, Session};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Tokens that a prefill sample reads; 0 measures no prefill.
    pub prompt_tokens: usize,
    /// Tokens that a decode sample generates; 0 measures no decoding.
    pub generate_tokens: usize,
    /// Tokens that the cache holds before.
    pub depth: usize,
    /// Samples of each.
    pub repeat: usize,
}

impl Workload {
    /// The tokens that a session has to have room for.
    pub fn context(&self) -> usize {
        self.depth.saturating_add(self.prompt_tokens.max(self.generate_tokens))
    }
}

/// Tokens per second, a sample each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speed {
    /// Of reading a prompt.
    pub prefill_tps: Vec<f64>,
    /// Of generating.
    pub decode_tps: Vec<f64>,
}

/// Measures `model`, which was loaded with room for [`Workload::context`] tokens.
///
/// # Errors
/// [`Error::ContextFull`] without that room, [`Error::NotFinite`], [`Error::Threads`],
/// [`Error::Candle`].
pub fn measure(model: &Arc<Model>, workload: &Workload) -> Result<Speed, Error> {
    let Workload { prompt_tokens, generate_tokens, depth, repeat } = *workload;
    let ids = token_ids(workload.context(), model.spec().n_vocab);
    let (held, rest) = ids.split_at(depth);
    let (prompt, answer) = (&rest[..prompt_tokens], &rest[..generate_tokens]);
    let mut session = model.session()?;
    session.read_last(prompt)?;
    session.truncate(0);
    generate(&mut session, &answer[..generate_tokens.min(1)])?;
    session.truncate(0);
    session.append(held)?;

    let prefill_tps = samples(&mut session, prompt, repeat, |session, ids| {
        session.read_last(ids)?;
        Ok(())
    })?;
    let decode_tps = samples(&mut session, answer, repeat, generate)?;
    Ok(Speed { prefill_tps, decode_tps })
}

/// Tokens per second of each of `repeat` runs over `ids`, all from the session's present state.
fn samples(
    session: &mut Session,
    ids: &[u32],
    repeat: usize,
    run: impl Fn(&mut Session, &[u32]) -> Result<(), Error>,
) -> Result<Vec<f64>, Error> {
    let depth = session.tokens().len();
    let repeat = if ids.is_empty() { 0 } else { repeat };
    (0..repeat)
        .map(|_| {
            let start = Instant::now();
            run(session, ids)?;
            let elapsed = start.elapsed();
            session.truncate(depth);
            // A clock may not tell so short a time.
            Ok(ids.len() as f64 / elapsed.max(Duration::from_nanos(1)).as_secs_f64())
        })
        .collect()
}

fn generate(session: &mut Session, ids: &[u32]) -> Result<(), Error> {
    ids.chunks(1).try_for_each(|id| session.read_last(id).map(drop))
}

/// `count` tokens of the vocabulary, from a linear congruential generator (Knuth, MMIX).
fn token_ids(count: usize, n_vocab: usize) -> Vec<u32> {
    let mut state = 1_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The high bits are the random ones; a vocabulary's size fits into 32.
        ((state >> 32) % n_vocab as u64) as u32
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_in_the_vocabulary_and_the_same_each_time() {
        let ids = token_ids(1000, 300);
        assert!(ids.iter().all(|&id| id < 300));
        assert!(ids.iter().collect::<std::collections::HashSet<_>>().len() > 200);
        assert_eq!(ids, token_ids(1000, 300));
    }

    #[test]
    fn the_context_holds_the_longer_of_prompt_and_answer() {
        let workload = Workload { prompt_tokens: 512, generate_tokens: 128, depth: 100, repeat: 1 };
        assert_eq!(workload.context(), 612);
    }
}
