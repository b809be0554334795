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
    f32::from_bits(nearest_bits(value, low, high)) - ROUNDER
}

/// The bits of [`ROUNDER`] plus the nearest integer of `low..=high`.
#[inline(always)]
fn nearest_bits(value: f32, low: i32, high: i32) -> u32 {
    let zero = ROUNDER.to_bits() as i32;
    ((value + ROUNDER).to_bits() as i32).max(zero + low).min(zero + high) as u32
}

/// The integers nearest to `values` in `low..=high`, each as the lowest byte of its two's
/// complement.
#[inline(always)]
pub(super) fn nearest_bytes<const L: usize>(values: &[f32; L], low: i32, high: i32) -> [u8; L] {
    let mut bytes = [0; L];
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = nearest_bits(*value, low, high) as u8;
    }
    bytes
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
    fn with_search_weights(&self) -> impl Iterator<Item = ([f32; L], [f32; L])> {
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
    fn with_error_weights(&self) -> impl Iterator<Item = ([f32; L], [f32; L])> {
        let weight = |weights: &[f32; L]| if W::BY_IMPORTANCE { *weights } else { [1.0; L] };
        self.values.iter().copied().zip(self.weights.iter().map(weight))
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

    /// The weighted sums of `x q` and `q²` for each of `K` candidates, where `q` is `x * inverse`
    /// rounded to the grid. Candidates share the loads and the weights.
    #[inline(always)]
    pub(super) fn project<G: Grid, const K: usize>(
        &self,
        inverses: &[[f32; L]; K],
    ) -> [([f32; L], [f32; L]); K] {
        let mut sums = [([0.0; L], [0.0; L]); K];
        for (x, w) in self.with_search_weights() {
            for k in 0..K {
                let mut q = [0.0; L];
                for lane in 0..L {
                    q[lane] = x[lane] * inverses[k][lane];
                }
                let q = G::snap(q);
                for lane in 0..L {
                    let wq = w[lane] * q[lane];
                    sums[k].0[lane] += wq * x[lane];
                    sums[k].1[lane] += wq * q[lane];
                }
            }
        }
        sums
    }

    /// The weighted squared error of each group for each of `K` candidate scales.
    #[inline(always)]
    pub(super) fn error<G: Grid, const K: usize>(&self, scales: [&[f32; L]; K]) -> [[f32; L]; K] {
        let mut inverses = [[0.0; L]; K];
        for k in 0..K {
            for lane in 0..L {
                inverses[k][lane] = inverse(scales[k][lane]);
            }
        }
        let mut sums = [[0.0; L]; K];
        for (x, w) in self.with_error_weights() {
            for k in 0..K {
                let mut q = [0.0; L];
                for lane in 0..L {
                    q[lane] = x[lane] * inverses[k][lane];
                }
                let q = G::snap(q);
                for lane in 0..L {
                    let off = x[lane] - scales[k][lane] * q[lane];
                    sums[k][lane] += w[lane] * off * off;
                }
            }
        }
        sums
    }

    /// The weighted sums of `q`, `x q` and `q²` for each of `K` candidate inverse scales and minimums,
    /// where `q` is `(x - min) * inverse` rounded to the grid.
    #[inline(always)]
    pub(super) fn regress<G: Grid, const K: usize>(
        &self,
        candidates: &[([f32; L], [f32; L]); K],
    ) -> [[[f32; L]; 3]; K] {
        let mut sums = [[[0.0; L]; 3]; K];
        for (x, w) in self.with_search_weights() {
            for k in 0..K {
                let (inverse, min) = &candidates[k];
                let mut q = [0.0; L];
                for lane in 0..L {
                    q[lane] = (x[lane] - min[lane]) * inverse[lane];
                }
                let q = G::snap(q);
                for lane in 0..L {
                    let wq = w[lane] * q[lane];
                    sums[k][0][lane] += wq;
                    sums[k][1][lane] += wq * x[lane];
                    sums[k][2][lane] += wq * q[lane];
                }
            }
        }
        sums
    }

    /// The weighted squared error of each group for each of `K` candidate scales and minimums.
    #[inline(always)]
    pub(super) fn affine_error<G: Grid, const K: usize>(
        &self,
        candidates: [(&[f32; L], &[f32; L]); K],
    ) -> [[f32; L]; K] {
        let mut inverses = [[0.0; L]; K];
        for k in 0..K {
            for lane in 0..L {
                inverses[k][lane] = inverse(candidates[k].0[lane]);
            }
        }
        let mut sums = [[0.0; L]; K];
        for (x, w) in self.with_error_weights() {
            for k in 0..K {
                let (scale, min) = candidates[k];
                let mut q = [0.0; L];
                for lane in 0..L {
                    q[lane] = (x[lane] - min[lane]) * inverses[k][lane];
                }
                let q = G::snap(q);
                for lane in 0..L {
                    let off = x[lane] - (scale[lane] * q[lane] + min[lane]);
                    sums[k][lane] += w[lane] * off * off;
                }
            }
        }
        sums
    }
}

#[inline(always)]
fn transpose<const N: usize, const L: usize>(from: &[f32], to: &mut [[f32; L]; N]) {
    // All groups of a full tile, in squares of 8 by 8 values.
    if N.is_multiple_of(8) && L.is_multiple_of(8) && from.len() == N * L {
        let groups = from.as_chunks::<N>().0;
        for lane in (0..L).step_by(8) {
            for start in (0..N).step_by(8) {
                let mut square = [[0.0; 8]; 8];
                for i in 0..8 {
                    square[i].copy_from_slice(&groups[lane + i][start..start + 8]);
                }
                for (i, values) in transpose_square(square).iter().enumerate() {
                    to[start + i][lane..lane + 8].copy_from_slice(values);
                }
            }
        }
        return;
    }
    for (lane, group) in from.as_chunks::<N>().0.iter().enumerate() {
        for (to, &value) in to.iter_mut().zip(group) {
            to[lane] = value;
        }
    }
}

/// Swaps rows and columns in three steps that the compiler turns into shuffles of vectors.
#[inline(always)]
fn transpose_square(rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
    let [r04, r15, r26, r37] = quads(ab, cd);
    let [s04, s15, s26, s37] = quads(ef, gh);
    [
        low(r04, s04),
        low(r15, s15),
        low(r26, s26),
        low(r37, s37),
        high(r04, s04),
        high(r15, s15),
        high(r26, s26),
        high(r37, s37),
    ]
}

#[inline(always)]
fn pairs(a: [f32; 8], b: [f32; 8]) -> [[f32; 8]; 2] {
    [
        [a[0], b[0], a[1], b[1], a[4], b[4], a[5], b[5]],
        [a[2], b[2], a[3], b[3], a[6], b[6], a[7], b[7]],
    ]
}

#[inline(always)]
fn quads([a, b]: [[f32; 8]; 2], [c, d]: [[f32; 8]; 2]) -> [[f32; 8]; 4] {
    [
        [a[0], a[1], c[0], c[1], a[4], a[5], c[4], c[5]],
        [a[2], a[3], c[2], c[3], a[6], a[7], c[6], c[7]],
        [b[0], b[1], d[0], d[1], b[4], b[5], d[4], d[5]],
        [b[2], b[3], d[2], d[3], b[6], b[7], d[6], d[7]],
    ]
}

#[inline(always)]
fn low(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
}

#[inline(always)]
fn high(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
    [a[4], a[5], a[6], a[7], b[4], b[5], b[6], b[7]]
}
