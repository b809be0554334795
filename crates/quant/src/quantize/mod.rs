//! f32 to the blocks of each tensor type, one row at a time.
//!
//! Blocks hold what makes the squared error smallest, as far as a bounded search finds it: several
//! scales are tried, each then fitted by least squares to the integers that it leads to, and what
//! plain rounding would give is kept where nothing beats it. Where a block has a scale alone, large
//! values count more in the search: least squares would rather clip them, and in real models they meet
//! large activations (on SmolLM2 this takes 1.4 % off the error of the products, most of it off keys,
//! although the error of the weights grows by 0.5 %). With an importance for each column, as
//! llama.cpp's importance matrices hold it (the mean square of the activations that meet the column),
//! squared errors count by it. The same input gives the same bytes on every processor.
//!
//! The searches run over many groups at once, a group in each lane (`tile`): for groups that have a
//! scale (`scaled`) or a scale and a minimum (`affine`) of their own, and for groups whose scales are
//! integers in turn (`super_scaled`, `super_affine`). Nothing here knows threads: rows are independent.
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
use tile::{Alike, ByImportance, BySize, Weighing};

/// The largest bf16.
const BF16_MAX: f32 = bf16::MAX.to_f32_const();
/// How many values are checked at once.
const CHECKED: usize = 64;

/// Why a row could not be quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantizeError {
    /// There is no quantiser for the type.
    #[error("nothing can be quantised to tensor type {ty}")]
    Unsupported {
        /// The type.
        ty: TensorType,
    },
    /// The values are not whole blocks, or their blocks do not have this many bytes.
    #[error("{values} values do not fill {bytes} bytes of type {ty}")]
    Length {
        /// The type.
        ty: TensorType,
        /// Values given.
        values: usize,
        /// Bytes to write to.
        bytes: usize,
    },
    /// The importance row has another length than the values.
    #[error("{got} columns have an importance, of {expected}")]
    ImportanceLength {
        /// Columns of the row.
        expected: usize,
        /// Columns with an importance.
        got: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of the row is not finite")]
    NotFinite {
        /// Where it stands in the row.
        index: usize,
    },
    /// A value is larger than any that the type can hold.
    #[error("value {index} of the row is too large for type {ty}")]
    TooLarge {
        /// The type.
        ty: TensorType,
        /// Where it stands in the row.
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
/// `importance` has the weight of each column's squared error; a block without any weight counts all
/// its values alike. Float types round to the nearest and have no use for it.
///
/// *Errors*: [`QuantizeError::Unsupported`] for types that [`crate::supported`] does not name and for
/// F32, which has nothing to quantise; the length errors when the slices do not fit;
/// [`QuantizeError::NotFinite`], [`QuantizeError::TooLarge`] (what f16, or bf16, cannot hold) and
/// [`QuantizeError::Importance`] for what no block could stand for. `out` is then left as it was.
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
        None => write::<BySize, Alike>(isa, ty, row, Importance { row: &[], unit: 1.0 }, out),
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

/// Where the first value stands that is not within `low..=high`.
fn first_outside(values: &[f32], low: f32, high: f32) -> Option<usize> {
    let inside = |value: &f32| (*value >= low) & (*value <= high);
    // One answer for many values: a branch for each would keep them out of vectors.
    let mut chunks = values.chunks(CHECKED);
    let chunk_idx =
        chunks.position(|chunk| !chunk.iter().fold(true, |all, value| all & inside(value)))?;
    let start = chunk_idx * CHECKED;
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

/// The importance of a row's columns.
#[derive(Clone, Copy)]
struct Importance<'a> {
    row: &'a [f32],
    /// What each is multiplied with: the power of two that brings the largest near 1, since sums of
    /// products of what activation statistics hold would leave f32's range.
    unit: f32,
}

impl<'a> Importance<'a> {
    fn of(row: &'a [f32]) -> Self {
        let largest = row.iter().fold(0.0_f32, |all, value| all.max(*value));
        let exponent = (largest.to_bits() >> 23).clamp(1, 253);
        Self { row, unit: f32::from_bits((254 - exponent) << 23) }
    }

    /// The part for `len` columns from `start` on, if there is any importance.
    #[inline(always)]
    fn part(self, start: usize, len: usize) -> Self {
        let start = start.min(self.row.len());
        let end = (start + len).min(self.row.len());
        Self { row: &self.row[start..end], unit: self.unit }
    }
}

/// Writes the blocks of a row that was checked, with the instructions that `isa` has. `S` weighs values
/// of types whose blocks have a scale alone, `W` those of the others.
fn write<S: Weighing, W: Weighing>(
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
            // SAFETY: the caller promises that the instruction set is available; all have AVX2.
            unsafe {
                write_avx2::<S, W>(ty, row, importance, out);
            }
        }
        _ => write_plain::<S, W>(ty, row, importance, out),
    }
}

/// The same code for wider vectors. Without FMA, so that the results stay the same.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn write_avx2<S: Weighing, W: Weighing>(
    ty: TensorType,
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    write_plain::<S, W>(ty, row, importance, out);
}

#[inline(always)]
fn write_plain<S: Weighing, W: Weighing>(
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

/// Rounds to the nearest bf16, ties to even: the upper half of an f32.
#[inline(always)]
fn write_bf16(row: &[f32], out: &mut [u8]) {
    for (value, out) in row.iter().zip(out.as_chunks_mut::<2>().0) {
        let bits = value.to_bits();
        let rounded = bits + 0x7fff + (bits >> 16 & 1);
        *out = ((rounded >> 16) as u16).to_le_bytes();
    }
}
