//! Matrix-vector kernels for the types with blocks of 32 values.
//!
//! Blocks are processed in pairs A and B, so that one conversion and one multiplication handle the
//! scales and minimums of both. Four rows share each load of the activations.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use super::dot::{Dot, Sdot, Smull};
use super::{Row, RowsKernel, each_row, f16_to_f32, prefetch};
use crate::Isa;
use crate::blocks::IQ4_NL_VALUES;

/// The layout of a block type's integers.
pub(super) trait Block {
    /// Bytes per block. The first two are the f16 scale.
    const BYTES: usize;
    /// Whether an f16 minimum follows the scale.
    const MIN: bool = false;
    /// Subtracted from the integers.
    const BIAS: i8 = 0;

    /// Values 0 to 15 of a block, and values 16 to 31.
    ///
    /// # Safety
    /// A whole block is readable.
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2];
}

/// Reinterprets bytes below 128 as signed.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn signed(q: [uint8x16_t; 2]) -> [int8x16_t; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe { [vreinterpretq_s8_u8(q[0]), vreinterpretq_s8_u8(q[1])] }
}

/// Loads the nibbles of 16 bytes.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn nibbles(bytes: *const u8) -> [uint8x16_t; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bytes = vld1q_u8(bytes);
        [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
    }
}

/// Expands each bit of `word` to a byte of all ones or all zeros.
#[inline(always)]
fn spread(word: u32) -> [uint8x16_t; 2] {
    // SAFETY: NEON belongs to the architecture.
    unsafe {
        let word = vreinterpretq_u8_u32(vdupq_n_u32(word));
        let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
        let places = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
        let low = vqtbl1q_u8(word, places);
        let high = vqtbl1q_u8(word, vaddq_u8(places, vdupq_n_u8(2)));
        [vtstq_u8(low, bit), vtstq_u8(high, bit)]
    }
}

pub(super) struct Q4_0;
impl Block for Q4_0 {
    const BYTES: usize = 18;
    const BIAS: i8 = 8;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: the block's 16 bytes of nibbles start at 2.
        unsafe { signed(nibbles(block.add(2))) }
    }
}

pub(super) struct Q4_1;
impl Block for Q4_1 {
    const BYTES: usize = 20;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: the block's 16 bytes of nibbles start at 4.
        unsafe { signed(nibbles(block.add(4))) }
    }
}

pub(super) struct Q5_0;
impl Block for Q5_0 {
    const BYTES: usize = 22;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: fifth bits start at 2, the 16 bytes of nibbles at 6.
        unsafe {
            // If the fifth bit is clear, ones above the nibble subtract the type's offset of 16.
            let unset = spread(!block.add(2).cast::<u32>().read_unaligned());
            let q = nibbles(block.add(6));
            signed([vsliq_n_u8::<4>(q[0], unset[0]), vsliq_n_u8::<4>(q[1], unset[1])])
        }
    }
}

pub(super) struct Q5_1;
impl Block for Q5_1 {
    const BYTES: usize = 24;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: fifth bits start at 4, the 16 bytes of nibbles at 8.
        unsafe {
            // A set bit is -1, which is multiplied with -16.
            let set = spread(block.add(4).cast::<u32>().read_unaligned());
            let q = nibbles(block.add(8));
            let sixteen = vdupq_n_u8(16);
            signed([vmlsq_u8(q[0], set[0], sixteen), vmlsq_u8(q[1], set[1], sixteen)])
        }
    }
}

pub(super) struct Q8_0;
impl Block for Q8_0 {
    const BYTES: usize = 34;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: the 32 values start at 2.
        unsafe { [vld1q_s8(block.add(2).cast()), vld1q_s8(block.add(18).cast())] }
    }
}

pub(super) struct Iq4Nl;
impl Block for Iq4Nl {
    const BYTES: usize = 18;
    #[inline(always)]
    unsafe fn quants(block: *const u8) -> [int8x16_t; 2] {
        // SAFETY: the block's 16 bytes of nibbles start at 2; the table has 16 bytes.
        unsafe {
            let table = vld1q_s8(IQ4_NL_VALUES.as_ptr());
            let q = nibbles(block.add(2));
            [vqtbl1q_s8(table, q[0]), vqtbl1q_s8(table, q[1])]
        }
    }
}

/// The activations of two blocks.
struct Pair {
    a: [int8x16_t; 2],
    b: [int8x16_t; 2],
    /// The initial value of the dot products, which compensates for the bias.
    bias: [int32x4_t; 2],
    /// Scale and sum of A, scale and sum of B.
    factors: float32x4_t,
}

impl Pair {
    /// Loads blocks `a` and `b` of the activations; without `b`, its scale and sum are zero.
    ///
    /// # Safety
    /// `D` is available and the row holds both blocks.
    #[inline(always)]
    unsafe fn load<B: Block, D: Dot>(row: Row, a: usize, b: Option<usize>) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let (scale, sum) = match b {
                Some(b) => (*row.scales.add(b), *row.sums_32.add(b)),
                None => (0.0, 0.0),
            };
            let factors = [*row.scales.add(a), *row.sums_32.add(a), scale, sum];
            let a = row.values.add(32 * a);
            let b = b.map_or(a, |b| row.values.add(32 * b));
            let a = [vld1q_s8(a), vld1q_s8(a.add(16))];
            let b = [vld1q_s8(b), vld1q_s8(b.add(16))];
            let zero = vdupq_n_s32(0);
            let mut bias = [zero; 2];
            if B::BIAS != 0 {
                let each = vdupq_n_s8(-B::BIAS);
                bias = [
                    D::dot(D::dot(zero, each, a[0]), each, a[1]),
                    D::dot(D::dot(zero, each, b[0]), each, b[1]),
                ];
            }
            Self { a, b, bias, factors: vld1q_f32(factors.as_ptr()) }
        }
    }

    /// Adds the dot products with weight blocks `a` and `b` to `sum`, and the contribution of the
    /// minimums to the odd lanes of `min_sum`.
    ///
    /// # Safety
    /// `D` is available; a whole block is readable at each pointer.
    #[inline(always)]
    unsafe fn dot<B: Block, D: Dot>(
        &self,
        a: *const u8,
        b: *const u8,
        sum: &mut float32x4_t,
        min_sum: &mut float32x4_t,
    ) {
        // SAFETY: guaranteed by the caller; the smallest block has 18 bytes.
        unsafe {
            let (qa, qb) = (B::quants(a), B::quants(b));
            let dot_a = D::dot(D::dot(self.bias[0], qa[0], self.a[0]), qa[1], self.a[1]);
            let dot_b = D::dot(D::dot(self.bias[1], qb[0], self.b[0]), qb[1], self.b[1]);
            // Even lanes are the scales, odd ones the minimums or unused bits.
            let heads = u64::from(a.cast::<u32>().read_unaligned())
                | u64::from(b.cast::<u32>().read_unaligned()) << 32;
            let factors = vmulq_f32(f16_to_f32(vcreate_u16(heads)), self.factors);
            *sum = vfmaq_laneq_f32::<0>(*sum, vcvtq_f32_s32(dot_a), factors);
            *sum = vfmaq_laneq_f32::<2>(*sum, vcvtq_f32_s32(dot_b), factors);
            if B::MIN {
                *min_sum = vaddq_f32(*min_sum, factors);
            }
        }
    }
}

/// Multiplies `N` rows at once.
///
/// # Safety
/// As for [`RowsKernel`], with `D` available.
#[inline(always)]
unsafe fn rows_at_once<B: Block, D: Dot, const N: usize>(
    rows: [*const u8; N],
    n_blocks: usize,
    activations: Row,
) -> [f32; N] {
    // SAFETY: guaranteed by the caller; blocks 2 i and 2 i + 1 are below `n_blocks`.
    unsafe {
        let mut sums = [vdupq_n_f32(0.0); N];
        let mut min_sums = [vdupq_n_f32(0.0); N];
        for pair_idx in 0..n_blocks / 2 {
            let pair = Pair::load::<B, D>(activations, 2 * pair_idx, Some(2 * pair_idx + 1));
            for i in 0..N {
                let a = rows[i].add(2 * pair_idx * B::BYTES);
                pair.dot::<B, D>(a, a.add(B::BYTES), &mut sums[i], &mut min_sums[i]);
            }
        }
        if n_blocks % 2 == 1 {
            let pair = Pair::load::<B, D>(activations, n_blocks - 1, None);
            for i in 0..N {
                let a = rows[i].add((n_blocks - 1) * B::BYTES);
                pair.dot::<B, D>(a, a, &mut sums[i], &mut min_sums[i]);
            }
        }
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = vaddvq_f32(sums[i]);
            if B::MIN {
                out[i] += vgetq_lane_f32::<1>(min_sums[i]) + vgetq_lane_f32::<3>(min_sums[i]);
            }
        }
        out
    }
}

/// Multiplies all rows.
///
/// # Safety
/// As for [`RowsKernel`], with `D` available.
#[inline(always)]
unsafe fn all_rows<B: Block, D: Dot>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller; `rows` has a row for each element of `out`.
    unsafe {
        each_row!(
            rows,
            row_bytes,
            ahead,
            out,
            |four| rows_at_once::<B, D, 4>(four, n_blocks, activations),
            |one| rows_at_once::<B, D, 1>(one, n_blocks, activations)
        );
    }
}

/// # Safety
/// As for [`RowsKernel`], on a processor with `sdot`.
#[target_feature(enable = "dotprod")]
unsafe fn with_dotprod<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B, Sdot>(rows, row_bytes, n_blocks, activations, ahead, out) }
}

/// The kernel for a block type.
pub(super) fn kernel<B: Block>(isa: Isa) -> RowsKernel {
    match isa {
        Isa::Neon => all_rows::<B, Smull>,
        _ => with_dotprod::<B>,
    }
}
