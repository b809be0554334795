//! The tensor types of GGUF and the sizes of their blocks. The layouts inside the blocks are in
//! `lilims-quant`.

use std::fmt;

/// How a tensor's values are stored.
///
/// Types without a variant are kept as [`TensorType::Unknown`]: such tensors are listed, but their
/// data cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "the names are GGUF's own")]
#[expect(missing_docs, reason = "the names are GGUF's own")]
pub enum TensorType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    /// Any other type, with its id in the file.
    Unknown(u32),
}

/// Type, id in the file, values per block, bytes per block.
const TABLE: &[(TensorType, u32, u64, u64)] = &[
    (TensorType::F32, 0, 1, 4),
    (TensorType::F16, 1, 1, 2),
    (TensorType::Q4_0, 2, 32, 18),
    (TensorType::Q4_1, 3, 32, 20),
    (TensorType::Q5_0, 6, 32, 22),
    (TensorType::Q5_1, 7, 32, 24),
    (TensorType::Q8_0, 8, 32, 34),
    (TensorType::Q2_K, 10, 256, 84),
    (TensorType::Q3_K, 11, 256, 110),
    (TensorType::Q4_K, 12, 256, 144),
    (TensorType::Q5_K, 13, 256, 176),
    (TensorType::Q6_K, 14, 256, 210),
    (TensorType::IQ4_NL, 20, 32, 18),
    (TensorType::I8, 24, 1, 1),
    (TensorType::I16, 25, 1, 2),
    (TensorType::I32, 26, 1, 4),
    (TensorType::I64, 27, 1, 8),
    (TensorType::F64, 28, 1, 8),
    (TensorType::BF16, 30, 1, 2),
];

impl TensorType {
    /// The type with this id in a GGUF file.
    pub fn from_id(id: u32) -> Self {
        TABLE.iter().find(|row| row.1 == id).map_or(Self::Unknown(id), |row| row.0)
    }

    /// The type's id in a GGUF file.
    pub fn id(self) -> u32 {
        match self {
            Self::Unknown(id) => id,
            known => TABLE.iter().find(|row| row.0 == known).map_or(u32::MAX, |row| row.1),
        }
    }

    /// Values per block and bytes per block; `None` for an unknown type.
    pub fn block(self) -> Option<(u64, u64)> {
        TABLE.iter().find(|row| row.0 == self).map(|row| (row.2, row.3))
    }

    /// Size in bytes of `values` values; `None` for an unknown type, a partial block or an
    /// overflow.
    pub fn size_bytes(self, values: u64) -> Option<u64> {
        let (block_values, block_bytes) = self.block()?;
        values.is_multiple_of(block_values).then_some(())?;
        (values / block_values).checked_mul(block_bytes)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "unknown type {id}"),
            known => write!(f, "{known:?}"),
        }
    }
}
