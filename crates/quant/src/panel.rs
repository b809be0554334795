//! Panels: sixteen weight rows, unpacked and interleaved, for multiplying each weight with many
//! activation rows (prefill).
//!
//! The layout of the integers depends on the instruction set. Usually it is four values of row 0,
//! four of row 1, … four of row 15, then the next four of row 0: a vector of 32 bytes holds four
//! values of eight rows, and multiplying it with four activations, repeated, gives eight partial
//! sums side by side, without a horizontal sum at the end. Scales and minimums are stored as
//! sixteen per group.
//!
//! `dispatch` fills and multiplies panels with the kernels of an instruction set.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

use lilims_gguf::TensorType;

use super::Isa;
use super::blocks::Format;

/// Weight rows per panel.
pub const PANEL_ROWS: usize = 16;

/// Columns of a part: 16 KiB of weights, half of a first cache.
#[cfg(target_arch = "x86_64")]
const PART_COLS: usize = 1024;

/// Sixteen unpacked weight rows, and the kernel that multiplies them.
#[derive(Clone, Debug)]
pub struct Panel {
    pub(super) ty: TensorType,
    pub(super) format: Format,
    pub(super) isa: Isa,
    n_cols: usize,
    pub(super) values: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) mins: Vec<f32>,
    /// Buffers of `load`: the unpacked rows, and the scales and minimums of one row.
    pub(super) rows: Vec<i8>,
    pub(super) row_scales: Vec<f32>,
    pub(super) row_mins: Vec<f32>,
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
            rows: vec![0; PANEL_ROWS * n_cols],
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

    /// The columns in parts of which the first cache holds a panel's together with some activation
    /// rows'. Products are added part by part, in the same order as in one go.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let n_cols = self.n_cols;
        (0..n_cols).step_by(PART_COLS).map(move |start| start..n_cols.min(start + PART_COLS))
    }

    /// The unpacked integer at a row and column, in the scalar layout; other instruction sets have
    /// their own.
    pub(super) fn value(&self, row_idx: usize, col: usize) -> i8 {
        self.values[col / 4 * 4 * PANEL_ROWS + row_idx * 4 + col % 4]
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
