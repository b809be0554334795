//! Multiplies panels of sixteen weight rows with several activation rows: the hot loop of prefill.
//!
//! Each step multiplies four values of sixteen weight rows, in two vectors, with four activations,
//! repeated eight times. If the weights are unsigned and small, several steps are added in 16 bits
//! before widening: 15 * 127 * 2 products * 8 steps fits.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;
use std::ops::Range;

use super::Row;
use crate::activation::ActivationBatch;
use crate::panel::{PANEL_ROWS, Panel};

/// Activation rows that share each load of weights.
const TOKENS: usize = 4;

/// Multiplies a panel with `out.len()` activation rows, starting at row `first`.
pub(crate) fn panel_matmul(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    assert_eq!(panel.n_cols(), activations.n_cols(), "rows of equal length");
    let format = panel.format();
    let rows = |t: usize| Row::of(activations.row(first + t));
    out.fill([0.0; PANEL_ROWS]);
    let (fours, rest) = out.as_chunks_mut::<TOKENS>();
    let n_fours = fours.len();
    for cols in panel.parts() {
        // SAFETY: AVX2 and FMA are available (see `avx2`). The panel has sixteen rows of `n_cols`
        // values with their scales and minimums, and each activation row as many columns.
        unsafe {
            for (i, out) in fours.iter_mut().enumerate() {
                let rows = std::array::from_fn(|t| rows(TOKENS * i + t));
                add_tile(format.max, format.group, panel, cols.clone(), rows, out);
            }
            for (i, out) in rest.iter_mut().enumerate() {
                let (rows, out) = ([rows(TOKENS * n_fours + i)], std::array::from_mut(out));
                add_tile(format.max, format.group, panel, cols.clone(), rows, out);
            }
        }
    }
}

/// Calls the tile function for weights up to `max` in groups of `group`; `cols` are whole groups.
///
/// # Safety
/// AVX2 and FMA are available; the activation rows are as long as the panel's.
unsafe fn add_tile<const T: usize>(
    max: Option<u8>,
    group: usize,
    panel: &Panel,
    cols: Range<usize>,
    rows: [Row; T],
    out: &mut [[f32; PANEL_ROWS]; T],
) {
    // As many narrow steps as fit in 16 bits; see `tile`.
    // SAFETY: guaranteed by the caller.
    unsafe {
        match (max, group) {
            (None, _) => tile_signed(panel, cols, rows, out),
            (Some(0..=15), 32) => tile::<T, 8, 8>(panel, cols, rows, out),
            (Some(_), 32) => tile::<T, 8, 4>(panel, cols, rows, out),
            (Some(0..=15), _) => tile::<T, 4, 4>(panel, cols, rows, out),
            (Some(_), _) => tile::<T, 4, 2>(panel, cols, rows, out),
        }
    }
}

/// For unsigned weights in groups of `STEPS` times four values. `NARROW` steps are added in 16
/// bits, which is exact while max * 127 * 2 * `NARROW` < 32,768.
///
/// # Safety
/// As for [`add_tile`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const T: usize, const STEPS: usize, const NARROW: usize>(
    panel: &Panel,
    cols: Range<usize>,
    rows: [Row; T],
    out: &mut [[f32; PANEL_ROWS]; T],
) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = load_sums(out);
    for group in cols.start / (4 * STEPS)..cols.end / (4 * STEPS) {
        let mut wide = [[_mm256_setzero_si256(); 2]; T];
        for outer in 0..STEPS / NARROW {
            let mut narrow = [[_mm256_setzero_si256(); 2]; T];
            for inner in 0..NARROW {
                let step = group * STEPS + outer * NARROW + inner;
                // SAFETY: `step` is below n_cols / 4; a step is 64 bytes of the panel and 4 of
                // each activation row.
                unsafe {
                    let w = load_step(panel, step);
                    for t in 0..T {
                        let x = repeat(rows[t], step);
                        for half in 0..2 {
                            let products = _mm256_maddubs_epi16(w[half], x);
                            narrow[t][half] = pin(_mm256_add_epi16(narrow[t][half], products));
                        }
                    }
                }
            }
            for t in 0..T {
                for half in 0..2 {
                    let products = _mm256_madd_epi16(narrow[t][half], ones);
                    wide[t][half] = _mm256_add_epi32(wide[t][half], products);
                }
            }
        }
        for half in 0..2 {
            // SAFETY: `group` is below the number of groups; a row has one scale for 32 values.
            unsafe {
                let scales = load_floats(&panel.scales, group, half);
                let mins = load_floats(&panel.mins, group, half);
                for t in 0..T {
                    let row = rows[t];
                    let sum = if STEPS == 8 { row.sums_32 } else { row.sums_16 };
                    let scale = _mm256_set1_ps(*row.scales.add(group * STEPS / 8));
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(wide[t][half]), scales);
                    let total = _mm256_fmadd_ps(scaled, scale, sums[t][half]);
                    sums[t][half] = _mm256_fmadd_ps(mins, _mm256_set1_ps(*sum.add(group)), total);
                }
            }
        }
    }
    store_sums(sums, out);
}

/// For signed 8-bit weights in groups of 32, without minimums.
///
/// # Safety
/// As for [`add_tile`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile_signed<const T: usize>(
    panel: &Panel,
    cols: Range<usize>,
    rows: [Row; T],
    out: &mut [[f32; PANEL_ROWS]; T],
) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = load_sums(out);
    for group in cols.start / 32..cols.end / 32 {
        let mut wide = [[_mm256_setzero_si256(); 2]; T];
        for step in 8 * group..8 * group + 8 {
            // SAFETY: as in `tile`.
            unsafe {
                let w = load_step(panel, step);
                let magnitude = [_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])];
                for t in 0..T {
                    let x = repeat(rows[t], step);
                    for half in 0..2 {
                        // |w| * (sign(w) a), because the first factor must be unsigned.
                        let signed = _mm256_sign_epi8(x, w[half]);
                        let products = _mm256_maddubs_epi16(magnitude[half], signed);
                        let products = _mm256_madd_epi16(products, ones);
                        wide[t][half] = _mm256_add_epi32(wide[t][half], products);
                    }
                }
            }
        }
        for half in 0..2 {
            // SAFETY: as in `tile`.
            unsafe {
                let scales = load_floats(&panel.scales, group, half);
                for t in 0..T {
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(wide[t][half]), scales);
                    let scale = _mm256_set1_ps(*rows[t].scales.add(group));
                    sums[t][half] = _mm256_fmadd_ps(scaled, scale, sums[t][half]);
                }
            }
        }
    }
    store_sums(sums, out);
}

/// Returns `x`, hiding from the compiler where it comes from: otherwise the compiler reassociates
/// the running sums into trees whose many leaves do not fit in the registers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn pin(mut x: __m256i) -> __m256i {
    // SAFETY: the assembly is empty.
    unsafe {
        std::arch::asm!("/* {0} */", inlateout(ymm_reg) x, options(pure, nomem, nostack, preserves_flags))
    };
    x
}

/// Loads the 64 weights of a step.
///
/// # Safety
/// AVX2 is available and `step` is below n_cols / 4.
#[inline(always)]
unsafe fn load_step(panel: &Panel, step: usize) -> [__m256i; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let from = panel.values.as_ptr().add(64 * step);
        [load(from), load(from.add(32))]
    }
}

/// Loads half of a group's scales or minimums.
///
/// # Safety
/// AVX2 is available, the group is in `of`.
#[inline(always)]
unsafe fn load_floats(of: &[f32], group: usize, half: usize) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_loadu_ps(of.as_ptr().add(PANEL_ROWS * group + 8 * half)) }
}

/// Loads 32 weights.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load(pointer: *const i8) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_loadu_si256(pointer.cast()) }
}

/// Loads activations `4 step..4 step + 4`, repeated eight times.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn repeat(row: Row, step: usize) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_set1_epi32(row.values.add(4 * step).cast::<i32>().read_unaligned()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_sums<const T: usize>(from: &[[f32; PANEL_ROWS]; T]) -> [[__m256; 2]; T] {
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    for (sums, from) in sums.iter_mut().zip(from) {
        // SAFETY: the array is 64 readable bytes.
        unsafe {
            *sums = [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))];
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store_sums<const T: usize>(sums: [[__m256; 2]; T], to: &mut [[f32; PANEL_ROWS]; T]) {
    for (to, [low, high]) in to.iter_mut().zip(sums) {
        // SAFETY: the array is 64 writable bytes.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), low);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), high);
        }
    }
}

/// Converts sixteen rows of `n_cols` bytes to groups of four, row by row: a transposition of 32-bit
/// words.
pub(crate) fn interleave(rows: &[i8], n_cols: usize, values: &mut [i8]) {
    assert!(n_cols.is_multiple_of(32), "whole groups");
    assert!(rows.len() == PANEL_ROWS * n_cols && values.len() == rows.len(), "sixteen rows");
    for half in 0..2 {
        // SAFETY: AVX2 is available (see `avx2`), and the lengths were checked: each half has eight
        // rows, which are written to groups of 64 bytes.
        unsafe {
            let rows = rows.as_ptr().add(8 * half * n_cols);
            transpose(rows, n_cols, values.as_mut_ptr().add(32 * half));
        }
    }
}

/// Transposes eight rows to groups of 32 bytes, 64 bytes apart.
///
/// # Safety
/// AVX2 is available; `rows` is eight times `n_cols` bytes, and `values` has as many groups as
/// `n_cols` has fours.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn transpose(rows: *const i8, n_cols: usize, values: *mut i8) {
    for col in (0..n_cols).step_by(32) {
        // SAFETY: 32 bytes from `col` on lie inside each row.
        let r: [__m256i; 8] = std::array::from_fn(|i| unsafe { load(rows.add(i * n_cols + col)) });
        let pairs = |i: usize| {
            (_mm256_unpacklo_epi32(r[i], r[i + 1]), _mm256_unpackhi_epi32(r[i], r[i + 1]))
        };
        let [(a, b), (c, d), (e, f), (g, h)] = [pairs(0), pairs(2), pairs(4), pairs(6)];
        // Word k of the four low rows, and of the four high rows, in each 128-bit half.
        let low = [
            _mm256_unpacklo_epi64(a, c),
            _mm256_unpackhi_epi64(a, c),
            _mm256_unpacklo_epi64(b, d),
            _mm256_unpackhi_epi64(b, d),
        ];
        let high = [
            _mm256_unpacklo_epi64(e, g),
            _mm256_unpackhi_epi64(e, g),
            _mm256_unpacklo_epi64(f, h),
            _mm256_unpackhi_epi64(f, h),
        ];
        for k in 0..4 {
            let first = _mm256_permute2x128_si256::<0x20>(low[k], high[k]);
            let second = _mm256_permute2x128_si256::<0x31>(low[k], high[k]);
            // SAFETY: the groups of these columns start at 16 `col`.
            unsafe {
                _mm256_storeu_si256(values.add(16 * col + 64 * k).cast(), first);
                _mm256_storeu_si256(values.add(16 * col + 64 * (k + 4)).cast(), second);
            }
        }
    }
}
