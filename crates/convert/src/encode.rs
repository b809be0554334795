//! Converts tensors from the source's type and layout to the result's, in chunks of whole rows.
//!
//! Rows are independent, so chunks can be encoded in any order by any number of threads;
//! `pipeline.rs` does that.

use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use lilims_gguf::TensorType;
use lilims_quant::{self as quant, QuantizeError};

use crate::Error;
use crate::buffer::Buffer;

/// Values of a chunk: enough to outweigh handing it to another thread, few enough for a processor's
/// cache.
const CHUNK_VALUES: usize = 1 << 17;
/// Values that are decoded at a time before they are encoded.
const DECODED_VALUES: usize = 1 << 13;

/// How a tensor's values or layout change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    None,
    /// 1 is added: Gemma's checkpoints store norm weights minus 1.
    AddOne,
    /// Columns become rows.
    Transpose,
    /// Rows i and i + n/2 of each head of n = `head_dim` rows become rows 2i and 2i + 1.
    Interleave {
        head_dim: usize,
    },
}

/// A tensor to convert.
pub(crate) struct Tensor<'a> {
    /// Its name in the source, for errors.
    pub(crate) name: &'a str,
    /// Its type in the source.
    pub(crate) tensor_type: TensorType,
    /// Rows and columns of the result.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) transform: Transform,
    /// Its type in the result.
    pub(crate) target: TensorType,
    /// The weight of each column's errors.
    pub(crate) importance: Option<&'a [f32]>,
}

/// Some rows of the result, and the source's bytes that they are made from.
pub(crate) struct Chunk {
    /// The result's rows.
    pub(crate) rows: Range<usize>,
    /// The same rows of the source, or the whole tensor where it is transposed.
    pub(crate) bytes: Arc<Buffer>,
}

impl Tensor<'_> {
    /// Returns the rows of each chunk, from the first on.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows;
        // The rows of a head are permuted, so they stay in one chunk.
        let group = match self.transform {
            Transform::Interleave { head_dim } => head_dim.max(1),
            _ => 1,
        };
        let n_rows = (CHUNK_VALUES / self.columns.max(1)).next_multiple_of(group).max(group);
        (0..rows).step_by(n_rows).map(move |first| first..rows.min(first + n_rows))
    }

    /// Whether columns become rows, so that each chunk needs the whole source tensor.
    pub(crate) fn is_transposed(&self) -> bool {
        self.transform == Transform::Transpose
    }

    /// Returns the size of `n_rows` rows in the source, in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for rows that are not whole blocks and for types of unknown size.
    pub(crate) fn source_bytes(&self, n_rows: usize) -> Result<usize, Error> {
        let n_bytes = self.tensor_type.size_bytes((n_rows * self.columns) as u64);
        n_bytes.map(|n_bytes| n_bytes as usize).ok_or_else(|| Error::Unsupported {
            what: format!("the tensor `{}` of type {}", self.name, self.tensor_type),
        })
    }

    /// Converts the rows of a chunk.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`], [`Error::Overflow`], [`Error::NoQuantiser`], [`Error::Unsupported`].
    pub(crate) fn encode(&self, chunk: &Chunk) -> Result<Vec<u8>, Error> {
        let is_float = matches!(self.target, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        if self.target == self.tensor_type && self.transform == Transform::None && !is_float {
            return Ok(chunk.bytes.to_vec());
        }
        let row_bytes = self.target.size_bytes(self.columns as u64).ok_or_else(|| {
            Error::NoQuantiser { name: self.name.into(), tensor_type: self.target }
        })? as usize;
        let mut out = vec![0; chunk.rows.len() * row_bytes];
        // Importance applies to the columns of one row; without it, several rows at once fill the
        // quantiser's vector lanes.
        let n_batch = match self.importance {
            Some(_) => 1,
            None => (DECODED_VALUES / self.columns.max(1)).max(1),
        };
        let batch = n_batch.min(chunk.rows.len()) * self.columns;
        let firsts = chunk.rows.clone().step_by(n_batch);
        let batches = firsts.zip(out.chunks_mut((n_batch * row_bytes).max(1)));
        if let Some(values) = self.values_in(chunk) {
            for ((first, out), values) in batches.zip(values.chunks(batch.max(1))) {
                self.encode_values(first, values, out)?;
            }
            return Ok(out);
        }
        let mut values = vec![0.0; batch];
        for (first, out) in batches {
            let rows = first..chunk.rows.end.min(first + n_batch);
            let values = &mut values[..rows.len() * self.columns];
            self.read_rows(chunk, rows, values)?;
            self.encode_values(first, values, out)?;
        }
        Ok(out)
    }

    /// Returns the values of a chunk of f32 that needs no decoding. `None` for others, and where
    /// the buffer is not aligned.
    fn values_in<'a>(&self, chunk: &'a Chunk) -> Option<&'a [f32]> {
        let is_plain = self.transform == Transform::None && self.tensor_type == TensorType::F32;
        let can_cast = is_plain && cfg!(target_endian = "little");
        can_cast.then(|| bytemuck::try_cast_slice(&chunk.bytes).ok()).flatten()
    }

    /// Decodes rows of the result to f32.
    fn read_rows(&self, chunk: &Chunk, rows: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        if self.transform == Transform::None && self.tensor_type == TensorType::F16 {
            let first = 2 * self.columns * (rows.start - chunk.rows.start);
            widen(&chunk.bytes[first..][..2 * out.len()], out);
            return Ok(());
        }
        let mut rows = rows.zip(out.chunks_exact_mut(self.columns.max(1)));
        rows.try_for_each(|(row, out)| self.read_row(chunk, row, out))
    }

    /// Decodes a row of the result to f32.
    fn read_row(&self, chunk: &Chunk, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let source_row = match self.transform {
            Transform::Transpose => return self.read_column(&chunk.bytes, row, out),
            Transform::Interleave { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Transform::None | Transform::AddOne => row,
        };
        let row_bytes = chunk.bytes.len() / chunk.rows.len();
        let bytes = &chunk.bytes[(source_row - chunk.rows.start) * row_bytes..][..row_bytes];
        quant::dequantize(self.tensor_type, bytes, out).map_err(|error| Error::Unsupported {
            what: format!("the tensor `{}`: {error}", self.name),
        })?;
        if self.transform == Transform::AddOne {
            out.iter_mut().for_each(|value| *value += 1.0);
        }
        Ok(())
    }

    /// Decodes a column of the source, which becomes a row of the result.
    fn read_column(&self, bytes: &[u8], column: usize, out: &mut [f32]) -> Result<(), Error> {
        let value_bytes = bytes.len() / (self.rows * self.columns);
        for (source_row, value) in out.iter_mut().enumerate() {
            let at = (source_row * self.rows + column) * value_bytes;
            *value = match (self.tensor_type, &bytes[at..at + value_bytes]) {
                (TensorType::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
                (TensorType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
                (TensorType::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
                _ => {
                    let what = format!("transposing the blocks of the tensor `{}`", self.name);
                    return Err(Error::Unsupported { what });
                }
            };
        }
        Ok(())
    }

    /// Encodes whole rows that start at row `first`.
    fn encode_values(&self, first: usize, values: &[f32], out: &mut [u8]) -> Result<(), Error> {
        let target = self.target;
        if target == TensorType::F32 {
            // A loop without an early exit is vectorised.
            if !values.iter().fold(true, |all, value| all & value.is_finite()) {
                let found = values.iter().position(|value| !value.is_finite());
                return Err(self.not_finite(first, values, found.unwrap_or(0)));
            }
            for (value, out) in values.iter().zip(out.as_chunks_mut::<4>().0) {
                *out = value.to_le_bytes();
            }
            return Ok(());
        }
        let name = self.name.to_owned();
        quant::quantize(target, values, self.importance, out).map_err(|error| match error {
            QuantizeError::NotFinite { index } => self.not_finite(first, values, index),
            QuantizeError::TooLarge { index, .. } => {
                Error::Overflow { name, value: values[index], tensor_type: target }
            }
            QuantizeError::Unsupported { .. } => Error::NoQuantiser { name, tensor_type: target },
            other => Error::Unsupported { what: format!("the tensor `{name}`: {other}") },
        })
    }

    fn not_finite(&self, first: usize, values: &[f32], index: usize) -> Error {
        let row = first + index / self.columns.max(1);
        Error::NotFinite { name: self.name.to_owned(), row, value: values[index] }
    }
}

/// Decodes f16 values in batches, which `half` vectorises.
fn widen(bytes: &[u8], out: &mut [f32]) {
    const BATCH: usize = 64;
    let mut halves = [f16::ZERO; BATCH];
    for (bytes, out) in bytes.chunks(2 * BATCH).zip(out.chunks_mut(BATCH)) {
        for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves[..out.len()].convert_to_f32_slice(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(
        values: &[f32],
        rows: usize,
        transform: Transform,
        target: TensorType,
    ) -> Result<Vec<u8>, Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns = values.len() / rows;
        let tensor_type = TensorType::F32;
        let tensor = Tensor {
            name: "layers.0.x",
            tensor_type,
            rows,
            columns,
            transform,
            target,
            importance: None,
        };
        assert_eq!(tensor.chunks().count(), 1, "a small tensor is one chunk");
        tensor.encode(&Chunk { rows: 0..rows, bytes: Arc::new(bytes.into()) })
    }

    fn transformed(values: &[f32], rows: usize, transform: Transform) -> Vec<f32> {
        let bytes = convert(values, rows, transform, TensorType::F32).unwrap();
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn transforms_rearrange_values() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(transformed(&values, 2, Transform::None), values);
        assert_eq!(transformed(&values[..2], 1, Transform::AddOne), [1.0, 2.0]);
        // Two rows of four become four rows of two.
        let transposed = transformed(&values, 4, Transform::Transpose);
        assert_eq!(transposed, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        let interleaved = transformed(&values, 8, Transform::Interleave { head_dim: 4 });
        assert_eq!(interleaved, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn invalid_values_are_reported_with_their_tensor() {
        for (value, target) in [
            (f32::NAN, TensorType::F32),
            (f32::INFINITY, TensorType::BF16),
            (70_000.0, TensorType::F16),
        ] {
            let result = convert(&[value], 1, Transform::None, target);
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("`layers.0.x`") && error.contains(&value.to_string()),
                "{error}"
            );
        }
    }
}
