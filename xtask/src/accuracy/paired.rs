//! The ratio of two perplexities of one text, from the chunks' own perplexities.

/// How many standard errors lie on each side in an interval of 95%.
const Z: f64 = 1.96;

/// By how much one perplexity exceeds another, with an interval of 95%. Chunks that both models find
/// hard cancel out; tokens of one chunk are not taken for independent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// The relative change.
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Change {
    /// The change from `before` to `after`, the perplexities of each chunk alone; `None` if they are
    /// not as many, or fewer than two.
    pub(super) fn of(before: &[f64], after: &[f64]) -> Option<Self> {
        if before.len() != after.len() || before.len() < 2 {
            return None;
        }
        let count = before.len() as f64;
        let differences = || before.iter().zip(after).map(|(before, after)| (after / before).ln());
        let mean = differences().sum::<f64>() / count;
        let squares: f64 = differences().map(|difference| (difference - mean).powi(2)).sum();
        let margin = Z * (squares / (count - 1.0) / count).sqrt();
        let [value, low, high] = [mean, mean - margin, mean + margin].map(f64::exp_m1);
        Some(Self { value, low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_find_hard_cancels_out() {
        let before = [10.0, 50.0, 20.0];
        let found = Change::of(&before, &before.map(|it| it * 1.02)).expect("enough chunks");
        assert!((found.value - 0.02).abs() < 1e-12, "{found:?}");
        assert!((found.high - found.low).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn interval_is_that_of_the_mean_of_logarithms() {
        // Logarithms of −0.1 and 0.3: mean 0.1, standard error 0.2.
        let after = [-0.1_f64, 0.3].map(f64::exp);
        let found = Change::of(&[1.0, 1.0], &after).expect("enough chunks");
        let expected = [0.1, 0.1 - Z * 0.2, 0.1 + Z * 0.2].map(f64::exp_m1);
        for (found, expected) in [found.value, found.low, found.high].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(Change::of(&[1.0], &[1.0]), None);
        assert_eq!(Change::of(&[1.0, 2.0], &[1.0]), None);
    }
}
