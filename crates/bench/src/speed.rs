//! Speed of prefill and decoding, with the same meaning as in llama-bench.
//!
//! A prefill sample reads `prompt_tokens` tokens and computes the logits of the last one only. A
//! decode sample reads `generate_tokens` tokens one by one, with the logits of each, without
//! sampling or decoding text. Both start from a cache that holds `depth` tokens; filling it is not
//! timed. An untimed warm-up run of each comes first. The time does not depend on the tokens, so
//! they are pseudo-random with a fixed seed.
//!
//! *Source*: llama.cpp, `tools/llama-bench`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lilims_engine::{Error, Model, Session};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Tokens per prefill sample; 0 measures no prefill.
    pub prompt_tokens: usize,
    /// Tokens per decode sample; 0 measures no decoding.
    pub generate_tokens: usize,
    /// Tokens in the cache before each sample.
    pub depth: usize,
    /// Number of samples of each kind.
    pub repeat: usize,
}

impl Workload {
    /// The context length that the session needs, in tokens.
    pub fn context(&self) -> usize {
        self.depth.saturating_add(self.prompt_tokens.max(self.generate_tokens))
    }
}

/// Measured tokens per second, one value per sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speed {
    /// Prefill.
    pub prefill_tps: Vec<f64>,
    /// Decoding.
    pub decode_tps: Vec<f64>,
}

/// Measures `model`, which must be loaded with a context of at least [`Workload::context`] tokens.
///
/// # Errors
/// [`Error::ContextFull`] with a shorter context, [`Error::NotFinite`], [`Error::Threads`],
/// [`Error::Candle`].
pub fn measure(model: &Arc<Model>, workload: &Workload) -> Result<Speed, Error> {
    let Workload { prompt_tokens, generate_tokens, depth, repeat } = *workload;
    let ids = token_ids(workload.context(), model.spec().n_vocab);
    let (cached, rest) = ids.split_at(depth);
    let (prompt, answer) = (&rest[..prompt_tokens], &rest[..generate_tokens]);
    let mut session = model.session()?;
    session.read_last(prompt)?;
    session.truncate(0);
    generate(&mut session, &answer[..generate_tokens.min(1)])?;
    session.truncate(0);
    session.append(cached)?;

    let prefill_tps = samples(&mut session, prompt, repeat, |session, ids| {
        session.read_last(ids)?;
        Ok(())
    })?;
    let decode_tps = samples(&mut session, answer, repeat, generate)?;
    Ok(Speed { prefill_tps, decode_tps })
}

/// Tokens per second of each of `repeat` runs over `ids`, all from the current state of the
/// session.
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
            // The clock may be too coarse for so short a time.
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
        // The high bits are the most random; a vocabulary size fits into 32 bits.
        ((state >> 32) % n_vocab as u64) as u32
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_are_valid_and_deterministic() {
        let ids = token_ids(1000, 300);
        assert!(ids.iter().all(|&id| id < 300));
        assert!(ids.iter().collect::<std::collections::HashSet<_>>().len() > 200);
        assert_eq!(ids, token_ids(1000, 300));
    }

    #[test]
    fn context_holds_the_longer_of_prompt_and_answer() {
        let workload = Workload { prompt_tokens: 512, generate_tokens: 128, depth: 100, repeat: 1 };
        assert_eq!(workload.context(), 612);
    }
}
