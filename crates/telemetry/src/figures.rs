//! Performance figures of a model, and how they are rounded.

/// How fast a model ran. Figures that were not measured are `None` and are left out.
///
/// All are rounded to two significant digits before they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Time to load the model.
    pub load_ms: Option<f64>,
    /// Time from the question to the first token of the answer.
    pub first_token_ms: Option<f64>,
    /// Tokens of the answer per second after the first.
    pub tokens_per_second: Option<f64>,
    /// The most memory that the process had in use.
    pub peak_memory_bytes: Option<f64>,
    /// The model's id in the catalogue. Ids that are not in [`Options::allowed_models`], and `None`, are
    /// sent as `other`.
    ///
    /// [`Options::allowed_models`]: crate::Options::allowed_models
    pub catalogue_model: Option<String>,
}

impl Figures {
    /// Figures for examples.
    pub(crate) fn example(catalogue_model: Option<String>) -> Self {
        Self {
            load_ms: Some(840.0),
            first_token_ms: Some(310.0),
            tokens_per_second: Some(12.3),
            peak_memory_bytes: Some(3_456_789_012.0),
            catalogue_model,
        }
    }
}

/// Rounds to two significant digits; `None` for what is not a positive number or out of all range.
pub(crate) fn round(value: f64) -> Option<f64> {
    if !(1e-6..1e16).contains(&value) {
        return None;
    }
    // Through decimal text, which has no error of its own: 0.1 + 0.2 stays 0.3.
    format!("{value:.1e}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_two_significant_digits() {
        assert_eq!(round(1234.5), Some(1200.0));
        assert_eq!(round(0.1 + 0.2), Some(0.3));
        assert_eq!(round(17_179_869_184.0), Some(17_000_000_000.0));
        assert_eq!(round(9.96), Some(10.0));
        assert_eq!(round(7.0), Some(7.0));
    }

    #[test]
    fn values_that_are_no_measurements_are_left_out() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            assert_eq!(round(value), None, "{value}");
        }
    }
}
