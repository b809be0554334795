//! The operations of [`crate::vector`] in AVX2.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use half::f16;

use super::hsum;
use crate::vector::scalar::{self, EXP_MAX, EXP_MIN, F16_MAX, GELU_A, GELU_B};

/// Wraps a kernel that needs AVX2, FMA and F16C in a safe function.
macro_rules! kernel {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $ty),*) $(-> $out)? {
            #[target_feature(enable = "avx2,fma,f16c")]
            fn inner($($arg: $ty),*) $(-> $out)? $body
            // SAFETY: this module is entered only after `Isa::Avx2` was found available.
            unsafe { inner($($arg),*) }
        }
    };
}

kernel! {
    fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        let (a, a_rest) = a.as_chunks::<8>();
        let (b, b_rest) = b.as_chunks::<8>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for (a, b) in a.chunks(4).zip(b.chunks(4)) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum = _mm256_fmadd_ps(load(a), load(b), *sum);
            }
        }
        total(sums) + scalar::dot_f32(a_rest, b_rest)
    }
}

kernel! {
    fn sum(x: &[f32]) -> f32 {
        let (x, rest) = x.as_chunks::<8>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for x in x.chunks(4) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = _mm256_add_ps(load(x), *sum);
            }
        }
        total(sums) + scalar::sum(rest)
    }
}

kernel! {
    /// `out = x - mean`, and the sum of its squares.
    fn center(x: &[f32], mean: f32, out: &mut [f32]) -> f32 {
        let (x, x_rest) = x.as_chunks::<8>();
        let (out, out_rest) = out.as_chunks_mut::<8>();
        let mut sums = [_mm256_setzero_ps(); 4];
        for (out, x) in out.chunks_mut(4).zip(x.chunks(4)) {
            for ((sum, out), x) in sums.iter_mut().zip(out).zip(x) {
                let centered = _mm256_sub_ps(load(x), _mm256_set1_ps(mean));
                store(out, centered);
                *sum = _mm256_fmadd_ps(centered, centered, *sum);
            }
        }
        total(sums) + scalar::center(x_rest, mean, out_rest)
    }
}

kernel! {
    /// `x = x * factor * weight + bias`.
    fn scale_and_shift(x: &mut [f32], factor: f32, weight: &[f32], bias: &[f32]) {
        let (x, x_rest) = x.as_chunks_mut::<8>();
        let (weight, weight_rest) = weight.as_chunks::<8>();
        let (bias, bias_rest) = bias.as_chunks::<8>();
        for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
            let scaled = _mm256_mul_ps(load(x), _mm256_set1_ps(factor));
            store(x, _mm256_fmadd_ps(scaled, load(weight), load(bias)));
        }
        scalar::scale_and_shift(x_rest, factor, weight_rest, bias_rest);
    }
}

kernel! {
    fn max(x: &[f32]) -> f32 {
        let (x, rest) = x.as_chunks::<8>();
        let mut largest = _mm256_set1_ps(f32::NEG_INFINITY);
        for x in x {
            // If the first argument is NaN, the instruction returns the second.
            largest = _mm256_max_ps(load(x), largest);
        }
        let mut lanes = [0.0; 8];
        store(&mut lanes, largest);
        scalar::max(&lanes).max(scalar::max(rest))
    }
}

kernel! {
    fn scale(x: &mut [f32], factor: f32) {
        let (x, rest) = x.as_chunks_mut::<8>();
        for x in x {
            store(x, _mm256_mul_ps(load(x), _mm256_set1_ps(factor)));
        }
        scalar::scale(rest, factor);
    }
}

kernel! {
    fn scale_by(x: &[f32], factor: f32, weight: &[f32], out: &mut [f32]) {
        let (x, x_rest) = x.as_chunks::<8>();
        let (weight, weight_rest) = weight.as_chunks::<8>();
        let (out, out_rest) = out.as_chunks_mut::<8>();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            let scaled = _mm256_mul_ps(load(x), _mm256_set1_ps(factor));
            store(out, _mm256_mul_ps(scaled, load(weight)));
        }
        scalar::scale_by(x_rest, factor, weight_rest, out_rest);
    }
}

kernel! {
    fn axpy_f32(p: f32, v: &[f32], out: &mut [f32]) {
        let (v, v_rest) = v.as_chunks::<8>();
        let (out, out_rest) = out.as_chunks_mut::<8>();
        let factor = _mm256_set1_ps(p);
        for (out, v) in out.iter_mut().zip(v) {
            store(out, _mm256_fmadd_ps(factor, load(v), load(out)));
        }
        scalar::axpy_f32(p, v_rest, out_rest);
    }
}

kernel! {
    fn from_q8_0(blocks: &[[u8; 34]], out: &mut [[f32; 32]]) {
        scalar::from_q8_0(blocks, out);
    }
}

kernel! {
    fn to_f16(x: &[f32], out: &mut [f16]) {
        let (x, x_rest) = x.as_chunks::<8>();
        let (out, out_rest) = out.as_chunks_mut::<8>();
        for (out, x) in out.iter_mut().zip(x) {
            let x = load(x);
            // Both instructions return their second argument if one is NaN, so NaN is kept.
            let within = _mm256_min_ps(_mm256_set1_ps(F16_MAX), x);
            let within = _mm256_max_ps(_mm256_set1_ps(-F16_MAX), within);
            let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
            let infinite = _mm256_cmp_ps::<_CMP_EQ_OQ>(magnitude, _mm256_set1_ps(f32::INFINITY));
            let kept = _mm256_blendv_ps(within, x, infinite);
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(kept);
            // SAFETY: `out` is 16 writable bytes.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), halves) };
        }
        scalar::to_f16(x_rest, out_rest);
    }
}

kernel! {
    fn exp(x: &mut [f32]) {
        let (x, rest) = x.as_chunks_mut::<8>();
        for x in x {
            store(x, exp_8(load(x)));
        }
        scalar::exp(rest);
    }
}

kernel! {
    fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
        let (x, rest) = x.as_chunks_mut::<8>();
        let mut sum = _mm256_setzero_ps();
        let shifts = _mm256_set1_ps(shift);
        for x in x {
            let e = exp_8(_mm256_sub_ps(load(x), shifts));
            store(x, e);
            sum = _mm256_add_ps(sum, e);
        }
        hsum(sum) + scalar::exp_shifted(rest, shift)
    }
}

kernel! {
    fn silu_mul(gate: &mut [f32], up: &[f32]) {
        let (gate, gate_rest) = gate.as_chunks_mut::<8>();
        let (up, up_rest) = up.as_chunks::<8>();
        for (gate, up) in gate.iter_mut().zip(up) {
            let x = load(gate);
            store(gate, _mm256_mul_ps(x_sigmoid(x, x), load(up)));
        }
        scalar::silu_mul(gate_rest, up_rest);
    }
}

kernel! {
    fn gelu_mul(gate: &mut [f32], up: &[f32]) {
        let (gate, gate_rest) = gate.as_chunks_mut::<8>();
        let (up, up_rest) = up.as_chunks::<8>();
        for (gate, up) in gate.iter_mut().zip(up) {
            store(gate, _mm256_mul_ps(gelu_8(load(gate)), load(up)));
        }
        scalar::gelu_mul(gate_rest, up_rest);
    }
}

kernel! {
    fn gelu(x: &mut [f32]) {
        let (x, rest) = x.as_chunks_mut::<8>();
        for x in x {
            store(x, gelu_8(load(x)));
        }
        scalar::gelu(rest);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load(x: &[f32; 8]) -> __m256 {
    // SAFETY: the array is 32 readable bytes.
    unsafe { _mm256_loadu_ps(x.as_ptr()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store(x: &mut [f32; 8], value: __m256) {
    // SAFETY: the array is 32 writable bytes.
    unsafe { _mm256_storeu_ps(x.as_mut_ptr(), value) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn total(sums: [__m256; 4]) -> f32 {
    hsum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])))
}

/// x / (1 + e^-y).
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn x_sigmoid(x: __m256, y: __m256) -> __m256 {
    let e = exp_8(_mm256_sub_ps(_mm256_setzero_ps(), y));
    _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0), e))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn gelu_8(x: __m256) -> __m256 {
    let cubic = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(GELU_B), x), x);
    let factor = _mm256_add_ps(_mm256_set1_ps(1.0), cubic);
    x_sigmoid(x, _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(GELU_A), x), factor))
}

/// Computes e^x = 2^n e^r with n = round(x / ln 2), so that |r| <= ln 2 / 2, and a polynomial of
/// degree 6 for e^r (the Taylor series with the last two terms fitted, as in Cephes' `expf`).
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn exp_8(x: __m256) -> __m256 {
    let set = |x: f32| _mm256_set1_ps(x);
    let tiny = _mm256_cmp_ps::<_CMP_LT_OQ>(x, set(EXP_MIN));
    // Both instructions return their second argument if one is NaN, so NaN is kept.
    let x = _mm256_max_ps(set(EXP_MIN), _mm256_min_ps(set(EXP_MAX), x));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        x,
        set(std::f32::consts::LOG2_E),
    ));
    // ln 2 in two parts, so that n times the first is exact.
    let r = _mm256_fnmadd_ps(n, set(355.0 / 512.0), x);
    let r = _mm256_fnmadd_ps(n, set(-2.121_944_4e-4), r);
    let mut p = set(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm256_fmadd_ps(p, r, set(coefficient));
    }
    p = _mm256_fmadd_ps(_mm256_mul_ps(p, r), r, _mm256_add_ps(r, set(1.0)));
    let exponent =
        _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
    _mm256_andnot_ps(tiny, _mm256_mul_ps(p, _mm256_castsi256_ps(exponent)))
}
