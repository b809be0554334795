//! The integer multiplications: what tells the kernels with `sdot` from those for older processors.
//!
//! The dot and matrix products are written as assembly, since their intrinsics are not stable.
#![expect(unsafe_code, reason = "NEON intrinsics and assembly")]

use std::arch::aarch64::*;
use std::arch::asm;

/// Dot products of signed bytes.
///
/// The methods are inlined into functions that enable what they need. None may be called in a
/// closure: closures inherit no target feature here, and each call would be a real one.
pub(super) trait Dot {
    /// Adds the products of `a` and `b` to the lanes of `sum`, in any arrangement.
    ///
    /// SAFETY: the processor has the instructions; `b` holds no -128.
    unsafe fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;

    /// Adds to lane `i` of `sum` the products of four bytes of `a`, from `4 i` on, with the four
    /// bytes of `b` in its lane `LANE`.
    ///
    /// SAFETY: as [`Dot::dot`].
    unsafe fn dot_lane<const LANE: i32>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;
}

/// With the `sdot` of Armv8.2.
pub(super) struct Sdot;

impl Dot for Sdot {
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { sdot(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn dot_lane<const LANE: i32>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { sdot_lane::<LANE>(sum, a, b) }
    }
}

#[target_feature(enable = "dotprod")]
#[inline]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone; the feature is enabled.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

#[target_feature(enable = "dotprod")]
#[inline]
fn sdot_lane<const LANE: i32>(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone; the feature is enabled.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Adds the product of two matrices of two rows of eight bytes, the second one transposed.
#[target_feature(enable = "i8mm")]
#[inline]
pub(super) fn smmla(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone; the feature is enabled.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// With multiplications that every processor has. Two products of -128 and 127 fit in 16 bits.
pub(super) struct Smull;

impl Dot for Smull {
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: NEON belongs to the architecture.
        unsafe {
            let products = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            vpadalq_s16(sum, vmlal_high_s8(products, a, b))
        }
    }

    #[inline(always)]
    unsafe fn dot_lane<const LANE: i32>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: NEON belongs to the architecture.
        unsafe {
            let b = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(b)));
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)))
        }
    }
}
