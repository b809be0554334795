//! Matrix-vector kernels for the K types: blocks of 256 values in eight groups of 32.
//!
//! Two groups are processed in one vector of 64 bytes, usually the same 32 bytes of weights,
//! shifted differently in its halves. Their dot products are multiplied with the product of weight
//! and activation scale. Fixed offsets and minimums are multiplied with the activations' sums.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::Set;
use super::dot::AvxVnni;
use super::wide::{Wide, Ymm, Zmm};
use crate::avx2::blocks_256::{half, with_sums_16};
use crate::avx2::{Row, RowsKernel, each_row, hsum, prefetch};
use crate::blocks::{q3_k_scales, six_bits};

/// The dot product of a block type.
pub(super) trait Block {
    /// Bytes of a block.
    const BYTES: usize;

    /// Eight partial sums of the dot product of a block with the activations at `row`.
    ///
    /// # Safety
    /// `W` is available; `block` points to a whole block, and `row` to 256 activations with their
    /// scales and sums.
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256;
}

/// The dot products of groups `2 P` and `2 P + 1` with the unsigned integers `q`, as floats.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn dot_64<W: Wide, const P: usize>(q: W::Int, row: Row) -> W::Float {
    // SAFETY: guaranteed by the caller.
    unsafe { W::from_int(W::dot(W::zero(), q, W::load(row.values.add(64 * P).cast()))) }
}

/// Adds four vectors of dot products, each times its groups' scales: one scale for 32 values.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn scaled_32<W: Wide>(q: [W::Int; 4], scales: W::Float, row: Row) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let even = W::mul(dot_64::<W, 0>(q[0], row), W::halves::<0>(scales));
        let odd = W::mul(dot_64::<W, 1>(q[1], row), W::halves::<1>(scales));
        let even = W::fma(dot_64::<W, 2>(q[2], row), W::halves::<2>(scales), even);
        let odd = W::fma(dot_64::<W, 3>(q[3], row), W::halves::<3>(scales), odd);
        W::fold(W::add(even, odd))
    }
}

/// Adds four vectors of dot products, each times its groups' scales: sixteen integer scales, one
/// for 16 values.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn scaled_16<W: Wide>(q: [W::Int; 4], scales: __m128i, row: Row) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let scales = W::mul(W::from_i8(scales), W::each_twice(row.scales));
        let even = W::mul(dot_64::<W, 0>(q[0], row), W::quarters::<0>(scales));
        let odd = W::mul(dot_64::<W, 1>(q[1], row), W::quarters::<1>(scales));
        let even = W::fma(dot_64::<W, 2>(q[2], row), W::quarters::<2>(scales), even);
        let odd = W::fma(dot_64::<W, 3>(q[3], row), W::quarters::<3>(scales), odd);
        W::fold(W::add(even, odd))
    }
}

/// The part that `Q4_K` and `Q5_K` share: applies scales and minimums to the integers `q`.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn with_min<W: Wide>(block: *const u8, q: [W::Int; 4], row: Row) -> __m256 {
    // SAFETY: guaranteed by the caller; the block starts with two f16 and twelve bytes of scales.
    unsafe {
        let (scales, mins) = six_bits(block.add(4).cast::<[u32; 3]>().read_unaligned());
        let scales = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(scales as i64));
        let scales = _mm256_mul_ps(_mm256_cvtepi32_ps(scales), _mm256_loadu_ps(row.scales));
        let mins = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(mins as i64));
        let min_sum = _mm256_mul_ps(_mm256_cvtepi32_ps(mins), _mm256_loadu_ps(row.sums_32));
        let scaled = _mm256_mul_ps(scaled_32::<W>(q, W::low_f(scales), row), half(block));
        _mm256_fnmadd_ps(min_sum, half(block.add(2)), scaled)
    }
}

/// Loads the nibbles of 128 bytes, group by group.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn nibbles<W: Wide>(bytes: *const u8) -> [W::Int; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mask = W::splat_i8(15);
        [
            W::and(W::shift::<0, -4>(W::twice(bytes)), mask),
            W::and(W::shift::<0, -4>(W::twice(bytes.add(32))), mask),
            W::and(W::shift::<0, -4>(W::twice(bytes.add(64))), mask),
            W::and(W::shift::<0, -4>(W::twice(bytes.add(96))), mask),
        ]
    }
}

pub(super) struct Q4K;
impl Block for Q4K {
    const BYTES: usize = 144;
    #[inline(always)]
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; nibbles start at 16.
        unsafe { with_min::<W>(block, nibbles::<W>(block.add(16)), row) }
    }
}

pub(super) struct Q5K;
impl Block for Q5K {
    const BYTES: usize = 176;
    #[inline(always)]
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; fifth bits start at 16, nibbles at 48.
        unsafe {
            let q = nibbles::<W>(block.add(48));
            // Bit g of each byte belongs to group g; it is shifted to bit 4.
            let fifths = W::twice(block.add(16));
            let mask = W::splat_i8(16);
            let q = [
                W::or(q[0], W::and(W::shift::<4, 3>(fifths), mask)),
                W::or(q[1], W::and(W::shift::<2, 1>(fifths), mask)),
                W::or(q[2], W::and(W::shift::<0, -1>(fifths), mask)),
                W::or(q[3], W::and(W::shift::<-2, -3>(fifths), mask)),
            ];
            with_min::<W>(block, q, row)
        }
    }
}

pub(super) struct Q6K;
impl Block for Q6K {
    const BYTES: usize = 210;
    #[inline(always)]
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 128 bytes of nibbles, 64 of upper bits, 16 scales, f16.
        unsafe {
            let scales = _mm_loadu_si128(block.add(192).cast());
            let [a, b] = six_bit_values::<W>(block, block.add(128));
            let [c, d] = six_bit_values::<W>(block.add(64), block.add(160));
            let sum = scaled_16::<W>([a, b, c, d], scales, row);
            let offset = _mm256_mul_ps(with_sums_16(scales, row), _mm256_set1_ps(32.0));
            _mm256_mul_ps(_mm256_sub_ps(sum, offset), half(block.add(208)))
        }
    }
}

/// Loads four groups: the nibbles of 64 bytes, with two bits above each.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn six_bit_values<W: Wide>(nibbles: *const u8, bits: *const u8) -> [W::Int; 2] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (nibbles, bits) = (W::load(nibbles), W::twice(bits));
        let (nibble, upper) = (W::splat_i8(15), W::splat_i8(0x30));
        let low = W::and(nibbles, nibble);
        let high = W::and(W::shift::<-4, -4>(nibbles), nibble);
        [
            W::or(low, W::and(W::shift::<4, 2>(bits), upper)),
            W::or(high, W::and(W::shift::<0, -2>(bits), upper)),
        ]
    }
}

/// Loads the two-bit values of 64 bytes.
///
/// # Safety
/// As for [`Block::dot`].
#[inline(always)]
unsafe fn two_bits<W: Wide>(bytes: *const u8) -> [W::Int; 4] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (first, second) = (W::twice(bytes), W::twice(bytes.add(32)));
        let mask = W::splat_i8(3);
        [
            W::and(W::shift::<0, -2>(first), mask),
            W::and(W::shift::<-4, -6>(first), mask),
            W::and(W::shift::<0, -2>(second), mask),
            W::and(W::shift::<-4, -6>(second), mask),
        ]
    }
}

pub(super) struct Q2K;
impl Block for Q2K {
    const BYTES: usize = 84;
    #[inline(always)]
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 16 bytes of scales and minimums, 64 of values, two f16.
        unsafe {
            let packed = _mm_loadu_si128(block.cast());
            let nibble = _mm_set1_epi8(15);
            let mins = _mm_and_si128(_mm_srli_epi16::<4>(packed), nibble);
            let q = two_bits::<W>(block.add(16));
            let sum = scaled_16::<W>(q, _mm_and_si128(packed, nibble), row);
            let scaled = _mm256_mul_ps(sum, half(block.add(80)));
            _mm256_fnmadd_ps(with_sums_16(mins, row), half(block.add(82)), scaled)
        }
    }
}

pub(super) struct Q3K;
impl Block for Q3K {
    const BYTES: usize = 110;
    #[inline(always)]
    unsafe fn dot<W: Wide>(block: *const u8, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller; 32 bytes of third bits, 64 of values, 12 of scales,
        // f16.
        unsafe {
            let packed = q3_k_scales(&block.add(96).cast::<[u8; 12]>().read_unaligned());
            let scales = _mm_loadu_si128(packed.as_ptr().cast());
            let scales = _mm_sub_epi8(scales, _mm_set1_epi8(32));
            let q = two_bits::<W>(block.add(32));
            // Bit g of each byte belongs to group g; it is shifted to bit 2.
            let thirds = W::twice(block);
            let mask = W::splat_i8(4);
            let q = [
                W::or(q[0], W::and(W::shift::<2, 1>(thirds), mask)),
                W::or(q[1], W::and(W::shift::<0, -1>(thirds), mask)),
                W::or(q[2], W::and(W::shift::<-2, -3>(thirds), mask)),
                W::or(q[3], W::and(W::shift::<-4, -5>(thirds), mask)),
            ];
            let sum = scaled_16::<W>(q, scales, row);
            let offset = _mm256_mul_ps(with_sums_16(scales, row), _mm256_set1_ps(4.0));
            _mm256_mul_ps(_mm256_sub_ps(sum, offset), half(block.add(108)))
        }
    }
}

/// Multiplies `N` rows at once.
///
/// # Safety
/// As for [`RowsKernel`], with `W` available.
#[inline(always)]
unsafe fn rows_at_once<B: Block, W: Wide, const N: usize>(
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
            prefetch(ahead.wrapping_add(block_idx * N * B::BYTES), N * B::BYTES);
            for i in 0..N {
                let dot = B::dot::<W>(rows.add(i * row_bytes + block_idx * B::BYTES), part);
                sums[i] = _mm256_add_ps(sums[i], dot);
            }
        }
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = hsum(sums[i]);
        }
        out
    }
}

/// Multiplies all rows, four at once, which share each load of the activations.
///
/// # Safety
/// As for [`RowsKernel`], with `W` available.
#[inline(always)]
unsafe fn all_rows<B: Block, W: Wide>(
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
            |row, ahead| rows_at_once::<B, W, 4>(row, row_bytes, n_blocks, activations, ahead),
            |row, ahead| rows_at_once::<B, W, 1>(row, row_bytes, n_blocks, activations, ahead)
        );
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX-512 VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn with_avx512<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B, Zmm>(rows, row_bytes, n_blocks, activations, ahead, out) }
}

/// # Safety
/// As for [`RowsKernel`], with AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn with_avx_vnni<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B, Ymm<AvxVnni>>(rows, row_bytes, n_blocks, activations, ahead, out) }
}

/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[cfg(test)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    use super::dot::StandIn;
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B, Ymm<StandIn>>(rows, row_bytes, n_blocks, activations, ahead, out) }
}

/// The kernel for a block type.
pub(super) fn kernel<B: Block>(set: Set) -> RowsKernel {
    match set {
        Set::Avx512Vnni => with_avx512::<B>,
        Set::AvxVnni => with_avx_vnni::<B>,
        #[cfg(test)]
        Set::StandIn => with_avx2::<B>,
    }
}
