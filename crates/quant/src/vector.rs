//! Operations on f32 and f16 slices that the forward pass needs beside matrix products: norms,
//! softmax, activation functions.
//!
//! All use the detected instruction set, and all panic if slices that must have equal lengths do
//! not.

pub(super) mod scalar;

use half::f16;

use super::Isa;

pub use scalar::{EXP_TOLERANCE, F16_MAX};

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

/// The values of `Q8_0` blocks: 34 bytes for 32 values each. As [`crate::dequantize()`], but fast
/// enough to read a cache of keys and values.
pub fn from_q8_0(blocks: &[u8], out: &mut [f32]) {
    let (blocks, rest) = blocks.as_chunks();
    let (out, out_rest) = out.as_chunks_mut();
    assert!(rest.is_empty() && out_rest.is_empty() && blocks.len() == out.len(), "whole blocks");
    dispatch!(from_q8_0(blocks, out));
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
