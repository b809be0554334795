//! Multiplies panels of sixteen weight rows with several activation rows, by matrix products.
//!
//! `smmla` multiplies two rows of eight values with two others and gives four sums. The panel's
//! layout follows from this: eight values of row 0 and of row 1, of rows 2 and 3, … then the next
//! eight columns. Half a panel is processed at a time, so that all sums of four activation rows
//! stay in registers.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use lilims_gguf::TensorType;

use super::Row;
use super::dot::smmla;
use super::panel::{has_min, offset};
use crate::activation::ActivationBatch;
use crate::panel::{PANEL_ROWS, Panel};

/// Pairs of rows in half a panel.
const PAIRS: usize = PANEL_ROWS / 4;

/// Converts sixteen rows of `n_cols` values to pairs of rows, eight columns at a time.
///
/// # Safety
/// Both slices hold sixteen rows; `n_cols` is a multiple of 16.
pub(super) unsafe fn interleave(ty: TensorType, rows: &[i8], n_cols: usize, values: &mut [i8]) {
    // SAFETY: guaranteed by the caller: 16 bytes from each multiple of 16 on lie inside a row, and
    // the groups of 128 bytes that they are written to lie inside `values`.
    unsafe {
        let offset = vdupq_n_s8(offset(ty));
        for pair in 0..PANEL_ROWS / 2 {
            let row = rows.as_ptr().add(2 * pair * n_cols);
            for col in (0..n_cols).step_by(16) {
                let a = vsubq_s8(vld1q_s8(row.add(col)), offset);
                let b = vsubq_s8(vld1q_s8(row.add(n_cols + col)), offset);
                let [first, second] = by_eights(a, b);
                let to = values.as_mut_ptr().add(PANEL_ROWS * col + 16 * pair);
                vst1q_s8(to, first);
                vst1q_s8(to.add(8 * PANEL_ROWS), second);
            }
        }
    }
}

/// Returns the first eight bytes of both, and the last eight.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn by_eights(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
        [vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))]
    }
}

/// Multiplies a panel with the activation rows from `first` on.
///
/// # Safety
/// The processor has `smmla`; the activation rows are as long as the panel's.
#[target_feature(enable = "i8mm")]
pub(super) unsafe fn matmul(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    let (group, min) = (panel.format().group, has_min(panel.tensor_type()));
    for (i, out) in out.chunks_mut(4).enumerate() {
        let n = out.len();
        let row = |t: usize| Row::of(activations.row(first + 4 * i + t.min(n - 1)));
        // SAFETY: guaranteed by the caller.
        unsafe {
            if n > 2 {
                // A missing fourth row is replaced by the third, and its result discarded.
                let rows = [[row(0), row(1)], [row(2), row(3)]];
                match (group, min) {
                    (32, false) => tile::<2, 32, false>(panel, rows, out),
                    (32, true) => tile::<2, 32, true>(panel, rows, out),
                    (_, false) => tile::<2, 16, false>(panel, rows, out),
                    (_, true) => tile::<2, 16, true>(panel, rows, out),
                }
            } else {
                let rows = [[row(0), row(1)]];
                match (group, min) {
                    (32, false) => tile::<1, 32, false>(panel, rows, out),
                    (32, true) => tile::<1, 32, true>(panel, rows, out),
                    (_, false) => tile::<1, 16, false>(panel, rows, out),
                    (_, true) => tile::<1, 16, true>(panel, rows, out),
                }
            }
        }
    }
}

/// Multiplies a panel with `T` pairs of activation rows; only the results that fit into `out` are
/// written.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn tile<const T: usize, const GROUP: usize, const MIN: bool>(
    panel: &Panel,
    rows: [[Row; 2]; T],
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller: a panel has sixteen values for each column and sixteen
    // scales and minimums for each group; an activation row has a scale and sums for each 32
    // columns.
    unsafe {
        for half in 0..2 {
            let values = panel.values.as_ptr().add(16 * PAIRS * half);
            let scales = panel.scales.as_ptr().add(8 * half);
            let mins = panel.mins.as_ptr().add(8 * half);
            let mut sums = [[vdupq_n_f32(0.0); PAIRS]; T];
            for group in 0..panel.n_cols() / GROUP {
                let mut dots = [[vdupq_n_s32(0); PAIRS]; T];
                for part in 0..GROUP / 16 {
                    let col = GROUP * group + 16 * part;
                    let mut x = [[vdupq_n_s8(0); 2]; T];
                    for t in 0..T {
                        let [a, b] = rows[t];
                        x[t] = by_eights(vld1q_s8(a.values.add(col)), vld1q_s8(b.values.add(col)));
                    }
                    for eight in 0..2 {
                        for pair in 0..PAIRS {
                            let at = PANEL_ROWS * (col + 8 * eight) + 16 * pair;
                            let w = vld1q_s8(values.add(at));
                            for t in 0..T {
                                dots[t][pair] = smmla(dots[t][pair], w, x[t][eight]);
                            }
                        }
                    }
                }
                let scale = twice(scales.add(PANEL_ROWS * group));
                for t in 0..T {
                    let at = group * GROUP / 32;
                    let of_rows = both(rows[t][0].scales.add(at), rows[t][1].scales.add(at));
                    for pair in 0..PAIRS {
                        let scaled = vmulq_f32(vcvtq_f32_s32(dots[t][pair]), scale[pair]);
                        sums[t][pair] = vfmaq_f32(sums[t][pair], scaled, of_rows);
                    }
                }
                if MIN {
                    let min = twice(mins.add(PANEL_ROWS * group));
                    for t in 0..T {
                        let [a, b] = rows[t];
                        let of_rows = if GROUP == 32 {
                            both(a.sums_32.add(group), b.sums_32.add(group))
                        } else {
                            both(a.sums_16.add(group), b.sums_16.add(group))
                        };
                        for pair in 0..PAIRS {
                            sums[t][pair] = vfmaq_f32(sums[t][pair], min[pair], of_rows);
                        }
                    }
                }
            }
            for t in 0..T {
                for pair in 0..PAIRS / 2 {
                    let (a, b) = (sums[t][2 * pair], sums[t][2 * pair + 1]);
                    let at = 8 * half + 4 * pair;
                    // Even lanes belong to the first row of activations.
                    if let Some(out) = out.get_mut(2 * t) {
                        vst1q_f32(out.as_mut_ptr().add(at), vuzp1q_f32(a, b));
                    }
                    if let Some(out) = out.get_mut(2 * t + 1) {
                        vst1q_f32(out.as_mut_ptr().add(at), vuzp2q_f32(a, b));
                    }
                }
            }
        }
    }
}

/// Loads eight values, each twice: one vector per pair of rows.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn twice(values: *const f32) -> [float32x4_t; PAIRS] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (vld1q_f32(values), vld1q_f32(values.add(4)));
        [vzip1q_f32(a, a), vzip2q_f32(a, a), vzip1q_f32(b, b), vzip2q_f32(b, b)]
    }
}

/// Loads one value of each activation row, repeated: `a`, `b`, `a`, `b`.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn both(a: *const f32, b: *const f32) -> float32x4_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let pair = vld1_lane_f32::<1>(b, vld1_dup_f32(a));
        vcombine_f32(pair, pair)
    }
}
