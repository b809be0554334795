//! Matrix-vector kernels for the K types: blocks of 256 values in eight groups of 32.
//!
//! For types with a scale for 32 values, each group's dot product is multiplied with the product of
//! weight and activation scale; for types with a scale for 16, the two integer scales of a group
//! are applied first. Fixed offsets and minimums are multiplied with the activations' sums.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;
use std::mem::transmute;

use super::dot::{Dot, Sdot, Smull};
use super::{Row, RowsKernel, each_row, f16_to_f32, prefetch};
use crate::Isa;
use crate::blocks::{q3_k_scales, six_bits};

/// The dot product of a block type.
pub(super) trait Block {
    /// Bytes of a block.
    const BYTES: usize;

    /// Four partial sums of the dot product of a block with the activations at `row`.
    ///
    /// # Safety
    /// `D` is available; `block` points to a whole block, and `row` to 256 activations with their
    /// scales and sums.
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t;
}

/// Loads an f16 and broadcasts it to all lanes.
///
/// # Safety
/// 2 bytes are readable.
#[inline(always)]
unsafe fn half(pointer: *const u8) -> float32x4_t {
    // SAFETY: guaranteed by the caller.
    unsafe { f16_to_f32(vdup_n_u16(pointer.cast::<u16>().read_unaligned())) }
}

/// Eight bytes as f32.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn floats(bytes: u64) -> [float32x4_t; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let words = vmovl_u8(vcreate_u8(bytes));
        [vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words))]
    }
}

/// The dot product of 32 activations with `q`.
///
/// # Safety
/// `D` is available, 32 bytes are readable.
#[inline(always)]
unsafe fn dot_32<D: Dot>(q: [uint8x16_t; 2], activations: *const i8) -> float32x4_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = D::dot(vdupq_n_s32(0), vreinterpretq_s8_u8(q[0]), vld1q_s8(activations));
        let high = vld1q_s8(activations.add(16));
        vcvtq_f32_s32(D::dot(low, vreinterpretq_s8_u8(q[1]), high))
    }
}

/// The part that `Q4_K` and `Q5_K` share: scales and minimums, and a sum over the groups.
struct WithMin {
    /// Weight scale times activation scale, by group.
    factors: [f32; 8],
    min_sum: float32x4_t,
    /// Two accumulators, to shorten the dependency chain of additions.
    sums: [float32x4_t; 2],
}

impl WithMin {
    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn of(block: *const u8, row: Row) -> Self {
        // SAFETY: guaranteed by the caller; the twelve bytes of scales start at 4.
        unsafe {
            let (scales, mins) = six_bits(block.add(4).cast::<[u32; 3]>().read_unaligned());
            let scales = floats(scales);
            let low = vmulq_f32(scales[0], vld1q_f32(row.scales));
            let high = vmulq_f32(scales[1], vld1q_f32(row.scales.add(4)));
            let mins = floats(mins);
            let min_sum = vmulq_f32(mins[0], vld1q_f32(row.sums_32));
            let min_sum = vfmaq_f32(min_sum, mins[1], vld1q_f32(row.sums_32.add(4)));
            Self {
                factors: transmute::<[float32x4_t; 2], [f32; 8]>([low, high]),
                min_sum,
                sums: [vdupq_n_f32(0.0); 2],
            }
        }
    }

    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn add<D: Dot>(&mut self, group: usize, q: [uint8x16_t; 2], row: Row) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let dot = dot_32::<D>(q, row.values.add(32 * group));
            let sum = &mut self.sums[group % 2];
            *sum = vfmaq_n_f32(*sum, dot, self.factors[group]);
        }
    }

    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn total(self, block: *const u8) -> float32x4_t {
        // SAFETY: guaranteed by the caller; the block starts with two f16.
        unsafe {
            let scaled = vmulq_f32(vaddq_f32(self.sums[0], self.sums[1]), half(block));
            vfmsq_f32(scaled, self.min_sum, half(block.add(2)))
        }
    }
}

pub(super) struct Q4K;
impl Block for Q4K {
    const BYTES: usize = 144;
    #[inline(always)]
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t {
        // SAFETY: guaranteed by the caller; four times 32 bytes of nibbles start at 16.
        unsafe {
            let mut sums = WithMin::of(block, row);
            let mask = vdupq_n_u8(15);
            for i in 0..4 {
                let bytes = [vld1q_u8(block.add(16 + 32 * i)), vld1q_u8(block.add(32 + 32 * i))];
                let low = [vandq_u8(bytes[0], mask), vandq_u8(bytes[1], mask)];
                let high = [vshrq_n_u8::<4>(bytes[0]), vshrq_n_u8::<4>(bytes[1])];
                sums.add::<D>(2 * i, low, row);
                sums.add::<D>(2 * i + 1, high, row);
            }
            sums.total(block)
        }
    }
}

/// Adds 16 to the nibbles whose bit `group` in `fifths` is set.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn with_fifth(nibbles: uint8x16_t, fifths: uint8x16_t, group: usize) -> uint8x16_t {
    // SAFETY: guaranteed by the caller. A set bit gives a byte of all ones, -1, which is multiplied
    // with -16.
    unsafe {
        let set = vtstq_u8(fifths, vdupq_n_u8(1 << group));
        vmlsq_u8(nibbles, set, vdupq_n_u8(16))
    }
}

pub(super) struct Q5K;
impl Block for Q5K {
    const BYTES: usize = 176;
    #[inline(always)]
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t {
        // SAFETY: guaranteed by the caller; fifth bits start at 16, nibbles at 48.
        unsafe {
            let mut sums = WithMin::of(block, row);
            let mask = vdupq_n_u8(15);
            let fifths = [vld1q_u8(block.add(16)), vld1q_u8(block.add(32))];
            for i in 0..4 {
                let bytes = [vld1q_u8(block.add(48 + 32 * i)), vld1q_u8(block.add(64 + 32 * i))];
                let low = [
                    with_fifth(vandq_u8(bytes[0], mask), fifths[0], 2 * i),
                    with_fifth(vandq_u8(bytes[1], mask), fifths[1], 2 * i),
                ];
                let high = [
                    with_fifth(vshrq_n_u8::<4>(bytes[0]), fifths[0], 2 * i + 1),
                    with_fifth(vshrq_n_u8::<4>(bytes[1]), fifths[1], 2 * i + 1),
                ];
                sums.add::<D>(2 * i, low, row);
                sums.add::<D>(2 * i + 1, high, row);
            }
            sums.total(block)
        }
    }
}

/// A sum over groups that have two integer scales each.
struct Halves {
    /// The scales, one per half group.
    scales: [i32; 16],
    /// Two accumulators, to shorten the dependency chain of additions.
    sums: [float32x4_t; 2],
}

/// Sixteen signed bytes as 32-bit integers.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn widen(bytes: int8x16_t) -> [int32x4_t; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = vmovl_s8(vget_low_s8(bytes));
        let high = vmovl_high_s8(bytes);
        [
            vmovl_s16(vget_low_s16(low)),
            vmovl_high_s16(low),
            vmovl_s16(vget_low_s16(high)),
            vmovl_high_s16(high),
        ]
    }
}

/// The dot product of sixteen integers with the sums of sixteen half groups, in partial sums.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn with_sums_16(factors: [int32x4_t; 4], row: Row) -> float32x4_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sum = vdupq_n_f32(0.0);
        for (i, factors) in factors.into_iter().enumerate() {
            sum = vfmaq_f32(sum, vcvtq_f32_s32(factors), vld1q_f32(row.sums_16.add(4 * i)));
        }
        sum
    }
}

impl Halves {
    /// # Safety
    /// NEON is available.
    #[inline(always)]
    unsafe fn with_scales(scales: [int32x4_t; 4]) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe {
            Self {
                scales: transmute::<[int32x4_t; 4], [i32; 16]>(scales),
                sums: [vdupq_n_f32(0.0); 2],
            }
        }
    }

    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn add<D: Dot>(&mut self, group: usize, q: [int8x16_t; 2], row: Row) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let zero = vdupq_n_s32(0);
            let activations = row.values.add(32 * group);
            let low = D::dot(zero, q[0], vld1q_s8(activations));
            let high = D::dot(zero, q[1], vld1q_s8(activations.add(16)));
            let dot = vmulq_n_s32(low, self.scales[2 * group]);
            let dot = vmlaq_n_s32(dot, high, self.scales[2 * group + 1]);
            let sum = &mut self.sums[group % 2];
            *sum = vfmaq_n_f32(*sum, vcvtq_f32_s32(dot), *row.scales.add(group));
        }
    }

    /// # Safety
    /// NEON is available.
    #[inline(always)]
    unsafe fn total(self) -> float32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { vaddq_f32(self.sums[0], self.sums[1]) }
    }
}

pub(super) struct Q6K;
impl Block for Q6K {
    const BYTES: usize = 210;
    #[inline(always)]
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t {
        // SAFETY: guaranteed by the caller; 128 bytes of nibbles, 64 of upper bits, 16 scales, f16.
        unsafe {
            let scales = widen(vld1q_s8(block.add(192).cast()));
            let offset = vmulq_n_f32(with_sums_16(scales, row), 32.0);
            let mut sums = Halves::with_scales(scales);
            for i in 0..2 {
                let mut groups = [[vdupq_n_s8(0); 2]; 4];
                for half in 0..2 {
                    let first = vld1q_u8(block.add(64 * i + 16 * half));
                    let second = vld1q_u8(block.add(64 * i + 32 + 16 * half));
                    let bits = vld1q_u8(block.add(128 + 32 * i + 16 * half));
                    let q = six_bit_values(first, second, bits);
                    for (group, q) in groups.iter_mut().zip(q) {
                        group[half] = q;
                    }
                }
                for (j, q) in groups.into_iter().enumerate() {
                    sums.add::<D>(4 * i + j, q, row);
                }
            }
            vmulq_f32(vsubq_f32(sums.total(), offset), half(block.add(208)))
        }
    }
}

/// Sixteen values of each of four groups: the nibbles of `first` and `second`, with two of `bits`
/// above each.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn six_bit_values(
    first: uint8x16_t,
    second: uint8x16_t,
    bits: uint8x16_t,
) -> [int8x16_t; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let nibble = vdupq_n_u8(15);
        let upper = vdupq_n_u8(0x30);
        let low = [vandq_u8(first, nibble), vandq_u8(second, nibble)];
        let upper = [
            vandq_u8(vshlq_n_u8::<4>(bits), upper),
            vandq_u8(vshlq_n_u8::<2>(bits), upper),
            vandq_u8(bits, upper),
            vandq_u8(vshrq_n_u8::<2>(bits), upper),
        ];
        [
            vreinterpretq_s8_u8(vorrq_u8(low[0], upper[0])),
            vreinterpretq_s8_u8(vorrq_u8(low[1], upper[1])),
            // The nibble is inserted below the two bits.
            vreinterpretq_s8_u8(vsriq_n_u8::<4>(upper[2], first)),
            vreinterpretq_s8_u8(vsriq_n_u8::<4>(upper[3], second)),
        ]
    }
}

/// The two-bit values of group `4 i + j`, where `bytes` are of the block's `i`th 32 bytes of them.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn two_bits(bytes: uint8x16_t, j: usize) -> uint8x16_t {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let three = vdupq_n_u8(3);
        match j {
            0 => vandq_u8(bytes, three),
            1 => vandq_u8(vshrq_n_u8::<2>(bytes), three),
            2 => vandq_u8(vshrq_n_u8::<4>(bytes), three),
            _ => vshrq_n_u8::<6>(bytes),
        }
    }
}

pub(super) struct Q2K;
impl Block for Q2K {
    const BYTES: usize = 84;
    #[inline(always)]
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t {
        // SAFETY: guaranteed by the caller; 16 bytes of scales and minimums, 64 of values, two f16.
        unsafe {
            let packed = vld1q_u8(block);
            let scales = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(15)));
            let mins = vreinterpretq_s8_u8(vshrq_n_u8::<4>(packed));
            let min_sum = with_sums_16(widen(mins), row);
            let mut sums = Halves::with_scales(widen(scales));
            for i in 0..2 {
                let bytes = [vld1q_u8(block.add(16 + 32 * i)), vld1q_u8(block.add(32 + 32 * i))];
                for j in 0..4 {
                    let q = [
                        vreinterpretq_s8_u8(two_bits(bytes[0], j)),
                        vreinterpretq_s8_u8(two_bits(bytes[1], j)),
                    ];
                    sums.add::<D>(4 * i + j, q, row);
                }
            }
            let scaled = vmulq_f32(sums.total(), half(block.add(80)));
            vfmsq_f32(scaled, min_sum, half(block.add(82)))
        }
    }
}

pub(super) struct Q3K;
impl Block for Q3K {
    const BYTES: usize = 110;
    #[inline(always)]
    unsafe fn dot<D: Dot>(block: *const u8, row: Row) -> float32x4_t {
        // SAFETY: guaranteed by the caller; 32 bytes of third bits, 64 of values, 12 of scales,
        // f16.
        unsafe {
            let packed = q3_k_scales(&block.add(96).cast::<[u8; 12]>().read_unaligned());
            let packed = vsubq_s8(vld1q_s8(packed.as_ptr().cast()), vdupq_n_s8(32));
            let mut sums = Halves::with_scales(widen(packed));
            let unset = [vmvnq_u8(vld1q_u8(block)), vmvnq_u8(vld1q_u8(block.add(16)))];
            for i in 0..2 {
                let bytes = [vld1q_u8(block.add(32 + 32 * i)), vld1q_u8(block.add(48 + 32 * i))];
                for j in 0..4 {
                    let group = 4 * i + j;
                    let q = [
                        with_third(two_bits(bytes[0], j), unset[0], group),
                        with_third(two_bits(bytes[1], j), unset[1], group),
                    ];
                    sums.add::<D>(group, q, row);
                }
            }
            vmulq_f32(sums.total(), half(block.add(108)))
        }
    }
}

/// Subtracts 4 from the values whose bit `group` in `unset` is set.
///
/// # Safety
/// NEON is available.
#[inline(always)]
unsafe fn with_third(two_bits: uint8x16_t, unset: uint8x16_t, group: usize) -> int8x16_t {
    // SAFETY: guaranteed by the caller. Ones above the two bits are -4.
    unsafe {
        let unset = vtstq_u8(unset, vdupq_n_u8(1 << group));
        vreinterpretq_s8_u8(vsliq_n_u8::<2>(two_bits, unset))
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
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [vdupq_n_f32(0.0); N];
        for block_idx in 0..n_blocks {
            let part = Row {
                values: activations.values.add(256 * block_idx),
                scales: activations.scales.add(8 * block_idx),
                sums_32: activations.sums_32.add(8 * block_idx),
                sums_16: activations.sums_16.add(16 * block_idx),
            };
            for i in 0..N {
                let dot = B::dot::<D>(rows[i].add(block_idx * B::BYTES), part);
                sums[i] = vaddq_f32(sums[i], dot);
            }
        }
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = vaddvq_f32(sums[i]);
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
