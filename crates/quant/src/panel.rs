//! Panels: sixteen weight rows, unpacked and interleaved, for multiplying each weight with many
//! activation rows (prefill).
//!
//! The layout of the integers depends on the instruction set. Usually it is four values of row 0,
//! four of row 1, … four of row 15, then the next four of row 0: a vector of 32 bytes holds four
//! values of eight rows, and multiplying it with four activations, repeated, gives eight partial
//! sums side by side, without a horizontal sum at the end. Scales and minimums are stored as
//! sixteen per group.

use lilims_gguf::TensorType;

use super::activation::ActivationBatch;
use super::blocks::Format;
use super::{Isa, scalar, unpack_with};

/// Weight rows per panel.
pub const PANEL_ROWS: usize = 16;

/// Sixteen unpacked weight rows, and the kernel that multiplies them.
#[derive(Clone, Debug)]
pub struct Panel {
    ty: TensorType,
    format: Format,
    isa: Isa,
    n_cols: usize,
    pub(super) values: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) mins: Vec<f32>,
    row: Vec<i8>,
    row_scales: Vec<f32>,
    row_mins: Vec<f32>,
}

impl Panel {
    pub(super) fn new(ty: TensorType, format: Format, isa: Isa, n_cols: usize) -> Self {
        format.row_bytes(n_cols);
        let n_groups = n_cols / format.group;
        Self {
            ty,
            format,
            isa,
            n_cols,
            values: vec![0; PANEL_ROWS * n_cols],
            scales: vec![0.0; PANEL_ROWS * n_groups],
            mins: vec![0.0; PANEL_ROWS * n_groups],
            row: vec![0; PANEL_ROWS * n_cols],
            row_scales: vec![0.0; n_groups],
            row_mins: vec![0.0; n_groups],
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) fn tensor_type(&self) -> TensorType {
        self.ty
    }

    /// Values per row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The unpacked integer at a row and column, in the scalar layout; other instruction sets have
    /// their own.
    pub(super) fn value(&self, row_idx: usize, col: usize) -> i8 {
        self.values[col / 4 * 4 * PANEL_ROWS + row_idx * 4 + col % 4]
    }

    /// Unpacks up to sixteen consecutive rows; missing rows become zeros.
    ///
    /// # Panics
    /// When `rows` is not whole rows, or more than sixteen.
    pub fn load(&mut self, rows: &[u8]) {
        let row_bytes = self.format.row_bytes(self.n_cols);
        let n_rows = rows.len() / row_bytes.max(1);
        assert_eq!(rows.len(), n_rows * row_bytes, "whole rows");
        assert!(n_rows <= PANEL_ROWS, "a panel holds {PANEL_ROWS} rows");
        let n = self.n_cols;
        for row_idx in 0..PANEL_ROWS {
            let row = &mut self.row[row_idx * n..][..n];
            if row_idx < n_rows {
                let blocks = &rows[row_idx * row_bytes..][..row_bytes];
                let (scales, mins) = (&mut self.row_scales, &mut self.row_mins);
                unpack_with(self.isa, self.ty, blocks, row, scales, mins);
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
                super::vnni::interleave(self.format, &self.row, n, &mut self.values)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::interleave(&self.row, n, &mut self.values),
            #[cfg(target_arch = "aarch64")]
            isa @ (Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon) => {
                super::neon::interleave(isa, self.ty, &self.row, n, &mut self.values)
            }
            _ => interleave(&self.row, n, &mut self.values),
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
        assert_eq!(activations.n_cols(), self.n_cols, "rows of equal length");
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

/// Converts consecutive rows to the scalar layout: groups of four values, row by row.
pub(super) fn interleave(rows: &[i8], n_cols: usize, values: &mut [i8]) {
    for row_idx in 0..PANEL_ROWS {
        let row = &rows[row_idx * n_cols..][..n_cols];
        for (to, from) in values.chunks_exact_mut(4 * PANEL_ROWS).zip(row.chunks_exact(4)) {
            to[row_idx * 4..][..4].copy_from_slice(from);
        }
    }
}
