//! The search for the scales of a block of groups: `value = d * s * q`, with integers `s`.

use super::half;
use super::scaled;
use super::tile::{Grid, Tile, Weighing, inverse, nearest};

/// What the integers of a block's scales can be, and where its largest value comes to lie.
pub(super) struct Range {
    pub(super) low: i32,
    pub(super) high: i32,
    /// As for [`scaled::fit`].
    pub(super) targets: &'static [f32],
}

/// The scales of a block.
#[derive(Clone, Copy)]
pub(super) struct Scales<const L: usize> {
    /// The bits of an f16, and what they stand for.
    pub(super) d: (half::Bits, f32),
    /// An integer for each group.
    pub(super) scales: [f32; L],
    error: f32,
}

/// The best scales, never worse than plain rounding's.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighing>(
    tile: &Tile<N, L, W>,
    range: &Range,
) -> Scales<L> {
    let (best, plain) = scaled::fit::<G, N, L, W>(tile, range.targets);
    let mut found = settle::<G, N, L, W>(tile, range, &plain, largest(&plain, range), &[0]);
    // A scale that is too small could not be made up for by the integers: they are at their end.
    let start = half::outwards(largest(&best, range));
    let mut tried = settle::<G, N, L, W>(tile, range, &best, start, &NEIGHBOURS);
    for _ in 0..ROUNDS {
        if tried.error >= found.error {
            break;
        }
        found = tried;
        let d = solve::<G, N, L, W>(tile, &found);
        tried = settle::<G, N, L, W>(tile, range, &best, d, &NEIGHBOURS);
    }
    if tried.error < found.error { tried } else { found }
}

/// How often a block's scale is fitted again.
const ROUNDS: usize = 2;
/// What is tried beside the nearest integer.
const NEIGHBOURS: [i32; 3] = [0, -1, 1];

/// A block's scale that brings the largest of the groups' to the low end, which reaches furthest.
#[inline(always)]
fn largest<const L: usize>(scales: &[f32; L], range: &Range) -> f32 {
    let mut largest = 0.0_f32;
    for &scale in scales {
        largest = if scale.abs() > largest.abs() { scale } else { largest };
    }
    largest / range.low as f32
}

/// The best integers for a block's scale, near what the groups' own scales ask for.
#[inline(always)]
fn settle<G: Grid, const N: usize, const L: usize, W: Weighing>(
    tile: &Tile<N, L, W>,
    range: &Range,
    wanted: &[f32; L],
    d: f32,
    neighbours: &[i32],
) -> Scales<L> {
    let (bits, [d]) = half::round(&[d]);
    let per_d = inverse(d);
    let (mut best, mut best_error) = ([0.0; L], [f32::MAX; L]);
    for &neighbour in neighbours {
        let [mut tried, mut scale] = [[0.0; L]; 2];
        for lane in 0..L {
            let asked = nearest(wanted[lane] * per_d, range.low, range.high);
            tried[lane] = nearest(asked + neighbour as f32, range.low, range.high);
            scale[lane] = d * tried[lane];
        }
        let error = tile.error::<G>(&scale);
        for lane in 0..L {
            let better = error[lane] < best_error[lane];
            best[lane] = if better { tried[lane] } else { best[lane] };
            best_error[lane] = if better { error[lane] } else { best_error[lane] };
        }
    }
    Scales { d: (bits[0], d), scales: best, error: best_error.iter().sum() }
}

/// The block's scale by least squares, all integers staying as they are.
#[inline(always)]
fn solve<G: Grid, const N: usize, const L: usize, W: Weighing>(
    tile: &Tile<N, L, W>,
    found: &Scales<L>,
) -> f32 {
    let mut inverses = [0.0; L];
    for lane in 0..L {
        inverses[lane] = inverse(found.d.1 * found.scales[lane]);
    }
    let (xq, qq) = tile.project::<G>(&inverses);
    let (mut joint, mut spread) = (0.0, 0.0);
    for lane in 0..L {
        joint += found.scales[lane] * xq[lane];
        spread += found.scales[lane] * found.scales[lane] * qq[lane];
    }
    joint * inverse(spread)
}
