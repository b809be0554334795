//! Vectors of 64 bytes: one register of AVX-512, or two registers of 32 bytes.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::dot::Dot;

/// A vector of 64 bytes, 16 integers or 16 floats.
///
/// All unsafe methods require that the instruction set is available and that the memory that is
/// read or written is valid.
pub(super) trait Wide {
    type Int: Copy;
    type Float: Copy;
    /// Number of activation rows whose sums fit in the registers.
    const ROWS: usize;

    unsafe fn zero() -> Self::Int;
    unsafe fn load(pointer: *const u8) -> Self::Int;
    /// Loads 32 bytes into both halves.
    unsafe fn twice(pointer: *const u8) -> Self::Int;
    /// Broadcasts four bytes sixteen times.
    unsafe fn repeat(pointer: *const i8) -> Self::Int;
    unsafe fn splat_i8(x: i8) -> Self::Int;
    unsafe fn splat_i32(x: i32) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Shifts each 16-bit lane left, by `LOW` bits in the low half and by `HIGH` in the high half.
    /// Negative counts shift right; both must have the same sign.
    unsafe fn shift<const LOW: i32, const HIGH: i32>(x: Self::Int) -> Self::Int;
    /// Adds to lane `i` of `sum` the products of the four bytes of `a` (unsigned) and `b` (signed).
    unsafe fn dot(sum: Self::Int, a: Self::Int, b: Self::Int) -> Self::Int;

    unsafe fn zero_f() -> Self::Float;
    unsafe fn load_f(pointer: *const f32) -> Self::Float;
    unsafe fn store_f(pointer: *mut f32, x: Self::Float);
    unsafe fn splat_f(x: f32) -> Self::Float;
    /// Widens eight floats, which become the low half.
    unsafe fn low_f(x: __m256) -> Self::Float;
    /// Loads eight floats and duplicates each: a, a, b, b, …
    unsafe fn each_twice(pointer: *const f32) -> Self::Float;
    /// Converts sixteen signed bytes.
    unsafe fn from_i8(x: __m128i) -> Self::Float;
    unsafe fn from_int(x: Self::Int) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    /// `a * b + c`.
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    /// Broadcasts lane `2 P` of `x` to the low half and lane `2 P + 1` to the high half.
    unsafe fn halves<const P: usize>(x: Self::Float) -> Self::Float;
    /// Repeats each of the lanes `4 P..4 P + 4` of `x` four times.
    unsafe fn quarters<const P: usize>(x: Self::Float) -> Self::Float;
    /// The sum of both halves.
    unsafe fn fold(x: Self::Float) -> __m256;
}

/// AVX-512.
pub(super) struct Zmm;

#[rustfmt::skip]
impl Wide for Zmm {
    type Int = __m512i;
    type Float = __m512;
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: guaranteed by the caller, here and below.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(pointer.cast()) }
    }
    #[inline(always)]
    unsafe fn twice(pointer: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_broadcast_i64x4(_mm256_loadu_si256(pointer.cast())) }
    }
    #[inline(always)]
    unsafe fn repeat(pointer: *const i8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(pointer.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn splat_i8(x: i8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi8(x) }
    }
    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shift<const LOW: i32, const HIGH: i32>(x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_set1_epi16(LOW.unsigned_abs() as i16);
            let high = _mm256_set1_epi16(HIGH.unsigned_abs() as i16);
            let by = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            if LOW + HIGH < 0 { _mm512_srlv_epi16(x, by) } else { _mm512_sllv_epi16(x, by) }
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn zero_f() -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load_f(pointer: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(pointer) }
    }
    #[inline(always)]
    unsafe fn store_f(pointer: *mut f32, x: __m512) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(pointer, x) }
    }
    #[inline(always)]
    unsafe fn splat_f(x: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn low_f(x: __m256) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_castps256_ps512(x) }
    }
    #[inline(always)]
    unsafe fn each_twice(pointer: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            _mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(_mm256_loadu_ps(pointer)))
        }
    }
    #[inline(always)]
    unsafe fn from_i8(x: __m128i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x)) }
    }
    #[inline(always)]
    unsafe fn from_int(x: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn halves<const P: usize>(x: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_set1_epi32(2 * P as i32);
            let high = _mm256_set1_epi32(2 * P as i32 + 1);
            let lanes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            _mm512_permutexvar_ps(lanes, x)
        }
    }
    #[inline(always)]
    unsafe fn quarters<const P: usize>(x: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            let lanes = _mm512_add_epi32(quarter, _mm512_set1_epi32(4 * P as i32));
            _mm512_permutexvar_ps(lanes, x)
        }
    }
    #[inline(always)]
    unsafe fn fold(x: __m512) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x)) }
    }
}

/// Two registers of 32 bytes, multiplied with the instructions of `D`.
pub(super) struct Ymm<D>(PhantomData<D>);

#[rustfmt::skip]
impl<D: Dot> Wide for Ymm<D> {
    type Int = [__m256i; 2];
    type Float = [__m256; 2];
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> [__m256i; 2] {
        // SAFETY: guaranteed by the caller, here and below.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_loadu_si256(pointer.cast()), _mm256_loadu_si256(pointer.add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn twice(pointer: *const u8) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_loadu_si256(pointer.cast()); 2] }
    }
    #[inline(always)]
    unsafe fn repeat(pointer: *const i8) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_set1_epi32(pointer.cast::<i32>().read_unaligned()); 2] }
    }
    #[inline(always)]
    unsafe fn splat_i8(x: i8) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_set1_epi8(x); 2] }
    }
    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn and(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn or(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn shift<const LOW: i32, const HIGH: i32>(x: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above. The counts are constants, so these compile to shifts by immediates.
        unsafe {
            let low = _mm_cvtsi32_si128(LOW.abs());
            let high = _mm_cvtsi32_si128(HIGH.abs());
            if LOW + HIGH < 0 {
                [_mm256_srl_epi16(x[0], low), _mm256_srl_epi16(x[1], high)]
            } else {
                [_mm256_sll_epi16(x[0], low), _mm256_sll_epi16(x[1], high)]
            }
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: [__m256i; 2], a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe { [D::dot(sum[0], a[0], b[0]), D::dot(sum[1], a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn zero_f() -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn load_f(pointer: *const f32) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_loadu_ps(pointer), _mm256_loadu_ps(pointer.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_f(pointer: *mut f32, x: [__m256; 2]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(pointer, x[0]);
            _mm256_storeu_ps(pointer.add(8), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn splat_f(x: f32) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn low_f(x: __m256) -> [__m256; 2] {
        [x; 2]
    }
    #[inline(always)]
    unsafe fn each_twice(pointer: *const f32) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            let x = _mm256_loadu_ps(pointer);
            [
                _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
                _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn from_i8(x: __m128i) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(x, x))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn from_int(x: [__m256i; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn fma(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn halves<const P: usize>(x: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above. `x` has eight values, in the low half.
        unsafe {
            [
                _mm256_permutevar8x32_ps(x[0], _mm256_set1_epi32(2 * P as i32)),
                _mm256_permutevar8x32_ps(x[0], _mm256_set1_epi32(2 * P as i32 + 1)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn quarters<const P: usize>(x: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            let (x, first) = (x[P / 2], 4 * (P % 2) as i32);
            let (a, b, c, d) = (first, first + 1, first + 2, first + 3);
            [
                _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(a, a, a, a, b, b, b, b)),
                _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(c, c, c, c, d, d, d, d)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn fold(x: [__m256; 2]) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(x[0], x[1]) }
    }
}
