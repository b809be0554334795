//! Activations quantised to small integers, which integer kernels multiply weights with.
//!
//! Each block of 32 values becomes `i8` in -127..=127 with one f32 scale (the largest magnitude
//! over 127), rounded half to even. The sums of each 16 and 32 integers, times the scale, are
//! stored as well: a weight group's minimum is multiplied by the sum of its activations.
//!
//! A block that contains an infinity or a NaN gets a NaN scale, so that the error propagates to the
//! result. A block whose largest magnitude is below [`SMALLEST`] becomes zero.

use super::Isa;

/// Values that share a scale.
pub const BLOCK: usize = 32;

/// Blocks whose largest magnitude is below this become zero; 127 / magnitude could overflow.
const SMALLEST: f32 = 1e-30;

/// A batch of quantised rows of equal length.
#[derive(Clone, Debug)]
pub struct Activations {
    n_cols: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
    sums_32: Vec<f32>,
    sums_16: Vec<f32>,
    isa: Isa,
}

/// A batch of quantised rows, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ActivationBatch<'a> {
    n_cols: usize,
    values: &'a [i8],
    scales: &'a [f32],
    sums_32: &'a [f32],
    sums_16: &'a [f32],
}

/// One quantised row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationRow<'a> {
    pub(super) values: &'a [i8],
    pub(super) scales: &'a [f32],
    pub(super) sums_32: &'a [f32],
    pub(super) sums_16: &'a [f32],
}

/// One quantised row, to write to.
#[derive(Debug)]
pub struct ActivationRowMut<'a> {
    pub(super) values: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums_32: &'a mut [f32],
    pub(super) sums_16: &'a mut [f32],
    pub(super) isa: Isa,
}

impl Activations {
    /// `n_rows` rows of `n_cols` zeros.
    ///
    /// # Panics
    /// When `n_cols` is not a multiple of [`BLOCK`].
    pub fn new(n_rows: usize, n_cols: usize) -> Self {
        Self::with_isa(n_rows, n_cols, Isa::detected())
    }

    /// Like [`Activations::new`], quantising with a given instruction set; an unavailable one falls
    /// back to scalar code.
    ///
    /// # Panics
    /// As for [`Activations::new`].
    pub fn with_isa(n_rows: usize, n_cols: usize, isa: Isa) -> Self {
        let mut activations = Self {
            n_cols: 0,
            values: Vec::new(),
            scales: Vec::new(),
            sums_32: Vec::new(),
            sums_16: Vec::new(),
            isa: isa.or_scalar(),
        };
        activations.resize(n_rows, n_cols);
        activations
    }

    /// Changes the shape, reusing the allocation; the values are unspecified until quantised.
    ///
    /// # Panics
    /// When `n_cols` is not a multiple of [`BLOCK`].
    pub fn resize(&mut self, n_rows: usize, n_cols: usize) {
        assert_eq!(n_cols % BLOCK, 0, "quantised rows are whole blocks of {BLOCK}");
        self.n_cols = n_cols;
        self.values.resize(n_rows * n_cols, 0);
        self.scales.resize(n_rows * n_cols / BLOCK, 0.0);
        self.sums_32.resize(n_rows * n_cols / BLOCK, 0.0);
        self.sums_16.resize(n_rows * n_cols / 16, 0.0);
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.len().checked_div(self.n_cols).unwrap_or(0)
    }

    /// Values per row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Quantises all rows.
    ///
    /// *Shapes*: `x` `[n_rows, n_cols]`.
    ///
    /// # Panics
    /// When `x` has another length.
    pub fn quantize(&mut self, x: &[f32]) {
        assert_eq!(x.len(), self.values.len(), "as many values as the batch holds");
        if x.is_empty() {
            return;
        }
        let n_cols = self.n_cols;
        for (mut row, x) in self.rows_mut().zip(x.chunks_exact(n_cols)) {
            row.quantize(x);
        }
    }

    /// The row at `row_idx`.
    pub fn row(&self, row_idx: usize) -> ActivationRow<'_> {
        self.batch().row(row_idx)
    }

    /// All rows.
    pub fn batch(&self) -> ActivationBatch<'_> {
        ActivationBatch {
            n_cols: self.n_cols,
            values: &self.values,
            scales: &self.scales,
            sums_32: &self.sums_32,
            sums_16: &self.sums_16,
        }
    }

    /// All rows, to write to: several threads can each quantise some.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = ActivationRowMut<'_>> {
        let (n, isa) = (self.n_cols.max(BLOCK), self.isa);
        self.values
            .chunks_exact_mut(n)
            .zip(self.scales.chunks_exact_mut(n / BLOCK))
            .zip(self.sums_32.chunks_exact_mut(n / BLOCK))
            .zip(self.sums_16.chunks_exact_mut(n / 16))
            .map(move |(((values, scales), sums_32), sums_16)| ActivationRowMut {
                values,
                scales,
                sums_32,
                sums_16,
                isa,
            })
    }
}

impl<'a> ActivationBatch<'a> {
    /// Rows of `n_cols` values in buffers owned by the caller.
    ///
    /// *Shapes*: `values` `[n_rows, n_cols]`; `scales` and `sums_32` one per [`BLOCK`] values;
    /// `sums_16` one per 16 values.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn new(
        n_cols: usize,
        values: &'a [i8],
        scales: &'a [f32],
        sums_32: &'a [f32],
        sums_16: &'a [f32],
    ) -> Self {
        assert_lengths(values.len(), scales.len(), sums_32.len(), sums_16.len());
        assert!(n_cols > 0 && values.len().is_multiple_of(n_cols), "whole rows");
        Self { n_cols, values, scales, sums_32, sums_16 }
    }

    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.len().checked_div(self.n_cols).unwrap_or(0)
    }

    /// Values per row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The row at `row_idx`.
    pub fn row(&self, row_idx: usize) -> ActivationRow<'a> {
        let n = self.n_cols;
        ActivationRow {
            values: &self.values[row_idx * n..][..n],
            scales: &self.scales[row_idx * n / BLOCK..][..n / BLOCK],
            sums_32: &self.sums_32[row_idx * n / BLOCK..][..n / BLOCK],
            sums_16: &self.sums_16[row_idx * n / 16..][..n / 16],
        }
    }
}

impl ActivationRow<'_> {
    /// The number of values.
    pub fn n_cols(&self) -> usize {
        self.values.len()
    }

    /// Writes the dequantised values to `out`.
    ///
    /// # Panics
    /// When `out` has another length than the row.
    pub fn dequantize(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.values.len(), "one result per value");
        for ((out, values), scale) in
            out.chunks_exact_mut(BLOCK).zip(self.values.chunks_exact(BLOCK)).zip(self.scales)
        {
            for (out, &value) in out.iter_mut().zip(values) {
                *out = scale * f32::from(value);
            }
        }
    }
}

fn assert_lengths(values: usize, scales: usize, sums_32: usize, sums_16: usize) {
    assert!(values.is_multiple_of(BLOCK), "quantised rows are whole blocks of {BLOCK}");
    assert!(scales == values / BLOCK && sums_32 == scales && sums_16 == values / 16, "one a group");
}

impl<'a> ActivationRowMut<'a> {
    /// A row in buffers owned by the caller.
    ///
    /// *Shapes*: as for [`ActivationBatch::new`], with one row.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn new(
        values: &'a mut [i8],
        scales: &'a mut [f32],
        sums_32: &'a mut [f32],
        sums_16: &'a mut [f32],
    ) -> Self {
        assert_lengths(values.len(), scales.len(), sums_32.len(), sums_16.len());
        Self { values, scales, sums_32, sums_16, isa: Isa::detected() }
    }
}

/// The scale of a block, and its inverse, from the bits of its largest magnitude.
#[inline(always)]
pub(super) fn scale_of(largest_bits: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest_bits);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (round_to_half_precision(largest / 127.0), 127.0 / largest)
    }
}

/// Rounds to the 11 significant bits that f16 has, half to even, without f16's range.
///
/// ggml's 8-bit blocks store their scale as f16. With the same rounding, near ties between two next
/// tokens are mostly decided as in llama.cpp.
fn round_to_half_precision(x: f32) -> f32 {
    const DROPPED: u32 = f32::MANTISSA_DIGITS - 11;
    let bits = x.to_bits();
    let half_to_even = (1 << (DROPPED - 1)) - 1 + (bits >> DROPPED & 1);
    f32::from_bits((bits + half_to_even) >> DROPPED << DROPPED)
}

/// Quantises `x` into `row`.
pub(super) fn quantize_scalar(row: &mut ActivationRowMut<'_>, x: &[f32]) {
    for (block_idx, (x, q)) in
        x.chunks_exact(BLOCK).zip(row.values.chunks_exact_mut(BLOCK)).enumerate()
    {
        // Compared as integers, the bits of non-negative floats order like the floats, NaN last.
        let largest = x.iter().map(|x| x.abs().to_bits()).fold(0, u32::max);
        let (scale, inverse) = scale_of(largest);
        for (q, x) in q.iter_mut().zip(x) {
            *q = if scale > 0.0 { (x * inverse).round_ties_even() as i8 } else { 0 };
        }
        let sum = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>();
        let (low, high) = (sum(&q[..16]), sum(&q[16..]));
        row.scales[block_idx] = scale;
        row.sums_16[2 * block_idx] = scale * low as f32;
        row.sums_16[2 * block_idx + 1] = scale * high as f32;
        row.sums_32[block_idx] = scale * (low + high) as f32;
    }
}
