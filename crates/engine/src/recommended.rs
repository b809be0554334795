//! The sampling settings that a file recommends, under the keys of llama.cpp's converter
//! (`general.sampling.*`).

use lilims_gguf::Metadata;

/// Recommended sampling settings; `None` where the file has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RecommendedSampling {
    /// As [`crate::Sampling::temperature`].
    pub temperature: Option<f32>,
    /// As [`crate::Sampling::top_k`].
    pub top_k: Option<u32>,
    /// As [`crate::Sampling::top_p`].
    pub top_p: Option<f32>,
    /// As [`crate::Sampling::min_p`].
    pub min_p: Option<f32>,
    /// As [`crate::Sampling::repeat_penalty`].
    pub repeat_penalty: Option<f32>,
}

impl RecommendedSampling {
    pub(crate) fn read(metadata: Metadata<'_>) -> Self {
        let number = |key: &str| {
            let value = metadata.get(&format!("general.sampling.{key}"))?;
            value.as_f32().filter(|number| number.is_finite())
        };
        Self {
            temperature: number("temp"),
            top_k: number("top_k").map(|number| number as u32),
            top_p: number("top_p"),
            min_p: number("min_p"),
            repeat_penalty: number("penalty_repeat"),
        }
    }
}
