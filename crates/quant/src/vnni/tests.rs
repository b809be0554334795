//! Tests the generic code with emulated `vpdpbusd` against the scalar kernels, for machines without
//! VNNI.
//!
//! Code specific to AVX-512 (its vectors, the float tiles) is tested by `crate::tests` on
//! processors that have it.

use proptest::prelude::*;

use super::{Set, matvec, panel_matmul};
use crate::panel::{PANEL_ROWS, Panel};
use crate::tests::{QUANTIZED, Random};
use crate::{Activations, Format, Isa, scalar};

/// Rounding of f32 sums in different orders, relative to the largest magnitude of a partial sum;
/// scales are up to the largest f16, products of integers up to 127 * 127.
const SUM_TOLERANCE: f32 = 2e-6;

proptest! {
    #[test]
    fn products_match_the_scalar_kernels(
        ty in prop::sample::select(QUANTIZED.to_vec()),
        n_blocks in 1_usize..40,
        n_rows in 1_usize..=PANEL_ROWS,
        n_tokens in 1_usize..12,
        ones: bool,
        seed: u64,
    ) {
        if !Isa::Avx2.is_available() {
            return Ok(());
        }
        let mut random = Random(seed);
        let format = Format::of(ty).expect("a quantised type");
        let n_cols = n_blocks * format.block_values;
        let mut rows = random.blocks(ty, n_rows * n_cols);
        let mut x = random.activations(n_tokens * n_cols);
        if ones {
            // The extremes, where too narrow sums would overflow.
            for block in rows.chunks_exact_mut(format.block_bytes) {
                for (i, byte) in block.iter_mut().enumerate() {
                    let of_scale = crate::tests::scale_offsets(ty).iter().any(|&at| i == at || i == at + 1);
                    *byte = if of_scale { 0x3c } else { 0xff };
                }
            }
            x.iter_mut().for_each(|x| *x = 127.0 * x.signum());
        }
        let mut activations = Activations::with_isa(n_tokens, n_cols, Isa::Scalar);
        activations.quantize(&x);
        // An upper bound of the sum of the terms' magnitudes.
        let magnitude = |t: usize| {
            let mut positive = activations.clone();
            let x: Vec<f32> = x[t * n_cols..][..n_cols].iter().map(|x| x.abs()).collect();
            positive.resize(1, n_cols);
            positive.quantize(&x);
            let row_bytes = format.row_bytes(n_cols);
            let mut q = vec![0; n_cols];
            let n_groups = n_cols / format.group;
            let (mut scales, mut mins) = (vec![0.0_f32; n_groups], vec![0.0_f32; n_groups]);
            rows.chunks_exact(row_bytes).map(|row| {
                crate::blocks::unpack(ty, row, &mut q, &mut scales, &mut mins);
                let terms = x.iter().enumerate().map(|(i, x)| {
                    let group = i / format.group;
                    ((scales[group] * f32::from(q[i])).abs() + mins[group].abs()) * x
                });
                terms.sum::<f32>()
            }).collect::<Vec<f32>>()
        };
        let row_bytes = format.row_bytes(n_cols);
        let mut panel = Panel::new(ty, format, Isa::AvxVnni, n_cols);
        panel.load(&rows);
        let mut products = vec![[f32::NAN; PANEL_ROWS]; n_tokens];
        panel_matmul(Set::StandIn, &panel, activations.batch(), 0, &mut products);
        for (t, products) in products.iter().enumerate() {
            let activations = activations.row(t);
            let mut expected = vec![0.0; n_rows];
            scalar::matvec(ty, format, &rows, activations, &mut expected);
            let mut direct = vec![f32::NAN; n_rows];
            matvec(Set::StandIn, ty, format, &rows, &rows, activations, &mut direct);
            prop_assert_eq!(rows.len(), n_rows * row_bytes);
            for (r, magnitude) in magnitude(t).into_iter().enumerate() {
                let limit = SUM_TOLERANCE * magnitude;
                for (name, got) in [("matvec", direct[r]), ("panel", products[r])] {
                    let error = (got - expected[r]).abs();
                    prop_assert!(error <= limit, "{ty} {name}: {got} for {}", expected[r]);
                }
            }
            prop_assert!(products[n_rows..].iter().all(|&x| x == 0.0));
        }
    }
}
