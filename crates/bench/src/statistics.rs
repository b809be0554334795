//! Summary statistics of samples.

/// Median, minimum and maximum of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle sample, or the mean of the two middle ones.
    pub median: f64,
    /// The lowest sample.
    pub min: f64,
    /// The highest sample.
    pub max: f64,
}

impl Summary {
    /// Summarises `samples`; `None` if there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = (sorted[middle] + sorted[(sorted.len() - 1) / 2]) / 2.0;
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_median() {
        assert_eq!(Summary::of(&[]), None);
        let odd = Summary::of(&[9.0, 1.0, 4.0]);
        assert_eq!(odd, Some(Summary { median: 4.0, min: 1.0, max: 9.0 }));
        let even = Summary::of(&[4.0, 1.0, 9.0, 2.0]);
        assert_eq!(even, Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
    }
}
