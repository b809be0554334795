//! Matrix-vector kernels for the types with blocks of 32 values.
//!
//! Two neighbouring blocks A and B go through one vector: its low half holds A's values, its high
//! half B's, so the eight partial sums are four of A and four of B, and one multiplication applies
//! both scales. Four rows share the activations.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::{PREFETCH_BYTES, Row, hsum};
use crate::blocks::IQ4_NL_VALUES;

/// How a block type's integers are stored.
pub(crate) trait Block {
    /// Bytes of a block. The first two are the f16 scale.
    const BYTES: usize;
    /// Whether an f16 minimum follows the scale.
    const MIN: bool = false;
    /// Subtracted from the integers; 0 where they are signed or the type has a minimum.
    const BIAS: i8 = 0;
    /// Whether the integers are signed.
    const SIGNED: bool = false;

    /// Values 0 to 15 of blocks `a` and `b`, and values 16 to 31.
    ///
    /// SAFETY: AVX2 is available; a whole block can be read at each pointer.
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i);
}

/// 16 bytes at `a` below 16 bytes at `b`. SAFETY: as [`Block::quants`].
#[inline(always)]
pub(crate) unsafe fn load_pair(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu2_m128i(b.cast(), a.cast()) }
}

/// The nibbles of 16 bytes of each block. SAFETY: as [`Block::quants`].
#[inline(always)]
unsafe fn nibbles(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = load_pair(a, b);
        let mask = _mm256_set1_epi8(15);
        (_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask))
    }
}

/// 4 bytes at `a` in the four low lanes, 4 bytes at `b` in the high ones. SAFETY: as
/// [`Block::quants`].
#[inline(always)]
unsafe fn word_pair(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        _mm256_blend_epi32::<0b1111_0000>(
            _mm256_set1_epi32(a.cast::<i32>().read_unaligned()),
            _mm256_set1_epi32(b.cast::<i32>().read_unaligned()),
        )
    }
}

/// Sets bit 4 of each value whose bit in the blocks' 32-bit words is set. SAFETY: as
/// [`Block::quants`], for 4 bytes.
#[inline(always)]
unsafe fn fifth_bits(
    a: *const u8,
    b: *const u8,
    (low, high): (__m256i, __m256i),
) -> (__m256i, __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        let words = word_pair(a, b);
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let sixteen = _mm256_set1_epi8(16);
        let ones = 0x0101_0101_0101_0101;
        let low_bytes = _mm256_shuffle_epi8(words, _mm256_setr_epi64x(0, ones, 0, ones));
        let high_order = _mm256_setr_epi64x(2 * ones, 3 * ones, 2 * ones, 3 * ones);
        let high_bytes = _mm256_shuffle_epi8(words, high_order);
        let low_set = _mm256_cmpeq_epi8(_mm256_and_si256(low_bytes, bit), bit);
        let high_set = _mm256_cmpeq_epi8(_mm256_and_si256(high_bytes, bit), bit);
        (
            _mm256_or_si256(low, _mm256_and_si256(low_set, sixteen)),
            _mm256_or_si256(high, _mm256_and_si256(high_set, sixteen)),
        )
    }
}

/// Sums of two products of signed bytes: |w| * sign(w) a, since the first factor of the
/// multiplication must be unsigned. SAFETY: AVX2 is available.
#[inline(always)]
unsafe fn signed_products(w: __m256i, a: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) }
}

pub(crate) struct Q4_0;
impl Block for Q4_0 {
    const BYTES: usize = 18;
    const BIAS: i8 = 8;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: the block's 16 bytes of nibbles start at 2.
        unsafe { nibbles(a.add(2), b.add(2)) }
    }
}

pub(crate) struct Q4_1;
impl Block for Q4_1 {
    const BYTES: usize = 20;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: the block's 16 bytes of nibbles start at 4.
        unsafe { nibbles(a.add(4), b.add(4)) }
    }
}

pub(crate) struct Q5_0;
impl Block for Q5_0 {
    const BYTES: usize = 22;
    const BIAS: i8 = 16;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: fifth bits start at 2, the 16 bytes of nibbles at 6.
        unsafe { fifth_bits(a.add(2), b.add(2), nibbles(a.add(6), b.add(6))) }
    }
}

pub(crate) struct Q5_1;
impl Block for Q5_1 {
    const BYTES: usize = 24;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: fifth bits start at 4, the 16 bytes of nibbles at 8.
        unsafe { fifth_bits(a.add(4), b.add(4), nibbles(a.add(8), b.add(8))) }
    }
}

pub(crate) struct Q8_0;
impl Block for Q8_0 {
    const BYTES: usize = 34;
    const SIGNED: bool = true;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: the 32 values start at 2.
        unsafe { (load_pair(a.add(2), b.add(2)), load_pair(a.add(18), b.add(18))) }
    }
}

pub(crate) struct Iq4Nl;
impl Block for Iq4Nl {
    const BYTES: usize = 18;
    const SIGNED: bool = true;
    #[inline(always)]
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
        // SAFETY: the block's 16 bytes of nibbles start at 2; the table has 16 bytes.
        unsafe {
            let (low, high) = nibbles(a.add(2), b.add(2));
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(IQ4_NL_VALUES.as_ptr().cast()));
            (_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high))
        }
    }
}

/// The activations of two blocks, arranged like the weights.
struct Pair {
    low: __m256i,
    high: __m256i,
    /// What the bias adds to the sums of 16-bit products.
    bias: __m256i,
    scales: __m256,
    /// Half of each block's sum in the odd lanes, where the minimums come to lie.
    sums: __m256,
}

/// Value `a` in the lower half and value `b`, or 0, in the upper.
///
/// A function and not a closure: closures do not inherit AVX2 here, and every intrinsic would be
/// a call.
///
/// SAFETY: AVX2 is available and both values can be read.
#[inline(always)]
pub(crate) unsafe fn one_each(of: *const f32, a: usize, b: Option<usize>) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let b = b.map_or(0.0, |b| *of.add(b));
        _mm256_blend_ps::<0b1111_0000>(_mm256_set1_ps(*of.add(a)), _mm256_set1_ps(b))
    }
}

impl Pair {
    /// Blocks `a` and `b` of the activations; without `b`, zeros stand for it.
    ///
    /// SAFETY: AVX2 is available and the row holds both blocks.
    #[inline(always)]
    unsafe fn load<B: Block>(row: Row, a: usize, b: Option<usize>) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let values_a = row.values.add(32 * a).cast::<u8>();
            let values_b = row.values.add(32 * b.unwrap_or(a)).cast::<u8>();
            let low = load_pair(values_a, values_b);
            let high = load_pair(values_a.add(16), values_b.add(16));
            let bias = _mm256_set1_epi8(B::BIAS);
            let odd_half = _mm256_setr_ps(0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.5);
            Self {
                low,
                high,
                bias: _mm256_add_epi16(
                    _mm256_maddubs_epi16(bias, low),
                    _mm256_maddubs_epi16(bias, high),
                ),
                scales: one_each(row.scales, a, b),
                sums: _mm256_mul_ps(one_each(row.sums_32, a, b), odd_half),
            }
        }
    }

    /// Adds the dot products with weight blocks `a` and `b` to `sum`.
    ///
    /// SAFETY: AVX2 is available; a whole block can be read at each pointer.
    #[inline(always)]
    unsafe fn dot<B: Block>(&self, a: *const u8, b: *const u8, sum: &mut __m256) {
        // SAFETY: the caller's promise.
        unsafe {
            let (low, high) = B::quants(a, b);
            let ones = _mm256_set1_epi16(1);
            let dot = if B::SIGNED {
                // Two products of 128 * 127 leave no room in 16 bits for two more.
                _mm256_add_epi32(
                    _mm256_madd_epi16(signed_products(low, self.low), ones),
                    _mm256_madd_epi16(signed_products(high, self.high), ones),
                )
            } else {
                let mut products = _mm256_add_epi16(
                    _mm256_maddubs_epi16(low, self.low),
                    _mm256_maddubs_epi16(high, self.high),
                );
                if B::BIAS != 0 {
                    products = _mm256_sub_epi16(products, self.bias);
                }
                _mm256_madd_epi16(products, ones)
            };
            // Even f16 lanes are the scale; odd ones the minimum, or bits to be ignored.
            let heads = _mm256_cvtph_ps(_mm_blend_epi32::<0b1100>(
                _mm_set1_epi32(a.cast::<i32>().read_unaligned()),
                _mm_set1_epi32(b.cast::<i32>().read_unaligned()),
            ));
            if B::MIN {
                *sum = _mm256_fmadd_ps(heads, self.sums, *sum);
            }
            let scales = _mm256_mul_ps(_mm256_moveldup_ps(heads), self.scales);
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, *sum);
        }
    }
}

/// `N` rows, `apart` bytes from each other, at once. SAFETY: as [`super::RowsKernel`].
#[inline(always)]
unsafe fn rows_at_once<B: Block, const N: usize>(
    rows: *const u8,
    apart: usize,
    n_blocks: usize,
    activations: Row,
) -> [f32; N] {
    // SAFETY: the caller's promise; blocks 2 i and 2 i + 1 are below `n_blocks`.
    unsafe {
        let mut sums = [_mm256_setzero_ps(); N];
        for pair_idx in 0..n_blocks / 2 {
            let pair = Pair::load::<B>(activations, 2 * pair_idx, Some(2 * pair_idx + 1));
            for (row_idx, sum) in sums.iter_mut().enumerate() {
                let a = rows.add(row_idx * apart + 2 * pair_idx * B::BYTES);
                _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(PREFETCH_BYTES).cast());
                pair.dot::<B>(a, a.add(B::BYTES), sum);
            }
        }
        if n_blocks % 2 == 1 {
            let last = n_blocks - 1;
            let pair = Pair::load::<B>(activations, last, None);
            for (row_idx, sum) in sums.iter_mut().enumerate() {
                let a = rows.add(row_idx * apart + last * B::BYTES);
                pair.dot::<B>(a, a, sum);
            }
        }
        let mut totals = [0.0; N];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = hsum(sum);
        }
        totals
    }
}

rows_kernel!(q4_0, Q4_0);
rows_kernel!(q4_1, Q4_1);
rows_kernel!(q5_0, Q5_0);
rows_kernel!(q5_1, Q5_1);
rows_kernel!(q8_0, Q8_0);
rows_kernel!(iq4_nl, Iq4Nl);
