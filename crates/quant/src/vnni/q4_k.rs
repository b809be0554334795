//! The matrix-vector kernels for `Q4_K` and `Q5_K`: those of AVX2 with `vpdpbusd`.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::Set;
use super::blocks_256::{self, Block};
use super::dot::{Avx512Vnni, AvxVnni, Dot};
use crate::avx2::eight_rows::{all_rows, float};
use crate::avx2::q4_k::{Eight, Multiply};
use crate::avx2::{Row, RowsKernel};

/// Implements [`Multiply`] with the instructions of `D`: one 32-bit sum a row.
struct With<D>(PhantomData<D>);

impl<D: Dot> Multiply for With<D> {
    type Sum = __m256i;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn add(sum: &mut __m256i, _half: usize, q: __m256i, activations: __m256i) {
        // SAFETY: guaranteed by the caller.
        unsafe { *sum = D::dot(*sum, q, activations) }
    }

    #[inline(always)]
    unsafe fn scaled(sum: __m256i, scales: __m256i, byte: usize) -> __m256 {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_mul_ps(_mm256_cvtepi32_ps(sum), float(scales, byte)) }
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX-512 VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn with_avx512<const FIFTHS: bool, R: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    let rest = blocks_256::kernel::<R>(Set::Avx512Vnni);
    // SAFETY: guaranteed by the caller.
    unsafe {
        all_rows::<Eight<With<Avx512Vnni>, FIFTHS>>(
            rows,
            row_bytes,
            n_blocks,
            activations,
            ahead,
            out,
            rest,
        );
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
unsafe fn with_avx_vnni<const FIFTHS: bool, R: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    let rest = blocks_256::kernel::<R>(Set::AvxVnni);
    // SAFETY: guaranteed by the caller.
    unsafe {
        all_rows::<Eight<With<AvxVnni>, FIFTHS>>(
            rows,
            row_bytes,
            n_blocks,
            activations,
            ahead,
            out,
            rest,
        );
    }
}

/// # Safety
/// As for [`RowsKernel`], with AVX2.
#[cfg(test)]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_avx2<const FIFTHS: bool, R: Block>(
    rows: *const u8,
    row_bytes: usize,
    n_blocks: usize,
    activations: Row,
    ahead: *const u8,
    out: &mut [f32],
) {
    use super::dot::StandIn;
    let rest = blocks_256::kernel::<R>(Set::StandIn);
    // SAFETY: guaranteed by the caller.
    unsafe {
        all_rows::<Eight<With<StandIn>, FIFTHS>>(
            rows,
            row_bytes,
            n_blocks,
            activations,
            ahead,
            out,
            rest,
        );
    }
}

/// The kernel for `Q4_K`, or for `Q5_K` with `FIFTHS`; `R` is the same block type for single rows.
pub(super) fn kernel<const FIFTHS: bool, R: Block>(set: Set) -> RowsKernel {
    match set {
        Set::Avx512Vnni => with_avx512::<FIFTHS, R>,
        Set::AvxVnni => with_avx_vnni::<FIFTHS, R>,
        #[cfg(test)]
        Set::StandIn => with_avx2::<FIFTHS, R>,
    }
}
