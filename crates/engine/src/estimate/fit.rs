//! Whether a model fits into the available memory, and the smallest change that would make it fit.

use lilims_gguf::File;

use super::budget::{MemoryBudget, MemorySource};
use super::memory::{HeaderFacts, MeasuredPeak, MemoryEstimate, MemoryPart};
use crate::{Error, KvType, LoadOptions};

/// Above this share of the available memory a fit is tight.
const TIGHT_SHARE: f64 = 0.8;
/// The smallest suggested context: with less, a conversation would slide within a few messages.
const MIN_CONTEXT: usize = 2048;
/// The smallest suggested number of bits per weight: no published file has fewer.
const MIN_BITS: f64 = 2.5;

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits with room to spare.
    Fits,
    /// It takes more than 80% of the available memory.
    Tight,
    /// It does not fit.
    TooLarge,
}

/// Whether a model fits, why, and what to change if it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The result.
    pub verdict: Verdict,
    /// The memory estimate, corrected by past runs.
    pub estimate: MemoryEstimate,
    /// Memory needed in total, in bytes.
    pub needed_bytes: u64,
    /// Memory available, in bytes.
    pub available_bytes: u64,
    /// Where `available_bytes` comes from.
    pub available_from: MemorySource,
    /// The parts of `needed_bytes`.
    pub parts: Vec<MemoryPart>,
    /// The smallest change that would make it fit; `None` if it fits.
    pub suggestion: Option<Suggestion>,
}

/// A change that makes a model fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Suggestion {
    /// Load it with other options.
    Load {
        /// Context in tokens; `None` if the present one fits.
        context: Option<usize>,
        /// Cache type; `None` if the present one fits.
        kv_type: Option<KvType>,
    },
    /// Use a file of the same model with fewer bits per weight.
    Quantisation {
        /// The most bits per weight that fit.
        bits: f64,
        /// Context in tokens; `None` if the present one fits.
        context: Option<usize>,
    },
    /// No file of this model fits.
    OtherModel,
}

impl Fit {
    /// Compares `file`, loaded with `options`, with `budget`. The header is enough. The estimate is
    /// corrected as by [`MemoryEstimate::corrected`].
    ///
    /// # Errors
    /// As for [`MemoryEstimate::new`].
    pub fn new(
        file: &File,
        options: &LoadOptions,
        budget: &MemoryBudget,
        model: &str,
        peaks: &[MeasuredPeak],
    ) -> Result<Self, Error> {
        Self::from_facts(&HeaderFacts::new(file)?, options, budget, model, peaks)
    }

    /// Like [`Fit::new`], from facts read before.
    ///
    /// # Errors
    /// As for [`MemoryEstimate::from_facts`].
    pub fn from_facts(
        facts: &HeaderFacts,
        options: &LoadOptions,
        budget: &MemoryBudget,
        model: &str,
        peaks: &[MeasuredPeak],
    ) -> Result<Self, Error> {
        let estimate = |options: &LoadOptions| {
            MemoryEstimate::from_facts(facts, options)
                .map(|estimate| estimate.corrected(model, peaks))
        };
        let with = |context, kv_type| {
            estimate(&LoadOptions { context: Some(context), kv_type, ..options.clone() })
        };
        let requested = estimate(options)?;
        let (needed_bytes, available_bytes) = (requested.total_bytes(), budget.available_bytes);
        let verdict = verdict(needed_bytes, available_bytes);
        let suggestion =
            (verdict == Verdict::TooLarge).then(|| suggest(&requested, available_bytes, with));
        Ok(Self {
            verdict,
            needed_bytes,
            available_bytes,
            available_from: budget.source,
            parts: requested.parts(),
            suggestion,
            estimate: requested,
        })
    }
}

fn verdict(needed_bytes: u64, available_bytes: u64) -> Verdict {
    if needed_bytes > available_bytes {
        Verdict::TooLarge
    } else if needed_bytes as f64 > TIGHT_SHARE * available_bytes as f64 {
        Verdict::Tight
    } else {
        Verdict::Fits
    }
}

/// The first change that makes the model fit, in order of cost.
fn suggest(
    requested: &MemoryEstimate,
    available_bytes: u64,
    with: impl Fn(usize, KvType) -> Result<MemoryEstimate, Error>,
) -> Suggestion {
    let fits = |context, kv_type| {
        with(context, kv_type).is_ok_and(|estimate| estimate.total_bytes() <= available_bytes)
    };
    let smaller = |kv_type| {
        contexts_below(requested.context).into_iter().find(|&context| fits(context, kv_type))
    };
    if let Some(context) = smaller(requested.kv_type) {
        return Suggestion::Load { context: Some(context), kv_type: None };
    }
    // Other changes of the cache type save nothing.
    if requested.kv_type != KvType::Q8_0 {
        let kv_type = Some(KvType::Q8_0);
        if fits(requested.context, KvType::Q8_0) {
            return Suggestion::Load { context: None, kv_type };
        }
        if let Some(context) = smaller(KvType::Q8_0) {
            return Suggestion::Load { context: Some(context), kv_type };
        }
    }
    let bits = |estimate: &MemoryEstimate| bits_that_fit(estimate, available_bytes);
    if let Some(bits) = bits(requested) {
        return Suggestion::Quantisation { bits, context: None };
    }
    let min_context = contexts_below(requested.context).pop();
    let with_min_context = min_context.and_then(|context| with(context, requested.kv_type).ok());
    match with_min_context.and_then(|estimate| bits(&estimate)) {
        Some(bits) => Suggestion::Quantisation { bits, context: min_context },
        None => Suggestion::OtherModel,
    }
}

/// Powers of two and 1.5 times those, from the largest below `context` down to the smallest
/// suggested context.
fn contexts_below(context: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(MIN_CONTEXT), |power| power.checked_mul(2));
    let mut contexts: Vec<usize> = powers
        .flat_map(|power| [power, power / 2 * 3])
        .take_while(|&smaller| smaller < context)
        .collect();
    contexts.reverse();
    contexts
}

/// The most bits per weight, in tenths, with which the model fits; `None` if no file has so few.
fn bits_that_fit(estimate: &MemoryEstimate, available_bytes: u64) -> Option<f64> {
    let non_weights = estimate.total_bytes() - estimate.weights_bytes;
    let bytes = available_bytes.checked_sub(non_weights)?;
    let bits = bytes as f64 * 8.0 / estimate.n_parameters.max(1) as f64;
    Some((bits * 10.0).floor() / 10.0).filter(|bits| *bits >= MIN_BITS)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn fit(options: &LoadOptions, available_bytes: u64) -> Fit {
        let budget = MemoryBudget { available_bytes, source: MemorySource::Metal };
        Fit::new(&samples::large(), options, &budget, "sample", &[]).unwrap()
    }

    fn needed(context: usize, kv_type: KvType) -> u64 {
        let options = LoadOptions { context: Some(context), kv_type, ..samples::options() };
        MemoryEstimate::new(&samples::large(), &options).unwrap().total_bytes()
    }

    #[test]
    fn tight_above_four_fifths() {
        let needed = needed(8192, KvType::F16);
        for (available, expected) in [
            (needed * 5 / 4 + 2, Verdict::Fits),
            (needed * 5 / 4 - 2, Verdict::Tight),
            (needed, Verdict::Tight),
            (needed - 1, Verdict::TooLarge),
        ] {
            let fit = fit(&samples::options(), available);
            assert_eq!(fit.verdict, expected, "{available}");
            assert_eq!(fit.suggestion.is_some(), expected == Verdict::TooLarge);
            assert_eq!(fit.parts.iter().map(|part| part.bytes).sum::<u64>(), fit.needed_bytes);
        }
    }

    #[test]
    fn suggests_the_smallest_change() {
        let options = samples::options();
        let suggested = |available| fit(&options, available).suggestion.unwrap();
        let load = |context, kv_type| Suggestion::Load { context: Some(context), kv_type };
        assert_eq!(suggested(needed(6144, KvType::F16)), load(6144, None));
        assert_eq!(suggested(needed(6144, KvType::F16) - 1), load(4096, None));
        assert_eq!(suggested(needed(2048, KvType::F16)), load(2048, None));
        let both = suggested(needed(2048, KvType::F16) - 1);
        assert_eq!(both, load(3072, Some(KvType::Q8_0)));
        let small = suggested(needed(2048, KvType::Q8_0) - 1);
        assert_eq!(small, Suggestion::Quantisation { bits: 2.7, context: None });
        let smaller = suggested(needed(2048, KvType::Q8_0) - (512 << 20));
        assert_eq!(smaller, Suggestion::Quantisation { bits: 3.2, context: Some(2048) });
        assert_eq!(suggested(1 << 20), Suggestion::OtherModel);
        assert_eq!(suggested(0), Suggestion::OtherModel);
    }

    #[test]
    fn keeps_a_short_context_and_shrinks_the_cache() {
        let options = LoadOptions { context: Some(2048), ..samples::options() };
        let fit = fit(&options, needed(2048, KvType::Q8_0));
        let expected = Suggestion::Load { context: None, kv_type: Some(KvType::Q8_0) };
        assert_eq!(fit.suggestion, Some(expected));
    }

    #[test]
    fn lists_smaller_contexts() {
        assert_eq!(contexts_below(8192), [6144, 4096, 3072, 2048]);
        assert_eq!(contexts_below(2048), [0; 0]);
        assert_eq!(contexts_below(usize::MAX).pop(), Some(2048));
    }
}
