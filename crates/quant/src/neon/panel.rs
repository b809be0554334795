//! Multiplies panels of sixteen weight rows with several activation rows, by dot products of four
//! values: the hot loop of prefill.
//!
//! A vector holds four values of four weight rows; each dot product multiplies it with four
//! activations of one row, which `sdot` takes from a lane of a vector of sixteen. Half a panel is
//! processed at a time, so that all sums of four activation rows stay in registers.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use lilims_gguf::TensorType;

use super::Row;
use super::dot::{Dot, Sdot, Smull};
use crate::activation::ActivationBatch;
use crate::panel::{PANEL_ROWS, Panel};

/// The fixed offset of a type's integers. It is subtracted when a panel is filled, so no minimum is
/// left.
pub(super) fn offset(ty: TensorType) -> i8 {
    match ty {
        TensorType::Q4_0 => 8,
        TensorType::Q5_0 => 16,
        TensorType::Q3_K => 4,
        TensorType::Q6_K => 32,
        _ => 0,
    }
}

/// Whether a type has a stored minimum per group.
pub(super) fn has_min(ty: TensorType) -> bool {
    use TensorType::*;
    matches!(ty, Q4_1 | Q5_1 | Q2_K | Q4_K | Q5_K)
}

/// Converts sixteen rows of `n_cols` values to groups of four, row by row: a transposition of
/// 32-bit words.
///
/// # Safety
/// Both slices hold sixteen rows; `n_cols` is a multiple of 16.
pub(super) unsafe fn interleave(ty: TensorType, rows: &[i8], n_cols: usize, values: &mut [i8]) {
    // SAFETY: guaranteed by the caller: 16 bytes from each multiple of 16 on lie inside a row, and
    // the groups of 64 bytes that they are written to lie inside `values`.
    unsafe {
        let offset = vdupq_n_s8(offset(ty));
        for quad in 0..PANEL_ROWS / 4 {
            let rows = rows.as_ptr().add(4 * quad * n_cols);
            for col in (0..n_cols).step_by(16) {
                let mut r = [vdupq_n_s32(0); 4];
                for (i, r) in r.iter_mut().enumerate() {
                    let bytes = vsubq_s8(vld1q_s8(rows.add(i * n_cols + col)), offset);
                    *r = vreinterpretq_s32_s8(bytes);
                }
                let even = [vtrn1q_s32(r[0], r[1]), vtrn1q_s32(r[2], r[3])];
                let odd = [vtrn2q_s32(r[0], r[1]), vtrn2q_s32(r[2], r[3])];
                let even = [vreinterpretq_s64_s32(even[0]), vreinterpretq_s64_s32(even[1])];
                let odd = [vreinterpretq_s64_s32(odd[0]), vreinterpretq_s64_s32(odd[1])];
                let to = values.as_mut_ptr().add(PANEL_ROWS * col + 16 * quad);
                vst1q_s64(to.cast(), vtrn1q_s64(even[0], even[1]));
                vst1q_s64(to.add(64).cast(), vtrn1q_s64(odd[0], odd[1]));
                vst1q_s64(to.add(128).cast(), vtrn2q_s64(even[0], even[1]));
                vst1q_s64(to.add(192).cast(), vtrn2q_s64(odd[0], odd[1]));
            }
        }
    }
}

/// Multiplies a panel with the activation rows from `first` on.
///
/// # Safety
/// The processor has `sdot`; the activation rows are as long as the panel's.
#[target_feature(enable = "dotprod")]
pub(super) unsafe fn matmul_dotprod(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { matmul::<Sdot>(panel, activations, first, out) }
}

/// Multiplies a panel with the activation rows from `first` on.
///
/// # Safety
/// The activation rows are as long as the panel's.
pub(super) unsafe fn matmul_baseline(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { matmul::<Smull>(panel, activations, first, out) }
}

/// # Safety
/// `D` is available; the activation rows are as long as the panel's.
#[inline(always)]
unsafe fn matmul<D: Dot>(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    let (group, min) = (panel.format().group, has_min(panel.tensor_type()));
    let (fours, rest) = out.as_chunks_mut::<4>();
    let rest_first = first + 4 * fours.len();
    // SAFETY: guaranteed by the caller.
    unsafe {
        for (i, out) in fours.iter_mut().enumerate() {
            let t = first + 4 * i;
            let rows = [
                Row::of(activations.row(t)),
                Row::of(activations.row(t + 1)),
                Row::of(activations.row(t + 2)),
                Row::of(activations.row(t + 3)),
            ];
            match (group, min) {
                (32, false) => tile::<D, 4, 32, false>(panel, rows, out),
                (32, true) => tile::<D, 4, 32, true>(panel, rows, out),
                (_, false) => tile::<D, 4, 16, false>(panel, rows, out),
                (_, true) => tile::<D, 4, 16, true>(panel, rows, out),
            }
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let rows = [Row::of(activations.row(rest_first + i))];
            let out = std::array::from_mut(out);
            match (group, min) {
                (32, false) => tile::<D, 1, 32, false>(panel, rows, out),
                (32, true) => tile::<D, 1, 32, true>(panel, rows, out),
                (_, false) => tile::<D, 1, 16, false>(panel, rows, out),
                (_, true) => tile::<D, 1, 16, true>(panel, rows, out),
            }
        }
    }
}

/// Multiplies a panel with `T` activation rows.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn tile<D: Dot, const T: usize, const GROUP: usize, const MIN: bool>(
    panel: &Panel,
    rows: [Row; T],
    out: &mut [[f32; PANEL_ROWS]; T],
) {
    // SAFETY: guaranteed by the caller: a panel has sixteen values for each column and sixteen
    // scales and minimums for each group; an activation row has a scale and sums for each 32
    // columns.
    unsafe {
        for half in 0..2 {
            let values = panel.values.as_ptr().add(32 * half);
            let scales = panel.scales.as_ptr().add(8 * half);
            let mins = panel.mins.as_ptr().add(8 * half);
            let mut sums = [[vdupq_n_f32(0.0); 2]; T];
            for group in 0..panel.n_cols() / GROUP {
                let mut dots = [[vdupq_n_s32(0); 2]; T];
                for part in 0..GROUP / 16 {
                    let col = GROUP * group + 16 * part;
                    let mut x = [vdupq_n_s8(0); T];
                    for t in 0..T {
                        x[t] = vld1q_s8(rows[t].values.add(col));
                    }
                    let values = values.add(PANEL_ROWS * col);
                    step::<D, T, 0>(values, x, &mut dots);
                    step::<D, T, 1>(values, x, &mut dots);
                    step::<D, T, 2>(values, x, &mut dots);
                    step::<D, T, 3>(values, x, &mut dots);
                }
                for quad in 0..2 {
                    let at = PANEL_ROWS * group + 4 * quad;
                    let scale = vld1q_f32(scales.add(at));
                    for t in 0..T {
                        let scaled = vmulq_f32(vcvtq_f32_s32(dots[t][quad]), scale);
                        let of_row = *rows[t].scales.add(group * GROUP / 32);
                        let mut sum = vfmaq_n_f32(sums[t][quad], scaled, of_row);
                        if MIN {
                            let of = if GROUP == 32 { rows[t].sums_32 } else { rows[t].sums_16 };
                            sum = vfmaq_n_f32(sum, vld1q_f32(mins.add(at)), *of.add(group));
                        }
                        sums[t][quad] = sum;
                    }
                }
            }
            for t in 0..T {
                let out = out[t].as_mut_ptr().add(8 * half);
                vst1q_f32(out, sums[t][0]);
                vst1q_f32(out.add(4), sums[t][1]);
            }
        }
    }
}

/// Processes four columns: the group with index `LANE` of the four at `values` and in `x`.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn step<D: Dot, const T: usize, const LANE: i32>(
    values: *const i8,
    x: [int8x16_t; T],
    dots: &mut [[int32x4_t; 2]; T],
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let values = values.add(64 * LANE as usize);
        let w = [vld1q_s8(values), vld1q_s8(values.add(16))];
        for t in 0..T {
            for quad in 0..2 {
                dots[t][quad] = D::dot_lane::<LANE>(dots[t][quad], w[quad], x[t]);
            }
        }
    }
}
