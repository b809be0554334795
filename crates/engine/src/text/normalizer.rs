//! Text normalization before pre-tokenization: Unicode normal forms and lower case.
//!
//! The metadata key is specific to Lilims (`docs/formats.md`), since GGUF has none: files of other
//! programs have no normalizer, and llama.cpp does not normalize.

use std::borrow::Cow;

use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

use super::vocab::{invalid, string_array};
use crate::Error;
use lilims_gguf::Metadata;

/// The metadata key: an array of strings, the steps in order.
const KEY: &str = "lilims.tokenizer.normalizers";
/// The most steps that are accepted.
const MAX_STEPS: usize = 16;

/// One normalization step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
}

/// The steps in order; none for most files.
pub(super) struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    /// The normalizer of a file; without the key it does nothing.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for an invalid value, [`Error::Unsupported`] for an unknown step.
    pub(super) fn from_gguf(metadata: Metadata<'_>) -> Result<Self, Error> {
        if metadata.get(KEY).is_none() {
            return Ok(Self { steps: Vec::new() });
        }
        let names = string_array(metadata, KEY)?;
        if names.len() > MAX_STEPS {
            return Err(invalid(format!("`{KEY}` has {} steps", names.len())));
        }
        let step = |name: &[u8]| match name {
            b"nfc" => Ok(Step::Nfc),
            b"nfd" => Ok(Step::Nfd),
            b"nfkc" => Ok(Step::Nfkc),
            b"nfkd" => Ok(Step::Nfkd),
            b"lowercase" => Ok(Step::Lowercase),
            _ => Err(Error::Unsupported { what: format!("unknown step in `{KEY}`") }),
        };
        Ok(Self { steps: names.strings().map(step).collect::<Result<_, _>>()? })
    }

    /// Applies all steps to the text.
    pub(super) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.steps.iter().fold(Cow::Borrowed(text), |text, step| step.apply(text))
    }
}

impl Step {
    fn apply<'t>(self, text: Cow<'t, str>) -> Cow<'t, str> {
        // Nearly all texts are already normalized, and plain ASCII always is.
        let is_normal = match self {
            Self::Nfc => is_nfc_quick(text.chars()) == IsNormalized::Yes,
            Self::Nfd => is_nfd_quick(text.chars()) == IsNormalized::Yes,
            Self::Nfkc => is_nfkc_quick(text.chars()) == IsNormalized::Yes,
            Self::Nfkd => is_nfkd_quick(text.chars()) == IsNormalized::Yes,
            Self::Lowercase => false,
        };
        if is_normal {
            return text;
        }
        Cow::Owned(match self {
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
            // Character by character, as the `tokenizers` crate does: no final sigma.
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_steps_match_unicode() {
        let of = |steps: &[Step], text: &str| {
            Normalizer { steps: steps.to_vec() }.apply(text).into_owned()
        };
        assert_eq!(of(&[Step::Nfc], "e\u{301}a"), "éa");
        assert_eq!(of(&[Step::Nfd], "é"), "e\u{301}");
        assert_eq!(of(&[Step::Nfkc], "ﬁ\u{2460}"), "fi1");
        assert_eq!(of(&[Step::Lowercase], "ÀΣ"), "àσ");
        assert_eq!(of(&[Step::Nfkc, Step::Lowercase], "Ａ"), "a");
        assert!(matches!(
            Normalizer { steps: vec![Step::Nfc] }.apply("plain"),
            Cow::Borrowed("plain")
        ));
    }
}
