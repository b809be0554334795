//! The key-value cache of one layer.

#![expect(unsafe_code, reason = "workers write disjoint rows of one buffer")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use lilims_gguf::TensorType;

use super::buffer::SharedBuffer;
use crate::quant::{Kernel, quantize_q8_0, vector};
use crate::window::Layout;
use crate::{Error, KvType, ModelSpec};

/// The keys and values of one layer.
pub(crate) struct LayerCache {
    /// Maps positions to rows.
    pub(crate) layout: Layout,
    pub(crate) keys: KvBuffer,
    pub(crate) values: KvBuffer,
}

impl LayerCache {
    /// An empty cache; takes no memory until it is written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec, layout: Layout, kv_type: KvType) -> Result<Self, Error> {
        let kv = || KvBuffer::new(spec, layout.n_slots, kv_type);
        Ok(Self { layout, keys: kv()?, values: kv()? })
    }
}

/// Keys or values, row by row. `[n_kv_heads, slots, head_dim]`
pub(crate) struct KvBuffer {
    rows: Rows,
    head_dim: usize,
    row_bytes: usize,
    /// Rows per head.
    n_slots: usize,
    has_clamped: AtomicBool,
}

/// The largest magnitude of a `Q8_0` block: 127 steps of the largest scale.
const Q8_MAX: f32 = 127.0 * vector::F16_MAX;

enum Rows {
    F32(SharedBuffer<f32>),
    F16(SharedBuffer<f16>),
    /// Blocks of 32 values.
    Q8(SharedBuffer<u8>),
}

/// Consecutive rows of one head.
#[derive(Clone, Copy)]
pub(crate) struct KvRows<'a> {
    ty: TensorType,
    bytes: &'a [u8],
    head_dim: usize,
}

impl KvBuffer {
    fn new(spec: &ModelSpec, n_slots: usize, kv_type: KvType) -> Result<Self, Error> {
        let head_dim = spec.head_dim;
        let row_bytes = kv_type.row_bytes(head_dim)?;
        let n_values = n_slots.checked_mul(spec.n_kv_heads * head_dim);
        let n_bytes = n_slots.checked_mul(spec.n_kv_heads * row_bytes);
        let (n_values, n_bytes) = (n_values.unwrap_or(usize::MAX), n_bytes.unwrap_or(usize::MAX));
        let rows = match kv_type {
            KvType::F32 => Rows::F32(SharedBuffer::new(n_values)?),
            KvType::F16 => Rows::F16(SharedBuffer::new(n_values)?),
            KvType::Q8_0 => Rows::Q8(SharedBuffer::new(n_bytes)?),
        };
        Ok(Self { rows, head_dim, row_bytes, n_slots, has_clamped: AtomicBool::new(false) })
    }

    /// Writes `row` of a head into a slot.
    ///
    /// # Safety
    /// No other worker reads or writes this row before the next barrier.
    pub(crate) unsafe fn store(&self, kv_head: usize, slot: usize, row: &[f32]) {
        let row_idx = kv_head * self.n_slots + slot;
        let start = row_idx * self.head_dim;
        // SAFETY: guaranteed by the caller, for each of these.
        unsafe {
            match &self.rows {
                Rows::F32(buffer) => buffer.write(start, row.len()).copy_from_slice(row),
                Rows::F16(buffer) => {
                    self.record_clamping(row, vector::F16_MAX);
                    vector::to_f16(row, buffer.write(start, row.len()));
                }
                Rows::Q8(buffer) => {
                    let row_bytes = self.row_bytes;
                    self.record_clamping(row, Q8_MAX);
                    quantize_q8_0(row, buffer.write(row_idx * row_bytes, row_bytes));
                }
            }
        }
    }

    /// Records whether a value of `row` exceeds `max` and will be clamped.
    fn record_clamping(&self, row: &[f32], max: f32) {
        if row.iter().fold(false, |exceeds, value| exceeds | (value.abs() > max)) {
            self.has_clamped.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any value exceeded the range of the cache type and was clamped.
    pub(crate) fn has_clamped(&self) -> bool {
        self.has_clamped.load(Ordering::Relaxed)
    }

    /// The rows of a head in `slots`.
    ///
    /// # Safety
    /// No worker writes these rows before the next barrier.
    pub(crate) unsafe fn rows(&self, kv_head: usize, slots: Range<usize>) -> KvRows<'_> {
        let first = kv_head * self.n_slots + slots.start;
        let (start, len) = (first * self.head_dim, slots.len() * self.head_dim);
        // SAFETY: guaranteed by the caller, for each of these.
        let (ty, bytes) = unsafe {
            match &self.rows {
                Rows::F32(buffer) => {
                    (TensorType::F32, bytemuck::cast_slice(buffer.read(start, len)))
                }
                Rows::F16(buffer) => {
                    (TensorType::F16, bytemuck::cast_slice(buffer.read(start, len)))
                }
                Rows::Q8(buffer) => {
                    let (start, len) = (first * self.row_bytes, slots.len() * self.row_bytes);
                    (TensorType::Q8_0, buffer.read(start, len))
                }
            }
        };
        KvRows { ty, bytes, head_dim: self.head_dim }
    }

    /// The bytes of a head's rows in `slots`, for writing.
    pub(crate) fn bytes_mut(&mut self, kv_head: usize, slots: Range<usize>) -> &mut [u8] {
        let first = kv_head * self.n_slots + slots.start;
        let bytes = match &mut self.rows {
            Rows::F32(buffer) => bytemuck::cast_slice_mut(buffer.as_mut()),
            Rows::F16(buffer) => bytemuck::cast_slice_mut(buffer.as_mut()),
            Rows::Q8(buffer) => buffer.as_mut(),
        };
        &mut bytes[first * self.row_bytes..][..slots.len() * self.row_bytes]
    }
}

impl<'a> KvRows<'a> {
    /// The rows in a float type: blocks are unpacked to `unpacked`.
    pub(crate) fn floats<'b>(self, unpacked: &'b mut [f32]) -> KvRows<'b>
    where
        'a: 'b,
    {
        if self.ty != TensorType::Q8_0 {
            return self;
        }
        let n_rows = self.bytes.len() / self.kernel().row_bytes(self.head_dim);
        let unpacked = &mut unpacked[..n_rows * self.head_dim];
        vector::from_q8_0(self.bytes, unpacked);
        KvRows { ty: TensorType::F32, bytes: bytemuck::cast_slice(unpacked), ..self }
    }

    /// Computes the dot product of each query with each row, `[n_queries, n_rows]`, and prefetches
    /// `ahead`, which is read next.
    pub(crate) fn dots(self, ahead: KvRows<'_>, queries: &[f32], out: &mut [f32]) {
        self.kernel().matmul_float(self.bytes, ahead.bytes, queries, self.head_dim, out);
    }

    /// Adds the rows, times their weights, to each row of `out`, and prefetches `ahead`. *Shapes*:
    /// `weights` `[n_out, n_rows]`, `out` `[n_out, head_dim]`.
    pub(crate) fn add_weighted(self, ahead: KvRows<'_>, weights: &[f32], out: &mut [f32]) {
        self.kernel().add_weighted(self.bytes, ahead.bytes, weights, self.head_dim, out);
    }

    fn kernel(self) -> Kernel {
        Kernel::new(self.ty).expect("the type is supported")
    }

    /// The stored bytes of the rows.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}
