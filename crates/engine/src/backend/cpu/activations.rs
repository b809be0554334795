//! Quantised activations that workers make together: each quantises some rows, all read them.

#![expect(unsafe_code, reason = "workers write disjoint rows of shared buffers")]

use super::buffer::SharedBuffer;
use crate::Error;
use crate::quant::{ActivationRowMut, BLOCK, Batch};

/// Room for a batch of rows.
pub(crate) struct SharedActivations {
    values: SharedBuffer<i8>,
    scales: SharedBuffer<f32>,
    sums_32: SharedBuffer<f32>,
    sums_16: SharedBuffer<f32>,
}

impl SharedActivations {
    /// Room for `n_values` in all rows together.
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

    /// Bytes of the room for `n_values`.
    pub(crate) fn size_bytes(n_values: usize) -> usize {
        n_values + size_of::<f32>() * (2 * (n_values / BLOCK) + n_values / 16)
    }

    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        let floats = [&self.scales, &self.sums_32, &self.sums_16];
        self.values.size_bytes() + floats.map(SharedBuffer::size_bytes).iter().sum::<usize>()
    }

    /// Quantises `x` into row `row` of rows as long as `x`.
    ///
    /// # Safety
    /// No other worker reads or writes the row until the next barrier.
    pub(crate) unsafe fn quantize(&self, row: usize, x: &[f32]) {
        let n = x.len();
        let (groups, halves) = (n / BLOCK, n / 16);
        // SAFETY: the caller's promise.
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
    /// No worker writes them until the next barrier.
    pub(crate) unsafe fn batch(&self, n_rows: usize, n_cols: usize) -> Batch<'_> {
        let n = n_rows * n_cols;
        // SAFETY: the caller's promise.
        unsafe {
            Batch::new(
                n_cols,
                self.values.read(0, n),
                self.scales.read(0, n / BLOCK),
                self.sums_32.read(0, n / BLOCK),
                self.sums_16.read(0, n / 16),
            )
        }
    }
}
