//! Matrix-vector kernels for the types with blocks of 32 values.
//!
//! Two neighbouring blocks A and B are processed in one vector: its low half holds A's values, its
//! high half B's. The partial sums of two such pairs are folded to two sums per block, so that one
//! multiplication applies the scales of four blocks. Four rows share each load of the activations.
//!
//! Generic over the multiplication of bytes ([`Multiply`]): AVX2's instructions here, `vpdpbusd` in
//! [`crate::vnni`].
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::{Row, RowsKernel, hsum, prefetch};
use crate::blocks::IQ4_NL_VALUES;

/// The layout of a block type's integers.
pub(crate) trait Block {
    /// Bytes per block. The first two are the f16 scale.
    const BYTES: usize;
    /// Whether an f16 minimum follows the scale.
    const MIN: bool = false;
    /// Subtracted from the integers; 0 where they are signed or the type has a minimum.
    const BIAS: i8 = 0;
    /// Whether the integers are signed.
    const SIGNED: bool = false;
    /// The offset of the integers' fifth bits, which precede 16 bytes of nibbles.
    const FIFTH_BITS: Option<usize> = None;

    /// Values 0 to 15 of blocks `a` and `b`, and values 16 to 31.
    ///
    /// # Safety
    /// AVX2 is available; a whole block is readable at each pointer.
    unsafe fn quants(a: *const u8, b: *const u8) -> (__m256i, __m256i);
}

/// The operations that differ between instruction sets. All unsafe methods require that the
/// instruction set is available.
pub(crate) trait Multiply {
    /// The initial value of the dot products of a type's blocks with these activations.
    unsafe fn start<B: Block>(low: __m256i, high: __m256i) -> __m256i;

    /// Four partial sums of block A's dot product and four of B's, of the weights `w` with the
    /// activations `x`: values 0 to 15 and 16 to 31 of both.
    unsafe fn dot<B: Block>(
        w: (__m256i, __m256i),
        x: (__m256i, __m256i),
        start: __m256i,
    ) -> __m256i;

    /// Whether types with fifth bits use [`Multiply::dot_masked`], with these bits as a mask.
    const HAS_MASKS: bool = false;

    /// Eight partial sums of the dot product of one block of a type with fifth bits with 32
    /// activations.
    unsafe fn dot_masked<B: Block>(block: *const u8, x: __m256i) -> __m256i;
}

/// AVX2.
pub(super) struct Avx2;

impl Multiply for Avx2 {
    #[inline(always)]
    unsafe fn start<B: Block>(_low: __m256i, _high: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn dot<B: Block>(
        w: (__m256i, __m256i),
        x: (__m256i, __m256i),
        _start: __m256i,
    ) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            if B::SIGNED {
                // The sum of two products of 128 * 127 fits in 16 bits, that of four does not.
                _mm256_add_epi32(
                    _mm256_madd_epi16(signed_products(w.0, x.0), ones),
                    _mm256_madd_epi16(signed_products(w.1, x.1), ones),
                )
            } else {
                let (low, high) = (_mm256_maddubs_epi16(w.0, x.0), _mm256_maddubs_epi16(w.1, x.1));
                _mm256_madd_epi16(_mm256_add_epi16(low, high), ones)
            }
        }
    }

    unsafe fn dot_masked<B: Block>(_block: *const u8, _x: __m256i) -> __m256i {
        unreachable!("AVX2 has no masks")
    }
}

/// Loads 16 bytes at `a` into the low half and 16 bytes at `b` into the high half.
///
/// # Safety
/// As for [`Block::quants`].
#[inline(always)]
pub(crate) unsafe fn load_pair(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_loadu2_m128i(b.cast(), a.cast()) }
}

/// The nibbles of 16 bytes of each block.
///
/// # Safety
/// As for [`Block::quants`].
#[inline(always)]
unsafe fn nibbles(a: *const u8, b: *const u8) -> (__m256i, __m256i) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bytes = load_pair(a, b);
        let mask = _mm256_set1_epi8(15);
        (_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask))
    }
}

/// Broadcasts 4 bytes at `a` to the four low lanes and 4 bytes at `b` to the four high ones.
///
/// # Safety
/// As for [`Block::quants`].
#[inline(always)]
unsafe fn word_pair(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        _mm256_blend_epi32::<0b1111_0000>(
            _mm256_set1_epi32(a.cast::<i32>().read_unaligned()),
            _mm256_set1_epi32(b.cast::<i32>().read_unaligned()),
        )
    }
}

/// Sets bit 4 of each value whose bit in the blocks' 32-bit words is set.
///
/// # Safety
/// As for [`Block::quants`], for 4 bytes.
#[inline(always)]
unsafe fn fifth_bits(
    a: *const u8,
    b: *const u8,
    (low, high): (__m256i, __m256i),
) -> (__m256i, __m256i) {
    // SAFETY: guaranteed by the caller.
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

/// Sums of two products of signed bytes, computed as |w| * (sign(w) a) because the instruction's
/// first factor must be unsigned.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn signed_products(w: __m256i, a: __m256i) -> __m256i {
    // SAFETY: guaranteed by the caller.
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
    const FIFTH_BITS: Option<usize> = Some(2);
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
    const FIFTH_BITS: Option<usize> = Some(4);
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

/// The activations of four blocks A, B, C and D.
struct Quad {
    /// Values 0 to 15 and 16 to 31 of A and B, then of C and D. With masks: all of A, B, C and D.
    values: [(__m256i, __m256i); 2],
    starts: [__m256i; 2],
    /// Scales in the order of the dot products' lanes.
    scales: __m256,
    /// The activations' sums, in the lanes of the weights' scales or minimums: their product is the
    /// contribution of the minimums or the bias.
    sums: __m256,
}

/// The partial sums of a row.
#[derive(Clone, Copy)]
struct Sum {
    dots: __m256,
    /// The contribution of the minimums: summed separately as in llama.cpp, so that near ties are
    /// mostly decided as there.
    mins: __m256,
}

/// Whether blocks are multiplied one by one, with masks. The lanes of the dot products are then
/// A B C D, A B C D, else A A C C, B B D D.
const fn one_by_one<B: Block, M: Multiply>() -> bool {
    M::HAS_MASKS && B::FIFTH_BITS.is_some()
}

impl Quad {
    /// Loads the first `N` blocks of activations at `row`; the other blocks are zero.
    ///
    /// # Safety
    /// `M` is available and the row holds `N` blocks.
    #[inline(always)]
    unsafe fn load<B: Block, M: Multiply, const N: usize>(row: Row) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let zero = _mm256_setzero_si256();
            let (mut values, mut starts) = ([(zero, zero); 2], [zero; 2]);
            for pair in 0..N.div_ceil(2) {
                let a = row.values.add(64 * pair).cast::<u8>();
                let has_b = 2 * pair + 1 < N;
                if one_by_one::<B, M>() {
                    let b = if has_b { _mm256_loadu_si256(a.add(32).cast()) } else { zero };
                    values[pair] = (_mm256_loadu_si256(a.cast()), b);
                } else {
                    let b = if has_b { a.add(32) } else { a };
                    values[pair] = (load_pair(a, b), load_pair(a.add(16), b.add(16)));
                    starts[pair] = M::start::<B>(values[pair].0, values[pair].1);
                }
            }
            let (scales, sums) = (first::<N>(row.scales), first::<N>(row.sums_32));
            let sums = if B::MIN {
                // Minimums are the odd f16 lanes of the blocks' headers.
                let odd = _mm256_setr_ps(0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0);
                _mm256_mul_ps(in_lanes::<false>(sums), odd)
            } else if one_by_one::<B, M>() {
                in_lanes::<true>(_mm_mul_ps(sums, _mm_set1_ps(f32::from(B::BIAS) * -0.5)))
            } else {
                in_lanes::<false>(_mm_mul_ps(sums, _mm_set1_ps(f32::from(B::BIAS) * -0.5)))
            };
            let scales = if one_by_one::<B, M>() {
                in_lanes::<true>(scales)
            } else {
                in_lanes::<false>(scales)
            };
            Self { values, starts, scales, sums }
        }
    }

    /// Adds the dot products with `N` weight blocks to `sum`.
    ///
    /// # Safety
    /// `M` is available; `N` blocks are readable.
    #[inline(always)]
    unsafe fn dot<B: Block, M: Multiply, const N: usize>(&self, blocks: *const u8, sum: &mut Sum) {
        // SAFETY: guaranteed by the caller; only the first `N` blocks are read.
        unsafe {
            let a = blocks;
            let b = blocks.add(1.min(N - 1) * B::BYTES);
            let c = blocks.add(2.min(N - 1) * B::BYTES);
            let d = blocks.add(3.min(N - 1) * B::BYTES);
            let [ab, cd] = if one_by_one::<B, M>() {
                let [x_ab, x_cd] = self.values;
                [
                    fold(M::dot_masked::<B>(a, x_ab.0), M::dot_masked::<B>(b, x_ab.1)),
                    fold(M::dot_masked::<B>(c, x_cd.0), M::dot_masked::<B>(d, x_cd.1)),
                ]
            } else {
                let ab = M::dot::<B>(B::quants(a, b), self.values[0], self.starts[0]);
                let cd = M::dot::<B>(B::quants(c, d), self.values[1], self.starts[1]);
                [ab, if N > 2 { cd } else { _mm256_setzero_si256() }]
            };
            let dots = if B::SIGNED {
                _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
            } else {
                fold(ab, cd)
            };
            let dots = _mm256_cvtepi32_ps(dots);
            // Even f16 lanes are the scale, odd ones the minimum or unused bits.
            let heads = _mm256_cvtph_ps(headers(a, b, c, d));
            let scales = if one_by_one::<B, M>() {
                _mm256_permutevar8x32_ps(heads, _mm256_setr_epi32(0, 4, 2, 6, 0, 4, 2, 6))
            } else {
                _mm256_moveldup_ps(heads)
            };
            if B::MIN {
                sum.mins = _mm256_fmadd_ps(heads, self.sums, sum.mins);
            }
            sum.dots = if B::BIAS != 0 {
                _mm256_fmadd_ps(scales, _mm256_fmadd_ps(dots, self.scales, self.sums), sum.dots)
            } else {
                _mm256_fmadd_ps(dots, _mm256_mul_ps(scales, self.scales), sum.dots)
            };
        }
    }
}

/// Adds neighbouring lanes; each half of the result has those of `a`, then those of `b`.
/// Intermediate lanes have 16 bits, which hold up to eight products of 31 * 127.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn fold(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: guaranteed by the caller.
    unsafe { _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1)) }
}

/// Loads the first `N` of four values; the others are zero.
///
/// # Safety
/// AVX2 is available, `N` values are readable.
#[inline(always)]
unsafe fn first<const N: usize>(values: *const f32) -> __m128 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match N {
            1 => _mm_load_ss(values),
            2 => _mm_castpd_ps(_mm_load_sd(values.cast())),
            3 => {
                let two = _mm_castpd_ps(_mm_load_sd(values.cast()));
                _mm_movelh_ps(two, _mm_load_ss(values.add(2)))
            }
            _ => _mm_loadu_ps(values),
        }
    }
}

/// Arranges the values A to D as A B C D, A B C D, or as A A C C, B B D D.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn in_lanes<const ONE_BY_ONE: bool>(values: __m128) -> __m256 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let twice = _mm256_set_m128(values, values);
        if ONE_BY_ONE {
            return twice;
        }
        _mm256_permutevar_ps(twice, _mm256_setr_epi32(0, 0, 2, 2, 1, 1, 3, 3))
    }
}

/// Loads the first four bytes of each block, in the order A C B D.
///
/// # Safety
/// AVX2 is available, the bytes are readable.
#[inline(always)]
unsafe fn headers(a: *const u8, b: *const u8, c: *const u8, d: *const u8) -> __m128i {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let ac = _mm_unpacklo_epi32(_mm_loadu_si32(a), _mm_loadu_si32(c));
        let bd = _mm_unpacklo_epi32(_mm_loadu_si32(b), _mm_loadu_si32(d));
        _mm_unpacklo_epi64(ac, bd)
    }
}

/// Multiplies `N` rows at once.
///
/// # Safety
/// As for [`RowsKernel`].
#[inline(always)]
unsafe fn rows_at_once<B: Block, M: Multiply, const N: usize>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
) -> [f32; N] {
    // SAFETY: guaranteed by the caller; the parts together have `n_blocks` blocks.
    unsafe {
        let mut sums = [Sum { dots: _mm256_setzero_ps(), mins: _mm256_setzero_ps() }; N];
        let whole = n_blocks / 4 * 4;
        for first in (0..whole).step_by(4) {
            prefetch(ahead.wrapping_add(first * N * B::BYTES), 4 * N * B::BYTES);
            four_blocks::<B, M, N, 4>(rows, row_bytes, first, activations, &mut sums);
        }
        let rest = n_blocks - whole;
        prefetch(ahead.wrapping_add(whole * N * B::BYTES), rest * N * B::BYTES);
        match rest {
            1 => four_blocks::<B, M, N, 1>(rows, row_bytes, whole, activations, &mut sums),
            2 => four_blocks::<B, M, N, 2>(rows, row_bytes, whole, activations, &mut sums),
            3 => four_blocks::<B, M, N, 3>(rows, row_bytes, whole, activations, &mut sums),
            _ => {}
        }
        let mut totals = [0.0; N];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = hsum(sum.dots);
            if B::MIN {
                *total += hsum(sum.mins);
            }
        }
        totals
    }
}

/// Adds the dot products of `BLOCKS` blocks, at most four, from `first` on.
///
/// # Safety
/// As for [`RowsKernel`].
#[inline(always)]
unsafe fn four_blocks<B: Block, M: Multiply, const N: usize, const BLOCKS: usize>(
    rows: *const u8,
    row_bytes: usize,
    first: usize,
    activations: Row,
    sums: &mut [Sum; N],
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let quad = Quad::load::<B, M, BLOCKS>(activations.at_block(first));
        for (row_idx, sum) in sums.iter_mut().enumerate() {
            let blocks = rows.add(row_idx * row_bytes + first * B::BYTES);
            quad.dot::<B, M, BLOCKS>(blocks, sum);
        }
    }
}

/// Multiplies all rows, four at once, which share each load of the activations.
///
/// # Safety
/// As for [`RowsKernel`], with `M` available.
#[inline(always)]
pub(crate) unsafe fn all_rows<B: Block, M: Multiply>(
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
            |row, ahead| rows_at_once::<B, M, 4>(row, row_bytes, n_blocks, activations, ahead),
            |row, ahead| rows_at_once::<B, M, 1>(row, row_bytes, n_blocks, activations, ahead)
        );
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B, Avx2>(rows, row_bytes, n_blocks, activations, ahead, out) }
}

/// The kernel for a block type.
pub(super) fn kernel<B: Block>() -> RowsKernel {
    with_avx2::<B>
}
