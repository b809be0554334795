//! Quantised activations shared by the workers: each quantises some rows, all read them.

#![expect(unsafe_code, reason = "workers write disjoint rows of shared buffers")]

use super::buffer::SharedBuffer;
use crate::Error;
use crate::quant::{ActivationBatch, ActivationRowMut, BLOCK};

/// Buffers for a batch of quantised rows.
pub(crate) struct SharedActivations {
    values: SharedBuffer<i8>,
    scales: SharedBuffer<f32>,
    sums_32: SharedBuffer<f32>,
    sums_16: SharedBuffer<f32>,
}

impl SharedActivations {
    /// Buffers for `n_values` values over all rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(n_values: usize) -> Result<Self, Error> {
        Ok(Self {
            values: SharedBuffer::new(n_values)?,
            scales: SharedBuffer::new(n_values / BLOCK)?,
            sums_32: SharedBuffer::new(n_values / BLOCK)?,
            sums_16: SharedBuffer::new(n_values / 16)?,
        })
    }

    /// The size in bytes of buffers for `n_values` values.
    pub(crate) fn size_bytes(n_values: usize) -> usize {
        n_values + size_of::<f32>() * (2 * (n_values / BLOCK) + n_values / 16)
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        let floats = [&self.scales, &self.sums_32, &self.sums_16];
        self.values.size_bytes() + floats.map(SharedBuffer::size_bytes).iter().sum::<usize>()
    }

    /// Quantises `x` into row `row`; all rows have the length of `x`.
    ///
    /// # Safety
    /// No other worker reads or writes the row before the next barrier.
    pub(crate) unsafe fn quantize(&self, row: usize, x: &[f32]) {
        let n = x.len();
        let (groups, halves) = (n / BLOCK, n / 16);
        // SAFETY: guaranteed by the caller.
        unsafe {
            ActivationRowMut::new(
                self.values.write(row * n, n),
                self.scales.write(row * groups, groups),
                self.sums_32.write(row * groups, groups),
                self.sums_16.write(row * halves, halves),
            )
            .quantize(x);
        }
    }

    /// The first `n_rows` rows of `n_cols` values.
    ///
    /// # Safety
    /// No worker writes them before the next barrier.
    pub(crate) unsafe fn batch(&self, n_rows: usize, n_cols: usize) -> ActivationBatch<'_> {
        let n = n_rows * n_cols;
        // SAFETY: guaranteed by the caller.
        unsafe {
            ActivationBatch::new(
                n_cols,
                self.values.read(0, n),
                self.scales.read(0, n / BLOCK),
                self.sums_32.read(0, n / BLOCK),
                self.sums_16.read(0, n / 16),
            )
        }
    }
}
