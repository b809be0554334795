//! Float weights against f32 activations in AVX2: tiles of weight rows and activation rows.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use lilims_gguf::TensorType;

use super::{hsum, load_f16};
use crate::float::dot;

/// How a float type is loaded.
trait Float {
    const TYPE: TensorType;
    const BYTES: usize;

    /// Eight values as f32. SAFETY: AVX2 and F16C are available, and the values can be read.
    unsafe fn load(pointer: *const u8) -> __m256;
}

struct F32;
impl Float for F32 {
    const TYPE: TensorType = TensorType::F32;
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(pointer.cast()) }
    }
}

struct F16;
impl Float for F16 {
    const TYPE: TensorType = TensorType::F16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { load_f16(pointer) }
    }
}

struct Bf16;
impl Float for Bf16 {
    const TYPE: TensorType = TensorType::BF16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(pointer.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }
}

/// `out[t][r]` = weight row `r` · activation row `t`.
pub(crate) fn matmul_float(ty: TensorType, rows: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    // SAFETY: AVX2, FMA and F16C are available (see `avx2`).
    unsafe {
        match ty {
            TensorType::F32 => matmul::<F32>(rows, x, n_cols, out),
            TensorType::F16 => matmul::<F16>(rows, x, n_cols, out),
            _ => matmul::<Bf16>(rows, x, n_cols, out),
        }
    }
}

/// SAFETY: AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn matmul<F: Float>(rows: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    let row_bytes = n_cols * F::BYTES;
    let n_rows = rows.len() / row_bytes;
    let n_tokens = x.len() / n_cols;
    assert!(out.len() == n_rows * n_tokens, "one result per pair of rows");
    let mut t = 0;
    while t < n_tokens {
        let height = if n_tokens - t >= 4 { 4 } else { 1 };
        let mut r = 0;
        while r < n_rows {
            // One token takes four weight rows at once, four tokens two: both keep enough sums
            // in flight to hide the latency of the additions.
            let width = match (height, n_rows - r) {
                (1, 4..) => 4,
                (4, 2..) => 2,
                _ => 1,
            };
            let rows = &rows[r * row_bytes..][..width * row_bytes];
            let x = &x[t * n_cols..][..height * n_cols];
            let out = &mut out[t * n_rows + r..];
            match (height, width) {
                (1, 4) => tile::<F, 4, 1>(rows, x, n_cols, out, n_rows),
                (4, 2) => tile::<F, 2, 4>(rows, x, n_cols, out, n_rows),
                (4, _) => tile::<F, 1, 4>(rows, x, n_cols, out, n_rows),
                _ => tile::<F, 1, 1>(rows, x, n_cols, out, n_rows),
            }
            r += width;
        }
        t += height;
    }
}

/// `R` weight rows times `T` activation rows; `out[t * stride + r]`.
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<F: Float, const R: usize, const T: usize>(
    rows: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
    stride: usize,
) {
    assert!(rows.len() == R * n_cols * F::BYTES && x.len() == T * n_cols, "whole rows");
    let whole = n_cols / 8 * 8;
    let mut sums = [[_mm256_setzero_ps(); T]; R];
    for col in (0..whole).step_by(8) {
        // SAFETY: eight values from `col` on are inside each row.
        unsafe {
            let x: [__m256; T] =
                std::array::from_fn(|t| _mm256_loadu_ps(x.as_ptr().add(t * n_cols + col)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let w = F::load(rows.as_ptr().add((r * n_cols + col) * F::BYTES));
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = _mm256_fmadd_ps(w, x, *sum);
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let rest_of_row = &rows[(r * n_cols + whole) * F::BYTES..(r + 1) * n_cols * F::BYTES];
        for (t, sum) in sums.into_iter().enumerate() {
            let rest_of_x = &x[t * n_cols + whole..(t + 1) * n_cols];
            out[t * stride + r] = hsum(sum) + dot(F::TYPE, rest_of_row, rest_of_x);
        }
    }
}
