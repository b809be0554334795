//! Searches the scales and minimums of a block of groups whose values are `d * s * q - d_min * m`,
//! with integers `s` and `m` for each group.

use super::affine;
use super::half;
use super::tile::{Grid, Tile, Weighting, inverse, nearest};

/// The scales and minimums of a block.
#[derive(Clone, Copy)]
pub(super) struct Scales<const L: usize> {
    /// The f16 scale of the block: its bits and its value.
    pub(super) d: (half::Bits, f32),
    /// The f16 scale of the minimums.
    pub(super) d_min: (half::Bits, f32),
    /// The integer scale of each group.
    pub(super) scales: [f32; L],
    /// The integer minimum of each group.
    pub(super) mins: [f32; L],
    error: f32,
}

impl<const L: usize> Scales<L> {
    /// The resulting scale and minimum of a group.
    #[inline(always)]
    pub(super) fn of(&self, group: usize) -> (f32, f32) {
        (self.d.1 * self.scales[group], -(self.d_min.1 * self.mins[group]))
    }
}

/// How many times a block's scale and minimum are refitted.
const ROUNDS: usize = 3;
/// Offsets from the nearest integer to try.
const NEIGHBOURS: [i32; 3] = [0, -1, 1];

/// Returns the best scales and minimums, never worse than those of round-to-nearest. `steps` is the
/// largest integer scale or minimum, `max` the largest `q`.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    max: f32,
    steps: i32,
) -> Scales<L> {
    let mut bounds = tile.bounds();
    let mut plain = [0.0; L];
    for lane in 0..L {
        bounds.0[lane] = if bounds.0[lane] > 0.0 { 0.0 } else { bounds.0[lane] };
        plain[lane] = (bounds.1[lane] - bounds.0[lane]) / max;
    }
    let best = affine::fit::<G, N, L, W, true>(tile, &bounds, max);
    let mut found = round_to_nearest::<G, N, L, W>(tile, &plain, &bounds.0, steps);
    let start = largest(&best.scale, &best.min, steps);
    let mut tried = fit_integers::<G, N, L, W>(tile, &best.scale, &best.min, start, steps);
    for _ in 0..ROUNDS {
        if tried.error >= found.error {
            break;
        }
        found = tried;
        let d = fit_block_scales::<G, N, L, W>(tile, &found);
        tried = fit_integers::<G, N, L, W>(tile, &best.scale, &best.min, d, steps);
    }
    if tried.error < found.error { tried } else { found }
}

/// The block's scales that map the largest scale and minimum of its groups to `steps`.
#[inline(always)]
fn largest<const L: usize>(scales: &[f32; L], mins: &[f32; L], steps: i32) -> [f32; 2] {
    let (mut scale, mut min) = (0.0, 0.0);
    for lane in 0..L {
        scale = if scales[lane] > scale { scales[lane] } else { scale };
        min = if mins[lane] < min { mins[lane] } else { min };
    }
    [scale / steps as f32, -min / steps as f32]
}

/// The result of round-to-nearest.
#[inline(always)]
fn round_to_nearest<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    scales: &[f32; L],
    mins: &[f32; L],
    steps: i32,
) -> Scales<L> {
    let (bits, [d, d_min]) = half::round(&largest(scales, mins, steps));
    let (per_d, per_d_min) = (inverse(d), inverse(d_min));
    let [mut s, mut m, mut scale, mut min] = [[0.0; L]; 4];
    for lane in 0..L {
        s[lane] = nearest(scales[lane] * per_d, 0, steps);
        m[lane] = nearest(-mins[lane] * per_d_min, 0, steps);
        scale[lane] = d * s[lane];
        min[lane] = -(d_min * m[lane]);
    }
    let error = tile.affine_error::<G, 1>([(&scale, &min)])[0].iter().sum();
    Scales { d: (bits[0], d), d_min: (bits[1], d_min), scales: s, mins: m, error }
}

/// Finds the best integer scales and minimums for given block scales, near those that the groups'
/// own scales and minimums would give.
#[inline(always)]
fn fit_integers<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    scales: &[f32; L],
    mins: &[f32; L],
    d: [f32; 2],
    steps: i32,
) -> Scales<L> {
    let (bits, [d, d_min]) = half::round(&d);
    let (per_d, per_d_min) = (inverse(d), inverse(d_min));
    let (w, x) = tile.totals();
    let ([mut best, mut best_min], mut best_error) = ([[0.0; L]; 2], [f32::MAX; L]);
    for neighbour in NEIGHBOURS {
        let [mut s, mut m, mut scale, mut inverses, mut min] = [[0.0; L]; 5];
        for lane in 0..L {
            let rounded = nearest(scales[lane] * per_d, 0, steps);
            s[lane] = nearest(rounded + neighbour as f32, 0, steps);
            scale[lane] = d * s[lane];
            inverses[lane] = inverse(scale[lane]);
        }
        // The rounded scale differs from the group's own, so its best minimum differs as well.
        let [[q, _, _]] = tile.regress::<G, 1>(&[(inverses, *mins)]);
        for lane in 0..L {
            let wanted = (scale[lane] * q[lane] - x[lane]) / w[lane];
            m[lane] = nearest(wanted * per_d_min, 0, steps);
            min[lane] = -(d_min * m[lane]);
        }
        let error = tile.affine_error::<G, 1>([(&scale, &min)])[0];
        for lane in 0..L {
            let better = error[lane] < best_error[lane];
            best[lane] = if better { s[lane] } else { best[lane] };
            best_min[lane] = if better { m[lane] } else { best_min[lane] };
            best_error[lane] = if better { error[lane] } else { best_error[lane] };
        }
    }
    Scales {
        d: (bits[0], d),
        d_min: (bits[1], d_min),
        scales: best,
        mins: best_min,
        error: best_error.iter().sum(),
    }
}

/// Fits the block's scales by least squares, keeping all integers.
#[inline(always)]
fn fit_block_scales<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    found: &Scales<L>,
) -> [f32; 2] {
    let [mut inverses, mut min] = [[0.0; L]; 2];
    for lane in 0..L {
        let (scale, group_min) = found.of(lane);
        inverses[lane] = inverse(scale);
        min[lane] = group_min;
    }
    let (w, x) = tile.totals();
    let [[q, xq, qq]] = tile.regress::<G, 1>(&[(inverses, min)]);
    // The normal equations of value = d * (s q) + d_min * (-m).
    let [mut ss, mut sm, mut mm, mut xs, mut xm] = [0.0; 5];
    for lane in 0..L {
        let (s, m) = (found.scales[lane], found.mins[lane]);
        ss += s * s * qq[lane];
        sm += s * m * q[lane];
        mm += m * m * w[lane];
        xs += s * xq[lane];
        xm += m * x[lane];
    }
    let determinant = ss * mm - sm * sm;
    if determinant > 0.0 {
        [(xs * mm - xm * sm) / determinant, ((xs * sm - xm * ss) / determinant).max(0.0)]
    } else {
        [xs * inverse(ss), found.d_min.1]
    }
}
