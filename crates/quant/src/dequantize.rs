//! Converts blocks to f32, for embeddings, tests and everything else outside of the hot dot
//! products.
//!
//! Bit-identical to ggml's dequantisation for finite scales, except that a zero may differ in sign.

use half::{bf16, f16};
use lilims_gguf::TensorType;

use super::blocks::{self, Format};

/// Why blocks could not be dequantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The type is not supported.
    #[error("tensor type {ty} cannot be dequantised")]
    Unsupported {
        /// The type.
        ty: TensorType,
    },
    /// The number of bytes is not that of the requested number of values.
    #[error("{got} bytes are not {values} values of type {ty}")]
    Length {
        /// The type.
        ty: TensorType,
        /// The requested number of values.
        values: usize,
        /// The given number of bytes.
        got: usize,
    },
}

/// Dequantises `blocks` into `out`.
///
/// # Errors
/// [`DecodeError::Unsupported`] for types that [`crate::supported`] rejects,
/// [`DecodeError::Length`] when `blocks` does not hold exactly `out.len()` values.
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
