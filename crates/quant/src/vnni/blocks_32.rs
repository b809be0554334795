//! Matrix-vector kernels for the types with blocks of 32 values.
//!
//! Pairs of blocks are unpacked as for AVX2. All integers are made unsigned, signed ones by adding
//! 128; what that and the types' own offsets add is taken from the dot products by starting them
//! with the negative, which costs the activations' sums once for four rows.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::arch::x86_64::*;

use super::Set;
use super::dot::{Avx512Vnni, AvxVnni, Dot};
use crate::avx2::blocks_32::{Block, load_pair, one_each};
use crate::avx2::{Row, RowsKernel, hsum};

/// The activations of two blocks, arranged like the weights.
struct Pair {
    low: __m256i,
    high: __m256i,
    /// What the offset adds, negative.
    start: __m256i,
    scales: __m256,
    /// Half of each block's sum in the odd lanes, where the minimums come to lie.
    sums: __m256,
}

impl Pair {
    /// Blocks `a` and `b` of the activations; without `b`, zeros stand for it.
    ///
    /// SAFETY: `D` is available and the row holds both blocks.
    #[inline(always)]
    unsafe fn load<B: Block, D: Dot>(row: Row, a: usize, b: Option<usize>) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let values_a = row.values.add(32 * a).cast::<u8>();
            let values_b = row.values.add(32 * b.unwrap_or(a)).cast::<u8>();
            let low = load_pair(values_a, values_b);
            let high = load_pair(values_a.add(16), values_b.add(16));
            let offset = if B::SIGNED { i8::MIN } else { B::BIAS };
            let mut start = _mm256_setzero_si256();
            if offset != 0 {
                let each = _mm256_set1_epi8(offset);
                start = _mm256_sub_epi32(start, D::dot(D::dot(start, each, low), each, high));
            }
            let odd_half = _mm256_setr_ps(0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.5);
            Self {
                low,
                high,
                start,
                scales: one_each(row.scales, a, b),
                sums: _mm256_mul_ps(one_each(row.sums_32, a, b), odd_half),
            }
        }
    }

    /// Adds the dot products with weight blocks `a` and `b` to `sum`.
    ///
    /// SAFETY: `D` is available; a whole block can be read at each pointer.
    #[inline(always)]
    unsafe fn dot<B: Block, D: Dot>(&self, a: *const u8, b: *const u8, sum: &mut __m256) {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut low, mut high) = B::quants(a, b);
            if B::SIGNED {
                low = _mm256_xor_si256(low, _mm256_set1_epi8(i8::MIN));
                high = _mm256_xor_si256(high, _mm256_set1_epi8(i8::MIN));
            }
            let dot = D::dot(D::dot(self.start, low, self.low), high, self.high);
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

/// `N` rows at once. SAFETY: as [`RowsKernel`], with `D` available.
#[inline(always)]
unsafe fn rows_at_once<B: Block, D: Dot, const N: usize>(
    rows: [*const u8; N],
    n_blocks: usize,
    activations: Row,
) -> [f32; N] {
    // SAFETY: the caller's promise; blocks 2 i and 2 i + 1 are below `n_blocks`.
    unsafe {
        let mut sums = [_mm256_setzero_ps(); N];
        for pair_idx in 0..n_blocks / 2 {
            let pair = Pair::load::<B, D>(activations, 2 * pair_idx, Some(2 * pair_idx + 1));
            for i in 0..N {
                let a = rows[i].add(2 * pair_idx * B::BYTES);
                pair.dot::<B, D>(a, a.add(B::BYTES), &mut sums[i]);
            }
        }
        if n_blocks % 2 == 1 {
            let pair = Pair::load::<B, D>(activations, n_blocks - 1, None);
            for i in 0..N {
                let a = rows[i].add((n_blocks - 1) * B::BYTES);
                pair.dot::<B, D>(a, a, &mut sums[i]);
            }
        }
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = hsum(sums[i]);
        }
        out
    }
}

/// All rows, four at once that lie a quarter of them apart: four sequential streams are read from
/// memory faster than four neighbouring rows. SAFETY: as [`RowsKernel`], with `D` available.
#[inline(always)]
unsafe fn all_rows<B: Block, D: Dot>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    out: &mut [f32],
) {
    let quarter = out.len() / 4;
    let apart = quarter * row_bytes;
    // SAFETY: the caller's promise; `rows` has a row for each place in `out`.
    unsafe {
        for i in 0..quarter {
            let row = rows.add(i * row_bytes);
            let four = [row, row.add(apart), row.add(2 * apart), row.add(3 * apart)];
            let sums = rows_at_once::<B, D, 4>(four, n_blocks, activations);
            for (k, sum) in sums.into_iter().enumerate() {
                out[i + k * quarter] = sum;
            }
        }
        for i in 4 * quarter..out.len() {
            let row = [rows.add(i * row_bytes)];
            [out[i]] = rows_at_once::<B, D, 1>(row, n_blocks, activations);
        }
    }
}

/// SAFETY: as [`RowsKernel`], with AVX-512 VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn with_avx512<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    out: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { all_rows::<B, Avx512Vnni>(rows, row_bytes, n_blocks, activations, out) }
}

/// SAFETY: as [`RowsKernel`], with AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn with_avx_vnni<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    out: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { all_rows::<B, AvxVnni>(rows, row_bytes, n_blocks, activations, out) }
}

/// SAFETY: as [`RowsKernel`], with AVX2.
#[cfg(test)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<B: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    out: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { all_rows::<B, super::dot::StandIn>(rows, row_bytes, n_blocks, activations, out) }
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
