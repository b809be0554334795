//! Kernels for GGUF's tensor types: dequantisation, quantisation, dot products and the small vector
//! operations of the forward pass.
//!
//! A [`Kernel`] is chosen once per weight matrix. Quantised weights are multiplied with activations
//! quantised to `i8` ([`Activations`]): directly from their blocks for one activation row
//! ([`Kernel::matvec`]), or through unpacked panels of sixteen weight rows for several
//! ([`Kernel::panel`]). Float weights are multiplied with f32 activations, without quantisation
//! ([`Kernel::matmul_float`]); attention multiplies with keys and values in the same way. Small
//! operations on f32 and f16 slices are in [`vector`]. [`quantize()`] produces blocks for files.
//!
//! Each SIMD kernel has a scalar twin: a plain Rust version that is its reference in the tests. The
//! best instruction set that the processor reports is used; the environment variable `LILIMS_ISA`
//! forces one of [`Isa::ALL`] by its name. This crate has no threads, tensors or models.

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
mod dequantize;
mod dispatch;
mod float;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod float_tiles;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panel;
mod quantize;
mod scalar;
#[cfg(test)]
mod tests;
pub mod vector;
#[cfg(target_arch = "x86_64")]
mod vnni;

use lilims_gguf::TensorType;

pub use activation::{ActivationBatch, ActivationRow, ActivationRowMut, Activations, BLOCK};
pub use blocks::Format;
pub use dequantize::{DecodeError, dequantize};
pub use isa::{Isa, IsaError};
pub use panel::{PANEL_ROWS, Panel};
pub use quantize::{QuantizeError, quantize, quantize_q8_0};

/// Whether [`dequantize()`] and [`Kernel`] support the type.
pub fn supported(ty: TensorType) -> bool {
    is_float(ty) || Format::of(ty).is_some()
}

fn is_float(ty: TensorType) -> bool {
    matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16)
}

/// Unpacks whole blocks of a quantised type to integers, scales and minimums.
///
/// *Shapes*: `q` one per value; `scales` and `mins` one per group of [`Format::group`] values.
/// `value = scale * q + min`.
///
/// # Panics
/// When a length does not match or the type is not quantised.
pub fn unpack(ty: TensorType, blocks: &[u8], q: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
    dispatch::unpack(Isa::detected(), ty, blocks, q, scales, mins);
}

/// The kernel for a weight matrix: its type and the instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    ty: TensorType,
    format: Option<Format>,
    isa: Isa,
}

impl Kernel {
    /// The best kernel for a type; `None` when the type is not [`supported`].
    pub fn new(ty: TensorType) -> Option<Self> {
        Self::with_isa(ty, Isa::detected())
    }

    /// The kernel with a given instruction set; an unavailable one falls back to scalar code.
    pub fn with_isa(ty: TensorType, isa: Isa) -> Option<Self> {
        supported(ty).then(|| Self { ty, format: Format::of(ty), isa: isa.or_scalar() })
    }

    /// The type of the weights.
    pub fn tensor_type(&self) -> TensorType {
        self.ty
    }

    /// Whether activations must be quantised: then use [`Kernel::matvec`] and [`Kernel::panel`],
    /// otherwise [`Kernel::matmul_float`].
    pub fn quantizes_activations(&self) -> bool {
        self.format.is_some()
    }

    /// Size in bytes of a weight row of `n_cols` values.
    ///
    /// # Panics
    /// When the row ends inside a block.
    pub fn row_bytes(&self, n_cols: usize) -> usize {
        let bytes = self.ty.size_bytes(n_cols as u64);
        bytes.expect("rows are whole blocks of a supported type") as usize
    }

    /// Computes the dot product of each weight row with one activation row, directly from the
    /// blocks.
    ///
    /// `ahead` is the memory that the caller reads next, or empty: while the rows are multiplied,
    /// as many bytes of it as `rows` has are prefetched, at the same pace.
    ///
    /// *Shapes*: `rows` holds `out.len()` consecutive rows of `activations.n_cols()` values.
    ///
    /// # Panics
    /// When the lengths differ, or the weights are floats.
    pub fn matvec(
        &self,
        rows: &[u8],
        ahead: &[u8],
        activations: ActivationRow<'_>,
        out: &mut [f32],
    ) {
        let format = self.format.expect("quantised weights");
        let row_bytes = format.row_bytes(activations.n_cols());
        assert_eq!(rows.len(), row_bytes * out.len(), "one result per row");
        if row_bytes == 0 {
            return out.fill(0.0);
        }
        let ahead = if ahead.is_empty() { rows } else { ahead };
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            isa @ (Isa::Avx512Vnni | Isa::AvxVnni) => {
                vnni::matvec(vnni::Set::of(isa), self.ty, format, rows, ahead, activations, out)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::matvec(self.ty, format, rows, ahead, activations, out),
            #[cfg(target_arch = "aarch64")]
            isa @ (Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon) => {
                neon::matvec(isa, self.ty, format, rows, ahead, activations, out)
            }
            _ => scalar::matvec(self.ty, format, rows, activations, out),
        }
    }

    /// An empty panel for weight rows of `n_cols` values.
    ///
    /// # Panics
    /// When the weights are floats.
    pub fn panel(&self, n_cols: usize) -> Panel {
        Panel::new(self.ty, self.format.expect("quantised weights"), self.isa, n_cols)
    }

    /// Computes the dot products of float weight rows with f32 activation rows.
    ///
    /// *Shapes*: `rows` `[n_rows, n_cols]` in the weights' type, `x` `[n_tokens, n_cols]`, `out`
    /// `[n_tokens, n_rows]`; `ahead` as for [`Kernel::matvec`].
    ///
    /// # Panics
    /// When the lengths do not match, or the weights are quantised.
    pub fn matmul_float(
        &self,
        rows: &[u8],
        ahead: &[u8],
        x: &[f32],
        n_cols: usize,
        out: &mut [f32],
    ) {
        assert!(is_float(self.ty), "float weights");
        float::matmul(self.ty, self.isa, rows, ahead, x, n_cols, out);
    }

    /// Adds weighted sums of float rows to `out`: attention's product with the values.
    ///
    /// *Shapes*: `values` `[n_values, n_cols]` in the kernel's type, `p` `[n_rows, n_values]`,
    /// `out` `[n_rows, n_cols]`; `ahead` as for [`Kernel::matvec`].
    ///
    /// # Panics
    /// When the lengths do not match, or the type is quantised.
    pub fn add_weighted(
        &self,
        values: &[u8],
        ahead: &[u8],
        p: &[f32],
        n_cols: usize,
        out: &mut [f32],
    ) {
        assert!(is_float(self.ty), "float values");
        float::add_weighted(self.ty, self.isa, values, ahead, p, n_cols, out);
    }
}
