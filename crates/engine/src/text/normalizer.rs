//! What a text goes through before it is cut into words: Unicode's normal forms and lower case.
//!
//! The keys are Lilims' own (`docs/formats.md`), since GGUF has none: files that other programs wrote
//! have no normalizer, and llama.cpp normalizes nothing, so neither do we there.

use std::borrow::Cow;

use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

use super::vocab::{damaged, string_array};
use crate::Error;
use lilims_gguf::Metadata;

/// The key: texts, the steps in their order.
const KEY: &str = "lilims.tokenizer.normalizers";
/// The most steps that are believed.
const MAX_STEPS: usize = 16;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
}

/// Steps in their order; none for most files.
pub(super) struct Normalizer {
    steps: Vec<Step>,
}

impl Normalizer {
    /// # Errors
    /// [`Error::Tokenizer`] for a key that holds something else, [`Error::Unsupported`] for a
    /// step that is not known.
    pub(super) fn from_gguf(metadata: Metadata<'_>) -> Result<Self, Error> {
        if metadata.get(KEY).is_none() {
            return Ok(Self { steps: Vec::new() });
        }
        let names = string_array(metadata, KEY)?;
        if names.len() > MAX_STEPS {
            return Err(damaged(format!("`{KEY}` has {} steps", names.len())));
        }
        let step = |name: &[u8]| match name {
            b"nfc" => Ok(Step::Nfc),
            b"nfd" => Ok(Step::Nfd),
            b"nfkc" => Ok(Step::Nfkc),
            b"nfkd" => Ok(Step::Nfkd),
            b"lowercase" => Ok(Step::Lowercase),
            _ => Err(Error::Unsupported { what: format!("a step of `{KEY}` that is not known") }),
        };
        Ok(Self { steps: names.strings().map(step).collect::<Result<_, _>>()? })
    }

    /// The text as the vocabulary wants it.
    pub(super) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.steps.iter().fold(Cow::Borrowed(text), |text, step| step.apply(text))
    }
}

impl Step {
    fn apply<'t>(self, text: Cow<'t, str>) -> Cow<'t, str> {
        // Nearly all texts are normal already, and plain ASCII always is.
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
            // Each character by itself, as the `tokenizers` crate does: no final sigma.
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_steps_do_what_unicode_says() {
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
