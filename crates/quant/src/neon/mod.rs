//! Kernels for 64-bit Arm: NEON with `smmla`, with `sdot`, and without either.
//!
//! The functions visible outside of this module are sound only if the given instruction set is
//! available, which their callers check. They check the lengths of their slices; the kernels that
//! they call take raw pointers.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]
#![expect(clippy::needless_range_loop, reason = "one index walks several arrays of registers")]

mod blocks_256;
mod blocks_32;
mod dot;
mod float;
mod panel;
mod panel_i8mm;
pub(super) mod vector;

use std::arch::aarch64::*;
use std::arch::asm;

use lilims_gguf::TensorType;

use super::Isa;
use super::activation::{ActivationBatch, ActivationRow, ActivationRowMut, BLOCK, scale_of};
use super::blocks::Format;
use super::panel::{PANEL_ROWS, Panel};

pub(super) use float::{add_weighted, matmul_float};

/// Pointers to the parts of a quantised activation row.
#[derive(Clone, Copy)]
struct Row {
    values: *const i8,
    scales: *const f32,
    sums_32: *const f32,
    sums_16: *const f32,
}

impl Row {
    fn of(row: ActivationRow<'_>) -> Self {
        Self {
            values: row.values.as_ptr(),
            scales: row.scales.as_ptr(),
            sums_32: row.sums_32.as_ptr(),
            sums_16: row.sums_16.as_ptr(),
        }
    }
}

/// Multiplies `out.len()` rows of `n_blocks` blocks, `row_bytes` apart, with an activation row, and
/// meanwhile prefetches as many bytes from another address.
type RowsKernel = unsafe fn(*const u8, usize, usize, Row, *const u8, &mut [f32]);

/// Prefetches `n_bytes` from `from` into the L1 cache. The address need not be valid.
#[inline(always)]
fn prefetch(from: *const u8, n_bytes: usize) {
    for line in (0..n_bytes).step_by(64) {
        let address = from.wrapping_add(line);
        // SAFETY: prefetching never faults and has no side effects.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly)) };
    }
}

/// The dot product of each row in `rows` with `activations`.
pub(super) fn matvec(
    isa: Isa,
    ty: TensorType,
    format: Format,
    rows: &[u8],
    ahead: &[u8],
    activations: ActivationRow<'_>,
    out: &mut [f32],
) {
    let n_blocks = activations.n_cols() / format.block_values;
    let row_bytes = format.row_bytes(activations.n_cols());
    assert_eq!(rows.len(), row_bytes * out.len(), "one result per row");
    let kernel: RowsKernel = match ty {
        TensorType::Q4_0 => blocks_32::kernel::<blocks_32::Q4_0>(isa),
        TensorType::Q4_1 => blocks_32::kernel::<blocks_32::Q4_1>(isa),
        TensorType::Q5_0 => blocks_32::kernel::<blocks_32::Q5_0>(isa),
        TensorType::Q5_1 => blocks_32::kernel::<blocks_32::Q5_1>(isa),
        TensorType::Q8_0 => blocks_32::kernel::<blocks_32::Q8_0>(isa),
        TensorType::IQ4_NL => blocks_32::kernel::<blocks_32::Iq4Nl>(isa),
        TensorType::Q2_K => blocks_256::kernel::<blocks_256::Q2K>(isa),
        TensorType::Q3_K => blocks_256::kernel::<blocks_256::Q3K>(isa),
        TensorType::Q4_K => blocks_256::kernel::<blocks_256::Q4K>(isa),
        TensorType::Q5_K => blocks_256::kernel::<blocks_256::Q5K>(isa),
        TensorType::Q6_K => blocks_256::kernel::<blocks_256::Q6K>(isa),
        _ => unreachable!("only quantised types have a format"),
    };
    // SAFETY: the instruction set is available (see the module). `rows` holds `out.len()` rows of
    // `n_blocks` blocks, and the activation row as many values, scales and sums.
    unsafe { kernel(rows.as_ptr(), row_bytes, n_blocks, Row::of(activations), ahead.as_ptr(), out) }
}

/// Converts sixteen unpacked rows of `n_cols` values to the layout that [`panel_matmul`] reads.
pub(super) fn interleave(isa: Isa, ty: TensorType, rows: &[i8], n_cols: usize, values: &mut [i8]) {
    assert!(n_cols.is_multiple_of(32), "whole groups");
    assert!(rows.len() == PANEL_ROWS * n_cols && values.len() == rows.len(), "sixteen rows");
    // SAFETY: the lengths were checked.
    unsafe {
        match isa {
            Isa::NeonI8mm => panel_i8mm::interleave(ty, rows, n_cols, values),
            _ => panel::interleave(ty, rows, n_cols, values),
        }
    }
}

/// Multiplies a panel with `out.len()` activation rows, starting at row `first`.
pub(super) fn panel_matmul(
    isa: Isa,
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    assert_eq!(panel.n_cols(), activations.n_cols(), "rows of equal length");
    // SAFETY: the instruction set is available (see the module).
    unsafe {
        match isa {
            Isa::NeonI8mm => panel_i8mm::matmul(panel, activations, first, out),
            Isa::NeonDotprod => panel::matmul_dotprod(panel, activations, first, out),
            _ => panel::matmul_baseline(panel, activations, first, out),
        }
    }
}

/// Quantises `x` into `row`.
pub(super) fn quantize(row: &mut ActivationRowMut<'_>, x: &[f32]) {
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(row.values.as_chunks_mut::<BLOCK>().0);
    for (block_idx, (x, q)) in blocks.enumerate() {
        // SAFETY: NEON belongs to the architecture; the arrays are 32 readable and writable values.
        let (scale, low, high) = unsafe { quantize_block(x, q) };
        row.scales[block_idx] = scale;
        row.sums_16[2 * block_idx] = scale * f32::from(low);
        row.sums_16[2 * block_idx + 1] = scale * f32::from(high);
        row.sums_32[block_idx] = scale * f32::from(low + high);
    }
}

/// Quantises a block and returns its scale and the sums of its two halves.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn quantize_block(x: &[f32; BLOCK], q: &mut [i8; BLOCK]) -> (f32, i16, i16) {
    // SAFETY: guaranteed by the caller; all reads and writes are inside the arrays.
    unsafe {
        let mut parts = [vdupq_n_f32(0.0); 8];
        let mut largest = vdupq_n_u32(0);
        for (part, x) in parts.iter_mut().zip(x.as_chunks::<4>().0) {
            *part = vld1q_f32(x.as_ptr());
            // Compared as integers, the bits of non-negative floats order like the floats, NaN
            // last.
            let bits = vreinterpretq_u32_f32(vabsq_f32(*part));
            largest = vmaxq_u32(largest, bits);
        }
        let (scale, inverse) = scale_of(vmaxvq_u32(largest));
        let mut sums = [0; 2];
        if scale > 0.0 {
            for (half, sum) in sums.iter_mut().enumerate() {
                let mut words = [vdupq_n_s32(0); 4];
                for (word, part) in words.iter_mut().zip(&parts[4 * half..]) {
                    // Rounds half to even.
                    *word = vcvtnq_s32_f32(vmulq_n_f32(*part, inverse));
                }
                let low = vcombine_s16(vmovn_s32(words[0]), vmovn_s32(words[1]));
                let high = vcombine_s16(vmovn_s32(words[2]), vmovn_s32(words[3]));
                let bytes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
                vst1q_s8(q.as_mut_ptr().add(16 * half), bytes);
                *sum = vaddlvq_s8(bytes);
            }
        } else {
            q.fill(0);
        }
        (scale, sums[0], sums[1])
    }
}

/// Converts four f16 values to f32. In assembly, because the intrinsic is newer than our MSRV.
#[inline(always)]
fn f16_to_f32(x: uint16x4_t) -> float32x4_t {
    let out: float32x4_t;
    // SAFETY: only registers are used; the instruction belongs to the architecture.
    unsafe {
        asm!(
            "fcvtl {out:v}.4s, {x:v}.4h",
            out = out(vreg) out, x = in(vreg) x,
            options(pure, nomem, nostack)
        );
    }
    out
}

/// Rounds four values to f16, half to even.
#[inline(always)]
fn f32_to_f16(x: float32x4_t) -> uint16x4_t {
    let out: uint16x4_t;
    // SAFETY: only registers are used; the instruction belongs to the architecture.
    unsafe {
        asm!(
            "fcvtn {out:v}.4h, {x:v}.4s",
            out = out(vreg) out, x = in(vreg) x,
            options(pure, nomem, nostack)
        );
    }
    out
}

/// Loads eight f16 values as f32.
///
/// # Safety
/// 16 bytes are readable.
#[inline(always)]
unsafe fn load_f16(pointer: *const u8) -> [float32x4_t; 2] {
    // SAFETY: guaranteed by the caller; byte loads need no alignment.
    unsafe {
        let x = vreinterpretq_u16_u8(vld1q_u8(pointer));
        [f16_to_f32(vget_low_u16(x)), f16_to_f32(vget_high_u16(x))]
    }
}

/// Evaluates `$four` for each four neighbouring rows and `$one` for each remaining row, and
/// prefetches as many bytes from `$ahead`.
///
/// A macro and not a function, because closures would not inherit the target features of the
/// function that they are used in.
macro_rules! each_row {
    ($rows:ident, $row_bytes:ident, $ahead:ident, $out:ident, |$pointers:ident| $four:expr, |$last:ident| $one:expr) => {
        let whole = $out.len() / 4 * 4;
        for i in (0..whole).step_by(4) {
            let start = i * $row_bytes;
            prefetch($ahead.wrapping_add(start), 4 * $row_bytes);
            let first = $rows.add(start);
            let next = $row_bytes;
            let $pointers = [first, first.add(next), first.add(2 * next), first.add(3 * next)];
            let results: [f32; 4] = $four;
            $out[i..i + 4].copy_from_slice(&results);
        }
        for i in whole..$out.len() {
            let $last = [$rows.add(i * $row_bytes)];
            let [result] = $one;
            $out[i] = result;
        }
    };
}
use each_row;
