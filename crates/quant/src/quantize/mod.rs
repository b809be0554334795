//! Quantises f32 rows to the blocks of each tensor type, one row at a time.
//!
//! The quantisers minimise the squared error by a bounded search: several scales are tried, each is
//! refitted by least squares to the integers that it leads to, and the result of round-to-nearest
//! is kept if nothing beats it. For blocks with a scale but no minimum, large values get more
//! weight in the search: plain least squares would rather clip them, and in real models they are
//! multiplied with large activations (on SmolLM2 the weighting reduces the error of the products by
//! 1.4 %, mostly that of keys, although the error of the weights grows by 0.5 %). With an
//! importance for each column, as in llama.cpp's importance matrices (the mean square of the
//! activations that the column is multiplied with), squared errors are weighted by it. The same
//! input gives the same bytes on every processor.
//!
//! The searches process many groups at once, one group per lane (`tile`): groups with their own
//! scale (`scaled`) or scale and minimum (`affine`), and groups whose scales are themselves
//! quantised to integers (`super_scaled`, `super_affine`). There are no threads here: rows are
//! independent.
#![expect(clippy::needless_range_loop, reason = "a lane belongs to several arrays at once")]

mod affine;
mod blocks_256;
mod blocks_32;
mod half;
mod q8_0;
mod scaled;
mod super_affine;
mod super_scaled;
#[cfg(test)]
mod tests;
mod tile;

use ::half::bf16;
use lilims_gguf::TensorType;

use crate::Isa;
pub use q8_0::quantize_q8_0;
use tile::{ByImportance, BySize, Importance, Uniform, Weighting};

/// The largest bf16.
const BF16_MAX: f32 = bf16::MAX.to_f32_const();
/// Number of values that are checked for range together.
const CHECK_CHUNK: usize = 64;

/// Why a row could not be quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// Quantising to the type is not supported.
    #[error("quantising to tensor type {ty} is not supported")]
    Unsupported {
        /// The type.
        ty: TensorType,
    },
    /// The values are not whole blocks, or the output has another length than their blocks.
    #[error("{values} values of type {ty} do not fill exactly {bytes} bytes")]
    Length {
        /// The type.
        ty: TensorType,
        /// The number of values.
        values: usize,
        /// The length of the output in bytes.
        bytes: usize,
    },
    /// The importance has another length than the row.
    #[error("the importance has {got} columns, expected {expected}")]
    ImportanceLength {
        /// Columns of the row.
        expected: usize,
        /// Columns of the importance.
        got: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of the row is not finite")]
    NotFinite {
        /// Its index in the row.
        index: usize,
    },
    /// A value is larger than the type can hold.
    #[error("value {index} of the row is too large for type {ty}")]
    TooLarge {
        /// The type.
        ty: TensorType,
        /// Its index in the row.
        index: usize,
    },
    /// An importance is negative, NaN or infinite.
    #[error("the importance of column {index} is negative or not finite")]
    Importance {
        /// The column.
        index: usize,
    },
}

/// Quantises one row, which must be whole blocks, into `out`.
///
/// `importance` holds the weight of each column's squared error; if all weights of a group are
/// zero, its values are weighted equally. Float types round to nearest and ignore it.
///
/// # Errors
/// [`QuantizeError::Unsupported`] for types that [`crate::supported`] rejects and for F32;
/// [`QuantizeError::Length`] and [`QuantizeError::ImportanceLength`] when the lengths do not match;
/// [`QuantizeError::NotFinite`], [`QuantizeError::TooLarge`] (beyond the range of f16, or bf16) and
/// [`QuantizeError::Importance`] for invalid values. `out` is then unchanged.
pub fn quantize(
    ty: TensorType,
    row: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), QuantizeError> {
    quantize_with(Isa::detected(), ty, row, importance, out)
}

/// [`quantize`] with an available instruction set.
fn quantize_with(
    isa: Isa,
    ty: TensorType,
    row: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), QuantizeError> {
    if !crate::supported(ty) || ty == TensorType::F32 {
        return Err(QuantizeError::Unsupported { ty });
    }
    if ty.size_bytes(row.len() as u64) != Some(out.len() as u64) {
        return Err(QuantizeError::Length { ty, values: row.len(), bytes: out.len() });
    }
    check_values(ty, row)?;
    match importance {
        None => write::<BySize, Uniform>(isa, ty, row, Importance::none(), out),
        Some(importance) => {
            check_importance(row.len(), importance)?;
            write::<ByImportance, ByImportance>(isa, ty, row, Importance::of(importance), out);
        }
    }
    Ok(())
}

fn check_values(ty: TensorType, row: &[f32]) -> Result<(), QuantizeError> {
    let limit = if ty == TensorType::BF16 { BF16_MAX } else { half::MAX };
    match first_outside(row, -limit, limit) {
        Some(index) if row[index].is_finite() => Err(QuantizeError::TooLarge { ty, index }),
        Some(index) => Err(QuantizeError::NotFinite { index }),
        None => Ok(()),
    }
}

/// The index of the first value outside of `low..=high`, NaN included.
fn first_outside(values: &[f32], low: f32, high: f32) -> Option<usize> {
    let inside = |value: &f32| (*value >= low) & (*value <= high);
    // One branch for many values: a branch for each would prevent vectorisation.
    let mut chunks = values.chunks(CHECK_CHUNK);
    let chunk_idx =
        chunks.position(|chunk| !chunk.iter().fold(true, |all, value| all & inside(value)))?;
    let start = chunk_idx * CHECK_CHUNK;
    values[start..].iter().position(|value| !inside(value)).map(|found| start + found)
}

fn check_importance(expected: usize, importance: &[f32]) -> Result<(), QuantizeError> {
    if importance.len() != expected {
        return Err(QuantizeError::ImportanceLength { expected, got: importance.len() });
    }
    match first_outside(importance, 0.0, f32::MAX) {
        Some(index) => Err(QuantizeError::Importance { index }),
        None => Ok(()),
    }
}

/// Quantises a validated row with the instructions of `isa`. `S` is the weighting for types whose
/// blocks have a scale but no minimum, `W` that for the others.
fn write<S: Weighting, W: Weighting>(
    isa: Isa,
    ty: TensorType,
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => {
            #[expect(unsafe_code, reason = "calling a function with target features")]
            // SAFETY: the caller guarantees that the instruction set is available, and all of these
            // include AVX2.
            unsafe {
                write_avx2::<S, W>(ty, row, importance, out);
            }
        }
        _ => write_plain::<S, W>(ty, row, importance, out),
    }
}

/// [`write_plain`] compiled for AVX2; without FMA, so that the results are bit-identical.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn write_avx2<S: Weighting, W: Weighting>(
    ty: TensorType,
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    write_plain::<S, W>(ty, row, importance, out);
}

#[inline(always)]
fn write_plain<S: Weighting, W: Weighting>(
    ty: TensorType,
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    use blocks_32::{Iq4Nl, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
    use blocks_256::{Q2K, Q3K, Q4K, Q5K, Q6K};
    match ty {
        TensorType::F16 => write_f16(row, out),
        TensorType::BF16 => write_bf16(row, out),
        TensorType::Q4_0 => blocks_32::scaled::<Q4_0, 18, S>(row, importance, out),
        TensorType::Q5_0 => blocks_32::scaled::<Q5_0, 22, S>(row, importance, out),
        TensorType::Q8_0 => blocks_32::scaled::<Q8_0, 34, W>(row, importance, out),
        TensorType::IQ4_NL => blocks_32::scaled::<Iq4Nl, 18, S>(row, importance, out),
        TensorType::Q4_1 => blocks_32::affine::<Q4_1, 20, W>(row, importance, out),
        TensorType::Q5_1 => blocks_32::affine::<Q5_1, 24, W>(row, importance, out),
        TensorType::Q3_K => blocks_256::scaled::<Q3K, 110, W>(row, importance, out),
        TensorType::Q6_K => blocks_256::scaled::<Q6K, 210, W>(row, importance, out),
        TensorType::Q2_K => blocks_256::affine::<Q2K, 84, 16, 16, W>(row, importance, out),
        TensorType::Q4_K => blocks_256::affine::<Q4K, 144, 32, 8, W>(row, importance, out),
        TensorType::Q5_K => blocks_256::affine::<Q5K, 176, 32, 8, W>(row, importance, out),
        _ => unreachable!("`quantize_with` refuses other types"),
    }
}

#[inline(always)]
fn write_f16(row: &[f32], out: &mut [u8]) {
    let (rows, rest) = row.as_chunks::<8>();
    let (outs, outs_rest) = out.as_chunks_mut::<16>();
    for (values, out) in rows.iter().zip(outs) {
        put_f16(values, out);
    }
    for (value, out) in rest.iter().zip(outs_rest.chunks_exact_mut(2)) {
        put_f16(&[*value], out);
    }
}

#[inline(always)]
fn put_f16<const L: usize>(values: &[f32; L], out: &mut [u8]) {
    let (bits, _) = half::round(values);
    for (bits, out) in bits.iter().zip(out.as_chunks_mut::<2>().0) {
        *out = (*bits as u16).to_le_bytes();
    }
}

/// Rounds to the nearest bf16, ties to even; a bf16 is the upper half of an f32.
#[inline(always)]
fn write_bf16(row: &[f32], out: &mut [u8]) {
    for (value, out) in row.iter().zip(out.as_chunks_mut::<2>().0) {
        let bits = value.to_bits();
        let rounded = bits + 0x7fff + (bits >> 16 & 1);
        *out = ((rounded >> 16) as u16).to_le_bytes();
    }
}
