//! The matrix-vector kernels for `Q4_K` and `Q5_K`: eight rows at once, generic over the
//! multiplication of integers ([`Multiply`]).
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

use std::arch::x86_64::*;

use std::marker::PhantomData;

use super::blocks_256::{self, Block};
use super::eight_rows::{Blocks, EightBlocks, all_rows, float, four, shuffle};
use super::{Row, RowsKernel, prefetch_part};

/// The multiplication of eight rows' integers. The methods require that its instruction set is
/// available.
pub(crate) trait Multiply {
    /// Sums of products for each of eight rows, over a group of 32.
    type Sum: Copy;

    unsafe fn zero() -> Self::Sum;

    /// Adds the products of four unsigned weights with four activations, in half `half` of the group.
    unsafe fn add(sum: &mut Self::Sum, half: usize, q: __m256i, activations: __m256i);

    /// The sums times byte `byte` of each row's `scales`.
    unsafe fn scaled(sum: Self::Sum, scales: __m256i, byte: usize) -> __m256;
}

/// Two 16-bit sums a row. With four bits, each is at most 16 * 15 * 127, which fits.
struct FourBits;

impl Multiply for FourBits {
    type Sum = __m256i;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn add(sum: &mut __m256i, _half: usize, q: __m256i, activations: __m256i) {
        // SAFETY: guaranteed by the caller.
        unsafe { *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(q, activations)) }
    }

    #[inline(always)]
    unsafe fn scaled(sum: __m256i, scales: __m256i, byte: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, twice(scales, byte))) }
    }
}

/// As [`FourBits`], for each half of the group: with five bits, a sum is at most 8 * 31 * 127.
struct FiveBits;

impl Multiply for FiveBits {
    type Sum = [__m256i; 2];

    #[inline(always)]
    unsafe fn zero() -> [__m256i; 2] {
        // SAFETY: guaranteed by the caller.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn add(sum: &mut [__m256i; 2], half: usize, q: __m256i, activations: __m256i) {
        // SAFETY: guaranteed by the caller.
        unsafe { FourBits::add(&mut sum[half], half, q, activations) }
    }

    #[inline(always)]
    unsafe fn scaled(sum: [__m256i; 2], scales: __m256i, byte: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let scale = twice(scales, byte);
            let [first, second] = sum.map(|sum| _mm256_madd_epi16(sum, scale));
            _mm256_cvtepi32_ps(_mm256_add_epi32(first, second))
        }
    }
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
    /// As for [`EightBlocks::dot`].
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
    /// As for [`EightBlocks::dot`].
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

/// Eight blocks of `Q4_K`, or of `Q5_K` with `FIFTHS`, with the instructions of `M`.
pub(crate) struct Eight<M, const FIFTHS: bool>(PhantomData<M>);

impl<M: Multiply, const FIFTHS: bool> EightBlocks for Eight<M, FIFTHS> {
    const BYTES: usize = if FIFTHS { 176 } else { 144 };

    #[inline(always)]
    unsafe fn dot(blocks: Blocks, row: Row, ahead: *const u8) -> __m256 {
        // SAFETY: guaranteed by the caller; 16 bytes of scales, and the fifth bits in 32 bytes.
        unsafe {
            let scales = ScalesAndMins::load(blocks);
            let fifths = if FIFTHS {
                [blocks.load(16), blocks.load(32)]
            } else {
                [[_mm256_setzero_si256(); 4]; 2]
            };
            let mut sums = [_mm256_setzero_ps(); 2];
            Self::two_groups::<0>(blocks, &scales, &fifths, row, ahead, &mut sums);
            Self::two_groups::<1>(blocks, &scales, &fifths, row, ahead, &mut sums);
            Self::two_groups::<2>(blocks, &scales, &fifths, row, ahead, &mut sums);
            Self::two_groups::<3>(blocks, &scales, &fifths, row, ahead, &mut sums);
            scales.finish(_mm256_add_ps(sums[0], sums[1]), row)
        }
    }
}

impl<M: Multiply, const FIFTHS: bool> Eight<M, FIFTHS> {
    /// Adds the products of groups `2 I` and `2 I + 1`, which share the bytes of their nibbles, each
    /// to its sum. With a constant index, the addresses in eight rows are constant offsets from eight
    /// registers.
    ///
    /// # Safety
    /// As for [`EightBlocks::dot`].
    #[inline(always)]
    unsafe fn two_groups<const I: usize>(
        blocks: Blocks,
        scales: &ScalesAndMins,
        fifths: &[[__m256i; 4]; 2],
        row: Row,
        ahead: *const u8,
        sums: &mut [__m256; 2],
    ) {
        // SAFETY: guaranteed by the caller; the last 128 bytes of a block are nibbles.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let mut dots = [M::zero(); 2];
            for (half, fifths) in fifths.iter().enumerate() {
                let eighth = 2 * I + half;
                // A burst of all lines would fill the queue of L1 misses that the loads need.
                prefetch_part(ahead, 8 * Self::BYTES, eighth, 8);
                let bytes = blocks.load(Self::BYTES - 128 + 16 * eighth);
                for (k, bytes) in bytes.into_iter().enumerate() {
                    let idx = 64 * I + 16 * half + 4 * k;
                    let mut low = _mm256_and_si256(bytes, mask);
                    let mut high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                    if FIFTHS {
                        low = _mm256_or_si256(low, fifth_bit(fifths[k], 2 * I));
                        high = _mm256_or_si256(high, fifth_bit(fifths[k], 2 * I + 1));
                    }
                    M::add(&mut dots[0], half, low, four(row, idx));
                    M::add(&mut dots[1], half, high, four(row, idx + 32));
                }
            }
            for (j, dot) in dots.into_iter().enumerate() {
                let group = 2 * I + j;
                let scaled = M::scaled(dot, scales.scales[I / 2], group % 4);
                let scale = _mm256_set1_ps(*row.scales.add(group));
                sums[j] = _mm256_fmadd_ps(scaled, scale, sums[j]);
            }
        }
    }
}

/// Moves bit `group` of each byte to bit 4, and clears the others.
///
/// # Safety
/// AVX2 is available.
#[inline(always)]
unsafe fn fifth_bit(bytes: __m256i, group: usize) -> __m256i {
    // SAFETY: guaranteed by the caller. The counts are constants, so these compile to shifts by
    // immediates.
    unsafe {
        let count = _mm_cvtsi32_si128(group.abs_diff(4) as i32);
        let shifted = match group {
            0..4 => _mm256_sll_epi16(bytes, count),
            _ => _mm256_srl_epi16(bytes, count),
        };
        _mm256_and_si256(shifted, _mm256_set1_epi8(16))
    }
}

/// Multiplies all rows of `B`, eight at once; `R` is the same block type for single rows.
///
/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<B: EightBlocks, R: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    let rest = blocks_256::with_avx2::<R>;
    // SAFETY: guaranteed by the caller.
    unsafe { all_rows::<B>(rows, row_bytes, n_blocks, activations, ahead, out, rest) }
}

/// The kernel for `Q4_K`.
pub(super) fn q4_k() -> RowsKernel {
    with_avx2::<Eight<FourBits, false>, blocks_256::Q4K>
}

/// The kernel for `Q5_K`.
pub(super) fn q5_k() -> RowsKernel {
    with_avx2::<Eight<FiveBits, true>, blocks_256::Q5K>
}
