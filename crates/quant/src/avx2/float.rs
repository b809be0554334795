//! Float rows against f32 rows in AVX2: tiles of both, for dot products and for weighted sums.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use lilims_gguf::TensorType;

use super::{hsum, load_f16};
use crate::float::{axpy, dot};

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
    let n_rows = rows.len() / (n_cols * F::BYTES);
    let n_tokens = x.len() / n_cols;
    assert!(out.len() == n_rows * n_tokens, "one result per pair of rows");
    for (x, out) in x.chunks(4 * n_cols).zip(out.chunks_mut(4 * n_rows)) {
        // SAFETY: the caller's promise.
        unsafe {
            match x.len() / n_cols {
                4 => band::<F, 4, 2>(rows, x, n_cols, out),
                3 => band::<F, 3, 4>(rows, x, n_cols, out),
                2 => band::<F, 2, 4>(rows, x, n_cols, out),
                _ => band::<F, 1, 4>(rows, x, n_cols, out),
            }
        }
    }
}

/// All weight rows times `T` activation rows, `R` weight rows at once, as far apart as they can be:
/// several streams read memory faster than one.
///
/// SAFETY: AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn band<F: Float, const T: usize, const R: usize>(
    rows: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let row_bytes = n_cols * F::BYTES;
    let n_rows = rows.len() / row_bytes;
    let apart = n_rows / R;
    for r in 0..apart {
        let sums = tile::<F, T, R>(&rows[r * row_bytes..], apart, x, n_cols);
        for (k, sums) in sums.iter().enumerate() {
            for (t, sum) in sums.iter().enumerate() {
                out[t * n_rows + r + k * apart] = *sum;
            }
        }
    }
    for r in R * apart..n_rows {
        let [sums] = tile::<F, T, 1>(&rows[r * row_bytes..], 0, x, n_cols);
        for (t, sum) in sums.iter().enumerate() {
            out[t * n_rows + r] = *sum;
        }
    }
}

/// `R` weight rows, `apart` rows from each other, times `T` activation rows.
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<F: Float, const T: usize, const R: usize>(
    rows: &[u8],
    apart: usize,
    x: &[f32],
    n_cols: usize,
) -> [[f32; T]; R] {
    let (row_bytes, whole) = (n_cols * F::BYTES, n_cols / 8 * 8);
    assert!(rows.len() >= ((R - 1) * apart + 1) * row_bytes && x.len() >= T * n_cols, "whole rows");
    let mut sums = [[_mm256_setzero_ps(); T]; R];
    for col in (0..whole).step_by(8) {
        // SAFETY: eight values from `col` on are inside each row.
        unsafe {
            let mut x_part = [_mm256_setzero_ps(); T];
            for (t, part) in x_part.iter_mut().enumerate() {
                *part = _mm256_loadu_ps(x.as_ptr().add(t * n_cols + col));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let w = F::load(rows.as_ptr().add(r * apart * row_bytes + col * F::BYTES));
                for (sum, x) in sums.iter_mut().zip(x_part) {
                    *sum = _mm256_fmadd_ps(w, x, *sum);
                }
            }
        }
    }
    let mut out = [[0.0; T]; R];
    for (r, (out, sums)) in out.iter_mut().zip(sums).enumerate() {
        let row = &rows[r * apart * row_bytes..][..row_bytes];
        for (t, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = hsum(sum);
            if whole < n_cols {
                let rest_of_x = &x[t * n_cols + whole..(t + 1) * n_cols];
                *out += dot(F::TYPE, &row[whole * F::BYTES..], rest_of_x);
            }
        }
    }
    out
}

/// `out[t]` += the sum of `p[t][r]` times value row `r`.
pub(crate) fn add_weighted(
    ty: TensorType,
    values: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    // SAFETY: AVX2, FMA and F16C are available (see `avx2`).
    unsafe {
        match ty {
            TensorType::F32 => add_bands::<F32>(values, p, n_cols, out),
            TensorType::F16 => add_bands::<F16>(values, p, n_cols, out),
            _ => add_bands::<Bf16>(values, p, n_cols, out),
        }
    }
}

/// SAFETY: AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_bands<F: Float>(values: &[u8], p: &[f32], n_cols: usize, out: &mut [f32]) {
    let n_values = values.len() / (n_cols * F::BYTES);
    for (p, out) in p.chunks(4 * n_values).zip(out.chunks_mut(4 * n_cols)) {
        // SAFETY: the caller's promise.
        unsafe {
            match out.len() / n_cols {
                4 => add_band::<F, 4, 2>(values, p, n_cols, out),
                3 => add_band::<F, 3, 4>(values, p, n_cols, out),
                2 => add_band::<F, 2, 4>(values, p, n_cols, out),
                _ => add_band::<F, 1, 8>(values, p, n_cols, out),
            }
        }
    }
}

/// `T` rows of `out`, `V` vectors at once.
///
/// SAFETY: AVX2, FMA and F16C are available.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_band<F: Float, const T: usize, const V: usize>(
    values: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let whole = n_cols / 8 * 8;
    let wide = n_cols / (8 * V) * (8 * V);
    for col in (0..wide).step_by(8 * V) {
        add_tile::<F, T, V>(values, p, n_cols, col, out);
    }
    for col in (wide..whole).step_by(8) {
        add_tile::<F, T, 1>(values, p, n_cols, col, out);
    }
    if whole == n_cols {
        return;
    }
    let n_values = p.len() / T;
    for (out, p) in out.chunks_exact_mut(n_cols).zip(p.chunks_exact(n_values)) {
        for (row, p) in values.chunks_exact(n_cols * F::BYTES).zip(p) {
            axpy(F::TYPE, &row[whole * F::BYTES..], *p, &mut out[whole..]);
        }
    }
}

/// Columns `col..col + 8 V` of `T` rows.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_tile<F: Float, const T: usize, const V: usize>(
    values: &[u8],
    p: &[f32],
    n_cols: usize,
    col: usize,
    out: &mut [f32],
) {
    let n_values = p.len() / T;
    assert!(out.len() == T * n_cols && col + 8 * V <= n_cols, "the columns are there");
    assert!(values.len() >= n_values * n_cols * F::BYTES, "a value row for each weight");
    // SAFETY: 8 V values from `col` on are inside each row of `out` and of the values; `p` has
    // `n_values` weights for each row of `out`.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); V]; T];
        for (t, sums) in sums.iter_mut().enumerate() {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(out.as_ptr().add(t * n_cols + col + 8 * v));
            }
        }
        for r in 0..n_values {
            let mut weights = [_mm256_setzero_ps(); T];
            for (t, weight) in weights.iter_mut().enumerate() {
                *weight = _mm256_set1_ps(*p.get_unchecked(t * n_values + r));
            }
            let row = values.as_ptr().add((r * n_cols + col) * F::BYTES);
            for v in 0..V {
                let x = F::load(row.add(8 * v * F::BYTES));
                for (sums, weight) in sums.iter_mut().zip(weights) {
                    sums[v] = _mm256_fmadd_ps(weight, x, sums[v]);
                }
            }
        }
        for (t, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                _mm256_storeu_ps(out.as_mut_ptr().add(t * n_cols + col + 8 * v), sum);
            }
        }
    }
}
