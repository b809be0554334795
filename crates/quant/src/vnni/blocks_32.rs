//! Matrix-vector kernels for the types with blocks of 32 values: those of AVX2 with `vpdpbusd`.
//!
//! Signed weights are made unsigned by adding 128. The dot products start with the negative of what
//! this adds, for which the activations' sums are computed once per four rows.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::Set;
use super::dot::{Avx512Vnni, AvxVnni, Dot};
use crate::avx2::blocks_32::{Block, Multiply, all_rows};
use crate::avx2::{Row, RowsKernel};

/// Implements [`Multiply`] with the instructions of `D`.
struct With<D>(PhantomData<D>);

impl<D: Dot> Multiply for With<D> {
    #[inline(always)]
    unsafe fn start<B: Block>(low: __m256i, high: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let zero = _mm256_setzero_si256();
            if !B::SIGNED {
                return zero;
            }
            let added = _mm256_set1_epi8(i8::MIN);
            _mm256_sub_epi32(zero, D::dot(D::dot(zero, added, low), added, high))
        }
    }

    #[inline(always)]
    unsafe fn dot<B: Block>(
        (mut low, mut high): (__m256i, __m256i),
        x: (__m256i, __m256i),
        start: __m256i,
    ) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if B::SIGNED {
                low = _mm256_xor_si256(low, _mm256_set1_epi8(i8::MIN));
                high = _mm256_xor_si256(high, _mm256_set1_epi8(i8::MIN));
            }
            D::dot(D::dot(start, low, x.0), high, x.1)
        }
    }

    const HAS_MASKS: bool = D::HAS_MASKS;

    #[inline(always)]
    unsafe fn dot_masked<B: Block>(block: *const u8, x: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let start = B::FIFTH_BITS.unwrap_or_default();
            let fifths = block.add(start).cast::<u32>().read_unaligned();
            let nibbles = _mm256_broadcastsi128_si256(_mm_loadu_si128(block.add(start + 4).cast()));
            let nibbles = _mm256_srlv_epi64(nibbles, _mm256_setr_epi64x(0, 0, 4, 4));
            let nibbles = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
            let q = D::add_masked(nibbles, fifths, _mm256_set1_epi8(16));
            D::dot(_mm256_setzero_si256(), q, x)
        }
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
    unsafe { all_rows::<B, With<Avx512Vnni>>(rows, row_bytes, n_blocks, activations, ahead, out) }
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
    unsafe { all_rows::<B, With<AvxVnni>>(rows, row_bytes, n_blocks, activations, ahead, out) }
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
    unsafe { all_rows::<B, With<StandIn>>(rows, row_bytes, n_blocks, activations, ahead, out) }
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
