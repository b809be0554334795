//! Matrix-vector kernels for the K types: blocks of 256 values in eight groups of 32.
//!
//! A group's 6-bit or 8-bit integer scales are applied in the multiplication that adds pairs of
//! 16-bit products, so that only the activations' scale of each group and the block's f16 scale are
//! applied in f32. Fixed offsets and minimums are multiplied with the activations' sums.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::{Row, RowsKernel, hsum, prefetch_part};
use crate::blocks::q3_k_scales;

/// The dot product of a block type.
pub(super) trait Block {
    /// Bytes of a block.
    const BYTES: usize;

    /// Eight partial sums of the dot product of a block with the activations at `row`.
    ///
    /// # Safety
    /// AVX2, FMA and F16C are available; `block` points to a whole block, and `row` to 256
    /// activations with their scales and sums.
    unsafe fn dot(block: *const u8, row: Row) -> __m256;
}

/// Two accumulators over a block's groups, to shorten the dependency chain of additions.
struct Sums {
    even: __m256,
    odd: __m256,
}

impl Sums {
    /// # Safety
    /// AVX2 is available.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { Self { even: _mm256_setzero_ps(), odd: _mm256_setzero_ps() } }
    }

    /// Adds group `group` with the unsigned integers `q`; `scales` has eight 16-bit integers in
    /// each half, and the one at index `group` is applied to that half of the group.
    ///
    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn add(&mut self, group: usize, q: __m256i, scales: __m256i, row: Row) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let activations = _mm256_loadu_si256(row.values.add(32 * group).cast());
            let lane = (2 * group as i16) | ((2 * group as i16 + 1) << 8);
            let scale = _mm256_shuffle_epi8(scales, _mm256_set1_epi16(lane));
            let dot = _mm256_madd_epi16(_mm256_maddubs_epi16(q, activations), scale);
            let activation_scale = _mm256_set1_ps(*row.scales.add(group));
            let sum = if group.is_multiple_of(2) { &mut self.even } else { &mut self.odd };
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), activation_scale, *sum);
        }
    }

    /// # Safety
    /// AVX2 is available.
    #[inline(always)]
    unsafe fn total(self) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_add_ps(self.even, self.odd) }
    }
}

/// Loads an f16 and broadcasts it to all lanes.
///
/// # Safety
/// AVX2 and F16C are available, 2 bytes are readable.
#[inline(always)]
pub(crate) unsafe fn half(pointer: *const u8) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_cvtph_ps(_mm_set1_epi16(pointer.cast::<i16>().read_unaligned())) }
}

/// Arranges the scales of sixteen half groups for [`Sums::add`]: those of first halves in the low
/// lane, those of second halves in the high one.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn by_halves(scales: __m128i) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, order))
    }
}

/// The dot product of sixteen signed bytes with the sums of sixteen half groups, in partial sums.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
pub(crate) unsafe fn with_sums_16(factors: __m128i, row: Row) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(factors));
        let high = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(factors, factors)));
        _mm256_fmadd_ps(
            low,
            _mm256_loadu_ps(row.sums_16),
            _mm256_mul_ps(high, _mm256_loadu_ps(row.sums_16.add(8))),
        )
    }
}

/// Unpacks the scales and minimums of a `Q4_K` or `Q5_K` block to eight bytes each.
///
/// # Safety
/// 12 bytes are readable.
#[inline(always)]
unsafe fn six_bits(packed: *const u8) -> (u64, u64) {
    // SAFETY: guaranteed by the caller.
    let [a, b, c] = unsafe { packed.cast::<[u32; 3]>().read_unaligned() };
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let top = |word: u32| (word >> 6 & 0x0303_0303) << 4;
    (
        join(a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | top(a)),
        join(b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | top(b)),
    )
}

/// The part that `Q4_K` and `Q5_K` share: a block's scales for [`Sums::add`], and the contribution
/// of its minimums.
struct ScalesAndMins {
    scales: __m256i,
    mins: __m256,
}

impl ScalesAndMins {
    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn load(block: *const u8, row: Row) -> Self {
        // SAFETY: guaranteed by the caller; the packed scales and minimums start at 4.
        unsafe {
            let (scales, mins) = six_bits(block.add(4));
            let scales = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(scales as i64));
            let mins = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(mins as i64)));
            Self {
                scales: _mm256_broadcastsi128_si256(scales),
                mins: _mm256_mul_ps(mins, _mm256_loadu_ps(row.sums_32)),
            }
        }
    }

    /// The block's eight partial sums.
    ///
    /// # Safety
    /// As for [`Block::dot`].
    #[inline(always)]
    unsafe fn finish(self, block: *const u8, sums: Sums) -> __m256 {
        // SAFETY: guaranteed by the caller; the block starts with two f16 scales.
        unsafe {
            let scaled = _mm256_mul_ps(sums.total(), half(block));
            _mm256_fnmadd_ps(self.mins, half(block.add(2)), scaled)
        }
    }
}

pub(super) struct Q4K;
impl Block for Q4K {
    const BYTES: usize = 144;
    #[inline(always)]
    unsafe fn dot(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; four times 32 bytes of nibbles start at 16.
        unsafe {
            let parts = ScalesAndMins::load(block, row);
            let mut sums = Sums::zero();
            let mask = _mm256_set1_epi8(15);
            for i in 0..4 {
                let bytes = _mm256_loadu_si256(block.add(16 + 32 * i).cast());
                let high = _mm256_srli_epi16::<4>(bytes);
                sums.add(2 * i, _mm256_and_si256(bytes, mask), parts.scales, row);
                sums.add(2 * i + 1, _mm256_and_si256(high, mask), parts.scales, row);
            }
            parts.finish(block, sums)
        }
    }
}

pub(super) struct Q5K;
impl Block for Q5K {
    const BYTES: usize = 176;
    #[inline(always)]
    unsafe fn dot(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; fifth bits start at 16, nibbles at 48.
        unsafe {
            let parts = ScalesAndMins::load(block, row);
            let mut sums = Sums::zero();
            let mask = _mm256_set1_epi8(15);
            let sixteen = _mm256_set1_epi8(16);
            let fifths = _mm256_loadu_si256(block.add(16).cast());
            // Bit g of each byte belongs to group g; it is shifted to bit 4.
            let mut left = _mm256_slli_epi16::<4>(fifths);
            for i in 0..4 {
                let bytes = _mm256_loadu_si256(block.add(48 + 32 * i).cast());
                let high = _mm256_srli_epi16::<4>(bytes);
                let low_fifth = _mm256_and_si256(left, sixteen);
                let high_fifth = _mm256_and_si256(_mm256_srli_epi16::<1>(left), sixteen);
                left = if i == 1 { fifths } else { _mm256_srli_epi16::<2>(left) };
                let low = _mm256_or_si256(_mm256_and_si256(bytes, mask), low_fifth);
                let high = _mm256_or_si256(_mm256_and_si256(high, mask), high_fifth);
                sums.add(2 * i, low, parts.scales, row);
                sums.add(2 * i + 1, high, parts.scales, row);
            }
            parts.finish(block, sums)
        }
    }
}

/// Joins the low four bits of `low` with the bits 0x30 of `bits`.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn join(low: __m256i, bits: __m256i) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let low = _mm256_and_si256(low, _mm256_set1_epi8(15));
        _mm256_or_si256(low, _mm256_and_si256(bits, _mm256_set1_epi8(0x30)))
    }
}

pub(super) struct Q6K;
impl Block for Q6K {
    const BYTES: usize = 210;
    #[inline(always)]
    unsafe fn dot(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 128 bytes of nibbles, 64 of upper bits, 16 scales, f16.
        unsafe {
            let packed = _mm_loadu_si128(block.add(192).cast());
            let scales = by_halves(packed);
            let mut sums = Sums::zero();
            for i in 0..2 {
                let first = _mm256_loadu_si256(block.add(64 * i).cast());
                let second = _mm256_loadu_si256(block.add(64 * i + 32).cast());
                let bits = _mm256_loadu_si256(block.add(128 + 32 * i).cast());
                let group = 4 * i;
                sums.add(group, join(first, _mm256_slli_epi16::<4>(bits)), scales, row);
                sums.add(group + 1, join(second, _mm256_slli_epi16::<2>(bits)), scales, row);
                sums.add(group + 2, join(_mm256_srli_epi16::<4>(first), bits), scales, row);
                let last = join(_mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(bits));
                sums.add(group + 3, last, scales, row);
            }
            let offset = _mm256_mul_ps(with_sums_16(packed, row), _mm256_set1_ps(32.0));
            _mm256_mul_ps(_mm256_sub_ps(sums.total(), offset), half(block.add(208)))
        }
    }
}

/// The two-bit values of group `4 i + j`, where `bytes` are the block's `i`th 32 bytes of them.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn two_bits(bytes: __m256i, j: usize) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let shifted = match j {
            0 => bytes,
            1 => _mm256_srli_epi16::<2>(bytes),
            2 => _mm256_srli_epi16::<4>(bytes),
            _ => _mm256_srli_epi16::<6>(bytes),
        };
        _mm256_and_si256(shifted, _mm256_set1_epi8(3))
    }
}

pub(super) struct Q2K;
impl Block for Q2K {
    const BYTES: usize = 84;
    #[inline(always)]
    unsafe fn dot(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 16 bytes of scales and minimums, 64 of values, two f16.
        unsafe {
            let packed = _mm_loadu_si128(block.cast());
            let nibble = _mm_set1_epi8(15);
            let scales = by_halves(_mm_and_si128(packed, nibble));
            let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), nibble);
            let mut sums = Sums::zero();
            for i in 0..2 {
                let bytes = _mm256_loadu_si256(block.add(16 + 32 * i).cast());
                for j in 0..4 {
                    sums.add(4 * i + j, two_bits(bytes, j), scales, row);
                }
            }
            let scaled = _mm256_mul_ps(sums.total(), half(block.add(80)));
            _mm256_fnmadd_ps(with_sums_16(mins, row), half(block.add(82)), scaled)
        }
    }
}

pub(super) struct Q3K;
impl Block for Q3K {
    const BYTES: usize = 110;
    #[inline(always)]
    unsafe fn dot(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 32 bytes of third bits, 64 of values, 12 of scales,
        // f16.
        unsafe {
            let packed = q3_k_scales(&block.add(96).cast::<[u8; 12]>().read_unaligned());
            let packed = _mm_loadu_si128(packed.as_ptr().cast());
            let packed = _mm_sub_epi8(packed, _mm_set1_epi8(32));
            let scales = by_halves(packed);
            let four = _mm256_set1_epi8(4);
            let thirds = _mm256_loadu_si256(block.cast());
            // Bit g of each byte belongs to group g; it is shifted to bit 2.
            let shifted = [
                _mm256_slli_epi16::<2>(thirds),
                _mm256_slli_epi16::<1>(thirds),
                thirds,
                _mm256_srli_epi16::<1>(thirds),
                _mm256_srli_epi16::<2>(thirds),
                _mm256_srli_epi16::<3>(thirds),
                _mm256_srli_epi16::<4>(thirds),
                _mm256_srli_epi16::<5>(thirds),
            ];
            let mut sums = Sums::zero();
            for i in 0..2 {
                let bytes = _mm256_loadu_si256(block.add(32 + 32 * i).cast());
                for j in 0..4 {
                    let third = _mm256_and_si256(shifted[4 * i + j], four);
                    let q = _mm256_or_si256(two_bits(bytes, j), third);
                    sums.add(4 * i + j, q, scales, row);
                }
            }
            let offset = _mm256_mul_ps(with_sums_16(packed, row), _mm256_set1_ps(4.0));
            _mm256_mul_ps(_mm256_sub_ps(sums.total(), offset), half(block.add(108)))
        }
    }
}

/// Multiplies `N` rows at once.
///
/// # Safety
/// As for [`RowsKernel`].
#[inline(always)]
unsafe fn rows_at_once<B: Block, const N: usize>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
) -> [f32; N] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = [_mm256_setzero_ps(); N];
        for block_idx in 0..n_blocks {
            let part = activations.at_block(8 * block_idx);
            let ahead = ahead.wrapping_add(block_idx * N * B::BYTES);
            for (row_idx, sum) in sums.iter_mut().enumerate() {
                prefetch_part(ahead, N * B::BYTES, row_idx, N);
                let block = rows.add(row_idx * row_bytes + block_idx * B::BYTES);
                *sum = _mm256_add_ps(*sum, B::dot(block, part));
            }
        }
        let mut totals = [0.0; N];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = hsum(sum);
        }
        totals
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn with_avx2<B: Block>(
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
            |row, ahead| rows_at_once::<B, 4>(row, row_bytes, n_blocks, activations, ahead),
            |row, ahead| rows_at_once::<B, 1>(row, row_bytes, n_blocks, activations, ahead)
        );
    }
}

/// The kernel for a block type.
pub(super) fn kernel<B: Block>() -> RowsKernel {
    with_avx2::<B>
}
