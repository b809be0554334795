//! The operations of [`crate::vector`] in NEON.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use half::f16;

use super::f32_to_f16;
use crate::vector::scalar::{self, EXP_MAX, EXP_MIN, F16_MAX, GELU_A, GELU_B};

pub(crate) use crate::vector::scalar::from_q8_0;

/// Number of accumulators, to shorten the dependency chain of additions.
const SUMS: usize = 8;

pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<4>();
    let (b, b_rest) = b.as_chunks::<4>();
    let mut sums = [zero(); SUMS];
    for (a, b) in a.chunks(SUMS).zip(b.chunks(SUMS)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = fma(load(a), load(b), *sum);
        }
    }
    total(sums) + scalar::dot_f32(a_rest, b_rest)
}

pub(crate) fn sum(x: &[f32]) -> f32 {
    let (x, rest) = x.as_chunks::<4>();
    let mut sums = [zero(); SUMS];
    for x in x.chunks(SUMS) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = add(load(x), *sum);
        }
    }
    total(sums) + scalar::sum(rest)
}

/// `out = x - mean`, and the sum of its squares.
pub(crate) fn center(x: &[f32], mean: f32, out: &mut [f32]) -> f32 {
    let (x, x_rest) = x.as_chunks::<4>();
    let (out, out_rest) = out.as_chunks_mut::<4>();
    let mut sums = [zero(); SUMS];
    for (out, x) in out.chunks_mut(SUMS).zip(x.chunks(SUMS)) {
        for ((sum, out), x) in sums.iter_mut().zip(out).zip(x) {
            let centered = sub(load(x), set(mean));
            store(out, centered);
            *sum = fma(centered, centered, *sum);
        }
    }
    total(sums) + scalar::center(x_rest, mean, out_rest)
}

/// `x = x * factor * weight + bias`.
pub(crate) fn scale_and_shift(x: &mut [f32], factor: f32, weight: &[f32], bias: &[f32]) {
    let (x, x_rest) = x.as_chunks_mut::<4>();
    let (weight, weight_rest) = weight.as_chunks::<4>();
    let (bias, bias_rest) = bias.as_chunks::<4>();
    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        store(x, fma(mul(load(x), set(factor)), load(weight), load(bias)));
    }
    scalar::scale_and_shift(x_rest, factor, weight_rest, bias_rest);
}

pub(crate) fn max(x: &[f32]) -> f32 {
    let (x, rest) = x.as_chunks::<4>();
    let mut largest = [set(f32::NEG_INFINITY); 4];
    for x in x.chunks(4) {
        for (largest, x) in largest.iter_mut().zip(x) {
            *largest = larger(load(x), *largest);
        }
    }
    let [a, b, c, d] = largest;
    // SAFETY: NEON belongs to the architecture.
    let largest = unsafe { vmaxnmvq_f32(larger(larger(a, b), larger(c, d))) };
    largest.max(scalar::max(rest))
}

pub(crate) fn scale(x: &mut [f32], factor: f32) {
    let (x, rest) = x.as_chunks_mut::<4>();
    for x in x {
        store(x, mul(load(x), set(factor)));
    }
    scalar::scale(rest, factor);
}

pub(crate) fn scale_by(x: &[f32], factor: f32, weight: &[f32], out: &mut [f32]) {
    let (x, x_rest) = x.as_chunks::<4>();
    let (weight, weight_rest) = weight.as_chunks::<4>();
    let (out, out_rest) = out.as_chunks_mut::<4>();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        store(out, mul(mul(load(x), set(factor)), load(weight)));
    }
    scalar::scale_by(x_rest, factor, weight_rest, out_rest);
}

pub(crate) fn axpy_f32(p: f32, v: &[f32], out: &mut [f32]) {
    let (v, v_rest) = v.as_chunks::<4>();
    let (out, out_rest) = out.as_chunks_mut::<4>();
    let factor = set(p);
    for (out, v) in out.iter_mut().zip(v) {
        store(out, fma(factor, load(v), load(out)));
    }
    scalar::axpy_f32(p, v_rest, out_rest);
}

pub(crate) fn to_f16(x: &[f32], out: &mut [f16]) {
    let (x, x_rest) = x.as_chunks::<4>();
    let (out, out_rest) = out.as_chunks_mut::<4>();
    for (out, x) in out.iter_mut().zip(x) {
        let x = load(x);
        // SAFETY: NEON belongs to the architecture, and `out` is 8 writable bytes. Both clamping
        // instructions keep NaN.
        unsafe {
            let within = vmaxq_f32(set(-F16_MAX), vminq_f32(set(F16_MAX), x));
            let kept = vbslq_f32(vceqq_f32(vabsq_f32(x), set(f32::INFINITY)), x, within);
            vst1_u16(out.as_mut_ptr().cast(), f32_to_f16(kept));
        }
    }
    scalar::to_f16(x_rest, out_rest);
}

pub(crate) fn exp(x: &mut [f32]) {
    let (x, rest) = x.as_chunks_mut::<4>();
    for x in x {
        store(x, exp_4(load(x)));
    }
    scalar::exp(rest);
}

pub(crate) fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
    let (x, rest) = x.as_chunks_mut::<4>();
    let mut sum = zero();
    let shifts = set(shift);
    for x in x {
        let e = exp_4(sub(load(x), shifts));
        store(x, e);
        sum = add(sum, e);
    }
    // SAFETY: NEON belongs to the architecture.
    unsafe { vaddvq_f32(sum) + scalar::exp_shifted(rest, shift) }
}

pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    let (gate, gate_rest) = gate.as_chunks_mut::<4>();
    let (up, up_rest) = up.as_chunks::<4>();
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = load(gate);
        store(gate, mul(x_sigmoid(x, x), load(up)));
    }
    scalar::silu_mul(gate_rest, up_rest);
}

pub(crate) fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    let (gate, gate_rest) = gate.as_chunks_mut::<4>();
    let (up, up_rest) = up.as_chunks::<4>();
    for (gate, up) in gate.iter_mut().zip(up) {
        store(gate, mul(gelu_4(load(gate)), load(up)));
    }
    scalar::gelu_mul(gate_rest, up_rest);
}

pub(crate) fn gelu(x: &mut [f32]) {
    let (x, rest) = x.as_chunks_mut::<4>();
    for x in x {
        store(x, gelu_4(load(x)));
    }
    scalar::gelu(rest);
}

/// Defines safe wrappers of baseline intrinsics.
macro_rules! operation {
    ($(fn $name:ident($($argument:ident),*) = $intrinsic:ident($($place:ident),*);)*) => {
        $(
            #[inline(always)]
            fn $name($($argument: float32x4_t),*) -> float32x4_t {
                // SAFETY: NEON belongs to the architecture.
                unsafe { $intrinsic($($place),*) }
            }
        )*
    };
}

operation! {
    fn add(a, b) = vaddq_f32(a, b);
    fn sub(a, b) = vsubq_f32(a, b);
    fn mul(a, b) = vmulq_f32(a, b);
    fn fma(a, b, sum) = vfmaq_f32(sum, a, b);
    // Returns the number if the other argument is NaN.
    fn larger(a, b) = vmaxnmq_f32(a, b);
}

#[inline(always)]
fn set(x: f32) -> float32x4_t {
    // SAFETY: NEON belongs to the architecture.
    unsafe { vdupq_n_f32(x) }
}

#[inline(always)]
fn zero() -> float32x4_t {
    set(0.0)
}

#[inline(always)]
fn load(x: &[f32; 4]) -> float32x4_t {
    // SAFETY: the array is 16 readable bytes.
    unsafe { vld1q_f32(x.as_ptr()) }
}

#[inline(always)]
fn store(x: &mut [f32; 4], value: float32x4_t) {
    // SAFETY: the array is 16 writable bytes.
    unsafe { vst1q_f32(x.as_mut_ptr(), value) }
}

#[inline(always)]
fn total(sums: [float32x4_t; SUMS]) -> f32 {
    let [a, b, c, d, e, f, g, h] = sums;
    let sum = add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h)));
    // SAFETY: NEON belongs to the architecture.
    unsafe { vaddvq_f32(sum) }
}

/// x / (1 + e^-y).
#[inline(always)]
fn x_sigmoid(x: float32x4_t, y: float32x4_t) -> float32x4_t {
    // SAFETY: NEON belongs to the architecture.
    unsafe { vdivq_f32(x, add(set(1.0), exp_4(vnegq_f32(y)))) }
}

#[inline(always)]
fn gelu_4(x: float32x4_t) -> float32x4_t {
    let factor = fma(mul(set(GELU_B), x), x, set(1.0));
    x_sigmoid(x, mul(mul(set(GELU_A), x), factor))
}

/// Computes e^x = 2^n e^r with n = round(x / ln 2), so that |r| <= ln 2 / 2, and a polynomial of
/// degree 6 for e^r (the Taylor series with the last two terms fitted, as in Cephes' `expf`).
#[inline(always)]
fn exp_4(x: float32x4_t) -> float32x4_t {
    // SAFETY: NEON belongs to the architecture.
    unsafe {
        let tiny = vcltq_f32(x, set(EXP_MIN));
        // Both clamping instructions keep NaN.
        let x = vmaxq_f32(set(EXP_MIN), vminq_f32(set(EXP_MAX), x));
        let n = vrndnq_f32(mul(x, set(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, so that n times the first is exact.
        let r = vfmsq_f32(x, n, set(355.0 / 512.0));
        let r = vfmsq_f32(r, n, set(-2.121_944_4e-4));
        let mut p = set(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = fma(p, r, set(coefficient));
        }
        p = fma(mul(p, r), r, add(r, set(1.0)));
        let exponent = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
        let e = mul(p, vreinterpretq_f32_s32(exponent));
        vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(e), tiny))
    }
}
