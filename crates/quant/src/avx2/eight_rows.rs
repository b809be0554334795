//! Multiplies eight rows of a K type at once, generic over the products of eight blocks
//! ([`EightBlocks`]).
//!
//! Sixteen bytes of each of eight rows are transposed to vectors with four bytes of every row. The
//! same activations are then multiplied with all rows, sums stay in the row's own lane, and scales,
//! minimums and conversions to f32 cost once for eight rows what they cost before for one.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::{Row, RowsKernel};

/// A block type with an instruction set.
pub(crate) trait EightBlocks {
    /// Bytes of a block.
    const BYTES: usize;

    /// The dot products of eight blocks with the activations at `row`; meanwhile prefetches as many
    /// bytes from `ahead`.
    ///
    /// # Safety
    /// The instruction set is available; `blocks` are whole, and `row` points to 256 activations with
    /// their scales and sums.
    unsafe fn dot(blocks: Blocks, row: Row, ahead: *const u8) -> __m256;
}

/// Rows that are multiplied at once.
const ROWS: usize = 8;

/// Eight rows' blocks, at equal distances.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    first: *const u8,
    row_bytes: usize,
}

impl Blocks {
    /// Sixteen bytes of each row from `offset` on: vector `k` has bytes `4 k..4 k + 4` of all rows.
    ///
    /// # Safety
    /// AVX2 is available, the bytes are readable.
    #[inline(always)]
    pub(crate) unsafe fn load(self, offset: usize) -> [__m256i; 4] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let row = |i: usize| {
                _mm_loadu_si128(self.first.add(i * self.row_bytes + offset).cast::<__m128i>())
            };
            let pair =
                |i: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(i)), row(i + 4));
            let [a, b, c, d] = [pair(0), pair(1), pair(2), pair(3)];
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab_low, cd_low),
                _mm256_unpackhi_epi64(ab_low, cd_low),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }
}

/// Four activations from `idx` on, for all rows.
///
/// # Safety
/// AVX2 is available, the activations are readable.
#[inline(always)]
pub(crate) unsafe fn four(row: Row, idx: usize) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_set1_epi32(row.values.add(idx).cast::<i32>().read_unaligned()) }
}

/// Chooses the bytes of each 32-bit integer: `first` has the indexes for the first one of a lane,
/// or 0x80 for a zero, and each following one adds `step`.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
pub(crate) unsafe fn shuffle(packed: __m256i, first: u32, step: u32) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let word = |i: u32| (first + i * step) as i32;
        let order = _mm_setr_epi32(word(0), word(1), word(2), word(3));
        _mm256_shuffle_epi8(packed, _mm256_broadcastsi128_si256(order))
    }
}

/// Byte `byte` of each 32-bit integer, as f32.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
pub(crate) unsafe fn float(packed: __m256i, byte: usize) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_cvtepi32_ps(shuffle(packed, 0x8080_8000 | byte as u32, 4)) }
}

/// Multiplies eight rows of `n_blocks` blocks.
///
/// # Safety
/// As for [`RowsKernel`], with the instruction set of `B`.
#[inline(always)]
unsafe fn eight<B: EightBlocks>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
) -> [f32; ROWS] {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut sums = _mm256_setzero_ps();
        for block_idx in 0..n_blocks {
            let ahead = ahead.wrapping_add(block_idx * ROWS * B::BYTES);
            let blocks = Blocks { first: rows.add(block_idx * B::BYTES), row_bytes };
            let dot = B::dot(blocks, activations.at_block(8 * block_idx), ahead);
            sums = _mm256_add_ps(sums, dot);
        }
        let mut totals = [0.0; ROWS];
        _mm256_storeu_ps(totals.as_mut_ptr(), sums);
        totals
    }
}

/// Multiplies all rows, eight at once, and the last ones with `rest`.
///
/// # Safety
/// As for [`RowsKernel`], with the instruction sets of `B` and `rest`.
#[inline(always)]
pub(crate) unsafe fn all_rows<B: EightBlocks>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
    rest: RowsKernel,
) {
    let (eights, last) = out.as_chunks_mut::<ROWS>();
    let n_eights = eights.len();
    // SAFETY: guaranteed by the caller; `rows` has a row for each element of `out`.
    unsafe {
        for (idx, out) in eights.iter_mut().enumerate() {
            let start = ROWS * idx * row_bytes;
            let (rows, ahead) = (rows.add(start), ahead.wrapping_add(start));
            *out = eight::<B>(rows, row_bytes, n_blocks, activations, ahead);
        }
        let start = ROWS * n_eights * row_bytes;
        let (rows, ahead) = (rows.add(start), ahead.wrapping_add(start));
        rest(rows, row_bytes, n_blocks, activations, ahead, last);
    }
}
