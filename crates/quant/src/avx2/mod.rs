//! Kernels for x86-64 with AVX2, FMA and F16C.
//!
//! The functions visible outside of this module are sound only if [`crate::Isa::Avx2`] is
//! available, which their callers check. They check the lengths of their slices; the kernels that
//! they call take raw pointers.
#![expect(unsafe_code, reason = "AVX2 intrinsics over raw pointers")]

/// Evaluates `$four` for each four neighbouring rows and `$one` for each remaining row, each with
/// the address to prefetch from.
///
/// A macro and not a function, because closures would not inherit the target features of the
/// function that they are used in.
macro_rules! each_row {
    (
        $rows:ident, $row_bytes:ident, $ahead:ident, $out:ident,
        |$row:ident, $next:ident| $four:expr, |$last:ident, $last_next:ident| $one:expr
    ) => {
        let (fours, rest) = $out.as_chunks_mut::<4>();
        let first_of_rest = 4 * fours.len();
        for (i, out) in fours.iter_mut().enumerate() {
            let start = 4 * i * $row_bytes;
            let ($row, $next) = ($rows.add(start), $ahead.wrapping_add(start));
            *out = $four;
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let start = (first_of_rest + i) * $row_bytes;
            let ($last, $last_next) = ($rows.add(start), $ahead.wrapping_add(start));
            [*out] = $one;
        }
    };
}
pub(crate) use each_row;

pub(crate) mod blocks_256;
pub(crate) mod blocks_32;
pub(crate) mod eight_rows;
mod float;
mod panel;
pub(crate) mod q4_k;
pub(super) mod vector;

use std::arch::x86_64::*;

use lilims_gguf::TensorType;

use super::activation::{ActivationRow, ActivationRowMut, BLOCK, scale_of};
use super::blocks::{self, Format};

pub(super) use float::{add_weighted, matmul_float};
pub(super) use panel::{interleave, panel_matmul};

/// Prefetches `n_bytes` from `from` into the L2 cache. The address need not be valid.
///
/// Not into L1: its line fill buffers limit the number of misses in flight; with 24 of them and 130
/// ns memory latency, that is 12 GB/s.
#[inline(always)]
pub(crate) fn prefetch(from: *const u8, n_bytes: usize) {
    prefetch_part(from, n_bytes, 0, 1);
}

/// Prefetches part `part` of `n_parts` of `n_bytes` from `from`, in whole cache lines. Spread over a
/// computation, prefetches do not fill the queue of L1 misses that its loads need.
#[inline(always)]
pub(crate) fn prefetch_part(from: *const u8, n_bytes: usize, part: usize, n_parts: usize) {
    let end = |part: usize| (n_bytes * part / n_parts).next_multiple_of(64);
    for line in (end(part)..end(part + 1).min(n_bytes)).step_by(64) {
        // SAFETY: prefetching never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast()) };
    }
}

/// Pointers to the parts of a quantised activation row.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) values: *const i8,
    pub(crate) scales: *const f32,
    pub(crate) sums_32: *const f32,
    pub(crate) sums_16: *const f32,
}

impl Row {
    pub(crate) fn of(row: ActivationRow<'_>) -> Self {
        Self {
            values: row.values.as_ptr(),
            scales: row.scales.as_ptr(),
            sums_32: row.sums_32.as_ptr(),
            sums_16: row.sums_16.as_ptr(),
        }
    }
}

impl Row {
    /// The rest of the row from this block of 32 values on.
    ///
    /// # Safety
    /// The block exists.
    #[inline(always)]
    pub(crate) unsafe fn at_block(self, block: usize) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe {
            Self {
                values: self.values.add(32 * block),
                scales: self.scales.add(block),
                sums_32: self.sums_32.add(block),
                sums_16: self.sums_16.add(2 * block),
            }
        }
    }
}

/// The dot product of each row in `rows` with `activations`.
pub(super) fn matvec(
    ty: TensorType,
    format: Format,
    rows: &[u8],
    ahead: &[u8],
    activations: ActivationRow<'_>,
    out: &mut [f32],
) {
    let n_blocks = activations.n_cols() / format.block_values;
    let row_bytes = format.row_bytes(activations.n_cols());
    assert_eq!(rows.len(), row_bytes * out.len(), "one result per row");
    let kernel: RowsKernel = match ty {
        TensorType::Q4_0 => blocks_32::kernel::<blocks_32::Q4_0>(),
        TensorType::Q4_1 => blocks_32::kernel::<blocks_32::Q4_1>(),
        TensorType::Q5_0 => blocks_32::kernel::<blocks_32::Q5_0>(),
        TensorType::Q5_1 => blocks_32::kernel::<blocks_32::Q5_1>(),
        TensorType::Q8_0 => blocks_32::kernel::<blocks_32::Q8_0>(),
        TensorType::IQ4_NL => blocks_32::kernel::<blocks_32::Iq4Nl>(),
        TensorType::Q2_K => blocks_256::kernel::<blocks_256::Q2K>(),
        TensorType::Q3_K => blocks_256::kernel::<blocks_256::Q3K>(),
        TensorType::Q4_K => q4_k::q4_k(),
        TensorType::Q5_K => q4_k::q5_k(),
        TensorType::Q6_K => blocks_256::kernel::<blocks_256::Q6K>(),
        _ => unreachable!("only quantised types have a format"),
    };
    // SAFETY: AVX2, FMA and F16C are available (see the module). `rows` holds `out.len()` rows of
    // `n_blocks` blocks, and the activation row as many values, scales and sums.
    unsafe { kernel(rows.as_ptr(), row_bytes, n_blocks, Row::of(activations), ahead.as_ptr(), out) }
}

/// Multiplies `out.len()` rows of `n_blocks` blocks, `row_bytes` apart, with an activation row, and
/// meanwhile prefetches as many bytes from another address.
pub(crate) type RowsKernel = unsafe fn(*const u8, usize, usize, Row, *const u8, &mut [f32]);

/// [`blocks::unpack`], compiled with AVX2.
pub(super) fn unpack(
    ty: TensorType,
    blocks: &[u8],
    q: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn inner(ty: TensorType, blocks: &[u8], q: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
        blocks::unpack(ty, blocks, q, scales, mins);
    }
    // SAFETY: AVX2, FMA and F16C are available (see the module).
    unsafe { inner(ty, blocks, q, scales, mins) }
}

/// Quantises `x` into `row`.
pub(super) fn quantize(row: &mut ActivationRowMut<'_>, x: &[f32]) {
    // SAFETY: AVX2, FMA and F16C are available (see the module).
    unsafe { quantize_row(row, x) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantize_row(row: &mut ActivationRowMut<'_>, x: &[f32]) {
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(row.values.as_chunks_mut::<BLOCK>().0);
    for (block_idx, (x, q)) in blocks.enumerate() {
        let magnitude = _mm256_set1_epi32(0x7fff_ffff);
        let mut largest = _mm256_setzero_si256();
        let mut parts = [_mm256_setzero_ps(); 4];
        for (part, x) in parts.iter_mut().zip(x.as_chunks::<8>().0) {
            // SAFETY: the array is 32 readable bytes.
            *part = unsafe { _mm256_loadu_ps(x.as_ptr()) };
            let bits = _mm256_and_si256(_mm256_castps_si256(*part), magnitude);
            largest = _mm256_max_epi32(largest, bits);
        }
        let (scale, inverse) = scale_of(hmax(largest));
        if scale > 0.0 {
            let inverse = _mm256_set1_ps(inverse);
            // The conversion rounds half to even, the processor's default rounding mode.
            let i = parts.map(|part| _mm256_cvtps_epi32(_mm256_mul_ps(part, inverse)));
            let low = _mm256_packs_epi32(i[0], i[1]);
            let high = _mm256_packs_epi32(i[2], i[3]);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            // SAFETY: the array is 32 writable bytes.
            unsafe { _mm256_storeu_si256(q.as_mut_ptr().cast(), packed) };
        } else {
            q.fill(0);
        }
        let sum = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>();
        let (low, high) = (sum(&q[..16]), sum(&q[16..]));
        row.scales[block_idx] = scale;
        row.sums_16[2 * block_idx] = scale * low as f32;
        row.sums_16[2 * block_idx + 1] = scale * high as f32;
        row.sums_32[block_idx] = scale * (low + high) as f32;
    }
}

/// The largest of eight non-negative 32-bit integers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn hmax(x: __m256i) -> u32 {
    let x = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
    let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
    _mm_cvtsi128_si32(x) as u32
}

/// The sum of eight lanes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(crate) fn hsum(x: __m256) -> f32 {
    let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
}

/// Loads eight f16 values as f32.
///
/// # Safety
/// 16 bytes are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load_f16(pointer: *const u8) -> __m256 {
    // SAFETY: guaranteed by the caller.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(pointer.cast()) })
}
