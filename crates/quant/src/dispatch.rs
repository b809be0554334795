//! Calls the kernels of an instruction set for the operations of [`Panel`], [`ActivationRowMut`]
//! and [`unpack`](super::unpack). The types themselves do not depend on the kernels.

use lilims_gguf::TensorType;

use super::activation::{self, ActivationBatch, ActivationRowMut};
use super::panel::{self, PANEL_ROWS, Panel};
use super::{Isa, blocks, scalar};

/// [`unpack`](super::unpack) with an available instruction set. On Arm, the compiler vectorises the
/// scalar code.
pub(super) fn unpack(
    isa: Isa,
    ty: TensorType,
    blocks: &[u8],
    q: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => {
            super::avx2::unpack(ty, blocks, q, scales, mins)
        }
        _ => blocks::unpack(ty, blocks, q, scales, mins),
    }
}

impl ActivationRowMut<'_> {
    /// Quantises `x` into this row.
    ///
    /// # Panics
    /// When `x` has another length than the row.
    pub fn quantize(&mut self, x: &[f32]) {
        assert_eq!(x.len(), self.values.len(), "one integer per value");
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => super::avx2::quantize(self, x),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon => super::neon::quantize(self, x),
            _ => activation::quantize_scalar(self, x),
        }
    }
}

impl Panel {
    /// Unpacks up to sixteen consecutive rows; missing rows become zeros.
    ///
    /// # Panics
    /// When `rows` is not whole rows, or more than sixteen.
    pub fn load(&mut self, rows: &[u8]) {
        let row_bytes = self.format.row_bytes(self.n_cols());
        let n_rows = rows.len() / row_bytes.max(1);
        assert_eq!(rows.len(), n_rows * row_bytes, "whole rows");
        assert!(n_rows <= PANEL_ROWS, "a panel holds {PANEL_ROWS} rows");
        let n = self.n_cols();
        for row_idx in 0..PANEL_ROWS {
            let row = &mut self.rows[row_idx * n..][..n];
            if row_idx < n_rows {
                let blocks = &rows[row_idx * row_bytes..][..row_bytes];
                let (scales, mins) = (&mut self.row_scales, &mut self.row_mins);
                unpack(self.isa, self.ty, blocks, row, scales, mins);
            } else {
                row.fill(0);
                self.row_scales.fill(0.0);
                self.row_mins.fill(0.0);
            }
            let spread = |from: &[f32], to: &mut [f32]| {
                for (to, from) in to.chunks_exact_mut(PANEL_ROWS).zip(from) {
                    to[row_idx] = *from;
                }
            };
            spread(&self.row_scales, &mut self.scales);
            spread(&self.row_mins, &mut self.mins);
        }
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::AvxVnni => {
                super::vnni::interleave(self.format, &self.rows, n, &mut self.values)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::interleave(&self.rows, n, &mut self.values),
            #[cfg(target_arch = "aarch64")]
            isa @ (Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon) => {
                super::neon::interleave(isa, self.ty, &self.rows, n, &mut self.values)
            }
            _ => panel::interleave(&self.rows, n, &mut self.values),
        }
    }

    /// Multiplies the panel with `out.len()` activation rows, starting at row `first`.
    ///
    /// *Shapes*: `out[t][r]` is the dot product of activation row `first + t` and weight row `r`.
    ///
    /// # Panics
    /// When the row lengths differ or `activations` has too few rows.
    pub fn matmul(
        &self,
        activations: ActivationBatch<'_>,
        first: usize,
        out: &mut [[f32; PANEL_ROWS]],
    ) {
        assert_eq!(activations.n_cols(), self.n_cols(), "rows of equal length");
        assert!(
            first.checked_add(out.len()).is_some_and(|end| end <= activations.n_rows()),
            "the activations hold the rows"
        );
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            isa @ (Isa::Avx512Vnni | Isa::AvxVnni) => {
                super::vnni::panel_matmul(super::vnni::Set::of(isa), self, activations, first, out)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::panel_matmul(self, activations, first, out),
            #[cfg(target_arch = "aarch64")]
            isa @ (Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon) => {
                super::neon::panel_matmul(isa, self, activations, first, out)
            }
            _ => {
                for (t, out) in out.iter_mut().enumerate() {
                    *out = scalar::panel_row(self, activations.row(first + t));
                }
            }
        }
    }
}
