//! The median of a few samples, and how far it can be trusted.

/// The confidence of an [`Interval`], at least.
const CONFIDENCE: f64 = 0.9;

/// A median with its confidence interval, which assumes nothing about the distribution: the median
/// lies between two of the sorted samples unless too many samples fell on one side of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// The interval of `samples`; `None` for fewer than five, which are too few for any.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let skipped = skipped(sorted.len())?;
        let middle = sorted.len() / 2;
        Some(Self {
            median: f64::midpoint(sorted[middle], sorted[(sorted.len() - 1) / 2]),
            low: sorted[skipped],
            high: sorted[sorted.len() - 1 - skipped],
        })
    }

    /// Half of the interval's width, as a share of the median.
    pub(crate) fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }
}

/// How many of the lowest and of the highest of `n` samples lie outside of the interval. All
/// samples lie above the median with a chance of 2⁻ⁿ, all but `k` with that of `k` heads in `n`
/// throws of a coin.
fn skipped(n: usize) -> Option<usize> {
    let mut chance = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut outside = chance;
    let mut skipped = None;
    for k in 0..n {
        if 2.0 * outside > 1.0 - CONFIDENCE {
            break;
        }
        skipped = Some(k);
        chance *= (n - k) as f64 / (k + 1) as f64;
        outside += chance;
    }
    skipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_leaves_out_more_samples_the_more_there_are() {
        assert_eq!(skipped(4), None);
        assert_eq!([5, 7, 8, 11, 13, 15].map(skipped), [0, 0, 1, 2, 3, 3].map(Some));
    }

    #[test]
    fn interval_lies_between_samples() {
        assert_eq!(Interval::of(&[1.0; 4]), None);
        let interval = Interval::of(&[8.0, 1.0, 7.0, 2.0, 3.0, 6.0, 4.0, 5.0]);
        let interval = interval.expect("enough samples");
        assert_eq!(interval, Interval { median: 4.5, low: 2.0, high: 7.0 });
        assert!((interval.half_width() - 2.5 / 4.5).abs() < 1e-9);
    }
}
