//! Products of float rows with f32 rows in register tiles, generic over the vector type.
//!
//! Each instruction set implements [`Lanes`] and calls [`matmul`] and [`add_weighted`] from a
//! function that enables its target features. Everything here is inlined into that function;
//! closures are avoided because they would not inherit the features.
#![expect(unsafe_code, reason = "vector intrinsics over raw pointers")]
#![expect(clippy::needless_range_loop, reason = "one index walks several arrays of registers")]

use lilims_gguf::TensorType;

use super::scalar::{axpy, dot_float};

/// A vector of f32 and its operations.
///
/// All unsafe methods require that the instruction set is available and that the memory that is
/// read or written is valid.
pub(super) trait Lanes {
    type Vector: Copy;
    /// Values per vector.
    const LEN: usize;
    /// Whether there are enough registers for sixteen accumulators and as many operands.
    const WIDE_TILES: bool;

    unsafe fn splat(x: f32) -> Self::Vector;
    unsafe fn load(pointer: *const f32) -> Self::Vector;
    unsafe fn load_f16(pointer: *const u8) -> Self::Vector;
    unsafe fn load_bf16(pointer: *const u8) -> Self::Vector;
    unsafe fn store(pointer: *mut f32, x: Self::Vector);
    /// `a * b + c`.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    unsafe fn sum(x: Self::Vector) -> f32;
    /// Prefetches `n_bytes` from `from`, if the instruction set supports it.
    fn prefetch(_from: *const u8, _n_bytes: usize) {}
}

/// How a float type is loaded.
pub(super) trait Float {
    const TYPE: TensorType;
    const BYTES: usize;

    /// Loads one vector of values.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn load<L: Lanes>(pointer: *const u8) -> L::Vector;
}

pub(super) struct F32;
impl Float for F32 {
    const TYPE: TensorType = TensorType::F32;
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<L: Lanes>(pointer: *const u8) -> L::Vector {
        // SAFETY: guaranteed by the caller; vector loads need no alignment.
        unsafe { L::load(pointer.cast()) }
    }
}

pub(super) struct F16;
impl Float for F16 {
    const TYPE: TensorType = TensorType::F16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Lanes>(pointer: *const u8) -> L::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe { L::load_f16(pointer) }
    }
}

pub(super) struct Bf16;
impl Float for Bf16 {
    const TYPE: TensorType = TensorType::BF16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<L: Lanes>(pointer: *const u8) -> L::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe { L::load_bf16(pointer) }
    }
}

/// `out[t][r]` = weight row `r` · activation row `t`.
///
/// # Safety
/// `L` is available.
#[inline(always)]
pub(super) unsafe fn matmul<L: Lanes, F: Float>(
    rows: &[u8],
    ahead: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let n_rows = rows.len() / (n_cols * F::BYTES);
    let n_tokens = x.len() / n_cols;
    assert!(out.len() == n_rows * n_tokens, "one result per pair of rows");
    if n_rows == 0 {
        return;
    }
    // Twelve or more sums hide the latency of additions, and each converted weight serves six rows.
    for (x, out) in x.chunks(6 * n_cols).zip(out.chunks_mut(6 * n_rows)) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match (x.len() / n_cols, L::WIDE_TILES) {
                (6, true) => band::<L, F, 6, 4>(rows, ahead, x, n_cols, out),
                (6, false) => band::<L, F, 6, 2>(rows, ahead, x, n_cols, out),
                (5, true) => band::<L, F, 5, 4>(rows, ahead, x, n_cols, out),
                (5, false) => band::<L, F, 5, 2>(rows, ahead, x, n_cols, out),
                (4, true) => band::<L, F, 4, 4>(rows, ahead, x, n_cols, out),
                (4, false) => band::<L, F, 4, 2>(rows, ahead, x, n_cols, out),
                (3, true) => band::<L, F, 3, 4>(rows, ahead, x, n_cols, out),
                (3, false) => band::<L, F, 3, 2>(rows, ahead, x, n_cols, out),
                (2, _) => band::<L, F, 2, 4>(rows, ahead, x, n_cols, out),
                _ => band::<L, F, 1, 4>(rows, ahead, x, n_cols, out),
            }
        }
    }
}

/// Multiplies all weight rows with `T` activation rows, `R` weight rows at once.
///
/// # Safety
/// `L` is available.
#[inline(always)]
unsafe fn band<L: Lanes, F: Float, const T: usize, const R: usize>(
    rows: &[u8],
    ahead: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let row_bytes = n_cols * F::BYTES;
    let n_rows = rows.len() / row_bytes;
    let whole = n_rows / R * R;
    // SAFETY: guaranteed by the caller.
    unsafe {
        for r in (0..whole).step_by(R) {
            let start = r * row_bytes;
            let ahead = ahead.as_ptr().wrapping_add(start);
            let sums = tile::<L, F, T, R>(&rows[start..], ahead, x, n_cols);
            for (k, sums) in sums.iter().enumerate() {
                for (t, sum) in sums.iter().enumerate() {
                    out[t * n_rows + r + k] = *sum;
                }
            }
        }
        for r in whole..n_rows {
            let start = r * row_bytes;
            let ahead = ahead.as_ptr().wrapping_add(start);
            let [sums] = tile::<L, F, T, 1>(&rows[start..], ahead, x, n_cols);
            for (t, sum) in sums.iter().enumerate() {
                out[t * n_rows + r] = *sum;
            }
        }
    }
}

/// Multiplies `R` weight rows with `T` activation rows.
///
/// # Safety
/// `L` is available.
#[inline(always)]
unsafe fn tile<L: Lanes, F: Float, const T: usize, const R: usize>(
    rows: &[u8],
    ahead: *const u8,
    x: &[f32],
    n_cols: usize,
) -> [[f32; T]; R] {
    let (row_bytes, whole) = (n_cols * F::BYTES, n_cols / L::LEN * L::LEN);
    assert!(rows.len() >= R * row_bytes && x.len() >= T * n_cols, "whole rows");
    let mut out = [[0.0; T]; R];
    // SAFETY: guaranteed by the caller; each vector that starts at such a column lies inside its
    // row.
    unsafe {
        let mut sums = [[L::splat(0.0); T]; R];
        for col in (0..whole).step_by(L::LEN) {
            L::prefetch(ahead.wrapping_add(col * R * F::BYTES), L::LEN * R * F::BYTES);
            let mut weights = [L::splat(0.0); R];
            for r in 0..R {
                weights[r] = F::load::<L>(rows.as_ptr().add(r * row_bytes + col * F::BYTES));
            }
            for t in 0..T {
                let x = L::load(x.as_ptr().add(t * n_cols + col));
                for r in 0..R {
                    sums[r][t] = L::fma(weights[r], x, sums[r][t]);
                }
            }
        }
        for r in 0..R {
            let row = &rows[r * row_bytes..][..row_bytes];
            for t in 0..T {
                out[r][t] = L::sum(sums[r][t]);
                if whole < n_cols {
                    let rest_of_x = &x[t * n_cols + whole..(t + 1) * n_cols];
                    out[r][t] += dot_float(F::TYPE, &row[whole * F::BYTES..], rest_of_x);
                }
            }
        }
    }
    out
}

/// `out[t]` += the sum of `p[t][r]` times value row `r`.
///
/// # Safety
/// `L` is available.
#[inline(always)]
pub(super) unsafe fn add_weighted<L: Lanes, F: Float>(
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let n_values = values.len() / (n_cols * F::BYTES);
    assert!(p.len() * n_cols == out.len() * n_values, "one weight per pair of rows");
    if n_values == 0 {
        return;
    }
    for (p, out) in p.chunks(4 * n_values).zip(out.chunks_mut(4 * n_cols)) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match (out.len() / n_cols, L::WIDE_TILES) {
                (4, true) => add_band::<L, F, 4, 4>(values, ahead, p, n_cols, out),
                (4, false) => add_band::<L, F, 4, 2>(values, ahead, p, n_cols, out),
                (3, true) => add_band::<L, F, 3, 4>(values, ahead, p, n_cols, out),
                (3, false) => add_band::<L, F, 3, 2>(values, ahead, p, n_cols, out),
                (2, _) => add_band::<L, F, 2, 4>(values, ahead, p, n_cols, out),
                _ => add_band::<L, F, 1, 4>(values, ahead, p, n_cols, out),
            }
        }
    }
}

/// Updates `T` rows of `out`, `V` vectors at once.
///
/// # Safety
/// `L` is available.
#[inline(always)]
unsafe fn add_band<L: Lanes, F: Float, const T: usize, const V: usize>(
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    let whole = n_cols / L::LEN * L::LEN;
    let wide = n_cols / (L::LEN * V) * (L::LEN * V);
    // SAFETY: guaranteed by the caller.
    unsafe {
        for col in (0..wide).step_by(L::LEN * V) {
            add_tile::<L, F, T, V>(values, ahead, p, n_cols, col, out);
        }
        for col in (wide..whole).step_by(L::LEN) {
            add_tile::<L, F, T, 1>(values, ahead, p, n_cols, col, out);
        }
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

/// Updates `V` vectors of columns from `col` on, in `T` rows.
///
/// # Safety
/// `L` is available.
#[inline(always)]
unsafe fn add_tile<L: Lanes, F: Float, const T: usize, const V: usize>(
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    col: usize,
    out: &mut [f32],
) {
    let n_values = p.len() / T;
    assert!(out.len() == T * n_cols && col + L::LEN * V <= n_cols, "the columns are there");
    assert!(values.len() >= n_values * n_cols * F::BYTES, "a value row for each weight");
    // SAFETY: guaranteed by the caller; V vectors from `col` on lie inside each row of `out` and of
    // the values, and `p` has `n_values` weights for each row of `out`.
    unsafe {
        let mut sums = [[L::splat(0.0); V]; T];
        for t in 0..T {
            for v in 0..V {
                sums[t][v] = L::load(out.as_ptr().add(t * n_cols + col + L::LEN * v));
            }
        }
        for r in 0..n_values {
            let mut weights = [L::splat(0.0); T];
            for t in 0..T {
                weights[t] = L::splat(*p.get_unchecked(t * n_values + r));
            }
            let start = (r * n_cols + col) * F::BYTES;
            L::prefetch(ahead.as_ptr().wrapping_add(start), L::LEN * V * F::BYTES);
            let row = values.as_ptr().add(start);
            for v in 0..V {
                let x = F::load::<L>(row.add(L::LEN * v * F::BYTES));
                for t in 0..T {
                    sums[t][v] = L::fma(weights[t], x, sums[t][v]);
                }
            }
        }
        for t in 0..T {
            for v in 0..V {
                L::store(out.as_mut_ptr().add(t * n_cols + col + L::LEN * v), sums[t][v]);
            }
        }
    }
}
