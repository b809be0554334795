//! The key-value cache of one layer on a candle device.

use std::io::{Read, Write};
use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};
use half::f16;

use crate::{Error, KvType, ModelSpec};

/// Values per block, which share a scale.
const BLOCK: usize = 32;
/// Quantisation steps on each side of zero, and the byte that stands for zero.
const STEPS: f64 = 127.0;
const ZERO: f64 = 128.0;

/// Keys or values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kv {
    Keys,
    Values,
}

/// The keys and values of one layer.
pub(super) struct LayerCache {
    keys: Rows,
    values: Rows,
}

/// The rows of all heads.
enum Rows {
    /// f32 or f16. `[n_kv_heads, slots, head_dim]`
    Float(Tensor),
    /// Bytes centred on [`ZERO`] `[n_kv_heads, slots, head_dim]`, and the scale of each block
    /// `[n_kv_heads, slots, head_dim / BLOCK]`.
    Blocks(Tensor, Tensor),
}

impl LayerCache {
    /// Zeros for `n_slots` positions.
    pub(super) fn new(
        spec: &ModelSpec,
        n_slots: usize,
        kv_type: KvType,
        device: &Device,
    ) -> Result<Self, Error> {
        kv_type.row_bytes(spec.head_dim)?;
        let rows = || Rows::new((spec.n_kv_heads, n_slots, spec.head_dim), kv_type, device);
        Ok(Self { keys: rows()?, values: rows()? })
    }

    /// A deep copy.
    pub(super) fn copy(&self) -> Result<Self, Error> {
        Ok(Self { keys: self.keys.copy()?, values: self.values.copy()? })
    }

    fn get(&self, kv: Kv) -> &Rows {
        if kv == Kv::Keys { &self.keys } else { &self.values }
    }

    /// Writes `rows` from `slot` on. `[n_kv_heads, rows, head_dim]` in f32
    pub(super) fn store(&self, slot: usize, rows: &Tensor, kv: Kv) -> Result<(), Error> {
        match self.get(kv) {
            Rows::Float(cache) => {
                let max = f64::from(f16::MAX.to_f32());
                let rows = match cache.dtype() {
                    DType::F16 => rows.clamp(-max, max)?,
                    _ => rows.clone(),
                };
                cache.slice_set(&rows.to_dtype(cache.dtype())?.contiguous()?, 1, slot)?;
            }
            Rows::Blocks(bytes, scales) => {
                let (n_heads, n_rows, head_dim) = rows.dims3()?;
                let n_blocks = head_dim / BLOCK;
                // The scale of a block is an f16 and limits the range, too.
                let max = f64::from(f16::MAX.to_f32()) * STEPS;
                let rows = rows.clamp(-max, max)?;
                let blocks = rows.contiguous()?.reshape((n_heads, n_rows, n_blocks, BLOCK))?;
                let scale = (blocks.abs()?.max_keepdim(D::Minus1)? / STEPS)?;
                // A block of zeros has scale 0: avoid a division by zero.
                let divisor = scale.maximum(f32::MIN_POSITIVE)?;
                let steps = (blocks.broadcast_div(&divisor)?.round()? + ZERO)?;
                let steps = steps.to_dtype(DType::U8)?.reshape((n_heads, n_rows, head_dim))?;
                bytes.slice_set(&steps.contiguous()?, 1, slot)?;
                let scale = scale.squeeze(D::Minus1)?.to_dtype(DType::F16)?.contiguous()?;
                scales.slice_set(&scale, 1, slot)?;
            }
        }
        Ok(())
    }

    /// The rows in `slots`. `[n_kv_heads, slots, head_dim]` in f32
    pub(super) fn rows(&self, slots: Range<usize>, kv: Kv) -> Result<Tensor, Error> {
        let narrowed = |cache: &Tensor| -> Result<Tensor, Error> {
            let narrowed = cache.narrow(1, slots.start, slots.len())?;
            Ok(narrowed.to_dtype(DType::F32)?.contiguous()?)
        };
        match self.get(kv) {
            Rows::Float(cache) => narrowed(cache),
            Rows::Blocks(bytes, scales) => {
                let (n_heads, n_rows, head_dim) = narrowed(bytes)?.dims3()?;
                let blocks = (n_heads, n_rows, head_dim / BLOCK, BLOCK);
                let steps = (narrowed(bytes)? - ZERO)?.reshape(blocks)?;
                let values = steps.broadcast_mul(&narrowed(scales)?.unsqueeze(D::Minus1)?)?;
                Ok(values.reshape((n_heads, n_rows, head_dim))?)
            }
        }
    }

    /// Writes the bytes of the rows in `slots`.
    pub(super) fn save(&self, slots: Range<usize>, to: &mut dyn Write) -> Result<(), Error> {
        for tensor in self.keys.tensors().chain(self.values.tensors()) {
            let rows = tensor.narrow(1, slots.start, slots.len())?.flatten_all()?;
            let bytes = match tensor.dtype() {
                DType::F32 => bytemuck::cast_slice(&rows.to_vec1::<f32>()?).to_vec(),
                DType::F16 => bytemuck::cast_slice(&rows.to_vec1::<f16>()?).to_vec(),
                _ => rows.to_vec1::<u8>()?,
            };
            to.write_all(&bytes).map_err(Error::SavedIo)?;
        }
        Ok(())
    }

    /// Reads what `save` wrote.
    pub(super) fn load(&self, slots: Range<usize>, from: &mut dyn Read) -> Result<(), Error> {
        for tensor in self.keys.tensors().chain(self.values.tensors()) {
            let (n_heads, _, width) = tensor.dims3()?;
            let shape = (n_heads, slots.len(), width);
            let n_values = n_heads * slots.len() * width;
            let mut bytes = vec![0; n_values * tensor.dtype().size_in_bytes()];
            from.read_exact(&mut bytes).map_err(Error::SavedIo)?;
            let device = tensor.device();
            let rows = match tensor.dtype() {
                DType::F32 => Tensor::from_vec(values::<f32>(&bytes), shape, device)?,
                DType::F16 => Tensor::from_vec(values::<f16>(&bytes), shape, device)?,
                _ => Tensor::from_vec(bytes, shape, device)?,
            };
            tensor.slice_set(&rows, 1, slots.start)?;
        }
        Ok(())
    }
}

impl Rows {
    fn new(shape: (usize, usize, usize), kv_type: KvType, device: &Device) -> Result<Self, Error> {
        let (n_heads, n_slots, head_dim) = shape;
        Ok(match kv_type {
            KvType::F32 => Self::Float(Tensor::zeros(shape, DType::F32, device)?),
            KvType::F16 => Self::Float(Tensor::zeros(shape, DType::F16, device)?),
            KvType::Q8_0 => Self::Blocks(
                Tensor::zeros(shape, DType::U8, device)?,
                Tensor::zeros((n_heads, n_slots, head_dim / BLOCK), DType::F16, device)?,
            ),
        })
    }

    fn copy(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Float(rows) => Self::Float(rows.copy()?),
            Self::Blocks(bytes, scales) => Self::Blocks(bytes.copy()?, scales.copy()?),
        })
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let (first, second) = match self {
            Self::Float(rows) => (rows, None),
            Self::Blocks(bytes, scales) => (bytes, Some(scales)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Reinterprets bytes as values.
fn values<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytemuck::pod_collect_to_vec(bytes)
}
