//! Rotary position embeddings: the angles (Su et al. 2021, <https://arxiv.org/abs/2104.09864>).

use crate::ModelSpec;

/// Angle per position of each rotated pair, for each of the model's ropes.
///
/// Angles are computed in f64 and rounded once: long contexts lose no precision, and no table of
/// all positions is needed.
#[derive(Clone)]
pub(crate) struct Rope {
    /// `[ropes][rope_dim / 2]`, radians per position.
    steps: Vec<Vec<f64>>,
    /// Factor on the cosines and sines of each rope.
    magnitudes: Vec<f32>,
}

impl Rope {
    /// `factors` scale the wavelengths of the ropes that use them.
    pub(crate) fn new(spec: &ModelSpec, factors: Option<&[f32]>) -> Self {
        let steps = |rope: &crate::spec::RopeSpec| {
            let factor = |pair: usize| match factors {
                Some(factors) if rope.uses_factors => f64::from(factors[pair]),
                _ => 1.0,
            };
            (0..spec.rope_dim / 2)
                .map(|pair| {
                    let exponent = -2.0 * pair as f64 / spec.rope_dim as f64;
                    rope.base.powf(exponent) / (rope.position_scale * factor(pair))
                })
                .collect()
        };
        let magnitudes = spec.ropes.iter().map(|rope| rope.magnitude).collect();
        Self { steps: spec.ropes.iter().map(steps).collect(), magnitudes }
    }

    /// Cosine and sine of the angle of each pair at `position`, for rope `rope_idx`.
    pub(crate) fn angles(
        &self,
        rope_idx: usize,
        position: usize,
    ) -> impl Iterator<Item = (f32, f32)> + '_ {
        let magnitude = self.magnitudes[rope_idx];
        self.steps[rope_idx].iter().map(move |step| {
            let (sin, cos) = (step * position as f64).sin_cos();
            (cos as f32 * magnitude, sin as f32 * magnitude)
        })
    }
}
