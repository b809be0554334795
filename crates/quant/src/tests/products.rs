//! Tests quantised activations and the dot products.

use half::{bf16, f16};
use lilims_gguf::TensorType;
use proptest::prelude::*;

use super::super::{Activations, BLOCK, Format, Isa, Kernel, PANEL_ROWS, dequantize, unpack};
use super::{FLOATS, QUANTIZED, Random};

/// Rounding of f32 sums in different orders, relative to the sum of the terms' magnitudes.
const SUM_TOLERANCE: f64 = 1e-6;

/// Half a step of rounding, and the scale's rounding to 11 bits: 127 steps by 2⁻¹¹.
const HALF_STEP: f32 = 0.5 + 127.0 / 2048.0 + 1e-4;

/// The exact dot product, computed in f64 from the dequantised values, and the magnitude that
/// rounding errors are relative to: kernels add offsets and minimums separately from the products.
fn exact(ty: TensorType, row: &[u8], activations: &[f32]) -> (f64, f64) {
    let n = activations.len();
    let mut weights = vec![0.0; n];
    dequantize(ty, row, &mut weights).expect("whole blocks");
    let dot = weights.iter().zip(activations).map(|(&w, &a)| f64::from(w) * f64::from(a)).sum();
    let Some(format) = Format::of(ty) else {
        let terms = weights.iter().zip(activations);
        return (dot, terms.map(|(&w, &a)| f64::from(w * a).abs()).sum());
    };
    let (mut q, mut scales, mut mins) =
        (vec![0; n], vec![0.0; n / format.group], vec![0.0; n / format.group]);
    unpack(ty, row, &mut q, &mut scales, &mut mins);
    let mut magnitude = 0.0;
    for (i, &a) in activations.iter().enumerate() {
        let (scale, min) = (scales[i / format.group], mins[i / format.group]);
        let largest = f64::from(scale) * f64::from(q[i]);
        magnitude += (largest.abs() + f64::from(min).abs()) * f64::from(a).abs();
    }
    (dot, magnitude)
}

fn float_rows(ty: TensorType, x: &[f32]) -> Vec<u8> {
    match ty {
        TensorType::F32 => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorType::F16 => x.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        _ => x.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
    }
}

fn quantized(isa: Isa, x: &[f32], n_cols: usize) -> Activations {
    let mut activations = Activations::with_isa(x.len() / n_cols, n_cols, isa);
    activations.quantize(x);
    activations
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #[test]
    fn all_instruction_sets_quantise_activations_the_same(
        n_blocks in 1_usize..9,
        seed: u64,
        odd in prop::option::of((0_usize..32, prop::sample::select(vec![
            f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, f32::MIN_POSITIVE,
            1e-40, 1e-30, 9.9e-31,
        ]))),
    ) {
        let mut x = Random(seed).activations(n_blocks * BLOCK);
        if let Some((idx, value)) = odd {
            x[idx] = value;
        }
        let scalar = quantized(Isa::Scalar, &x, x.len());
        let scalar = scalar.row(0);
        for isa in Isa::ALL {
            let other = quantized(isa, &x, x.len());
            let other = other.row(0);
            prop_assert_eq!(other.values, scalar.values);
            prop_assert_eq!(bits(other.scales), bits(scalar.scales));
            prop_assert_eq!(bits(other.sums_16), bits(scalar.sums_16));
            prop_assert_eq!(bits(other.sums_32), bits(scalar.sums_32));
        }
        let mut back = vec![0.0; x.len()];
        scalar.dequantize(&mut back);
        for (block, (x, back)) in x.chunks(BLOCK).zip(back.chunks(BLOCK)).enumerate() {
            let finite = x.iter().all(|x| x.is_finite());
            prop_assert_eq!(finite, scalar.scales[block].is_finite());
            for (x, back) in x.iter().zip(back) {
                let error = (x - back).abs();
                let step = scalar.scales[block];
                prop_assert!(!finite || error <= HALF_STEP * step || error < 1e-30);
            }
        }
    }

    #[test]
    fn dot_products_are_accurate_on_all_instruction_sets(
        ty in prop::sample::select(QUANTIZED.to_vec()),
        n_blocks in 1_usize..6,
        n_rows in 1_usize..20,
        n_tokens in 1_usize..7,
        seed: u64,
    ) {
        let mut random = Random(seed);
        let format = Format::of(ty).expect("a quantised type");
        let n_cols = n_blocks * format.block_values;
        let rows = random.blocks(ty, n_rows * n_cols);
        let activations = random.activations(n_tokens * n_cols);
        let activations = quantized(Isa::Scalar, &activations, n_cols);
        let mut decoded = vec![0.0; n_cols];
        for isa in Isa::ALL {
            let kernel = Kernel::with_isa(ty, isa).expect("a supported type");
            let mut panel = kernel.panel(n_cols);
            for t in 0..n_tokens {
                activations.row(t).dequantize(&mut decoded);
                let mut out = vec![f32::NAN; n_rows];
                kernel.matvec(&rows, &rows, activations.row(t), &mut out);
                for (row, out) in rows.chunks_exact(kernel.row_bytes(n_cols)).zip(out) {
                    let (exact, magnitude) = exact(ty, row, &decoded);
                    let error = (f64::from(out) - exact).abs();
                    prop_assert!(
                        error <= SUM_TOLERANCE * magnitude,
                        "{ty} {} matvec: {out} for {exact}, magnitude {magnitude}", isa.name()
                    );
                }
            }
            let first = n_tokens / 3;
            let mut out = vec![[f32::NAN; PANEL_ROWS]; n_tokens - first];
            for rows in rows.chunks(PANEL_ROWS * kernel.row_bytes(n_cols)) {
                panel.load(rows);
                panel.matmul(activations.batch(), first, &mut out);
                for (t, out) in out.iter().enumerate() {
                    activations.row(first + t).dequantize(&mut decoded);
                    let mut rows = rows.chunks_exact(kernel.row_bytes(n_cols));
                    for out in out {
                        let Some(row) = rows.next() else {
                            prop_assert_eq!(*out, 0.0, "a missing row gives zero");
                            continue;
                        };
                        let (exact, magnitude) = exact(ty, row, &decoded);
                        let error = (f64::from(*out) - exact).abs();
                        prop_assert!(
                            error <= SUM_TOLERANCE * magnitude,
                            "{ty} {} panel: {out} for {exact}, magnitude {magnitude}", isa.name()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn float_products_are_accurate_on_all_instruction_sets(
        ty in prop::sample::select(FLOATS.to_vec()),
        n_cols in 1_usize..70,
        n_rows in 1_usize..8,
        n_tokens in 1_usize..7,
        seed: u64,
    ) {
        let mut random = Random(seed);
        let rows = float_rows(ty, &random.values(n_rows * n_cols));
        let x = random.values(n_tokens * n_cols);
        for isa in Isa::ALL {
            let kernel = Kernel::with_isa(ty, isa).expect("a supported type");
            let mut out = vec![f32::NAN; n_rows * n_tokens];
            kernel.matmul_float(&rows, &rows, &x, n_cols, &mut out);
            for (t, x) in x.chunks_exact(n_cols).enumerate() {
                for (r, row) in rows.chunks_exact(kernel.row_bytes(n_cols)).enumerate() {
                    let (exact, magnitude) = exact(ty, row, x);
                    let out = out[t * n_rows + r];
                    let error = (f64::from(out) - exact).abs();
                    prop_assert!(
                        error <= SUM_TOLERANCE * magnitude,
                        "{ty} {}: {out} for {exact}", isa.name()
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn weighted_sums_are_accurate_on_all_instruction_sets(
        ty in prop::sample::select(FLOATS.to_vec()),
        n_cols in 1_usize..150,
        n_values in 0_usize..9,
        n_rows in 1_usize..20,
        seed: u64,
    ) {
        let mut random = Random(seed);
        let values = float_rows(ty, &random.values(n_values * n_cols));
        let (p, start) = (random.values(n_rows * n_values), random.values(n_rows * n_cols));
        let mut decoded = vec![0.0; n_values * n_cols];
        dequantize(ty, &values, &mut decoded).expect("whole rows");
        for isa in Isa::ALL {
            let mut out = start.clone();
            let kernel = Kernel::with_isa(ty, isa).expect("a supported type");
            kernel.add_weighted(&values, &values, &p, n_cols, &mut out);
            for (i, out) in out.iter().enumerate() {
                let (row, col) = (i / n_cols, i % n_cols);
                let mut exact = f64::from(start[i]);
                for value in 0..n_values {
                    let (p, v) = (p[row * n_values + value], decoded[value * n_cols + col]);
                    exact += f64::from(p) * f64::from(v);
                }
                prop_assert!((f64::from(*out) - exact).abs() < 1e-5, "{ty} {}", isa.name());
            }
        }
    }
}

#[test]
fn extreme_integers_do_not_saturate() {
    // With the largest weights and activations, too narrow 16-bit sums would overflow.
    for ty in QUANTIZED {
        let format = Format::of(ty).expect("a quantised type");
        for (fill, sign) in [(0xff, 1.0), (0xff, -1.0), (0x80, 1.0), (0x80, -1.0), (0x00, -1.0)] {
            let n_cols = 2 * 256;
            let mut rows = vec![fill; PANEL_ROWS * format.row_bytes(n_cols)];
            for block in rows.chunks_exact_mut(format.block_bytes) {
                for &offset in super::scale_offsets(ty) {
                    block[offset..offset + 2].copy_from_slice(&f16::ONE.to_le_bytes());
                }
            }
            // Quantised with a scale of 1, which is exact.
            let x = vec![sign * 127.0; 5 * n_cols];
            for isa in Isa::ALL {
                let activations = quantized(isa, &x, n_cols);
                let kernel = Kernel::with_isa(ty, isa).expect("a supported type");
                let (exact, magnitude) = exact(ty, &rows[..format.row_bytes(n_cols)], &x[..n_cols]);
                let mut panel = kernel.panel(n_cols);
                panel.load(&rows);
                let mut out = [[0.0; PANEL_ROWS]; 5];
                panel.matmul(activations.batch(), 0, &mut out);
                let mut direct = [0.0; PANEL_ROWS];
                kernel.matvec(&rows, &rows, activations.row(0), &mut direct);
                for got in out.into_iter().chain([direct]).flatten() {
                    let error = (f64::from(got) - exact).abs();
                    assert!(error <= SUM_TOLERANCE * magnitude, "{ty} {}", isa.name());
                }
            }
        }
    }
}
