//! Searches the scale of groups whose values are `scale * q`.

use super::half::{self, Halves};
use super::tile::{Grid, Tile, Weighting, inverse};

/// Fits the scale of each group by least squares, with `q` from the best target for the largest
/// value. Returns it with the unfitted scale of the first target.
#[inline(always)]
pub(super) fn fit<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    targets: &[f32],
) -> ([f32; L], [f32; L]) {
    let (low, high) = tile.bounds();
    let (mut largest, mut plain) = ([0.0; L], [0.0; L]);
    for lane in 0..L {
        largest[lane] = if -low[lane] > high[lane] { low[lane] } else { high[lane] };
        plain[lane] = largest[lane] / targets[0];
        // Inverted once, which saves a division for each target.
        largest[lane] = inverse(largest[lane]);
    }
    let mut best = (plain, [0.0; L]);
    let (pairs, last) = targets.as_chunks::<2>();
    for targets in pairs {
        try_targets::<G, N, L, 2, W>(tile, targets, &largest, &mut best);
    }
    for &target in last {
        try_targets::<G, N, L, 1, W>(tile, &[target], &largest, &mut best);
    }
    (best.0, plain)
}

/// Replaces the scale and its score, for each group, by those of a target that is better.
#[inline(always)]
fn try_targets<G: Grid, const N: usize, const L: usize, const K: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    targets: &[f32; K],
    largest: &[f32; L],
    (best, best_score): &mut ([f32; L], [f32; L]),
) {
    let mut inverses = [[0.0; L]; K];
    for k in 0..K {
        for lane in 0..L {
            inverses[k][lane] = targets[k] * largest[lane];
        }
    }
    for (xq, qq) in tile.project::<G, K>(&inverses) {
        for lane in 0..L {
            // The least-squares scale for this `q`, and by how much it reduces the squared error.
            let scale = if qq[lane] > 0.0 { xq[lane] / qq[lane] } else { 0.0 };
            let score = scale * xq[lane];
            let better = score > best_score[lane];
            best[lane] = if better { scale } else { best[lane] };
            best_score[lane] = if better { score } else { best_score[lane] };
        }
    }
}

/// Returns the best scale of each group as f16, never worse than that of round-to-nearest.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    targets: &[f32],
) -> Halves<L> {
    let (best, plain) = fit::<G, N, L, W>(tile, targets);
    let (best, plain) = (half::round(&best), half::round(&plain));
    let [best_error, plain_error] = tile.error::<G, 2>([&best.1, &plain.1]);
    half::select(&plain, &best, &plain_error, &best_error)
}
