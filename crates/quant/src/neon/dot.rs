//! Integer multiplications: with `sdot` and `smmla`, and with baseline NEON for older processors.
//!
//! `sdot` and `smmla` are inline assembly because their intrinsics are not stable.
#![expect(unsafe_code, reason = "NEON intrinsics and assembly")]

use std::arch::aarch64::*;
use std::arch::asm;

/// Dot products of signed bytes.
///
/// The methods are inlined into functions that enable the target features. They must not be called
/// in closures, which do not inherit these features, so that nothing would be inlined.
pub(super) trait Dot {
    /// Adds the products of `a` and `b` to the lanes of `sum`, in any order.
    ///
    /// # Safety
    /// The processor has the instructions; `b` holds no -128.
    unsafe fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;

    /// Adds to lane `i` of `sum` the products of four bytes of `a`, from `4 i` on, with the four
    /// bytes in lane `LANE` of `b`.
    ///
    /// # Safety
    /// As for [`Dot::dot`].
    unsafe fn dot_lane<const LANE: i32>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t;
}

/// Multiplies with the `sdot` of Armv8.2.
pub(super) struct Sdot;

impl Dot for Sdot {
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { sdot(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn dot_lane<const LANE: i32>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
        // SAFETY: guaranteed by the caller.
        unsafe { sdot_lane::<LANE>(sum, a, b) }
    }
}

#[target_feature(enable = "dotprod")]
#[inline]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: only registers are used; the feature is enabled.
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
    // SAFETY: only registers are used; the feature is enabled.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Adds the product of two 2 × 8 matrices of bytes, the second one transposed, to a 2 × 2 matrix.
#[target_feature(enable = "i8mm")]
#[inline]
pub(super) fn smmla(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: only registers are used; the feature is enabled.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Multiplies with baseline instructions. The sum of two products of -128 and 127 fits in 16 bits.
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
