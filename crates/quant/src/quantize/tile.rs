//! Groups of values in transposed layout, and the sums over them that the scale searches need.
//!
//! Lane `l` of all arrays belongs to group `l`, so that each sum over a group is a loop over
//! vectors without horizontal sums. No multiply-add is fused and no sum reordered, so all
//! instruction sets give the same bits.

use std::marker::PhantomData;

/// Magic number for rounding: added to a value within ±2²², it gives an f32 whose lowest bits are
/// the nearest integer, ties to even, in two's complement.
const ROUNDER: f32 = 12_582_912.0;

/// Rounds to the nearest integer of `low..=high`.
///
/// Clamps the bits of the rounded sum as integers, which takes one instruction; clamping floats
/// would have to handle NaN. The order of sums out of range, even infinite ones, is the same.
#[inline(always)]
pub(super) fn nearest(value: f32, low: i32, high: i32) -> f32 {
    let zero = ROUNDER.to_bits() as i32;
    let bits = ((value + ROUNDER).to_bits() as i32).max(zero + low).min(zero + high);
    f32::from_bits(bits as u32) - ROUNDER
}

/// The lowest byte of an integer within ±2²².
#[inline(always)]
pub(super) fn low_byte(integer: f32) -> u8 {
    (integer + ROUNDER).to_bits() as u8
}

/// The reciprocal; 0 for 0.
#[inline(always)]
pub(super) fn inverse(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}

/// The values that stored integers can represent, before scaling.
pub(super) trait Grid {
    /// Rounds each value to the nearest grid point.
    fn snap<const L: usize>(values: [f32; L]) -> [f32; L];
}

/// The integers `LOW..=HIGH`.
pub(super) struct Integers<const LOW: i32, const HIGH: i32>;

impl<const LOW: i32, const HIGH: i32> Grid for Integers<LOW, HIGH> {
    #[inline(always)]
    fn snap<const L: usize>(mut values: [f32; L]) -> [f32; L] {
        for value in &mut values {
            *value = nearest(*value, LOW, HIGH);
        }
        values
    }
}

/// The importance of a row's columns.
#[derive(Clone, Copy)]
pub(super) struct Importance<'a> {
    row: &'a [f32],
    /// The factor for all of them: the power of two that brings the largest near 1. Otherwise sums
    /// of products could leave f32's range, since activation statistics may be very large or small.
    unit: f32,
}

impl<'a> Importance<'a> {
    /// No importance.
    pub(super) fn none() -> Self {
        Self { row: &[], unit: 1.0 }
    }

    pub(super) fn of(row: &'a [f32]) -> Self {
        let largest = row.iter().fold(0.0_f32, |all, value| all.max(*value));
        let exponent = (largest.to_bits() >> 23).clamp(1, 253);
        Self { row, unit: f32::from_bits((254 - exponent) << 23) }
    }

    /// The part for `len` columns from `start` on, clamped to the row.
    #[inline(always)]
    pub(super) fn part(self, start: usize, len: usize) -> Self {
        let start = start.min(self.row.len());
        let end = (start + len).min(self.row.len());
        Self { row: &self.row[start..end], unit: self.unit }
    }
}

/// How the values of a group are weighted.
pub(super) trait Weighting {
    /// By the importance of their columns, in searches and in errors.
    const BY_IMPORTANCE: bool = false;
    /// By their magnitude, in searches only; errors are unweighted.
    const BY_SIZE: bool = false;
}

/// All values have the same weight.
pub(super) struct Uniform;

impl Weighting for Uniform {}

/// Values are weighted by the importance of their columns.
pub(super) struct ByImportance;

impl Weighting for ByImportance {
    const BY_IMPORTANCE: bool = true;
}

/// Values are weighted by their magnitude, which correlates with that of the activations.
pub(super) struct BySize;

impl Weighting for BySize {
    const BY_SIZE: bool = true;
}

/// `L` groups of `N` values, with their weights.
pub(super) struct Tile<const N: usize, const L: usize, W: Weighting> {
    values: [[f32; L]; N],
    /// Used with [`Weighting::BY_IMPORTANCE`].
    weights: [[f32; L]; N],
    /// The mean magnitude of each group, 1 if all values are zero. Used with
    /// [`Weighting::BY_SIZE`].
    sizes: [f32; L],
    weighting: PhantomData<W>,
}

impl<const N: usize, const L: usize, W: Weighting> Tile<N, L, W> {
    /// Loads the groups in `values`, at most `L`; unused lanes hold zeros.
    #[inline(always)]
    pub(super) fn load(values: &[f32], importance: Importance<'_>) -> Self {
        let mut tile = Self {
            values: [[0.0; L]; N],
            weights: [[1.0; L]; N],
            sizes: [1.0; L],
            weighting: PhantomData,
        };
        transpose(values, &mut tile.values);
        if W::BY_IMPORTANCE {
            transpose(importance.row, &mut tile.weights);
            tile.normalise_weights(importance.unit);
        }
        if W::BY_SIZE {
            tile.compute_sizes();
        }
        tile
    }

    #[inline(always)]
    fn compute_sizes(&mut self) {
        let mut sums = [0.0; L];
        for values in &self.values {
            for lane in 0..L {
                sums[lane] += values[lane].abs();
            }
        }
        for lane in 0..L {
            self.sizes[lane] = if sums[lane] > 0.0 { sums[lane] / N as f32 } else { 1.0 };
        }
    }

    /// Multiplies the weights with `unit`. A group whose weights are all zero would have no best
    /// scale, so its values are weighted equally.
    #[inline(always)]
    fn normalise_weights(&mut self, unit: f32) {
        let mut sums = [0.0; L];
        for weights in &mut self.weights {
            for lane in 0..L {
                weights[lane] *= unit;
                sums[lane] += weights[lane];
            }
        }
        for weights in &mut self.weights {
            for lane in 0..L {
                weights[lane] = if sums[lane] > 0.0 { weights[lane] } else { 1.0 };
            }
        }
    }

    /// Iterates over the values of all lanes with their weights in searches.
    #[inline(always)]
    fn with_search_weights(&self) -> impl Iterator<Item = (&[f32; L], [f32; L])> {
        self.with_error_weights().map(|(values, mut weights)| {
            if W::BY_SIZE {
                for lane in 0..L {
                    weights[lane] = self.sizes[lane] + values[lane].abs();
                }
            }
            (values, weights)
        })
    }

    /// Iterates over the values of all lanes with the weights of their errors.
    #[inline(always)]
    fn with_error_weights(&self) -> impl Iterator<Item = (&[f32; L], [f32; L])> {
        let weight = |weights: &[f32; L]| if W::BY_IMPORTANCE { *weights } else { [1.0; L] };
        self.values.iter().zip(self.weights.iter().map(weight))
    }

    /// The smallest and the largest value of each group.
    #[inline(always)]
    pub(super) fn bounds(&self) -> ([f32; L], [f32; L]) {
        let (mut low, mut high) = (self.values[0], self.values[0]);
        for values in &self.values {
            for lane in 0..L {
                low[lane] = if values[lane] < low[lane] { values[lane] } else { low[lane] };
                high[lane] = if values[lane] > high[lane] { values[lane] } else { high[lane] };
            }
        }
        (low, high)
    }

    /// The sums of the weights and of the weighted values.
    #[inline(always)]
    pub(super) fn totals(&self) -> ([f32; L], [f32; L]) {
        let (mut w_sum, mut x_sum) = ([0.0; L], [0.0; L]);
        for (x, w) in self.with_search_weights() {
            for lane in 0..L {
                w_sum[lane] += w[lane];
                x_sum[lane] += w[lane] * x[lane];
            }
        }
        (w_sum, x_sum)
    }

    /// The weighted sums of `x q` and `q²`, where `q` is `x * inverse` rounded to the grid.
    #[inline(always)]
    pub(super) fn project<G: Grid>(&self, inverse: &[f32; L]) -> ([f32; L], [f32; L]) {
        let (mut xq_sum, mut qq_sum) = ([0.0; L], [0.0; L]);
        for (x, w) in self.with_search_weights() {
            let mut q = [0.0; L];
            for lane in 0..L {
                q[lane] = x[lane] * inverse[lane];
            }
            let q = G::snap(q);
            for lane in 0..L {
                let wq = w[lane] * q[lane];
                xq_sum[lane] += wq * x[lane];
                qq_sum[lane] += wq * q[lane];
            }
        }
        (xq_sum, qq_sum)
    }

    /// The weighted squared error of each group with these scales.
    #[inline(always)]
    pub(super) fn error<G: Grid>(&self, scale: &[f32; L]) -> [f32; L] {
        let mut inverses = [0.0; L];
        for lane in 0..L {
            inverses[lane] = inverse(scale[lane]);
        }
        let mut sum = [0.0; L];
        for (x, w) in self.with_error_weights() {
            let mut q = [0.0; L];
            for lane in 0..L {
                q[lane] = x[lane] * inverses[lane];
            }
            let q = G::snap(q);
            for lane in 0..L {
                let off = x[lane] - scale[lane] * q[lane];
                sum[lane] += w[lane] * off * off;
            }
        }
        sum
    }

    /// The weighted sums of `q`, `x q` and `q²`, where `q` is `(x - min) * inverse` rounded to the
    /// grid.
    #[inline(always)]
    pub(super) fn regress<G: Grid>(&self, inverse: &[f32; L], min: &[f32; L]) -> [[f32; L]; 3] {
        let [mut q_sum, mut xq_sum, mut qq_sum] = [[0.0; L]; 3];
        for (x, w) in self.with_search_weights() {
            let mut q = [0.0; L];
            for lane in 0..L {
                q[lane] = (x[lane] - min[lane]) * inverse[lane];
            }
            let q = G::snap(q);
            for lane in 0..L {
                let wq = w[lane] * q[lane];
                q_sum[lane] += wq;
                xq_sum[lane] += wq * x[lane];
                qq_sum[lane] += wq * q[lane];
            }
        }
        [q_sum, xq_sum, qq_sum]
    }

    /// The weighted squared error of each group with these scales and minimums.
    #[inline(always)]
    pub(super) fn affine_error<G: Grid>(&self, scale: &[f32; L], min: &[f32; L]) -> [f32; L] {
        let mut inverses = [0.0; L];
        for lane in 0..L {
            inverses[lane] = inverse(scale[lane]);
        }
        let mut sum = [0.0; L];
        for (x, w) in self.with_error_weights() {
            let mut q = [0.0; L];
            for lane in 0..L {
                q[lane] = (x[lane] - min[lane]) * inverses[lane];
            }
            let q = G::snap(q);
            for lane in 0..L {
                let off = x[lane] - (scale[lane] * q[lane] + min[lane]);
                sum[lane] += w[lane] * off * off;
            }
        }
        sum
    }
}

#[inline(always)]
fn transpose<const N: usize, const L: usize>(from: &[f32], to: &mut [[f32; L]; N]) {
    for (lane, group) in from.as_chunks::<N>().0.iter().enumerate() {
        for (to, &value) in to.iter_mut().zip(group) {
            to[lane] = value;
        }
    }
}
