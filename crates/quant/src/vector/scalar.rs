//! Scalar versions of the vector operations, and the constants that all versions share.

use half::f16;

/// Relative error of [`exp`](super::exp): two units in the last place of f32.
pub const EXP_TOLERANCE: f32 = 2.4e-7;

/// The largest value of f16.
pub const F16_MAX: f32 = 65504.0;

/// Below this, e^x is 0: the result would be subnormal.
pub(crate) const EXP_MIN: f32 = -87.3;
/// Above this, the argument is clamped: the result would overflow.
pub(crate) const EXP_MAX: f32 = 88.37;
/// 2 sqrt(2 / pi): gelu(x) = x / (1 + e^-(GELU_A (x + GELU_B x^3))).
pub(crate) const GELU_A: f32 = 1.595_769;
/// The cubic term of GELU's tanh form.
pub(crate) const GELU_B: f32 = 0.044_715;

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

/// Inlined, so that each instruction set compiles its own version.
#[inline(always)]
pub(crate) fn from_q8_0(blocks: &[[u8; 34]], out: &mut [[f32; 32]]) {
    for (block, out) in blocks.iter().zip(out) {
        let [low, high, values @ ..] = block;
        let scale = f16::from_le_bytes([*low, *high]).to_f32();
        for (out, &q) in out.iter_mut().zip(values) {
            *out = scale * f32::from(q.cast_signed());
        }
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
