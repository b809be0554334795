//! Tests the vector operations.

use half::f16;
use lilims_gguf::TensorType;
use proptest::prelude::*;

use super::super::vector::{self, EXP_TOLERANCE, scalar};
use super::Random;
use crate::dequantize;

/// Rounding of f32 sums in different orders, relative to the sum of the terms' magnitudes.
const SUM_TOLERANCE: f32 = 1e-6;

/// Relative error of activation functions: an exponential, a division and a few multiplications.
const FUNCTION_TOLERANCE: f32 = 2e-6;

fn halves(x: &[f32]) -> Vec<f16> {
    x.iter().map(|&x| f16::from_f32(x)).collect()
}

proptest! {
    #[test]
    fn sums_match_the_scalar_versions(n in 0_usize..150, seed: u64) {
        let mut random = Random(seed);
        let (a, b) = (random.values(n), random.values(n));
        let squares = scalar::dot_f32(&a, &a);
        prop_assert!((vector::sum_squares(&a) - squares).abs() <= SUM_TOLERANCE * squares);

        let p = random.value();
        let mut fused = b.clone();
        let mut plain = b.clone();
        vector::axpy_f32(p, &a, &mut fused);
        scalar::axpy_f32(p, &a, &mut plain);
        for (fused, plain) in fused.iter().zip(&plain) {
            // A fused multiply-add rounds once, separate operations twice.
            prop_assert!((fused - plain).abs() <= SUM_TOLERANCE);
        }
    }

    #[test]
    fn scaled_values_match_the_scalar_versions(n in 0_usize..150, seed: u64) {
        let mut random = Random(seed);
        let (a, weight, factor) = (random.values(n), random.values(n), random.value());
        prop_assert_eq!(vector::max(&a), scalar::max(&a));
        let (mut got, mut expected) = (a.clone(), a.clone());
        vector::scale(&mut got, factor);
        scalar::scale(&mut expected, factor);
        prop_assert_eq!(&got, &expected);
        scalar::scale_by(&a, 1.0 / (scalar::dot_f32(&a, &a) / n as f32).sqrt(), &weight, &mut expected);
        vector::rms_norm(&a, &weight, 0.0, &mut got);
        for (got, expected) in got.iter().zip(&expected) {
            prop_assert!((got - expected).abs() <= SUM_TOLERANCE * expected.abs());
        }
    }

    #[test]
    fn layer_norms_match_the_scalar_versions(n in 1_usize..150, shift in -3.0_f32..3.0, seed: u64) {
        let mut random = Random(seed);
        let x: Vec<f32> = random.values(n).iter().map(|x| x + shift).collect();
        let (weight, bias) = (random.values(n), random.values(n));
        let mut got = vec![0.0; n];
        vector::layer_norm(&x, &weight, &bias, 1e-5, &mut got);
        let mut expected = vec![0.0; n];
        let mean = scalar::sum(&x) / n as f32;
        let variance = scalar::center(&x, mean, &mut expected) / n as f32;
        let factor = 1.0 / (variance + 1e-5).sqrt();
        scalar::scale_and_shift(&mut expected, factor, &weight, &bias);
        // Another order of summing changes the mean and thus every value; the factor magnifies
        // that.
        let tolerance = SUM_TOLERANCE * (1.0 + (shift.abs() + 1.0) * factor);
        for (got, expected) in got.iter().zip(&expected) {
            prop_assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()));
        }
    }

    #[test]
    fn to_f16_rounds_like_the_half_crate(x: Vec<f32>) {
        let mut got = vec![f16::ZERO; x.len()];
        vector::to_f16(&x, &mut got);
        for ((got, expected), x) in got.iter().zip(halves(&x)).zip(&x) {
            let is_clamped = expected.is_infinite() && x.is_finite();
            let expected = if is_clamped { f16::MAX.copysign(expected) } else { expected };
            prop_assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan());
        }
    }

    #[test]
    fn from_q8_0_equals_dequantisation(n_blocks in 0_usize..9, seed: u64) {
        let blocks = Random(seed).blocks(TensorType::Q8_0, 32 * n_blocks);
        let (mut got, mut expected) = (vec![f32::NAN; 32 * n_blocks], vec![0.0; 32 * n_blocks]);
        vector::from_q8_0(&blocks, &mut got);
        dequantize(TensorType::Q8_0, &blocks, &mut expected).expect("whole blocks");
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn softmax_sums_to_one(n in 1_usize..150, scale in 0.0_f32..50.0, seed: u64) {
        let mut x: Vec<f32> = Random(seed).values(n).iter().map(|x| x * scale).collect();
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x).exp()).collect();
        let sum: f64 = exact.iter().sum();
        vector::softmax(&mut x);
        for (x, exact) in x.iter().zip(exact) {
            let expected = (exact / sum) as f32;
            // The difference to the largest argument is rounded before the exponential.
            prop_assert!((x - expected).abs() <= 2e-5 * expected + 1e-37);
        }
        prop_assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn activation_functions_match_their_formulas(
        x in prop::collection::vec(-110.0_f32..110.0, 0..40),
        small in prop::collection::vec(-6.0_f32..6.0, 0..40),
    ) {
        let x: Vec<f32> = x.into_iter().chain(small).collect();
        let ones = vec![1.0; x.len()];
        let (mut silu, mut gelu, mut gelu_alone) = (x.clone(), x.clone(), x.clone());
        vector::silu_mul(&mut silu, &ones);
        vector::gelu_mul(&mut gelu, &ones);
        vector::gelu(&mut gelu_alone);
        prop_assert_eq!(&gelu, &gelu_alone);
        let (mut silu_twin, mut gelu_twin) = (x.clone(), x.clone());
        scalar::silu_mul(&mut silu_twin, &ones);
        scalar::gelu(&mut gelu_twin);
        for (i, &x) in x.iter().enumerate() {
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let exact_gelu = x / (1.0 + (-2.0 * inner).exp());
            let exact_silu = x / (1.0 + (-x).exp());
            for (got, exact) in [
                (silu[i], exact_silu), (silu_twin[i], exact_silu),
                (gelu[i], exact_gelu), (gelu_twin[i], exact_gelu),
            ] {
                // Far below zero the result is as small as the rounding error of the argument.
                let tolerance = FUNCTION_TOLERANCE * (exact.abs() as f32 + 1e-3 * x.abs() as f32);
                prop_assert!((f64::from(got) - exact).abs() as f32 <= tolerance + 1e-30);
            }
        }
    }
}

#[test]
fn exp_is_accurate_over_its_range() {
    let mut x: Vec<f32> = (0..200_000).map(|i| -87.3 + 175.6 * i as f32 / 200_000.0).collect();
    let exact: Vec<f64> = x.iter().map(|&x| f64::from(x).exp()).collect();
    vector::exp(&mut x);
    for (got, exact) in x.iter().zip(exact) {
        let error = ((f64::from(*got) - exact) / exact).abs();
        assert!(error <= f64::from(EXP_TOLERANCE), "{got} for {exact}");
    }
}

#[test]
fn exp_handles_extreme_arguments() {
    let mut x = [f32::NEG_INFINITY, -1000.0, -87.4, 0.0, -0.0, 1000.0, f32::INFINITY, f32::NAN];
    vector::exp(&mut x);
    assert_eq!(x[..5], [0.0, 0.0, 0.0, 1.0, 1.0]);
    assert!(x[5].is_finite() && x[5] > 2e38 && x[6] == x[5]);
    assert!(x[7].is_nan());
}

#[test]
fn softmax_of_masked_values() {
    let mut all = [f32::NEG_INFINITY; 9];
    vector::softmax(&mut all);
    assert_eq!(all, [0.0; 9]);
    let mut one = [f32::NEG_INFINITY; 9];
    one[4] = 3.0;
    vector::softmax(&mut one);
    assert_eq!(one, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn rms_norm_follows_its_formula() {
    let x = Random(5).values(577);
    let weight = Random(6).values(577);
    let mut out = vec![0.0; 577];
    vector::rms_norm(&x, &weight, 1e-5, &mut out);
    let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 577.0;
    for i in 0..577 {
        let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
        assert!((f64::from(out[i]) - exact).abs() <= 1e-6 * exact.abs().max(1e-6));
    }
}

#[test]
fn layer_norm_follows_its_formula() {
    let x: Vec<f32> = Random(7).values(577).iter().map(|x| x + 3.0).collect();
    let (weight, bias) = (Random(8).values(577), Random(9).values(577));
    let mut out = vec![0.0; 577];
    vector::layer_norm(&x, &weight, &bias, 1e-5, &mut out);
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / 577.0;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 577.0;
    for i in 0..577 {
        let normed = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt();
        let exact = normed * f64::from(weight[i]) + f64::from(bias[i]);
        // The mean, about 3, is rounded to f32 before it is subtracted.
        assert!((f64::from(out[i]) - exact).abs() <= 2e-6);
    }
    vector::layer_norm(&[], &[], &[], 1e-5, &mut []);
}

#[test]
fn t12_to_f16_keeps_nan_and_infinity_and_clamps_finite_values() {
    let mut x =
        [1e30, -1e30, 65504.0, 65519.0, 65520.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]
            .repeat(3);
    x.push(f32::MAX);
    let mut got = vec![f16::ZERO; x.len()];
    vector::to_f16(&x, &mut got);
    for (got, x) in got.iter().zip(&x) {
        match x {
            x if x.is_nan() => assert!(got.is_nan()),
            x if x.is_infinite() => assert_eq!(f32::from(*got), *x),
            x => assert_eq!(f32::from(*got), vector::F16_MAX.copysign(*x)),
        }
    }
}
