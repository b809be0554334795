//! Multiplies panels of sixteen weight rows with several activation rows: the hot loop of prefill.
//!
//! Each step multiplies four values of sixteen weight rows, 64 bytes, with four activations,
//! repeated sixteen times. When the panel is filled, 128 is added to signed weights; their dot
//! products therefore start with the activations' sum times -128.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::ops::Range;

use super::dot::AvxVnni;
use super::wide::{Wide, Ymm, Zmm};
use crate::activation::ActivationBatch;
use crate::avx2::Row;
use crate::panel::{PANEL_ROWS, Panel};

/// Number of groups whose initial sums are computed at once for signed weights.
const PREPARED: usize = 32;

/// # Safety
/// AVX-512 VNNI is available; the activation rows are as long as the panel's.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn with_avx512(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { matmul::<Zmm>(panel, activations, first, out) }
}

/// # Safety
/// AVX-VNNI is available; the activation rows are as long as the panel's.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn with_avx_vnni(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { matmul::<Ymm<AvxVnni>>(panel, activations, first, out) }
}

/// # Safety
/// AVX2 is available; the activation rows are as long as the panel's.
#[cfg(test)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn with_avx2(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { matmul::<Ymm<super::dot::StandIn>>(panel, activations, first, out) }
}

/// # Safety
/// `W` is available; the activation rows are as long as the panel's.
#[inline(always)]
unsafe fn matmul<W: Wide>(
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    out.fill([0.0; PANEL_ROWS]);
    for cols in panel.parts() {
        // SAFETY: guaranteed by the caller.
        unsafe { add_part::<W>(panel, cols, activations, first, out) }
    }
}

/// Adds the products of the columns `cols`, which are whole groups.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn add_part<W: Wide>(
    panel: &Panel,
    cols: Range<usize>,
    activations: ActivationBatch<'_>,
    mut first: usize,
    mut out: &mut [[f32; PANEL_ROWS]],
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        while !out.is_empty() {
            let n = match out.len() {
                8.. if W::ROWS >= 8 => 8,
                4.. if W::ROWS >= 4 => 4,
                2.. => 2,
                _ => 1,
            };
            let (now, later) = out.split_at_mut(n);
            let cols = cols.clone();
            match n {
                8 => tile_of::<W, 8>(panel, cols, activations, first, now),
                4 => tile_of::<W, 4>(panel, cols, activations, first, now),
                2 => tile_of::<W, 2>(panel, cols, activations, first, now),
                _ => tile_of::<W, 1>(panel, cols, activations, first, now),
            }
            (first, out) = (first + n, later);
        }
    }
}

/// Multiplies `T` activation rows from `first` on, with the tile function for the panel's type.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn tile_of<W: Wide, const T: usize>(
    panel: &Panel,
    cols: Range<usize>,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    let mut rows = [Row::of(activations.row(first)); T];
    for (t, row) in rows.iter_mut().enumerate() {
        *row = Row::of(activations.row(first + t));
    }
    let format = panel.format();
    // SAFETY: guaranteed by the caller.
    unsafe {
        match (format.max.is_none(), format.group) {
            (true, _) => tile::<W, T, 32, true>(panel, cols, rows, out),
            (false, 32) => tile::<W, T, 32, false>(panel, cols, rows, out),
            (false, _) => tile::<W, T, 16, false>(panel, cols, rows, out),
        }
    }
}

/// Adds to `out` the products of the columns `cols` with `T` activation rows. Signed weights have no
/// minimums.
///
/// # Safety
/// As for [`matmul`].
#[inline(always)]
unsafe fn tile<W: Wide, const T: usize, const GROUP: usize, const SIGNED: bool>(
    panel: &Panel,
    cols: Range<usize>,
    rows: [Row; T],
    out: &mut [[f32; PANEL_ROWS]],
) {
    let groups = cols.start / GROUP..cols.end / GROUP;
    let values = panel.values.as_ptr();
    let (scales, mins) = (panel.scales.as_ptr(), panel.mins.as_ptr());
    // SAFETY: guaranteed by the caller: a panel has sixteen values for each column and sixteen
    // scales and minimums for each group; an activation row has a scale and sums for each 32
    // columns.
    unsafe {
        let mut sums = [W::zero_f(); T];
        for t in 0..T {
            sums[t] = W::load_f(out[t].as_ptr());
        }
        let mut starts = [[0; PREPARED]; T];
        for chunk in groups.clone().step_by(PREPARED) {
            let end = groups.end.min(chunk + PREPARED);
            if SIGNED {
                for t in 0..T {
                    prepare(rows[t], chunk, end, &mut starts[t]);
                }
            }
            for group in chunk..end {
                let mut dots = [W::zero(); T];
                if SIGNED {
                    for t in 0..T {
                        dots[t] = W::splat_i32(starts[t][group - chunk]);
                    }
                }
                for step in group * GROUP / 4..(group + 1) * GROUP / 4 {
                    let w = W::load(values.add(4 * PANEL_ROWS * step).cast());
                    for t in 0..T {
                        dots[t] = W::dot(dots[t], w, W::repeat(rows[t].values.add(4 * step)));
                    }
                }
                let scale = W::load_f(scales.add(PANEL_ROWS * group));
                for t in 0..T {
                    let of_row = W::splat_f(*rows[t].scales.add(group * GROUP / 32));
                    let scaled = W::mul(W::from_int(dots[t]), scale);
                    sums[t] = W::fma(scaled, of_row, sums[t]);
                }
                if !SIGNED {
                    let min = W::load_f(mins.add(PANEL_ROWS * group));
                    for t in 0..T {
                        let of = if GROUP == 32 { rows[t].sums_32 } else { rows[t].sums_16 };
                        sums[t] = W::fma(min, W::splat_f(*of.add(group)), sums[t]);
                    }
                }
            }
        }
        for t in 0..T {
            W::store_f(out[t].as_mut_ptr(), sums[t]);
        }
    }
}

/// Computes the sums of the integers of groups `first..end`, times -128.
///
/// A row stores these sums times the scale, in f32; dividing by the scale is exact for sums below
/// 2^12. A block of zeros has scale 0, and 0 / 0 becomes 0. A block whose scaled sum overflows f32
/// (values above 8e34) gives wrong instead of infinite results.
///
/// # Safety
/// The row holds the groups.
#[inline(always)]
unsafe fn prepare(row: Row, first: usize, end: usize, starts: &mut [i32; PREPARED]) {
    for (i, start) in starts[..end - first].iter_mut().enumerate() {
        // SAFETY: guaranteed by the caller.
        let (sum, scale) = unsafe { (*row.sums_32.add(first + i), *row.scales.add(first + i)) };
        *start = ((sum / scale).round_ties_even() as i32).wrapping_mul(-128);
    }
}
