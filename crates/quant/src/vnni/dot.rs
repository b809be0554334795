//! The multiplication of 32 bytes with `vpdpbusd`, in AVX-512 VNNI, in AVX-VNNI and emulated.
#![expect(unsafe_code, reason = "AVX intrinsics")]

use std::arch::asm;
use std::arch::x86_64::*;

/// Dot products of unsigned with signed bytes.
pub(super) trait Dot {
    /// Whether masked addition of bytes is supported, as in AVX-512.
    const HAS_MASKS: bool = false;

    /// Adds `b` to the bytes of `a` whose bits in `mask` are set.
    ///
    /// # Safety
    /// As for [`Dot::dot`]; only with [`Dot::HAS_MASKS`].
    unsafe fn add_masked(_a: __m256i, _mask: u32, _b: __m256i) -> __m256i {
        unreachable!("masks are not supported")
    }

    /// Adds to lane `i` of `sum` the products of the four bytes of `a` and `b` from `4 i` on.
    ///
    /// # Safety
    /// The instruction set is available.
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i;
}

/// AVX-512 VNNI with VL.
pub(super) struct Avx512Vnni;

impl Dot for Avx512Vnni {
    const HAS_MASKS: bool = true;

    /// In assembly, because the compiler splits the intrinsic into two instructions where it knows
    /// that the addition is an "or".
    #[target_feature(enable = "avx2,avx512bw,avx512vl")]
    #[inline]
    unsafe fn add_masked(mut a: __m256i, mask: u32, b: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            asm!(
                "vpaddb {a}{{{mask}}}, {a}, {b}",
                a = inout(ymm_reg) a,
                mask = in(kreg) mask,
                b = in(ymm_reg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        a
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_dpbusd_epi32(sum, a, b) }
    }
}

/// AVX-VNNI.
pub(super) struct AvxVnni;

impl Dot for AvxVnni {
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe { _mm256_dpbusd_avx_epi32(sum, a, b) }
    }
}

/// Emulation with AVX2 for tests, exact for all bytes.
#[cfg(test)]
pub(super) struct StandIn;

#[cfg(test)]
impl Dot for StandIn {
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let low = _mm256_and_si256(a, _mm256_set1_epi16(0xff));
            let even = _mm256_madd_epi16(low, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)));
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(a), _mm256_srai_epi16::<8>(b));
            _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
        }
    }
}
