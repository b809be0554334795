//! One tensor from the source's type and layout to the result's, in pieces of whole rows.
//!
//! Rows do not depend on each other, so that pieces can be made in any order, by any number of threads.

use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use lilims_gguf::TensorType;
use lilims_quant::{self as quant, QuantizeError};

use crate::Error;
use crate::family::Change;

/// Values of a piece: enough to be worth handing over, few enough to stay in a processor's cache.
const PIECE_VALUES: usize = 1 << 17;
/// Values that are decoded before they are encoded.
const VALUES_TOGETHER: usize = 1 << 13;

/// A tensor to convert.
pub(crate) struct Tensor<'a> {
    /// Its name in the source, for errors.
    pub(crate) name: &'a str,
    /// Its type in the source.
    pub(crate) tensor_type: TensorType,
    /// Rows and columns of the result.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) change: Change,
    /// Its type in the result.
    pub(crate) target: TensorType,
    /// A weight for each column.
    pub(crate) importance: Option<&'a [f32]>,
}

/// The bytes that some rows of the result are made of.
pub(crate) struct Piece {
    /// The result's rows.
    pub(crate) rows: Range<usize>,
    /// The same rows of the source; all of a tensor whose columns become rows.
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Tensor<'_> {
    /// The rows of each piece, from the first on.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows;
        // A head's rows stay together: they change places.
        let together = match self.change {
            Change::Interleave { head_dim } => head_dim.max(1),
            _ => 1,
        };
        let n_rows = (PIECE_VALUES / self.columns.max(1)).next_multiple_of(together).max(together);
        (0..rows).step_by(n_rows).map(move |first| first..rows.min(first + n_rows))
    }

    /// Whether pieces need all of the source's tensor.
    pub(crate) fn is_turned(&self) -> bool {
        self.change == Change::Transpose
    }

    /// The size of rows in the source, whose blocks are whole.
    ///
    /// *Errors*: [`Error::Unsupported`] for blocks of an unknown size.
    pub(crate) fn source_bytes(&self, n_rows: usize) -> Result<usize, Error> {
        let n_bytes = self.tensor_type.size_bytes((n_rows * self.columns) as u64);
        n_bytes.map(|n_bytes| n_bytes as usize).ok_or_else(|| Error::Unsupported {
            what: format!("the tensor `{}` of type {}", self.name, self.tensor_type),
        })
    }

    /// Converts the rows of a piece.
    ///
    /// *Errors*: [`Error::NotFinite`], [`Error::Overflow`], [`Error::NoQuantiser`],
    /// [`Error::Unsupported`].
    pub(crate) fn encode(&self, piece: &Piece) -> Result<Vec<u8>, Error> {
        let is_float = matches!(self.target, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        if self.target == self.tensor_type && self.change == Change::None && !is_float {
            return Ok(piece.bytes.to_vec());
        }
        let row_bytes = self.target.size_bytes(self.columns as u64).ok_or_else(|| {
            Error::NoQuantiser { name: self.name.into(), tensor_type: self.target }
        })? as usize;
        let mut out = vec![0; piece.rows.len() * row_bytes];
        // Only importance is by column; without it, a few rows at once fill the quantiser's lanes.
        let n_together = match self.importance {
            Some(_) => 1,
            None => (VALUES_TOGETHER / self.columns.max(1)).max(1),
        };
        let mut values = vec![0.0; n_together.min(piece.rows.len()) * self.columns];
        let firsts = piece.rows.clone().step_by(n_together);
        for (first, out) in firsts.zip(out.chunks_mut((n_together * row_bytes).max(1))) {
            let rows = first..piece.rows.end.min(first + n_together);
            let values = &mut values[..rows.len() * self.columns];
            self.read_rows(piece, rows, values)?;
            self.encode_values(first, values, out)?;
        }
        Ok(out)
    }

    /// Some rows of the result, as f32.
    fn read_rows(&self, piece: &Piece, rows: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        if self.change == Change::None && self.tensor_type == TensorType::F16 {
            let first = 2 * self.columns * (rows.start - piece.rows.start);
            widen(&piece.bytes[first..][..2 * out.len()], out);
            return Ok(());
        }
        let mut rows = rows.zip(out.chunks_exact_mut(self.columns.max(1)));
        rows.try_for_each(|(row, out)| self.read_row(piece, row, out))
    }

    /// A row of the result, as f32.
    fn read_row(&self, piece: &Piece, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let source_row = match self.change {
            Change::Transpose => return self.read_column(&piece.bytes, row, out),
            Change::Interleave { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Change::None | Change::PlusOne => row,
        };
        let row_bytes = piece.bytes.len() / piece.rows.len();
        let bytes = &piece.bytes[(source_row - piece.rows.start) * row_bytes..][..row_bytes];
        quant::dequantize(self.tensor_type, bytes, out).map_err(|error| Error::Unsupported {
            what: format!("the tensor `{}`: {error}", self.name),
        })?;
        if self.change == Change::PlusOne {
            out.iter_mut().for_each(|value| *value += 1.0);
        }
        Ok(())
    }

    /// A column of the source, which is a row of the result.
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

    /// Encodes whole rows, of which `first` is the first.
    fn encode_values(&self, first: usize, values: &[f32], out: &mut [u8]) -> Result<(), Error> {
        let target = self.target;
        if target == TensorType::F32 {
            // Without a way out of the loop, which would keep it out of vectors.
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

/// Decodes f16, many at once.
fn widen(bytes: &[u8], out: &mut [f32]) {
    const AT_ONCE: usize = 64;
    let mut halves = [f16::ZERO; AT_ONCE];
    for (bytes, out) in bytes.chunks(2 * AT_ONCE).zip(out.chunks_mut(AT_ONCE)) {
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
        change: Change,
        target: TensorType,
    ) -> Result<Vec<u8>, Error> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns = values.len() / rows;
        let tensor_type = TensorType::F32;
        let tensor = Tensor {
            name: "layers.0.x",
            tensor_type,
            rows,
            columns,
            change,
            target,
            importance: None,
        };
        assert_eq!(tensor.pieces().count(), 1, "little is one piece");
        tensor.encode(&Piece { rows: 0..rows, bytes: Arc::new(bytes) })
    }

    fn changed(values: &[f32], rows: usize, change: Change) -> Vec<f32> {
        let bytes = convert(values, rows, change, TensorType::F32).unwrap();
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn layouts_change_as_they_say() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(changed(&values, 2, Change::None), values);
        assert_eq!(changed(&values[..2], 1, Change::PlusOne), [1.0, 2.0]);
        // Two rows of four become four rows of two.
        let turned = changed(&values, 4, Change::Transpose);
        assert_eq!(turned, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        let interleaved = changed(&values, 8, Change::Interleave { head_dim: 4 });
        assert_eq!(interleaved, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn what_is_not_a_number_is_named() {
        for (value, target) in [
            (f32::NAN, TensorType::F32),
            (f32::INFINITY, TensorType::BF16),
            (70_000.0, TensorType::F16),
        ] {
            let result = convert(&[value], 1, Change::None, target);
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("`layers.0.x`") && error.contains(&value.to_string()),
                "{error}"
            );
        }
    }
}
