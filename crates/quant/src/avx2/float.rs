//! AVX2 vectors for [`crate::float_tiles`]: products of float rows with f32 rows.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use lilims_gguf::TensorType;

use super::{hsum, load_f16, prefetch};
use crate::float_tiles::{self, Bf16, F16, F32, Float, Lanes};

struct F32x8;

impl Lanes for F32x8 {
    type Vector = __m256;
    const LEN: usize = 8;
    const WIDE_TILES: bool = false;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_loadu_ps(pointer) }
    }

    #[inline(always)]
    unsafe fn load_f16(pointer: *const u8) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { load_f16(pointer) }
    }

    #[inline(always)]
    unsafe fn load_bf16(pointer: *const u8) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(pointer.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn store(pointer: *mut f32, x: __m256) {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_storeu_ps(pointer, x) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn sum(x: __m256) -> f32 {
        // SAFETY: guaranteed by the caller.
        unsafe { hsum(x) }
    }

    #[inline(always)]
    fn prefetch(from: *const u8, n_bytes: usize) {
        prefetch(from, n_bytes);
    }
}

/// `out[t][r]` = weight row `r` · activation row `t`.
pub(crate) fn matmul_float(
    ty: TensorType,
    rows: &[u8],
    ahead: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    // SAFETY: AVX2, FMA and F16C are available (see `avx2`).
    unsafe {
        match ty {
            TensorType::F32 => matmul::<F32>(rows, ahead, x, n_cols, out),
            TensorType::F16 => matmul::<F16>(rows, ahead, x, n_cols, out),
            _ => matmul::<Bf16>(rows, ahead, x, n_cols, out),
        }
    }
}

/// # Safety
/// AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn matmul<F: Float>(rows: &[u8], ahead: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    // SAFETY: guaranteed by the caller.
    unsafe { float_tiles::matmul::<F32x8, F>(rows, ahead, x, n_cols, out) }
}

/// `out[t] += p[t][r] * values[r]`, summed over `r`.
pub(crate) fn add_weighted(
    ty: TensorType,
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    // SAFETY: AVX2, FMA and F16C are available (see `avx2`).
    unsafe {
        match ty {
            TensorType::F32 => add::<F32>(values, ahead, p, n_cols, out),
            TensorType::F16 => add::<F16>(values, ahead, p, n_cols, out),
            _ => add::<Bf16>(values, ahead, p, n_cols, out),
        }
    }
}

/// # Safety
/// AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add<F: Float>(values: &[u8], ahead: &[u8], p: &[f32], n_cols: usize, out: &mut [f32]) {
    // SAFETY: guaranteed by the caller.
    unsafe { float_tiles::add_weighted::<F32x8, F>(values, ahead, p, n_cols, out) }
}
