//! Perplexity of a text, by the protocol of llama.cpp (`tools/perplexity`).
//!
//! The tokens are split into chunks of `context`; an incomplete last chunk is dropped. Each chunk
//! starts from an empty cache, with BOS in place of its first token if the model requires BOS. The
//! first half is only read; in the second half, every token but the last predicts its successor.
//! The perplexity is `exp` of the mean negative log likelihood.

use std::ops::Range;
use std::sync::Arc;

use lilims_engine::{Model, Session};
use serde::Serialize;

/// Positions scored at once: for a vocabulary of 262,144, their logits take 64 MiB.
const POSITIONS_AT_ONCE: usize = 64;

/// The shortest chunk that has a position to score.
const MIN_CONTEXT: usize = 4;

/// Why a perplexity or a comparison could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is shorter than one chunk.
    #[error("the text has {tokens} tokens, one chunk needs {context}")]
    TooShort {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens of a chunk.
        context: usize,
    },
    /// The chunks are too short to score anything.
    #[error(
        "a context of {context} tokens is too short to score, at least {MIN_CONTEXT} are needed"
    )]
    Context {
        /// Tokens of a chunk.
        context: usize,
    },
    /// Two models have different vocabularies.
    #[error(
        "{base} and {other} have different vocabularies: their distributions cannot be compared"
    )]
    Vocabulary {
        /// Name of the first model.
        base: String,
        /// Name of the second model.
        other: String,
    },
    /// A figure is NaN or infinite.
    #[error(
        "{model} has no finite {figure} on the text: a token in chunk {chunk} has \
         probability 0"
    )]
    NotFinite {
        /// Name of the model.
        model: String,
        /// The figure.
        figure: &'static str,
        /// The chunk, counted from 1.
        chunk: usize,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Two files have tensors of one name and different shapes.
    #[error("{tensor} has the shape {base:?} in one file and {other:?} in the other")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Its dimensions in the first file.
        base: Vec<u64>,
        /// Its dimensions in the second file.
        other: Vec<u64>,
    },
    /// The values of a tensor cannot be decoded.
    #[error("cannot decode {tensor}")]
    Decode {
        /// The tensor's name.
        tensor: String,
        /// Why.
        #[source]
        source: lilims_quant::DecodeError,
    },
    /// The model could not run, or its file cannot be read.
    #[error(transparent)]
    Engine(#[from] lilims_engine::Error),
}

/// A perplexity and the data that it is based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Perplexity {
    /// `exp` of the mean negative log likelihood.
    pub perplexity: f64,
    /// The standard error of the perplexity, assuming independent tokens.
    pub standard_error: f64,
    /// The perplexity of the first chunk alone.
    pub first_chunk: f64,
    /// The perplexity of the last chunk read alone.
    #[serde(skip)]
    pub last_chunk: f64,
    /// Number of chunks read.
    pub chunks: usize,
    /// Number of tokens scored.
    pub tokens: usize,
}

impl Perplexity {
    /// The sum of the negative log likelihoods of all scored tokens, in nats.
    fn sum(&self) -> f64 {
        if self.tokens == 0 { 0.0 } else { self.perplexity.ln() * self.tokens as f64 }
    }

    /// Whether all figures are finite.
    pub(crate) fn is_finite(&self) -> bool {
        [self.perplexity, self.standard_error, self.first_chunk].into_iter().all(f64::is_finite)
    }
}

/// Measures the perplexity of `ids` in chunks of `context` tokens. `on_chunk` gets the result so
/// far after each chunk.
///
/// # Errors
/// [`Error::TooShort`], [`Error::Context`], [`Error::NotFinite`], [`Error::Engine`].
pub fn perplexity(
    model: &Arc<Model>,
    ids: &[u32],
    context: usize,
    mut on_chunk: impl FnMut(&Perplexity),
) -> Result<Perplexity, Error> {
    check_length(ids, context)?;
    let mut reader = ChunkReader::new(model)?;
    let mut losses = LossSums::default();
    let mut result = Perplexity::default();
    for chunk in ids.chunks_exact(context) {
        reader.begin(chunk)?;
        for range in scored_ranges(context) {
            let logits = reader.logits(range.clone())?;
            for (row, position) in logits.chunks_exact(logits.len() / range.len()).zip(range) {
                losses.add(negative_log_likelihood(row, chunk[position + 1]));
            }
        }
        result = losses.perplexity(&result);
        if !result.is_finite() {
            let model = model.name().to_owned();
            return Err(Error::NotFinite { model, figure: "perplexity", chunk: result.chunks });
        }
        on_chunk(&result);
    }
    Ok(result)
}

/// Checks that there is at least one chunk with a position to score.
pub(crate) fn check_length(ids: &[u32], context: usize) -> Result<(), Error> {
    if context < MIN_CONTEXT {
        return Err(Error::Context { context });
    }
    if ids.len() < context {
        return Err(Error::TooShort { tokens: ids.len(), context });
    }
    Ok(())
}

/// The scored positions of a chunk, in ranges that are scored at once.
pub(crate) fn scored_ranges(context: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (context / 2..context - 1).step_by(POSITIONS_AT_ONCE);
    starts.map(move |start| start..(start + POSITIONS_AT_ONCE).min(context - 1))
}

/// Reads chunks with a model.
pub(crate) struct ChunkReader {
    session: Session,
    bos: Option<u32>,
    chunk: Vec<u32>,
}

impl ChunkReader {
    pub(crate) fn new(model: &Arc<Model>) -> Result<Self, Error> {
        let tokenizer = model.tokenizer();
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        Ok(Self { session: model.session()?, bos, chunk: Vec::new() })
    }

    /// Reads the first half of a chunk, which is not scored.
    pub(crate) fn begin(&mut self, chunk: &[u32]) -> Result<(), Error> {
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk);
        if let Some(bos) = self.bos {
            self.chunk[0] = bos;
        }
        self.session.truncate(0);
        Ok(self.session.append(&self.chunk[..chunk.len() / 2])?)
    }

    /// The logits after each position of the range, which must follow what was read. `[range,
    /// n_vocab]`
    pub(crate) fn logits(&mut self, range: Range<usize>) -> Result<Vec<f32>, Error> {
        Ok(self.session.logits(&self.chunk[range])?)
    }
}

/// Sums of losses, in nats.
#[derive(Default)]
pub(crate) struct LossSums {
    count: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl LossSums {
    pub(crate) fn add(&mut self, nats: f64) {
        self.count += 1;
        self.sum += nats;
        self.sum_of_squares += nats * nats;
    }

    /// The perplexity after one more chunk than `before`.
    pub(crate) fn perplexity(&self, before: &Perplexity) -> Perplexity {
        let count = self.count as f64;
        let mean = self.sum / count;
        let perplexity = mean.exp();
        let variance = (self.sum_of_squares / count - mean * mean).max(0.0);
        let (sum_before, n_new) = (before.sum(), self.count - before.tokens);
        Perplexity {
            perplexity,
            // The error of the mean, propagated through `exp`.
            standard_error: (variance / (count - 1.0).max(1.0)).sqrt() * perplexity,
            first_chunk: if before.chunks == 0 { perplexity } else { before.first_chunk },
            last_chunk: ((self.sum - sum_before) / n_new as f64).exp(),
            chunks: before.chunks + 1,
            tokens: self.count,
        }
    }
}

/// `-ln softmax(logits)[target]` in nats; infinite for a target outside the vocabulary.
pub fn negative_log_likelihood(logits: &[f32], target: u32) -> f64 {
    let Some(&logit) = logits.get(target as usize) else { return f64::INFINITY };
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    sum.ln() - f64::from(logit - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-9;

    #[test]
    fn uniform_logits_cost_log_n() {
        let nats = negative_log_likelihood(&[1000.0; 8], 3);
        assert!((nats - 8f64.ln()).abs() < TOLERANCE, "{nats}");
        assert_eq!(negative_log_likelihood(&[0.0; 8], 8), f64::INFINITY);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let nats = negative_log_likelihood(&[1e30, 0.0], 0);
        assert!(nats.abs() < TOLERANCE, "{nats}");
    }

    #[test]
    fn perplexity_is_exp_of_the_mean_loss() {
        let mut losses = LossSums::default();
        [1.0, 2.0, 3.0].into_iter().for_each(|nats| losses.add(nats));
        let first = losses.perplexity(&Perplexity::default());
        assert!((first.perplexity - 2f64.exp()).abs() < TOLERANCE);
        // Variance 2/3 over two degrees of freedom.
        assert!((first.standard_error - 3f64.recip().sqrt() * 2f64.exp()).abs() < TOLERANCE);
        assert_eq!((first.chunks, first.tokens), (1, 3));
        losses.add(6.0);
        let second = losses.perplexity(&first);
        assert!((second.perplexity - 3f64.exp()).abs() < TOLERANCE);
        assert_eq!((second.first_chunk, second.chunks), (first.perplexity, 2));
        assert!((first.last_chunk - 2f64.exp()).abs() < TOLERANCE, "{first:?}");
        assert!((second.last_chunk / 6f64.exp() - 1.0).abs() < TOLERANCE, "{second:?}");
    }
}
