//! The types in which a session can cache keys and values.

use lilims_gguf::TensorType;

use crate::Error;

/// The type of the key-value cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// Blocks of 32 values with 8 bits each: about half the memory of `F16`.
    Q8_0,
}

impl KvType {
    /// Bytes per row of a head.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if `head_dim` is not a multiple of the block size.
    pub fn row_bytes(self, head_dim: usize) -> Result<usize, Error> {
        let ty = match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Q8_0 => TensorType::Q8_0,
        };
        let bytes = ty.size_bytes(head_dim as u64).map(|bytes| bytes as usize);
        bytes.ok_or_else(|| Error::Unsupported {
            what: format!(
                "heads of {head_dim} dimensions do not fill whole blocks of {ty}: use f16"
            ),
        })
    }

    /// The name, as used by `--kv-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}
