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
    let (mut best, mut best_score) = (plain, [0.0; L]);
    for &target in targets {
        let mut inverses = [0.0; L];
        for lane in 0..L {
            inverses[lane] = target * largest[lane];
        }
        let (xq, qq) = tile.project::<G>(&inverses);
        for lane in 0..L {
            // The least-squares scale for this `q`, and by how much it reduces the squared error.
            let scale = if qq[lane] > 0.0 { xq[lane] / qq[lane] } else { 0.0 };
            let score = scale * xq[lane];
            let better = score > best_score[lane];
            best[lane] = if better { scale } else { best[lane] };
            best_score[lane] = if better { score } else { best_score[lane] };
        }
    }
    (best, plain)
}

/// Returns the best scale of each group as f16, never worse than that of round-to-nearest.
#[inline(always)]
pub(super) fn search<G: Grid, const N: usize, const L: usize, W: Weighting>(
    tile: &Tile<N, L, W>,
    targets: &[f32],
) -> Halves<L> {
    let (best, plain) = fit::<G, N, L, W>(tile, targets);
    let (best, plain) = (half::round(&best), half::round(&plain));
    let best_error = tile.error::<G>(&best.1);
    let plain_error = tile.error::<G>(&plain.1);
    half::select(&plain, &best, &plain_error, &best_error)
}
