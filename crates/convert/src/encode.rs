//! One tensor from the source's type and layout to the result's, row by row, on several threads.
//!
//! A tensor's source bytes are in memory; its result is made in pieces of a few megabytes,
//! which are written as they are ready. Rows do not depend on each other, so that any number of threads
//! gives the same bytes.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use half::{bf16, f16};
use lilims_gguf::TensorType;
use lilims_quant::{self as quant, QuantizeError};

use crate::Error;
use crate::family::Change;

/// Values of a piece of the result: large enough to keep threads busy, small against any tensor that
/// matters.
const PIECE_VALUES: usize = 1 << 20;

/// A tensor to convert.
pub(crate) struct Tensor<'a> {
    /// Its name in the source, for errors.
    pub(crate) name: &'a str,
    pub(crate) tensor_type: TensorType,
    pub(crate) bytes: &'a [u8],
    /// Rows and columns of the result.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) change: Change,
}

impl Tensor<'_> {
    /// Writes the tensor as `target`. `importance` has a weight for each column.
    ///
    /// *Errors*: [`Error::NotFinite`], [`Error::Overflow`], [`Error::NoQuantiser`],
    /// [`Error::Cancelled`], or what `out` returns, through `io`.
    pub(crate) fn write(
        &self,
        target: TensorType,
        importance: Option<&[f32]>,
        n_threads: usize,
        cancel: &AtomicBool,
        out: &mut impl Write,
        io: &impl Fn(std::io::Error) -> Error,
    ) -> Result<(), Error> {
        let is_float = matches!(target, TensorType::F32 | TensorType::F16 | TensorType::BF16);
        if target == self.tensor_type && self.change == Change::None && !is_float {
            return out.write_all(self.bytes).map_err(io);
        }
        let no_quantiser = || Error::NoQuantiser { name: self.name.into(), tensor_type: target };
        let row_bytes = target.size_bytes(self.columns as u64).ok_or_else(no_quantiser)? as usize;
        let rows_of_piece = (PIECE_VALUES / self.columns.max(1)).clamp(1, self.rows.max(1));
        let mut piece = vec![0; rows_of_piece * row_bytes];
        for first in (0..self.rows).step_by(rows_of_piece) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let n_rows = rows_of_piece.min(self.rows - first);
            let piece = &mut piece[..n_rows * row_bytes];
            let rows_of_part = n_rows.div_ceil(n_threads.max(1)).max(1);
            std::thread::scope(|scope| {
                let parts = piece.chunks_mut(rows_of_part * row_bytes).enumerate();
                let workers: Vec<_> = parts
                    .map(|(idx, part)| {
                        let first = first + idx * rows_of_part;
                        scope.spawn(move || self.encode(first, target, importance, row_bytes, part))
                    })
                    .collect();
                let joined = workers.into_iter().map(|worker| worker.join());
                // All are waited for before the first fault counts.
                let parts: Vec<_> = joined.collect();
                let mut parts = parts.into_iter();
                parts.try_for_each(|part| part.expect("encoding does not panic"))
            })?;
            out.write_all(piece).map_err(io)?;
        }
        Ok(())
    }

    /// Encodes the rows from `first` on into `out`.
    fn encode(
        &self,
        first: usize,
        target: TensorType,
        importance: Option<&[f32]>,
        row_bytes: usize,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let mut values = vec![0.0; self.columns];
        for (idx, out) in out.chunks_exact_mut(row_bytes).enumerate() {
            self.read_row(first + idx, &mut values)?;
            if !values.iter().all(|value| value.is_finite()) {
                let value = values.iter().copied().find(|value| !value.is_finite());
                let (name, row) = (self.name.to_owned(), first + idx);
                return Err(Error::NotFinite { name, row, value: value.unwrap_or(f32::NAN) });
            }
            self.encode_row(&values, target, importance, out)?;
        }
        Ok(())
    }

    /// A row of the result, as f32.
    fn read_row(&self, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let source_row = match self.change {
            Change::Transpose => return self.read_column(row, out),
            Change::Interleave { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Change::None | Change::PlusOne => row,
        };
        let row_bytes = self.bytes.len() / self.rows;
        let bytes = &self.bytes[source_row * row_bytes..][..row_bytes];
        quant::dequantize(self.tensor_type, bytes, out).map_err(|error| Error::Unsupported {
            what: format!("the tensor `{}`: {error}", self.name),
        })?;
        if self.change == Change::PlusOne {
            out.iter_mut().for_each(|value| *value += 1.0);
        }
        Ok(())
    }

    /// A column of the source, which is a row of the result.
    fn read_column(&self, column: usize, out: &mut [f32]) -> Result<(), Error> {
        let value_bytes = self.bytes.len() / (self.rows * self.columns);
        for (source_row, value) in out.iter_mut().enumerate() {
            let at = (source_row * self.rows + column) * value_bytes;
            let bytes = &self.bytes[at..at + value_bytes];
            *value = match (self.tensor_type, bytes) {
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

    fn encode_row(
        &self,
        values: &[f32],
        target: TensorType,
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        if target == TensorType::F32 {
            for (value, out) in values.iter().zip(out.as_chunks_mut::<4>().0) {
                *out = value.to_le_bytes();
            }
            return Ok(());
        }
        let name = self.name.to_owned();
        quant::quantize(target, values, importance, out).map_err(|error| match error {
            QuantizeError::TooLarge { index, .. } => {
                Error::Overflow { name, value: values[index], tensor_type: target }
            }
            QuantizeError::Unsupported { .. } => Error::NoQuantiser { name, tensor_type: target },
            other => Error::Unsupported { what: format!("the tensor `{name}`: {other}") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(values: &[f32], rows: usize, change: Change, target: TensorType) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor {
            name: "x",
            tensor_type: TensorType::F32,
            bytes: &bytes,
            rows,
            columns: values.len() / rows,
            change,
        };
        let results = [1, 2, 3].map(|n_threads| {
            let (mut out, io) = (Vec::new(), |_| unreachable!("memory takes all"));
            let cancel = AtomicBool::new(false);
            tensor.write(target, None, n_threads, &cancel, &mut out, &io).unwrap();
            out
        });
        assert!(results.iter().all(|result| *result == results[0]), "threads change nothing");
        results.into_iter().next().unwrap()
    }

    fn changed(values: &[f32], rows: usize, change: Change) -> Vec<f32> {
        let bytes = convert(values, rows, change, TensorType::F32);
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
            let bytes = value.to_le_bytes();
            let tensor = Tensor {
                name: "layers.0.x",
                tensor_type: TensorType::F32,
                bytes: &bytes,
                rows: 1,
                columns: 1,
                change: Change::None,
            };
            let io = |_| unreachable!("memory takes all");
            let cancel = AtomicBool::new(false);
            let result = tensor.write(target, None, 2, &cancel, &mut Vec::new(), &io);
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("`layers.0.x`") && error.contains(&value.to_string()),
                "{error}"
            );
        }
    }
}
