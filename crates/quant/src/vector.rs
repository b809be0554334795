//! Operations on f32 and f16 slices that the forward pass needs beside matrix products: norms,
//! softmax, activation functions.
//!
//! All use the detected instruction set, and all panic if slices that must have equal lengths do
//! not.

use half::f16;

use super::Isa;

/// Calls the kernel of the detected instruction set.
macro_rules! dispatch {
    ($name:ident($($argument:expr),*)) => {
        match Isa::detected() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => {
                super::avx2::vector::$name($($argument),*)
            }
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon => {
                super::neon::vector::$name($($argument),*)
            }
            _ => scalar::$name($($argument),*),
        }
    };
}

/// The sum of squares.
pub fn sum_squares(x: &[f32]) -> f32 {
    dispatch!(dot_f32(x, x))
}

/// RMS normalisation: divides `x` by its root mean square (`eps` added to the mean), times
/// `weight`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len(), "slices of equal length");
    if x.is_empty() {
        return;
    }
    let mean = sum_squares(x) / x.len() as f32;
    dispatch!(scale_by(x, 1.0 / (mean + eps).sqrt(), weight, out));
}

/// Layer normalisation: subtracts the mean of `x` and divides by the standard deviation (`eps`
/// added to the variance), times `weight`, plus `bias`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len();
    assert!(n == weight.len() && n == bias.len() && n == out.len(), "slices of equal length");
    if x.is_empty() {
        return;
    }
    let mean = dispatch!(sum(x)) / n as f32;
    let variance = dispatch!(center(x, mean, out)) / n as f32;
    dispatch!(scale_and_shift(out, 1.0 / (variance + eps).sqrt(), weight, bias));
}

/// The largest value, ignoring NaN; -inf for an empty slice.
pub fn max(x: &[f32]) -> f32 {
    dispatch!(max(x))
}

/// Multiplies each value by `factor`.
pub fn scale(x: &mut [f32], factor: f32) {
    dispatch!(scale(x, factor));
}

/// `out += p * v`.
pub fn axpy_f32(p: f32, v: &[f32], out: &mut [f32]) {
    assert_eq!(v.len(), out.len(), "slices of equal length");
    dispatch!(axpy_f32(p, v, out));
}

/// Rounds to f16, half to even. Finite values out of f16's range become ±65504; infinities and NaN
/// are kept.
pub fn to_f16(x: &[f32], out: &mut [f16]) {
    assert_eq!(x.len(), out.len(), "slices of equal length");
    dispatch!(to_f16(x, out));
}

/// e^x of each value, within [`EXP_TOLERANCE`]. Arguments below -87.3 give 0, those above 88.37 are
/// clamped.
pub fn exp(x: &mut [f32]) {
    dispatch!(exp(x));
}

/// Softmax in place: e^(x - max), divided by its sum. If all values are -inf, the result is zeros.
pub fn softmax(x: &mut [f32]) {
    let max = max(x);
    if max == f32::NEG_INFINITY {
        return x.fill(0.0);
    }
    let sum = exp_shifted(x, max);
    scale(x, 1.0 / sum);
}

/// Replaces each value by e^(x - shift) and returns the sum, for a softmax computed in parts.
pub fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
    dispatch!(exp_shifted(x, shift))
}

/// `gate = silu(gate) * up`, the SwiGLU of Llama: silu(x) = x / (1 + e^-x).
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "slices of equal length");
    dispatch!(silu_mul(gate, up));
}

/// `gate = gelu(gate) * up`, the GeGLU of Gemma, with the tanh form of GELU.
pub fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "slices of equal length");
    dispatch!(gelu_mul(gate, up));
}

/// GELU of each value, tanh form.
pub fn gelu(x: &mut [f32]) {
    dispatch!(gelu(x));
}

/// Relative error of [`exp`]: two units in the last place of f32.
pub const EXP_TOLERANCE: f32 = 2.4e-7;

/// The largest value of f16.
pub const F16_MAX: f32 = 65504.0;

/// Below this, e^x is 0: the result would be subnormal.
pub(super) const EXP_MIN: f32 = -87.3;
/// Above this, the argument is clamped: the result would overflow.
pub(super) const EXP_MAX: f32 = 88.37;
/// 2 sqrt(2 / pi): gelu(x) = x / (1 + e^-(GELU_A (x + GELU_B x^3))).
pub(super) const GELU_A: f32 = 1.595_769;
/// The cubic term of GELU's tanh form.
pub(super) const GELU_B: f32 = 0.044_715;

/// The scalar versions.
pub(super) mod scalar {
    use half::f16;

    use super::{EXP_MAX, EXP_MIN, F16_MAX, GELU_A, GELU_B};

    pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0; 8];
        for (a, b) in a.chunks(8).zip(b.chunks(8)) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        sums.iter().sum()
    }

    pub(crate) fn sum(x: &[f32]) -> f32 {
        let mut sums = [0.0; 8];
        for x in x.chunks(8) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += x;
            }
        }
        sums.iter().sum()
    }

    /// `out = x - mean`, and the sum of its squares.
    pub(crate) fn center(x: &[f32], mean: f32, out: &mut [f32]) -> f32 {
        for (out, x) in out.iter_mut().zip(x) {
            *out = x - mean;
        }
        dot_f32(out, out)
    }

    /// `x = x * factor * weight + bias`.
    pub(crate) fn scale_and_shift(x: &mut [f32], factor: f32, weight: &[f32], bias: &[f32]) {
        for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
            *x = *x * factor * weight + bias;
        }
    }

    pub(crate) fn max(x: &[f32]) -> f32 {
        x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    pub(crate) fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    pub(crate) fn scale_by(x: &[f32], factor: f32, weight: &[f32], out: &mut [f32]) {
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * factor * weight;
        }
    }

    pub(crate) fn axpy_f32(p: f32, v: &[f32], out: &mut [f32]) {
        for (out, v) in out.iter_mut().zip(v) {
            *out += p * v;
        }
    }

    pub(crate) fn to_f16(x: &[f32], out: &mut [f16]) {
        for (out, &x) in out.iter_mut().zip(x) {
            // `clamp` keeps NaN.
            let clamped = if x.is_infinite() { x } else { x.clamp(-F16_MAX, F16_MAX) };
            *out = f16::from_f32(clamped);
        }
    }

    pub(crate) fn exp_one(x: f32) -> f32 {
        // Not `f32::min`, which would return the limit for a NaN.
        let x = if x > EXP_MAX { EXP_MAX } else { x };
        if x < EXP_MIN { 0.0 } else { x.exp() }
    }

    pub(crate) fn exp(x: &mut [f32]) {
        for x in x {
            *x = exp_one(*x);
        }
    }

    pub(crate) fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
        let mut sums = [0.0; 8];
        for x in x.chunks_mut(8) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *x = exp_one(*x - shift);
                *sum += *x;
            }
        }
        sums.iter().sum()
    }

    pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp_one(-*gate)) * up;
        }
    }

    fn gelu_one(x: f32) -> f32 {
        x / (1.0 + exp_one(-GELU_A * x * (1.0 + GELU_B * x * x)))
    }

    pub(crate) fn gelu_mul(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = gelu_one(*gate) * up;
        }
    }

    pub(crate) fn gelu(x: &mut [f32]) {
        for x in x {
            *x = gelu_one(*x);
        }
    }
}
