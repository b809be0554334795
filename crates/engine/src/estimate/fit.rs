//! Whether a model fits into the memory there is, and the smallest change that would make it fit.

use std::fmt;

use lilims_gguf::File;

use super::{HeaderFacts, MemoryBudget, MemoryEstimate, Part, Peak, grouped};
use crate::{Error, KvType, LoadOptions};

/// From this share of the available memory on, a fit is tight.
const TIGHT_SHARE: f64 = 0.8;
/// No smaller context is proposed: a conversation would slide within a few messages.
const MIN_CONTEXT: usize = 2048;
/// No stronger quantisation is proposed, in bits per weight: the smallest that files are made with.
const MIN_BITS: f64 = 2.5;

/// Whether a model fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With room to spare.
    Fits,
    /// It takes more than 80% of what is available.
    Tight,
    /// It does not.
    TooLarge,
}

/// Whether a model fits, why, and what to do where it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The short answer.
    pub verdict: Verdict,
    /// The memory that it takes, corrected by past runs.
    pub estimate: MemoryEstimate,
    /// What it takes in all, in bytes.
    pub needed_bytes: u64,
    /// What it may take, in bytes.
    pub available_bytes: u64,
    /// Where `available_bytes` comes from.
    pub available_from: String,
    /// What `needed_bytes` is the sum of.
    pub parts: Vec<Part>,
    /// The smallest change that would make it fit; `None` where it does.
    pub suggestion: Option<Suggestion>,
}

/// A change that makes a model fit. Displayed as a sentence without its full stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Suggestion {
    /// Load it in another way.
    Load {
        /// With a context of so many tokens; `None` where the present one fits.
        context: Option<usize>,
        /// With this type of cache; `None` where the present one fits.
        kv_type: Option<KvType>,
    },
    /// Take a file of the same model with smaller weights.
    Quantisation {
        /// At most so many bits per weight.
        bits: f64,
        /// With a context of so many tokens; `None` where the present one fits.
        context: Option<usize>,
    },
    /// No file of this model fits.
    OtherModel,
}

impl Fit {
    /// Whether `file`, loaded with `options`, fits into `budget`. The header is enough. The estimate is
    /// corrected as [`MemoryEstimate::corrected`] does.
    ///
    /// # Errors
    /// As for [`MemoryEstimate::new`].
    pub fn new(
        file: &File,
        options: &LoadOptions,
        budget: &MemoryBudget,
        model: &str,
        peaks: &[Peak],
    ) -> Result<Self, Error> {
        Self::of(&HeaderFacts::new(file)?, options, budget, model, peaks)
    }

    /// As [`Fit::new`], of a header that was read before.
    ///
    /// # Errors
    /// As for [`MemoryEstimate::of`].
    pub fn of(
        facts: &HeaderFacts,
        options: &LoadOptions,
        budget: &MemoryBudget,
        model: &str,
        peaks: &[Peak],
    ) -> Result<Self, Error> {
        let estimate = |options: &LoadOptions| {
            MemoryEstimate::of(facts, options).map(|estimate| estimate.corrected(model, peaks))
        };
        let with = |context, kv_type| {
            estimate(&LoadOptions { context: Some(context), kv_type, ..options.clone() })
        };
        let asked = estimate(options)?;
        let (needed_bytes, available_bytes) = (asked.total_bytes(), budget.available_bytes);
        let verdict = verdict(needed_bytes, available_bytes);
        let suggestion =
            (verdict == Verdict::TooLarge).then(|| suggest(&asked, available_bytes, with));
        Ok(Self {
            verdict,
            needed_bytes,
            available_bytes,
            available_from: budget.from.clone(),
            parts: asked.parts(),
            suggestion,
            estimate: asked,
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

/// The first change that makes the model fit, those that cost least first.
fn suggest(
    asked: &MemoryEstimate,
    available_bytes: u64,
    with: impl Fn(usize, KvType) -> Result<MemoryEstimate, Error>,
) -> Suggestion {
    let fits = |context, kv_type| {
        with(context, kv_type).is_ok_and(|estimate| estimate.total_bytes() <= available_bytes)
    };
    let smaller =
        |kv_type| contexts_below(asked.context).into_iter().find(|&context| fits(context, kv_type));
    if let Some(context) = smaller(asked.kv_type) {
        return Suggestion::Load { context: Some(context), kv_type: None };
    }
    // Other changes of the cache's type change nothing, or save nothing.
    if asked.kv_type != KvType::Q8_0 {
        let kv_type = Some(KvType::Q8_0);
        if fits(asked.context, KvType::Q8_0) {
            return Suggestion::Load { context: None, kv_type };
        }
        if let Some(context) = smaller(KvType::Q8_0) {
            return Suggestion::Load { context: Some(context), kv_type };
        }
    }
    let bits = |estimate: &MemoryEstimate| bits_that_fit(estimate, available_bytes);
    if let Some(bits) = bits(asked) {
        return Suggestion::Quantisation { bits, context: None };
    }
    let least = contexts_below(asked.context).pop();
    let with_least = least.and_then(|context| with(context, asked.kv_type).ok());
    match with_least.and_then(|estimate| bits(&estimate)) {
        Some(bits) => Suggestion::Quantisation { bits, context: least },
        None => Suggestion::OtherModel,
    }
}

/// Powers of two and one and a half times those, from the largest below `context` to the smallest that
/// is proposed.
fn contexts_below(context: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(MIN_CONTEXT), |power| power.checked_mul(2));
    let mut contexts: Vec<usize> = powers
        .flat_map(|power| [power, power / 2 * 3])
        .take_while(|&smaller| smaller < context)
        .collect();
    contexts.reverse();
    contexts
}

/// The most bits per weight, in tenths, with which the model would fit; `None` where no file has so few.
fn bits_that_fit(estimate: &MemoryEstimate, available_bytes: u64) -> Option<f64> {
    let beside = estimate.total_bytes() - estimate.weights_bytes;
    let bytes = available_bytes.checked_sub(beside)?;
    let bits = bytes as f64 * 8.0 / estimate.n_parameters.max(1) as f64;
    Some((bits * 10.0).floor() / 10.0).filter(|bits| *bits >= MIN_BITS)
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = |context: &usize| format!("a context of {} tokens", grouped(*context));
        let cache = |kv_type: &KvType| format!("a {} cache", kv_type.name());
        match self {
            Self::Load { context: tokens, kv_type } => {
                let changes = [kv_type.as_ref().map(cache), tokens.as_ref().map(context)];
                let changes: Vec<_> = changes.into_iter().flatten().collect();
                write!(f, "Use {}", changes.join(" and "))
            }
            Self::Quantisation { bits, context: tokens } => {
                write!(f, "Take a smaller quantisation: about {bits} bits per weight fit")?;
                match tokens.as_ref().map(context) {
                    Some(context) => write!(f, " with {context}"),
                    None => Ok(()),
                }
            }
            Self::OtherModel => write!(f, "This model is too large for this device"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn fit(options: &LoadOptions, available_bytes: u64) -> Fit {
        let budget = MemoryBudget { available_bytes, from: "a test".to_owned() };
        Fit::new(&samples::large(), options, &budget, "sample", &[]).unwrap()
    }

    fn needed(context: usize, kv_type: KvType) -> u64 {
        let options = LoadOptions { context: Some(context), kv_type, ..samples::options() };
        MemoryEstimate::new(&samples::large(), &options).unwrap().total_bytes()
    }

    #[test]
    fn four_fifths_are_where_it_gets_tight() {
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
    fn the_smallest_change_is_proposed() {
        let options = samples::options();
        let says = |available| fit(&options, available).suggestion.unwrap().to_string();
        assert_eq!(says(needed(6144, KvType::F16)), "Use a context of 6,144 tokens");
        assert_eq!(says(needed(6144, KvType::F16) - 1), "Use a context of 4,096 tokens");
        assert_eq!(says(needed(2048, KvType::F16)), "Use a context of 2,048 tokens");
        let says_both = says(needed(2048, KvType::F16) - 1);
        assert_eq!(says_both, "Use a q8_0 cache and a context of 3,072 tokens");
        let small = says(needed(2048, KvType::Q8_0) - 1);
        assert_eq!(small, "Take a smaller quantisation: about 2.7 bits per weight fit");
        let smaller = says(needed(2048, KvType::Q8_0) - (512 << 20));
        let expected = "Take a smaller quantisation: about 3.2 bits per weight fit with a context \
                        of 2,048 tokens";
        assert_eq!(smaller, expected);
        assert_eq!(says(1 << 20), "This model is too large for this device");
        assert_eq!(says(0), "This model is too large for this device");
    }

    #[test]
    fn a_short_context_is_kept_and_the_cache_made_smaller() {
        let options = LoadOptions { context: Some(2048), ..samples::options() };
        let fit = fit(&options, needed(2048, KvType::Q8_0));
        let expected = Suggestion::Load { context: None, kv_type: Some(KvType::Q8_0) };
        assert_eq!(fit.suggestion, Some(expected));
        assert_eq!(expected.to_string(), "Use a q8_0 cache");
    }

    #[test]
    fn contexts_fall_to_the_smallest() {
        assert_eq!(contexts_below(8192), [6144, 4096, 3072, 2048]);
        assert_eq!(contexts_below(2048), [0; 0]);
        assert_eq!(contexts_below(usize::MAX).pop(), Some(2048));
    }
}
