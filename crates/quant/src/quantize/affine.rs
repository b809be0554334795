//! Searches the scale and minimum of groups whose values are `scale * q + min`.

use super::half::{self, Halves};
use super::tile::{Grid, Tile, Weighting, inverse};

/// Candidates for the range: by how many grid steps its low and high ends move inwards. The short
/// list, for types where the search must not cost much more than round-to-nearest. One step
/// outwards turns 31 steps into 30, which represent exactly what 15 steps do.
const FEW_INSETS: &[[f32; 2]] = &[[0.0, 0.0], [0.6, 0.0], [0.0, 0.6], [0.0, -1.0]];
/// The long list, for quantised minimums and for weighted values, where an end of the range may
/// have no weight at all.
const MANY_INSETS: &[[f32; 2]] = &[
    [0.0, 0.0],
    [0.5, 0.5],
    [0.0, 0.5],
    [0.5, 0.0],
    [0.0, -1.0],
    [1.0, 0.0],
    [0.0, 1.0],
    [1.0, 1.0],
    [2.0, 0.5],
    [0.5, 2.0],
    [2.0, 2.0],
];

/// Scales and minimums, with the reduction of the squared error as score.
#[derive(Clone, Copy)]
pub(super) struct Fit<const L: usize> {
    pub(super) scale: [f32; L],
    pub(super) min: [f32; L],
    score: [f32; L],
}

/// Fits the scale and the minimum of each group by least squares, with `q` from the best of several
/// candidate ranges. `CAPPED`: no minimum is above 0.
#[inline(always)]
pub(super) fn fit<G: Grid, const N: usize, const L: usize, W: Weighting, const CAPPED: bool>(
    tile: &Tile<N, L, W>,
    (low, high): &([f32; L], [f32; L]),
    max: f32,
) -> Fit<L> {
    let totals = tile.totals();
    let mut best = Fit { scale: [0.0; L], min: *low, score: [-f32::MAX; L] };
    let insets = if W::BY_IMPORTANCE || CAPPED { MANY_INSETS } else { FEW_INSETS };
    let (pairs, last) = insets.as_chunks::<2>();
    for pair in pairs {
        let candidates = [inset(low, high, max, pair[0]), inset(low, high, max, pair[1])];
        for tried in &regress::<G, N, L, 2, W, CAPPED>(tile, &totals, &candidates) {
            keep_better(&mut best, tried);
        }
    }
    for &single in last {
        let candidates = [inset(low, high, max, single)];
        let [tried] = regress::<G, N, L, 1, W, CAPPED>(tile, &totals, &candidates);
        keep_better(&mut best, &tried);
    }
    let n_rounds = match (W::BY_IMPORTANCE, CAPPED) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => 0,
    };
    for _ in 0..n_rounds {
        let mut inverses = [0.0; L];
        for lane in 0..L {
            inverses[lane] = inverse(best.scale[lane]);
        }
        let candidates = [(inverses, best.min)];
        let [tried] = regress::<G, N, L, 1, W, CAPPED>(tile, &totals, &candidates);
        keep_better(&mut best, &tried);
    }
    best
}

/// The inverse scale and the minimum of each group for a range whose ends are moved.
#[inline(always)]
fn inset<const L: usize>(
    low: &[f32; L],
    high: &[f32; L],
    max: f32,
    [below, above]: [f32; 2],
) -> ([f32; L], [f32; L]) {
    let [mut inverses, mut mins] = [[0.0; L]; 2];
    for lane in 0..L {
        let step = (high[lane] - low[lane]) * (1.0 / max);
        mins[lane] = low[lane] + below * step;
        inverses[lane] = inverse(step * ((max - below - above) / max));
    }
    (inverses, mins)
}

#[inline(always)]
fn keep_better<const L: usize>(best: &mut Fit<L>, tried: &Fit<L>) {
    for lane in 0..L {
        let better = tried.score[lane] > best.score[lane];
        best.scale[lane] = if better { tried.scale[lane] } else { best.scale[lane] };
        best.min[lane] = if better { tried.min[lane] } else { best.min[lane] };
        best.score[lane] = if better { tried.score[lane] } else { best.score[lane] };
    }
}

#[inline(always)]
fn regress<
    G: Grid,
    const N: usize,
    const L: usize,
    const K: usize,
    W: Weighting,
    const CAPPED: bool,
>(
    tile: &Tile<N, L, W>,
    (w, x): &([f32; L], [f32; L]),
    candidates: &[([f32; L], [f32; L]); K],
) -> [Fit<L>; K] {
    let sums = tile.regress::<G, K>(candidates);
    let mut fits = [Fit { scale: [0.0; L], min: [0.0; L], score: [0.0; L] }; K];
    for (fit, [q, xq, qq]) in fits.iter_mut().zip(&sums) {
        for lane in 0..L {
            let spread = w[lane] * qq[lane] - q[lane] * q[lane];
            let joint = w[lane] * xq[lane] - x[lane] * q[lane];
            let mut scale = joint * if spread > 0.0 { 1.0 / spread } else { 0.0 };
            let mut min = (x[lane] - scale * q[lane]) / w[lane];
            if CAPPED {
                let alone = xq[lane] * if qq[lane] > 0.0 { 1.0 / qq[lane] } else { 0.0 };
                scale = if min > 0.0 { alone } else { scale };
                min = if min > 0.0 { 0.0 } else { min };
            }
            fit.scale[lane] = scale;
            fit.min[lane] = min;
            fit.score[lane] = scale * xq[lane] + min * x[lane];
        }
    }
    fits
}

/// Returns the best scale and minimum of each group as f16, never worse than those of
/// round-to-nearest.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    max: f32,
) -> [Halves<L>; 2] {
    let bounds = tile.bounds();
    let best = fit::<G, N, L, W, false>(tile, &bounds, max);
    let (low, high) = bounds;
    let mut plain = [0.0; L];
    for lane in 0..L {
        plain[lane] = (high[lane] - low[lane]) / max;
    }
    let (best, best_min) = (half::round(&best.scale), half::round(&best.min));
    let (plain, low) = (half::round(&plain), half::round(&low));
    let [best_error, plain_error] =
        tile.affine_error::<G, 2>([(&best.1, &best_min.1), (&plain.1, &low.1)]);
    [
        half::select(&plain, &best, &plain_error, &best_error),
        half::select(&low, &best_min, &plain_error, &best_error),
    ]
}
