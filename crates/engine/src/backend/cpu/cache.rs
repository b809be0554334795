//! The key-value cache of one layer.

#![expect(unsafe_code, reason = "workers write disjoint rows of one buffer")]

use half::f16;
use lilims_gguf::TensorType;

use super::buffer::SharedBuffer;
use crate::KvType;
use crate::quant::{Kernel, vector};

/// Keys or values. `[n_kv_heads, context, head_dim]`
pub(crate) enum KvBuffer {
    F32(SharedBuffer<f32>),
    F16(SharedBuffer<f16>),
}

/// Consecutive rows of one head.
pub(crate) enum KvRows<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl KvBuffer {
    /// Room for `len` values; takes no memory until it is written.
    pub(crate) fn new(len: usize, kv_type: KvType) -> Self {
        match kv_type {
            KvType::F32 => Self::F32(SharedBuffer::new(len)),
            KvType::F16 => Self::F16(SharedBuffer::new(len)),
        }
    }

    /// Writes `row` at value `start`.
    ///
    /// # Safety
    /// No other worker reads or writes these values until the next barrier.
    pub(crate) unsafe fn store(&self, start: usize, row: &[f32]) {
        match self {
            // SAFETY: the caller's promise.
            Self::F32(buffer) => unsafe { buffer.write(start, row.len()) }.copy_from_slice(row),
            Self::F16(buffer) => {
                // SAFETY: the caller's promise.
                let to = unsafe { buffer.write(start, row.len()) };
                vector::to_f16(row, to);
            }
        }
    }

    /// Values `start..start + len`.
    ///
    /// # Safety
    /// No worker writes these values until the next barrier.
    pub(crate) unsafe fn rows(&self, start: usize, len: usize) -> KvRows<'_> {
        match self {
            // SAFETY: the caller's promise.
            Self::F32(buffer) => KvRows::F32(unsafe { buffer.read(start, len) }),
            // SAFETY: the caller's promise.
            Self::F16(buffer) => KvRows::F16(unsafe { buffer.read(start, len) }),
        }
    }
}

impl KvRows<'_> {
    /// The dot products of each of `queries` with each row. `[n_queries, n_rows]` Fetches `ahead`, which
    /// is read next, into the cache.
    pub(crate) fn dots(&self, ahead: &Self, queries: &[f32], head_dim: usize, out: &mut [f32]) {
        self.kernel().matmul_float(self.bytes(), ahead.bytes(), queries, head_dim, out);
    }

    /// Adds the rows to each row of `out`, times their weights. *Shapes*: `weights`
    /// `[n_out, n_rows]`, `out` `[n_out, head_dim]`. Fetches `ahead`.
    pub(crate) fn add_weighted(
        &self,
        ahead: &Self,
        weights: &[f32],
        head_dim: usize,
        out: &mut [f32],
    ) {
        self.kernel().add_weighted(self.bytes(), ahead.bytes(), weights, head_dim, out);
    }

    fn kernel(&self) -> Kernel {
        let ty = match self {
            Self::F32(_) => TensorType::F32,
            Self::F16(_) => TensorType::F16,
        };
        Kernel::new(ty).expect("a float type")
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(rows) => bytemuck::cast_slice(rows),
            Self::F16(rows) => bytemuck::cast_slice(rows),
        }
    }
}
