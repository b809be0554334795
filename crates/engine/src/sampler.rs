//! Samples the next token from logits.
//!
//! The steps and their order are those of llama.cpp's default chain: penalties, top-k, top-p,
//! min-p, temperature, draw. So top-p and min-p apply to the unscaled probabilities, and the
//! temperature only reshapes the remaining ones. Random numbers come from xoshiro256** (Blackman
//! and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021), seeded by splitmix64, so a
//! seed gives the same numbers on every platform. Grammars and logit biases are not supported.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Sampling settings. The defaults are greedy: no penalties, temperature 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 selects the token with the largest logit.
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
    /// The number of last tokens that count as recent.
    pub penalty_window: usize,
    /// Seed of the random numbers.
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

impl Sampling {
    /// How chats are sampled unless the user chose otherwise, at every door.
    pub const CHAT: Self = Self {
        temperature: 0.7,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.05,
        repeat_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        penalty_window: 64,
        seed: 0,
    };

    fn is_greedy(&self) -> bool {
        self.temperature.is_nan() || self.temperature <= 0.0
    }

    fn has_penalties(&self) -> bool {
        self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

/// Whether a token can be sampled from `logits`: none is NaN or +∞, and at least one is finite. −∞
/// rules a token out.
///
/// One pass without branches, which the compiler vectorises.
pub(crate) fn is_usable(logits: &[f32]) -> bool {
    let (mut is_wrong, mut is_some_finite) = (false, false);
    for &logit in logits {
        is_wrong |= logit.is_nan() | (logit == f32::INFINITY);
        is_some_finite |= logit > f32::NEG_INFINITY;
    }
    !is_wrong && is_some_finite
}

/// A random seed of 32 bits, short enough to type, from the random hash keys of the standard
/// library.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

/// Samples tokens: the settings with their random state and reusable buffers.
pub struct Sampler {
    sampling: Sampling,
    random: Xoshiro256,
    candidates: Vec<Candidate>,
    recent: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    pub fn new(sampling: &Sampling) -> Self {
        Self {
            sampling: sampling.clone(),
            random: Xoshiro256::new(sampling.seed),
            candidates: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// Samples a token from `logits` (one per token of the vocabulary, in nats), given the `recent`
    /// tokens, oldest first, for the penalties. May change `logits`.
    ///
    /// Equal logits rank by id, lowest first. NaN is never selected; if nothing else is left, or
    /// there are no logits, the result is token 0.
    pub fn sample(&mut self, logits: &mut [f32], recent: &[u32]) -> u32 {
        self.penalise(logits, recent);
        let (best, max) = argmax(logits);
        if self.sampling.is_greedy() || !max.is_finite() {
            return best;
        }
        self.collect(logits);
        self.keep_probable(max);
        self.draw(max)
    }

    /// Lowers the logits of the last `penalty_window` tokens of `recent`.
    fn penalise(&mut self, logits: &mut [f32], recent: &[u32]) {
        if !self.sampling.has_penalties() {
            return;
        }
        let start = recent.len().saturating_sub(self.sampling.penalty_window);
        self.recent.clear();
        self.recent.extend_from_slice(&recent[start..]);
        self.recent.sort_unstable();
        for same in self.recent.chunk_by(|a, b| a == b) {
            let Some(logit) = logits.get_mut(same[0] as usize) else { continue };
            if *logit > 0.0 {
                *logit /= self.sampling.repeat_penalty;
            } else {
                *logit *= self.sampling.repeat_penalty;
            }
            *logit -= same.len() as f32 * self.sampling.frequency_penalty
                + self.sampling.presence_penalty;
        }
    }

    /// Fills `candidates` with the `top_k` likeliest tokens in descending order, or with all
    /// possible tokens in order of their ids.
    ///
    /// The list is truncated to `k` whenever it reaches twice that, which raises the threshold for
    /// the rest: one pass over the vocabulary and hardly any sorting.
    fn collect(&mut self, logits: &[f32]) {
        let k = match self.sampling.top_k {
            0 => usize::MAX,
            k => k,
        };
        let full = k.saturating_mul(2);
        let mut threshold = f32::NEG_INFINITY;
        self.candidates.clear();
        for (id, &logit) in (0u32..).zip(logits) {
            // False for NaN, for −∞, and for a tie with the threshold, which has a lower id.
            if logit > threshold {
                self.candidates.push(Candidate { id, logit, weight: 0.0 });
                if self.candidates.len() == full {
                    keep_first(&mut self.candidates, k);
                    threshold = self.candidates[k - 1].logit;
                }
            }
        }
        if k < usize::MAX {
            keep_first(&mut self.candidates, k);
            self.candidates.sort_unstable_by(Candidate::rank);
        }
    }

    /// Applies top-p and min-p.
    ///
    /// Both keep the front of the ranking, so tokens dropped by min-p need not be ranked for top-p;
    /// only the total is over all candidates.
    fn keep_probable(&mut self, max: f32) {
        let Sampling { top_p, min_p, .. } = self.sampling;
        let by_top_p = top_p < 1.0;
        if !by_top_p && min_p <= 0.0 {
            return;
        }
        let total = weigh(&mut self.candidates, max, 1.0);
        // The likeliest token has weight 1, so it always stays.
        let min_weight = min_p.min(1.0);
        self.candidates.retain(|candidate| candidate.weight >= min_weight);
        if by_top_p {
            keep_mass(&mut self.candidates, f64::from(top_p) * total);
        }
    }

    /// Draws a candidate by its probability at the temperature.
    fn draw(&mut self, max: f32) -> u32 {
        let total = weigh(&mut self.candidates, max, self.sampling.temperature);
        let mut left = self.random.next_f64() * total;
        for candidate in &self.candidates {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding can leave a little of the mass past the end.
        self.candidates.iter().rfind(|candidate| candidate.weight > 0.0).map_or(0, |last| last.id)
    }
}

/// A token that may be sampled.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
    /// Its probability times a factor common to all candidates.
    weight: f32,
}

impl Candidate {
    /// Likelier first, then lower id.
    fn rank(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// The first token with the largest logit, and that logit.
fn argmax(logits: &[f32]) -> (u32, f32) {
    (0u32..)
        .zip(logits)
        .fold((0, f32::NEG_INFINITY), |best, (id, &x)| if x > best.1 { (id, x) } else { best })
}

/// Keeps the `count` best-ranked candidates, with the last of them in its sorted position.
fn keep_first(candidates: &mut Vec<Candidate>, count: usize) {
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count - 1, Candidate::rank);
        candidates.truncate(count);
    }
}

/// Sets each weight to `exp((logit - max) / temperature)` and returns their sum.
fn weigh(candidates: &mut [Candidate], max: f32, temperature: f32) -> f64 {
    candidates
        .iter_mut()
        .map(|candidate| {
            candidate.weight = ((candidate.logit - max) / temperature).exp();
            f64::from(candidate.weight)
        })
        .sum()
}

/// Keeps the fewest best-ranked candidates whose weights reach `mass`, at least one.
///
/// Ranks larger and larger parts of the front until the mass is reached: usually about a hundred
/// tokens of a vocabulary of hundreds of thousands.
fn keep_mass(candidates: &mut Vec<Candidate>, mass: f64) {
    let (mut start, mut part_len, mut sum) = (0, 128, 0.0);
    while start < candidates.len() {
        let rest = &mut candidates[start..];
        let end = part_len.min(rest.len());
        if end < rest.len() {
            rest.select_nth_unstable_by(end, Candidate::rank);
        }
        let front = &mut rest[..end];
        front.sort_unstable_by(Candidate::rank);
        for (idx, candidate) in front.iter().enumerate() {
            sum += f64::from(candidate.weight);
            if sum >= mass {
                candidates.truncate(start + idx + 1);
                return;
            }
        }
        start += end;
        part_len *= 4;
    }
}

/// The generator xoshiro256**.
struct Xoshiro256 {
    state: [u64; 4],
}

impl Xoshiro256 {
    /// Fills the state with splitmix64, as the authors recommend.
    fn new(seed: u64) -> Self {
        let mut x = seed;
        let state = std::array::from_fn(|_| {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Self { state }
    }

    fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `[0, 1)` from the upper 53 bits, each multiple of 2⁻⁵³ equally likely.
    fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn t12_rejects_rows_with_nan_or_inf() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for len in [1, 7, 64, 1000] {
            for at in [0, len / 2, len - 1] {
                for (value, usable) in
                    [(nan, false), (-nan, false), (inf, false), (-inf, len > 1), (f32::MAX, true)]
                {
                    let mut row = vec![1.0; len];
                    row[at] = value;
                    assert_eq!(is_usable(&row), usable, "{value} of {len}");
                }
            }
        }
        assert!(!is_usable(&[-inf; 9]) && !is_usable(&[]));
    }

    fn sampling(temperature: f32, seed: u64) -> Sampling {
        Sampling { temperature, seed, ..Sampling::default() }
    }

    fn draws(sampling: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..count).map(|_| sampler.sample(&mut logits.to_vec(), &[])).collect()
    }

    #[test]
    fn random_seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }

    fn distinct(mut ids: Vec<u32>) -> Vec<u32> {
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn after_filters(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        sampler.collect(logits);
        sampler.keep_probable(argmax(logits).1);
        distinct(sampler.candidates.iter().map(|candidate| candidate.id).collect())
    }

    /// What top-k, top-p and min-p keep, by sorting everything.
    fn expected_filters(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
        let mut ranked: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied()).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if sampling.top_k > 0 {
            ranked.truncate(sampling.top_k);
        }
        let max = ranked[0].1;
        let weight = |logit: f32| f64::from((logit - max).exp());
        if sampling.top_p < 1.0 {
            // Sum in the same order as the implementation, so that rounding is the same.
            let mut in_order = ranked.clone();
            if sampling.top_k == 0 {
                in_order.sort_by_key(|&(id, _)| id);
            }
            let total: f64 = in_order.iter().map(|&(_, logit)| weight(logit)).sum();
            let mut sum = 0.0;
            let kept = ranked.iter().position(|&(_, logit)| {
                sum += weight(logit);
                sum >= f64::from(sampling.top_p) * total
            });
            ranked.truncate(kept.map_or(usize::MAX, |idx| idx + 1));
        }
        ranked.retain(|&(_, logit)| (logit - max).exp() >= sampling.min_p);
        distinct(ranked.into_iter().map(|(id, _)| id).collect())
    }

    #[test]
    fn temperature_zero_selects_the_first_largest() {
        assert_eq!(draws(&sampling(0.0, 1), &[1.0, 3.0, 2.0, 3.0], 3), [1, 1, 1]);
        assert_eq!(draws(&sampling(f32::NAN, 1), &[1.0, 3.0], 1), [1]);
    }

    #[test]
    fn tolerates_non_finite_logits() {
        for temperature in [0.0, 1.0] {
            let draw = |logits: &[f32]| draws(&sampling(temperature, 1), logits, 1)[0];
            assert_eq!(draw(&[]), 0);
            assert_eq!(draw(&[f32::NAN, f32::NAN]), 0);
            assert_eq!(draw(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), 0);
            assert_eq!(draw(&[f32::NAN, f32::NEG_INFINITY, -5.0, f32::NAN]), 2);
            assert_eq!(draw(&[1.0, f32::INFINITY, f32::INFINITY]), 1);
        }
    }

    #[test]
    fn random_numbers_match_the_reference() {
        // Computed with the authors' C code: splitmix64 from 42, then xoshiro256**.
        let mut random = Xoshiro256::new(42);
        let first: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(first, REFERENCE_42);
    }

    const REFERENCE_42: [u64; 3] =
        [0x1578_0b2e_0c2e_c716, 0x6104_d986_6d11_3a7e, 0xae17_5332_39e4_99a1];

    #[test]
    fn draws_follow_the_probabilities() {
        const DRAWS: usize = 20_000;
        // The 99.9% point of chi-square with 4 degrees of freedom; the seed is fixed.
        const CHI_SQUARE_LIMIT: f64 = 18.47;
        let logits = [0.0f32, 1.0, -1.0, 2.0, 0.5];
        for temperature in [0.5f32, 1.0, 2.0] {
            let weights = logits.map(|logit| f64::from(logit / temperature).exp());
            let total: f64 = weights.iter().sum();
            let mut counts = [0usize; 5];
            for id in draws(&sampling(temperature, 7), &logits, DRAWS) {
                counts[id as usize] += 1;
            }
            let chi_square: f64 = (counts.iter().zip(weights))
                .map(|(&count, weight)| {
                    let expected = weight / total * DRAWS as f64;
                    (count as f64 - expected).powi(2) / expected
                })
                .sum();
            assert!(chi_square < CHI_SQUARE_LIMIT, "{chi_square} at temperature {temperature}");
        }
    }

    #[test]
    fn penalties_match_llama_cpp() {
        let settings = Sampling {
            repeat_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            penalty_window: 4,
            ..Sampling::default()
        };
        let mut logits = [4.0, -4.0, 4.0, 4.0];
        // The window leaves token 3 out; 99 is in no vocabulary.
        Sampler::new(&settings).sample(&mut logits, &[3, 0, 1, 0, 99]);
        assert_eq!(logits, [2.0 - 1.0 - 0.25, -8.0 - 0.5 - 0.25, 4.0, 4.0]);
    }

    #[test]
    fn penalties_change_the_greedy_choice() {
        let settings = Sampling { repeat_penalty: 1.5, ..Sampling::default() };
        let mut sampler = Sampler::new(&settings);
        assert_eq!(sampler.sample(&mut [3.0, 2.9], &[0]), 1);
        assert_eq!(sampler.sample(&mut [3.0, 2.9], &[]), 0);
    }

    #[test]
    fn truncation_keeps_the_lowest_ids_of_ties() {
        let settings = Sampling { top_k: 3, ..sampling(1.0, 3) };
        assert_eq!(after_filters(&settings, &[1.0; 50]), [0, 1, 2]);
        let settings = Sampling { top_p: 0.05, ..sampling(1.0, 3) };
        assert_eq!(after_filters(&settings, &[1.0; 50]), [0, 1, 2]);
    }

    #[test]
    fn the_likeliest_token_survives_every_filter() {
        let settings =
            Sampling { top_k: 1, top_p: 0.0, min_p: 2.0, ..sampling(f32::MIN_POSITIVE, 3) };
        assert_eq!(draws(&settings, &[0.0, 5.0, 5.0], 20), [1; 20]);
    }

    #[test]
    fn sampling_a_large_vocabulary_does_not_reallocate() {
        let mut random = Xoshiro256::new(5);
        let logits: Vec<f32> = (0..262_144).map(|_| random.next_f64() as f32 * 30.0).collect();
        let settings = Sampling { top_k: 40, top_p: 0.95, min_p: 0.05, ..sampling(0.8, 11) };
        assert_eq!(after_filters(&settings, &logits), expected_filters(&settings, &logits));
        let settings = Sampling { top_k: 0, ..settings };
        assert_eq!(after_filters(&settings, &logits), expected_filters(&settings, &logits));
        let mut sampler = Sampler::new(&settings);
        sampler.sample(&mut logits.clone(), &[]);
        let capacity = sampler.candidates.capacity();
        for _ in 0..3 {
            sampler.sample(&mut logits.clone(), &[]);
        }
        assert_eq!(sampler.candidates.capacity(), capacity);
    }

    proptest! {
        #[test]
        fn filters_match_full_sorting(
            logits in prop::collection::vec(-20f32..20.0, 1..600),
            top_k in 0usize..50,
            top_p in 0.01f32..1.2,
            min_p in 0f32..0.3,
        ) {
            let settings = Sampling { top_k, top_p, min_p, ..sampling(1.0, 0) };
            prop_assert_eq!(after_filters(&settings, &logits), expected_filters(&settings, &logits));
        }

        #[test]
        fn same_seed_draws_the_same_tokens(
            logits in prop::collection::vec(-5f32..5.0, 1..50),
            seed: u64,
            top_k in 0usize..10,
        ) {
            let settings = Sampling { top_k, top_p: 0.9, ..sampling(0.9, seed) };
            prop_assert_eq!(draws(&settings, &logits, 10), draws(&settings, &logits, 10));
        }

        #[test]
        fn always_draws_a_token_of_the_vocabulary(
            logits in prop::collection::vec(any::<f32>(), 1..50),
            recent in prop::collection::vec(any::<u32>(), 0..10),
            temperature: f32, top_p: f32, min_p: f32, repeat_penalty: f32, frequency_penalty: f32,
            top_k in 0usize..60, penalty_window in 0usize..20,
        ) {
            let settings = Sampling {
                temperature, top_k, top_p, min_p, repeat_penalty, frequency_penalty,
                presence_penalty: 0.0, penalty_window, seed: 1,
            };
            let id = Sampler::new(&settings).sample(&mut logits.clone(), &recent);
            prop_assert!((id as usize) < logits.len());
        }
    }
}
