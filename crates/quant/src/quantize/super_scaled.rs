//! Searches the scales of a block of groups whose values are `d * s * q`, with an integer `s` for
//! each group.

use super::half;
use super::scaled;
use super::tile::{Grid, Tile, Weighting, inverse, nearest};

/// The possible integer scales, and the candidate grid positions of the largest value.
pub(super) struct Range {
    pub(super) low: i32,
    pub(super) high: i32,
    /// As for [`scaled::fit`].
    pub(super) targets: &'static [f32],
}

/// The scales of a block.
#[derive(Clone, Copy)]
pub(super) struct Scales<const L: usize> {
    /// The f16 scale of the block: its bits and its value.
    pub(super) d: (half::Bits, f32),
    /// The integer scale of each group.
    pub(super) scales: [f32; L],
    error: f32,
}

/// Returns the best scales, never worse than those of round-to-nearest.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    range: &Range,
) -> Scales<L> {
    let (best, plain) = scaled::fit::<G, N, L, W>(tile, range.targets);
    let mut found = fit_integers::<G, N, L, W>(tile, range, &plain, largest(&plain, range), &[0]);
    // Rounded up, because the integers are already at the end of their range and could not make up
    // for a scale that is too small.
    let start = half::round_subnormal_up(largest(&best, range));
    let mut tried = fit_integers::<G, N, L, W>(tile, range, &best, start, &NEIGHBOURS);
    for _ in 0..ROUNDS {
        if tried.error >= found.error {
            break;
        }
        found = tried;
        let d = fit_block_scale::<G, N, L, W>(tile, &found);
        tried = fit_integers::<G, N, L, W>(tile, range, &best, d, &NEIGHBOURS);
    }
    if tried.error < found.error { tried } else { found }
}

/// How many times a block's scale is refitted.
const ROUNDS: usize = 2;
/// Offsets from the nearest integer to try.
const NEIGHBOURS: [i32; 3] = [0, -1, 1];

/// The block's scale that maps the largest scale of its groups to the low end of the range, which
/// has the larger magnitude.
#[inline(always)]
fn largest<const L: usize>(scales: &[f32; L], range: &Range) -> f32 {
    let mut largest = 0.0_f32;
    for &scale in scales {
        largest = if scale.abs() > largest.abs() { scale } else { largest };
    }
    largest / range.low as f32
}

/// Finds the best integer scales for a given block scale, near those that the groups' own scales
/// would give.
#[inline(always)]
fn fit_integers<G: Grid, const N: usize, const L: usize, W: Weighting>(
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
            let rounded = nearest(wanted[lane] * per_d, range.low, range.high);
            tried[lane] = nearest(rounded + neighbour as f32, range.low, range.high);
            scale[lane] = d * tried[lane];
        }
        let error = tile.error::<G, 1>([&scale])[0];
        for lane in 0..L {
            let better = error[lane] < best_error[lane];
            best[lane] = if better { tried[lane] } else { best[lane] };
            best_error[lane] = if better { error[lane] } else { best_error[lane] };
        }
    }
    Scales { d: (bits[0], d), scales: best, error: best_error.iter().sum() }
}

/// Fits the block's scale by least squares, keeping all integers.
#[inline(always)]
fn fit_block_scale<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    found: &Scales<L>,
) -> f32 {
    let mut inverses = [0.0; L];
    for lane in 0..L {
        inverses[lane] = inverse(found.d.1 * found.scales[lane]);
    }
    let [(xq, qq)] = tile.project::<G, 1>(&[inverses]);
    let (mut joint, mut spread) = (0.0, 0.0);
    for lane in 0..L {
        joint += found.scales[lane] * xq[lane];
        spread += found.scales[lane] * found.scales[lane] * qq[lane];
    }
    joint * inverse(spread)
}
