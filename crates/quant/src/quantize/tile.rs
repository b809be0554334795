//! Groups of values side by side: what the searches for scales measure.
//!
//! Lane `l` of all arrays belongs to group `l`, so that each sum over a group is a plain loop over
//! vectors, with nothing to add across lanes. No product is contracted and no sum reordered: each
//! instruction set finds the same bits.

use std::marker::PhantomData;

use super::Importance;

/// Added to what lies within ±2²², it leaves an f32 whose lowest bits are the nearest integer, ties to
/// even, in two's complement.
const ROUNDER: f32 = 12_582_912.0;

/// The nearest of the integers `low..=high`.
///
/// The range is kept among the bits of the rounded sum: comparing integers takes an instruction where
/// comparing floats takes care of NaN. Sums out of range, even infinite ones, keep their order.
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

/// The reciprocal, or 0 where there is none.
#[inline(always)]
pub(super) fn inverse(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}

/// What a stored integer may stand for, before the scale.
pub(super) trait Grid {
    /// The point of the grid that is nearest to each value.
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

/// How much the values of a group count.
pub(super) trait Weighing {
    /// By the columns' importance, in searches and in errors.
    const BY_IMPORTANCE: bool = false;
    /// In searches by their size: the more, the further a value is from 0. Errors count alike.
    const BY_SIZE: bool = false;
}

/// All values count alike.
pub(super) struct Alike;

impl Weighing for Alike {}

/// Values count by the importance of their columns.
pub(super) struct ByImportance;

impl Weighing for ByImportance {
    const BY_IMPORTANCE: bool = true;
}

/// Values count by their size, which goes with what they multiply.
pub(super) struct BySize;

impl Weighing for BySize {
    const BY_SIZE: bool = true;
}

/// `N` values each of `L` groups, and what they count.
pub(super) struct Tile<const N: usize, const L: usize, W: Weighing> {
    values: [[f32; L]; N],
    /// Used where importance counts.
    weights: [[f32; L]; N],
    /// The mean size of each group's values, 1 for zeros alone. Used where size counts.
    sizes: [f32; L],
    weighing: PhantomData<W>,
}

impl<const N: usize, const L: usize, W: Weighing> Tile<N, L, W> {
    /// The groups in `values`, at most `L`; the lanes beyond them hold zeros.
    #[inline(always)]
    pub(super) fn load(values: &[f32], importance: Importance<'_>) -> Self {
        let mut tile = Self {
            values: [[0.0; L]; N],
            weights: [[1.0; L]; N],
            sizes: [1.0; L],
            weighing: PhantomData,
        };
        transpose(values, &mut tile.values);
        if W::BY_IMPORTANCE {
            transpose(importance.row, &mut tile.weights);
            tile.weigh(importance.unit);
        }
        if W::BY_SIZE {
            tile.measure();
        }
        tile
    }

    #[inline(always)]
    fn measure(&mut self) {
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

    /// Brings the weights to their unit. A group without any would have no best scale: its values
    /// count alike.
    #[inline(always)]
    fn weigh(&mut self, unit: f32) {
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

    /// The values side by side, with what they count in searches.
    #[inline(always)]
    fn pairs(&self) -> impl Iterator<Item = (&[f32; L], [f32; L])> {
        self.judged().map(|(values, mut weights)| {
            if W::BY_SIZE {
                for lane in 0..L {
                    weights[lane] = self.sizes[lane] + values[lane].abs();
                }
            }
            (values, weights)
        })
    }

    /// The values side by side, with what their errors count.
    #[inline(always)]
    fn judged(&self) -> impl Iterator<Item = (&[f32; L], [f32; L])> {
        let weight = |weights: &[f32; L]| if W::BY_IMPORTANCE { *weights } else { [1.0; L] };
        self.values.iter().zip(self.weights.iter().map(weight))
    }

    /// The least and the greatest value of each group.
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
        for (x, w) in self.pairs() {
            for lane in 0..L {
                w_sum[lane] += w[lane];
                x_sum[lane] += w[lane] * x[lane];
            }
        }
        (w_sum, x_sum)
    }

    /// With `q` the grid's nearest points to the values times `inverse`: the weighted sums of
    /// `x q` and `q²`.
    #[inline(always)]
    pub(super) fn project<G: Grid>(&self, inverse: &[f32; L]) -> ([f32; L], [f32; L]) {
        let (mut xq_sum, mut qq_sum) = ([0.0; L], [0.0; L]);
        for (x, w) in self.pairs() {
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
        for (x, w) in self.judged() {
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

    /// With `q` the grid's nearest points to the values above `min`, times `inverse`: the weighted
    /// sums of `q`, `x q` and `q²`.
    #[inline(always)]
    pub(super) fn regress<G: Grid>(&self, inverse: &[f32; L], min: &[f32; L]) -> [[f32; L]; 3] {
        let [mut q_sum, mut xq_sum, mut qq_sum] = [[0.0; L]; 3];
        for (x, w) in self.pairs() {
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
        for (x, w) in self.judged() {
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
