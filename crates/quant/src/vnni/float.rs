//! AVX-512 vectors for [`crate::float_tiles`]: products of float rows with f32 rows.
#![expect(unsafe_code, reason = "AVX-512 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use lilims_gguf::TensorType;

use crate::avx2::prefetch;
use crate::float_tiles::{self, Bf16, F16, F32, Float, Lanes};

struct F32x16;

impl Lanes for F32x16 {
    type Vector = __m512;
    const LEN: usize = 16;
    const WIDE_TILES: bool = true;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_loadu_ps(pointer) }
    }

    #[inline(always)]
    unsafe fn load_f16(pointer: *const u8) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(pointer.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(pointer: *const u8) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(pointer.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn store(pointer: *mut f32, x: __m512) {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_storeu_ps(pointer, x) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn sum(x: __m512) -> f32 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm512_reduce_add_ps(x) }
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
    // SAFETY: AVX-512 is available (see `vnni`).
    unsafe {
        match ty {
            TensorType::F32 => matmul::<F32>(rows, ahead, x, n_cols, out),
            TensorType::F16 => matmul::<F16>(rows, ahead, x, n_cols, out),
            _ => matmul::<Bf16>(rows, ahead, x, n_cols, out),
        }
    }
}

/// # Safety
/// AVX-512 is available.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn matmul<F: Float>(rows: &[u8], ahead: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    // SAFETY: guaranteed by the caller.
    unsafe { float_tiles::matmul::<F32x16, F>(rows, ahead, x, n_cols, out) }
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
    // SAFETY: AVX-512 is available (see `vnni`).
    unsafe {
        match ty {
            TensorType::F32 => add::<F32>(values, ahead, p, n_cols, out),
            TensorType::F16 => add::<F16>(values, ahead, p, n_cols, out),
            _ => add::<Bf16>(values, ahead, p, n_cols, out),
        }
    }
}

/// # Safety
/// AVX-512 is available.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn add<F: Float>(values: &[u8], ahead: &[u8], p: &[f32], n_cols: usize, out: &mut [f32]) {
    // SAFETY: guaranteed by the caller.
    unsafe { float_tiles::add_weighted::<F32x16, F>(values, ahead, p, n_cols, out) }
}
