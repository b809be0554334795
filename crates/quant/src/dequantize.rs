//! Blocks to f32, for embeddings, checks and everything that is not a hot dot product.
//!
//! Equal to ggml's dequantisation to the last bit for finite scales (a zero may differ in sign).

use half::{bf16, f16};
use lilims_gguf::TensorType;

use super::blocks::{self, Format};

/// Why blocks could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no decoder for the type.
    #[error("tensor type {ty} cannot be decoded")]
    Unsupported {
        /// The type.
        ty: TensorType,
    },
    /// The bytes are not whole blocks of as many values as asked for.
    #[error("{got} bytes do not hold {values} values of type {ty}")]
    Length {
        /// The type.
        ty: TensorType,
        /// Values asked for.
        values: usize,
        /// Bytes given.
        got: usize,
    },
}

/// Decodes `blocks` into as many values as `out` holds.
///
/// *Errors*: [`DecodeError::Unsupported`] for a type without a decoder, [`DecodeError::Length`]
/// when `blocks` does not hold exactly `out.len()` values.
pub fn dequantize(ty: TensorType, blocks: &[u8], out: &mut [f32]) -> Result<(), DecodeError> {
    let unsupported = DecodeError::Unsupported { ty };
    if !super::supported(ty) {
        return Err(unsupported);
    }
    if ty.size_bytes(out.len() as u64) != Some(blocks.len() as u64) {
        return Err(DecodeError::Length { ty, values: out.len(), got: blocks.len() });
    }
    match ty {
        TensorType::F32 => decode(blocks, out, f32::from_le_bytes),
        TensorType::F16 => decode(blocks, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        TensorType::BF16 => decode(blocks, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => quantized(ty, Format::of(ty).ok_or(unsupported)?, blocks, out),
    }
    Ok(())
}

fn decode<const BYTES: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; BYTES]) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks::<BYTES>().0) {
        *out = value(bytes);
    }
}

fn quantized(ty: TensorType, format: Format, blocks: &[u8], out: &mut [f32]) {
    let mut q = [0; 256];
    let mut scales = [0.0; 16];
    let mut mins = [0.0; 16];
    let n = format.block_values;
    let n_groups = n / format.group;
    for (block, out) in blocks.chunks_exact(format.block_bytes).zip(out.chunks_exact_mut(n)) {
        blocks::unpack(ty, block, &mut q[..n], &mut scales[..n_groups], &mut mins[..n_groups]);
        for (group_idx, out) in out.chunks_exact_mut(format.group).enumerate() {
            let q = &q[group_idx * format.group..][..format.group];
            for (out, &q) in out.iter_mut().zip(q) {
                *out = scales[group_idx] * f32::from(q) + mins[group_idx];
            }
        }
    }
}
