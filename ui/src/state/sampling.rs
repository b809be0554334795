//! The sampling options that a user can set: their limits, steps and texts.

use lilims_ipc::Options;

use crate::text::text;

/// An option that a user can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// [`Options::temperature`].
    Temperature,
    /// [`Options::top_p`].
    TopP,
    /// [`Options::max_tokens`].
    MaxTokens,
}

/// The texts and limits of a [`Field`].
pub(crate) struct Range {
    /// The test id, and the prefix of the control's element id.
    pub(crate) id: &'static str,
    /// The visible name.
    pub(crate) label: &'static str,
    /// What it does, in a sentence.
    pub(crate) hint: &'static str,
    /// The smallest value.
    pub(crate) min: f64,
    /// The largest value.
    pub(crate) max: f64,
    /// The distance between two values.
    pub(crate) step: f64,
}

impl Field {
    /// Its texts and limits.
    pub(crate) fn range(self) -> Range {
        match self {
            Self::Temperature => Range {
                id: "temperature",
                label: text!(settings.temperature),
                hint: text!(settings.temperature_hint),
                min: 0.0,
                max: 2.0,
                step: 0.05,
            },
            Self::TopP => Range {
                id: "top-p",
                label: text!(settings.top_p),
                hint: text!(settings.top_p_hint),
                min: 0.0,
                max: 1.0,
                step: 0.01,
            },
            Self::MaxTokens => Range {
                id: "max-tokens",
                label: text!(settings.max_tokens),
                hint: text!(settings.max_tokens_hint),
                min: 1.0,
                max: 32768.0,
                step: 1.0,
            },
        }
    }

    /// Its value in `options`, as a control shows it.
    pub(crate) fn text(self, options: &Options) -> String {
        match self {
            Self::Temperature => format!("{:.2}", options.temperature),
            Self::TopP => format!("{:.2}", options.top_p),
            Self::MaxTokens => options.max_tokens.to_string(),
        }
    }
}

/// Sets an entered value, clamped to the limits. An entry that is not a number has no effect.
pub(crate) fn set(options: &mut Options, field: Field, entered: &str) {
    let Ok(value) = entered.trim().parse::<f64>() else { return };
    if !value.is_finite() {
        return;
    }
    let range = field.range();
    let value = value.clamp(range.min, range.max);
    match field {
        Field::Temperature => options.temperature = value as f32,
        Field::TopP => options.top_p = value as f32,
        Field::MaxTokens => options.max_tokens = value as u32,
    }
}

/// Saved options, clamped to the limits.
pub(crate) fn restore(stored: Options) -> Options {
    let mut options = Options::default();
    set(&mut options, Field::Temperature, &stored.temperature.to_string());
    set(&mut options, Field::TopP, &stored.top_p.to_string());
    set(&mut options, Field::MaxTokens, &stored.max_tokens.to_string());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamps_entries_to_the_limits() {
        let mut options = Options::default();
        for (field, entered, shown) in [
            (Field::Temperature, "0", "0.00"),
            (Field::Temperature, "1.25", "1.25"),
            (Field::Temperature, "9", "2.00"),
            (Field::Temperature, "-1", "0.00"),
            (Field::TopP, "0.5", "0.50"),
            (Field::TopP, "1.5", "1.00"),
            (Field::MaxTokens, "64", "64"),
            (Field::MaxTokens, "0", "1"),
            (Field::MaxTokens, "1e9", "32768"),
            (Field::MaxTokens, " 7 ", "7"),
        ] {
            set(&mut options, field, entered);
            assert_eq!(field.text(&options), shown, "{field:?} {entered}");
        }
    }

    #[test]
    fn ignores_entries_that_are_not_numbers() {
        let mut options = Options::default();
        for entered in ["", "-", "x", "NaN", "inf"] {
            set(&mut options, Field::MaxTokens, entered);
            set(&mut options, Field::Temperature, entered);
        }
        assert_eq!(options, Options::default());
    }

    #[test]
    fn clamps_saved_options() {
        let stored = Options { temperature: f32::NAN, top_p: 7.0, max_tokens: 0, seed: Some(1) };
        let restored = restore(stored);
        assert_eq!(restored.temperature, Options::default().temperature);
        assert_eq!((restored.top_p, restored.max_tokens, restored.seed), (1.0, 1, None));
    }
}
