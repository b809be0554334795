//! NEON vectors for [`crate::float_tiles`]: products of float rows with f32 rows.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use lilims_gguf::TensorType;

use super::load_f16;
use super::prefetch;
use crate::float_tiles::{self, Bf16, F16, F32, Lanes};

/// Two registers as one vector: a half-precision register widens to both, and two independent sums
/// per token shorten the dependency chain.
struct F32x8;

impl Lanes for F32x8 {
    type Vector = [float32x4_t; 2];
    const LEN: usize = 8;
    const WIDE_TILES: bool = false;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe { [vdupq_n_f32(x), vdupq_n_f32(x)] }
    }

    #[inline(always)]
    unsafe fn load(pointer: *const f32) -> Self::Vector {
        // SAFETY: guaranteed by the caller; byte loads need no alignment.
        unsafe {
            let pointer = pointer.cast::<u8>();
            [
                vreinterpretq_f32_u8(vld1q_u8(pointer)),
                vreinterpretq_f32_u8(vld1q_u8(pointer.add(16))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_f16(pointer: *const u8) -> Self::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe { load_f16(pointer) }
    }

    #[inline(always)]
    unsafe fn load_bf16(pointer: *const u8) -> Self::Vector {
        // SAFETY: guaranteed by the caller; byte loads need no alignment.
        unsafe {
            let x = vreinterpretq_u16_u8(vld1q_u8(pointer));
            [
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(x))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(x)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(pointer: *mut f32, x: Self::Vector) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            vst1q_f32(pointer, x[0]);
            vst1q_f32(pointer.add(4), x[1]);
        }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn sum(x: Self::Vector) -> f32 {
        // SAFETY: guaranteed by the caller.
        unsafe { vaddvq_f32(vaddq_f32(x[0], x[1])) }
    }

    #[inline(always)]
    fn prefetch(from: *const u8, n_bytes: usize) {
        prefetch(from, n_bytes);
    }
}

/// `out[t][r]` = weight row `r` · activation row `t`.
pub(crate) fn matmul_float(
    ty: TensorType,
    rows: &[u8],
    ahead: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    // SAFETY: NEON belongs to the architecture.
    unsafe {
        match ty {
            TensorType::F32 => float_tiles::matmul::<F32x8, F32>(rows, ahead, x, n_cols, out),
            TensorType::F16 => float_tiles::matmul::<F32x8, F16>(rows, ahead, x, n_cols, out),
            _ => float_tiles::matmul::<F32x8, Bf16>(rows, ahead, x, n_cols, out),
        }
    }
}

/// `out[t] += p[t][r] * values[r]`, summed over `r`.
pub(crate) fn add_weighted(
    ty: TensorType,
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    // SAFETY: NEON belongs to the architecture.
    unsafe {
        match ty {
            TensorType::F32 => {
                float_tiles::add_weighted::<F32x8, F32>(values, ahead, p, n_cols, out)
            }
            TensorType::F16 => {
                float_tiles::add_weighted::<F32x8, F16>(values, ahead, p, n_cols, out)
            }
            _ => float_tiles::add_weighted::<F32x8, Bf16>(values, ahead, p, n_cols, out),
        }
    }
}
