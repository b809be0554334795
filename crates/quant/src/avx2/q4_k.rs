//! The matrix-vector kernel for `Q4_K`, which multiplies eight rows at once.
//!
//! Sixteen bytes of each of eight rows are transposed to vectors with four bytes of every row. The
//! same activations are then multiplied with all rows, sums stay in the row's own lane, and scales,
//! minimums and conversions to f32 cost once for eight rows what they cost before for one.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::blocks_256::{self, Block};
use super::{Row, RowsKernel, prefetch};

/// Rows that are multiplied at once.
const ROWS: usize = 8;
/// Bytes of a block.
const BYTES: usize = blocks_256::Q4K::BYTES;

/// Eight rows' blocks, at equal distances.
#[derive(Clone, Copy)]
struct Blocks {
    first: *const u8,
    row_bytes: usize,
}

impl Blocks {
    /// Sixteen bytes of each row from `offset` on: vector `k` has bytes `4 k..4 k + 4` of all rows.
    ///
    /// # Safety
    /// AVX2 is available, the bytes are readable.
    #[inline(always)]
    unsafe fn load(self, offset: usize) -> [__m256i; 4] {
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
unsafe fn four(row: Row, idx: usize) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_set1_epi32(row.values.add(idx).cast::<i32>().read_unaligned()) }
}

/// Adds the products of four unsigned weights of each row with four activations, in two 16-bit
/// sums a row.
///
/// # Safety
/// As for [`four`].
#[inline(always)]
unsafe fn add(sum: &mut __m256i, q: __m256i, row: Row, idx: usize) {
    // SAFETY: guaranteed by the caller.
    unsafe { *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(q, four(row, idx))) }
}

/// Byte `byte` of each 32-bit integer, as two unsigned 16-bit integers.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn twice(packed: __m256i, byte: usize) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { shuffle(packed, 0x8000_8000 | (0x0001_0001 * byte as u32), 0x0004_0004) }
}

/// Chooses the bytes of each 32-bit integer: `first` has the indexes for the first one of a lane,
/// or 0x80 for a zero, and each following one adds `step`.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn shuffle(packed: __m256i, first: u32, step: u32) -> __m256i {
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
unsafe fn float(packed: __m256i, byte: usize) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_cvtepi32_ps(shuffle(packed, 0x8080_8000 | byte as u32, 4)) }
}

/// The scales and minimums of eight blocks.
struct ScalesAndMins {
    scale: __m256,
    min: __m256,
    /// A byte for each group: those of groups 0 to 3, and of groups 4 to 7.
    scales: [__m256i; 2],
    mins: [__m256i; 2],
}

impl ScalesAndMins {
    /// # Safety
    /// As for [`dot`].
    #[inline(always)]
    unsafe fn load(blocks: Blocks) -> Self {
        // SAFETY: guaranteed by the caller; a block starts with two f16 and twelve packed bytes.
        unsafe {
            let [halves, a, b, c] = blocks.load(0);
            let order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
            let halves = _mm256_shuffle_epi8(halves, _mm256_broadcastsi128_si256(order));
            let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(halves);
            let six = _mm256_set1_epi8(0x3f);
            let four = _mm256_set1_epi8(0x0f);
            let two = _mm256_set1_epi8(0x30);
            let top = |x| _mm256_and_si256(_mm256_srli_epi16::<2>(x), two);
            Self {
                scale: _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                min: _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves)),
                scales: [
                    _mm256_and_si256(a, six),
                    _mm256_or_si256(_mm256_and_si256(c, four), top(a)),
                ],
                mins: [
                    _mm256_and_si256(b, six),
                    _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16::<4>(c), four), top(b)),
                ],
            }
        }
    }

    /// # Safety
    /// As for [`dot`].
    #[inline(always)]
    unsafe fn finish(self, sums: __m256, row: Row) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut mins = _mm256_setzero_ps();
            for group in 0..8 {
                let sum = _mm256_set1_ps(*row.sums_32.add(group));
                mins = _mm256_fmadd_ps(float(self.mins[group / 4], group % 4), sum, mins);
            }
            _mm256_fnmadd_ps(mins, self.min, _mm256_mul_ps(sums, self.scale))
        }
    }
}

/// The dot products of eight blocks with the activations at `row`.
///
/// # Safety
/// AVX2, FMA and F16C are available; `blocks` are whole, and `row` points to 256 activations with
/// their scales and sums.
#[inline(always)]
unsafe fn dot(blocks: Blocks, row: Row, ahead: *const u8) -> __m256 {
    // SAFETY: guaranteed by the caller; four times 32 bytes of nibbles start at 16. A sum of
    // eight products is at most 15 * 127 * 2 * 8, which fits in 16 bits.
    unsafe {
        // A burst of all lines would fill the queue of L1 misses that the loads need.
        prefetch(ahead.wrapping_add(1024), ROWS * BYTES - 1024);
        let parts = ScalesAndMins::load(blocks);
        let mask = _mm256_set1_epi8(15);
        let mut sums = [_mm256_setzero_ps(); 2];
        for i in 0..4 {
            let mut dots = [_mm256_setzero_si256(); 2];
            for half in 0..2 {
                let eighth = 2 * i + half;
                prefetch(ahead.wrapping_add(128 * eighth), 128);
                let bytes = blocks.load(16 + 16 * eighth);
                for (k, bytes) in bytes.into_iter().enumerate() {
                    let idx = 64 * i + 16 * half + 4 * k;
                    let high = _mm256_srli_epi16::<4>(bytes);
                    add(&mut dots[0], _mm256_and_si256(bytes, mask), row, idx);
                    add(&mut dots[1], _mm256_and_si256(high, mask), row, idx + 32);
                }
            }
            for (j, dot) in dots.into_iter().enumerate() {
                let group = 2 * i + j;
                let scaled = _mm256_madd_epi16(dot, twice(parts.scales[i / 2], group % 4));
                let scale = _mm256_set1_ps(*row.scales.add(group));
                sums[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(scaled), scale, sums[j]);
            }
        }
        parts.finish(_mm256_add_ps(sums[0], sums[1]), row)
    }
}

/// Multiplies eight rows of `n_blocks` blocks.
///
/// # Safety
/// As for [`RowsKernel`].
#[inline(always)]
unsafe fn eight(
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
            let ahead = ahead.wrapping_add(block_idx * ROWS * BYTES);
            let blocks = Blocks { first: rows.add(block_idx * BYTES), row_bytes };
            let dot = dot(blocks, activations.at_block(8 * block_idx), ahead);
            sums = _mm256_add_ps(sums, dot);
        }
        let mut totals = [0.0; ROWS];
        _mm256_storeu_ps(totals.as_mut_ptr(), sums);
        totals
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    let (eights, rest) = out.as_chunks_mut::<ROWS>();
    let n_eights = eights.len();
    // SAFETY: guaranteed by the caller; `rows` has a row for each element of `out`.
    unsafe {
        for (idx, out) in eights.iter_mut().enumerate() {
            let start = ROWS * idx * row_bytes;
            let (rows, ahead) = (rows.add(start), ahead.wrapping_add(start));
            *out = eight(rows, row_bytes, n_blocks, activations, ahead);
        }
        let start = ROWS * n_eights * row_bytes;
        let (rows, ahead) = (rows.add(start), ahead.wrapping_add(start));
        blocks_256::with_avx2::<blocks_256::Q4K>(
            rows,
            row_bytes,
            n_blocks,
            activations,
            ahead,
            rest,
        );
    }
}

/// The kernel.
pub(super) fn kernel() -> RowsKernel {
    with_avx2
}
