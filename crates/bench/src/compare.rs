//! KL divergence between the distributions of models with one vocabulary: the cost of a
//! quantisation.
//!
//! All read the same chunks as for a perplexity, and at each scored position the Kullback–Leibler
//! divergence `KL(base ‖ other) = Σ p ln(p / q)` is computed over the whole vocabulary. It resolves
//! small differences that the perplexities of a short text cannot, since it does not depend on the
//! actual next token. llama.cpp's `--kl-divergence` measures the same.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::Model;
use serde::Serialize;

use crate::perplexity::{ChunkReader, Error, LossSums, Perplexity, check_length, scored_ranges};

/// The comparison of two models on one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The perplexity of the first model.
    pub base: Perplexity,
    /// The perplexity of the second model.
    pub other: Perplexity,
    /// The mean log ratio of the second perplexity to the first, in nats.
    pub log_ratio: f64,
    /// Its standard error, from the differences per position.
    pub log_ratio_standard_error: f64,
    /// The mean divergence, in nats.
    pub mean_kl: f64,
    /// Its standard error.
    pub mean_kl_standard_error: f64,
    /// The 99th percentile of the divergence.
    pub p99_kl: f64,
    /// The largest divergence.
    pub max_kl: f64,
    /// The share of positions at which both models have the same most likely token.
    pub same_top: f64,
}

impl Comparison {
    /// Whether all figures except the perplexities are finite.
    fn is_finite(&self) -> bool {
        [
            self.log_ratio,
            self.log_ratio_standard_error,
            self.mean_kl,
            self.mean_kl_standard_error,
            self.p99_kl,
            self.max_kl,
            self.same_top,
        ]
        .into_iter()
        .all(f64::is_finite)
    }

    /// The relative increase of the perplexity from the first model to the second.
    pub fn perplexity_change(&self) -> f64 {
        self.log_ratio.exp_m1()
    }
}

/// Compares two models on `ids` in chunks of `context` tokens; `on_chunk` gets the figures so far
/// and the number of chunks.
///
/// # Errors
/// Those of [`compare_all`].
pub fn compare(
    base: &Arc<Model>,
    other: &Arc<Model>,
    ids: &[u32],
    context: usize,
    cancel: &AtomicBool,
    mut on_chunk: impl FnMut(&Comparison, usize),
) -> Result<Comparison, Error> {
    let others = std::slice::from_ref(other);
    let found = compare_all(base, others, ids, context, cancel, |so_far, n_chunks| {
        on_chunk(&so_far[0], n_chunks);
    })?;
    Ok(found[0])
}

/// Compares each of `others` with `base`, which reads the text only once; `on_chunk` gets the
/// figures so far, one for each of `others`, and the number of chunks.
///
/// # Errors
/// [`Error::TooShort`], [`Error::Context`], [`Error::Vocabulary`], [`Error::NotFinite`],
/// [`Error::Cancelled`], [`Error::Engine`].
pub fn compare_all(
    base: &Arc<Model>,
    others: &[Arc<Model>],
    ids: &[u32],
    context: usize,
    cancel: &AtomicBool,
    mut on_chunk: impl FnMut(&[Comparison], usize),
) -> Result<Vec<Comparison>, Error> {
    check_length(ids, context)?;
    if let Some(other) = others.iter().find(|other| other.spec().n_vocab != base.spec().n_vocab) {
        let [base, other] = [base, other].map(|model| model.name().to_owned());
        return Err(Error::Vocabulary { base, other });
    }
    let mut reader = ChunkReader::new(base)?;
    let mut pairs = others.iter().map(Pair::new).collect::<Result<Vec<_>, _>>()?;
    let mut results = vec![Comparison::default(); others.len()];
    let chunks = ids.chunks_exact(context);
    let n_chunks = chunks.len();
    for chunk in chunks {
        for reader in iter::once(&mut reader).chain(pairs.iter_mut().map(|pair| &mut pair.reader)) {
            stop_if(cancel)?;
            reader.begin(chunk)?;
        }
        for range in scored_ranges(context) {
            stop_if(cancel)?;
            let p = reader.logits(range.clone())?;
            for pair in &mut pairs {
                stop_if(cancel)?;
                pair.add(&p, range.clone(), chunk)?;
            }
        }
        for ((result, pair), other) in results.iter_mut().zip(&mut pairs).zip(others) {
            *result = pair.positions.comparison(result);
            check_finite(result, base, other)?;
        }
        on_chunk(&results, n_chunks);
    }
    Ok(results)
}

/// Checks that all figures after the last chunk are finite.
fn check_finite(result: &Comparison, base: &Arc<Model>, other: &Arc<Model>) -> Result<(), Error> {
    let figures = [
        ("perplexity", base, result.base.is_finite()),
        ("perplexity", other, result.other.is_finite()),
        ("divergence", other, result.is_finite()),
    ];
    match figures.into_iter().find(|(.., is_finite)| !is_finite) {
        Some((figure, model, _)) => Err(Error::NotFinite {
            model: model.name().to_owned(),
            figure,
            chunk: result.base.chunks,
        }),
        None => Ok(()),
    }
}

/// A model that is compared with the base, and its results per position.
struct Pair {
    reader: ChunkReader,
    positions: Positions,
}

impl Pair {
    fn new(model: &Arc<Model>) -> Result<Self, Error> {
        Ok(Self { reader: ChunkReader::new(model)?, positions: Positions::default() })
    }

    /// Scores the positions of `range` in `chunk`, after which the base predicts `p`.
    fn add(&mut self, p: &[f32], range: Range<usize>, chunk: &[u32]) -> Result<(), Error> {
        let q = self.reader.logits(range.clone())?;
        let n_vocab = p.len() / range.len();
        let rows = p.chunks_exact(n_vocab).zip(q.chunks_exact(n_vocab));
        for ((p, q), position) in rows.zip(range) {
            self.positions.add(p, q, chunk[position + 1]);
        }
        Ok(())
    }
}

fn stop_if(cancel: &AtomicBool) -> Result<(), Error> {
    if cancel.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
}

/// The results per position so far.
#[derive(Default)]
struct Positions {
    base: LossSums,
    other: LossSums,
    /// The loss of `other` minus that of `base`.
    differences: Vec<f64>,
    divergences: Vec<f64>,
    n_same: usize,
}

impl Positions {
    fn add(&mut self, p: &[f32], q: &[f32], target: u32) {
        let (base, other) = (Logits::of(p), Logits::of(q));
        let (divergence, p_log_sum, q_log_sum) = divergence(base, other);
        let (base, other) = (base.loss(target, p_log_sum), other.loss(target, q_log_sum));
        self.base.add(base);
        self.other.add(other);
        self.differences.push(other - base);
        self.divergences.push(divergence);
        self.n_same += usize::from(argmax(p) == argmax(q));
    }

    /// The figures after one more chunk than `before`.
    fn comparison(&mut self, before: &Comparison) -> Comparison {
        let (log_ratio, log_ratio_standard_error) = mean(&self.differences);
        let (mean_kl, mean_kl_standard_error) = mean(&self.divergences);
        let len = self.divergences.len();
        let mut ordered = self.divergences.clone();
        let (_, p99_kl, above) =
            ordered.select_nth_unstable_by((len * 99).div_ceil(100) - 1, f64::total_cmp);
        Comparison {
            base: self.base.perplexity(&before.base),
            other: self.other.perplexity(&before.other),
            log_ratio,
            log_ratio_standard_error,
            mean_kl,
            mean_kl_standard_error,
            p99_kl: *p99_kl,
            max_kl: above.iter().copied().fold(*p99_kl, f64::max),
            same_top: self.n_same as f64 / len as f64,
        }
    }
}

/// The mean and its standard error, assuming independent values.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// A row of logits and its maximum. `[n_vocab]`
#[derive(Clone, Copy)]
struct Logits<'a> {
    row: &'a [f32],
    max: f32,
}

impl<'a> Logits<'a> {
    fn of(row: &'a [f32]) -> Self {
        Self { row, max: max_logit(row) }
    }

    /// `-ln softmax(row)[target]` in nats, with the logarithm of `Σ exp(logit - max)`; infinite for a
    /// target outside the vocabulary.
    fn loss(self, target: u32, log_sum: f64) -> f64 {
        let logit = self.row.get(target as usize);
        logit.map_or(f64::INFINITY, |&logit| log_sum - f64::from(logit - self.max))
    }
}

/// `Σ p ln(p / q)` of the distributions of two rows of logits, in nats, and the logarithm of
/// `Σ exp(logit - max)` of each.
fn divergence(p: Logits<'_>, q: Logits<'_>) -> (f64, f64, f64) {
    let (mut p_sum, mut q_sum, mut weighted) = (0.0, 0.0, 0.0);
    let (p_max, q_max) = (p.max, q.max);
    for (&p, &q) in p.row.iter().zip(q.row) {
        let (p, q) = (f64::from(p - p_max), f64::from(q - q_max));
        let weight = p.exp();
        p_sum += weight;
        q_sum += q.exp();
        // A token of probability 0 adds nothing, however unlikely `q` makes it.
        weighted += if weight > 0.0 { weight * (p - q) } else { 0.0 };
    }
    let (p_log_sum, q_log_sum) = (p_sum.ln(), q_sum.ln());
    // Rounding may make it slightly negative.
    ((weighted / p_sum + q_log_sum - p_log_sum).max(0.0), p_log_sum, q_log_sum)
}

fn max_logit(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn argmax(logits: &[f32]) -> Option<usize> {
    let max_logit = max_logit(logits);
    logits.iter().position(|&logit| logit == max_logit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-6;

    fn divergence(p: &[f32], q: &[f32]) -> f64 {
        super::divergence(Logits::of(p), Logits::of(q)).0
    }

    #[test]
    fn computes_divergence_of_distributions() {
        assert_eq!(divergence(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), 0.0);
        // A constant added to all logits does not count.
        assert!(divergence(&[1.0, 2.0, 3.0], &[101.0, 102.0, 103.0]) < TOLERANCE);
        // Probabilities 3/4 and 1/4 against 1/2 and 1/2.
        let expected = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        let found = divergence(&[3_f32.ln(), 0.0], &[0.0, 0.0]);
        assert!((found - expected).abs() < TOLERANCE, "{found}");
        assert!(divergence(&[1e30, 0.0], &[1e30, 0.0]) < TOLERANCE);
    }

    #[test]
    fn figures_cover_all_positions() {
        let mut positions = Positions::default();
        positions.add(&[0.0, 0.0], &[0.0, 0.0], 0);
        positions.add(&[3_f32.ln(), 0.0], &[0.0, 3_f32.ln()], 1);
        let found = positions.comparison(&Comparison::default());
        assert_eq!((found.same_top, found.base.tokens, found.other.chunks), (0.5, 2, 1));
        // `other` gives the second token three times the probability that `base` does.
        assert!((found.log_ratio + 0.5 * 3_f64.ln()).abs() < TOLERANCE, "{found:?}");
        assert!((found.max_kl - 0.5 * 3_f64.ln()).abs() < TOLERANCE, "{found:?}");
        assert!((found.mean_kl - 0.25 * 3_f64.ln()).abs() < TOLERANCE, "{found:?}");
        assert_eq!(found.p99_kl, found.max_kl);
        let base = [2_f64.ln(), 4_f64.ln()].iter().sum::<f64>() / 2.0;
        assert!((found.base.perplexity.ln() - base).abs() < TOLERANCE, "{found:?}");
        let change = found.other.perplexity / found.base.perplexity - 1.0;
        assert!((found.perplexity_change() - change).abs() < TOLERANCE);
    }
}
