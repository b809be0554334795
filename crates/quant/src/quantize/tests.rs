//! Tests the quantisers against `dequantize` and against round-to-nearest.

use half::{bf16, f16};
use lilims_gguf::TensorType;
use proptest::prelude::*;

use super::{QuantizeError, quantize, quantize_with};
use crate::tests::{QUANTIZED, Random, scale_offsets};
use crate::{Format, Isa, dequantize};

/// Relative slack for comparing errors: the quantiser sums them in f32, and decoding rounds once
/// more.
const SUM_SLACK: f64 = 1e-3;

fn blocks(ty: TensorType, row: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut out = vec![0xaa; ty.size_bytes(row.len() as u64).expect("whole blocks") as usize];
    quantize(ty, row, importance, &mut out).expect("a row of numbers");
    out
}

fn round_trip(ty: TensorType, row: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let mut back = vec![f32::NAN; row.len()];
    dequantize(ty, &blocks(ty, row, importance), &mut back).expect("whole blocks");
    back
}

fn squared_error(row: &[f32], back: &[f32], importance: Option<&[f32]>) -> f64 {
    let weight = |i: usize| importance.map_or(1.0, |importance| f64::from(importance[i]));
    let off = |i: usize| f64::from(row[i]) - f64::from(back[i]);
    (0..row.len()).map(|i| weight(i) * off(i) * off(i)).sum()
}

fn rms_error(row: &[f32], back: &[f32]) -> f64 {
    (squared_error(row, back, None) / row.len() as f64).sqrt()
}

/// The expected root mean square error of values uniform in -1..1, with some margin.
fn expected_error(ty: TensorType) -> f64 {
    match ty {
        TensorType::Q8_0 => 0.0025,
        TensorType::Q6_K => 0.0095,
        TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => 0.019,
        TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K => 0.038,
        TensorType::IQ4_NL => 0.046,
        TensorType::Q3_K => 0.075,
        TensorType::Q2_K => 0.14,
        other => panic!("{other} is not quantised"),
    }
}

#[test]
fn random_rows_round_trip_within_the_expected_error() {
    let row = Random(11).values(256 * 16);
    for ty in QUANTIZED {
        let error = rms_error(&row, &round_trip(ty, &row, None));
        assert!(error < expected_error(ty), "{ty}: {error}");
        let twice: Vec<f32> = row.iter().map(|value| value * 2048.0).collect();
        let error = rms_error(&twice, &round_trip(ty, &twice, None)) / 2048.0;
        assert!(error < expected_error(ty), "{ty}, large: {error}");
    }
}

#[test]
fn zeros_are_exact_and_constants_nearly_so() {
    for ty in QUANTIZED {
        assert_eq!(round_trip(ty, &[0.0; 512], None), [0.0; 512], "{ty}");
        for constant in [1.0, -1.0, 0.37, -0.05, 60_000.0] {
            for value in round_trip(ty, &[constant; 512], None) {
                let off = (value / constant - 1.0).abs();
                assert!(off < 2e-3, "{ty}: {constant} became {value}");
            }
        }
        // So small that the block's f16 scale is subnormal.
        for value in round_trip(ty, &[-0.002; 512], None) {
            let off = (value / -0.002 - 1.0).abs();
            assert!(off < 5e-3, "{ty}: -0.002 became {value}");
        }
    }
}

#[test]
fn outliers_keep_their_size() {
    let mut row = Random(12).values(512);
    for (idx, value) in [(3, 50.0), (300, -50.0)] {
        row[idx] = value;
    }
    for ty in QUANTIZED {
        let back = round_trip(ty, &row, None);
        for idx in [3, 300] {
            let off = (back[idx] / row[idx] - 1.0).abs();
            assert!(off < 0.05, "{ty}: {} became {}", row[idx], back[idx]);
        }
    }
}

#[test]
fn tiny_values_stay_tiny() {
    for ty in QUANTIZED {
        for size in [1e-7, 1e-20, 1e-40] {
            let row: Vec<f32> = Random(13).values(512).iter().map(|value| value * size).collect();
            let back = round_trip(ty, &row, None);
            // Scales are f16, whose smallest step is 6e-8.
            assert!(back.iter().all(|value| value.abs() <= 2e-7), "{ty}, {size}");
        }
    }
}

#[test]
fn scales_are_finite_for_the_largest_values() {
    let mut row = vec![65_504.0; 512];
    row[256..].iter_mut().step_by(2).for_each(|value| *value = -65_504.0);
    for ty in QUANTIZED {
        let format = Format::of(ty).expect("a quantised type");
        for block in blocks(ty, &row, None).chunks_exact(format.block_bytes) {
            for &offset in scale_offsets(ty) {
                let scale = f16::from_le_bytes([block[offset], block[offset + 1]]);
                assert!(scale.is_finite(), "{ty}");
            }
        }
    }
}

#[test]
fn float_types_round_to_the_nearest() {
    let mut row = Random(14).activations(1021);
    row.extend([6.1e-5, 6.0e-5, -5.9e-8, 2.9e-8, 3.0e-8, 65_504.0, 1.000_488_3, 1.001_464_8]);
    let halves: Vec<u8> = row.iter().flat_map(|&x| f16::from_f32_const(x).to_le_bytes()).collect();
    assert_eq!(blocks(TensorType::F16, &row, None), halves);
    row.push(3e38);
    let halves: Vec<u8> = row.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
    assert_eq!(blocks(TensorType::BF16, &row, None), halves);
}

#[test]
fn all_instruction_sets_write_the_same_bytes() {
    let mut random = Random(15);
    let row = random.activations(256 * 9);
    let importance: Vec<f32> = random.values(row.len()).iter().map(|x| x.abs()).collect();
    let floats = [TensorType::F16, TensorType::BF16];
    for ty in QUANTIZED.into_iter().chain(floats) {
        for importance in [None, Some(importance.as_slice())] {
            let expected = blocks(ty, &row, importance);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let mut out = vec![0; expected.len()];
                quantize_with(isa, ty, &row, importance, &mut out).expect("a row of numbers");
                assert_eq!(out, expected, "{ty} on {}", isa.name());
            }
        }
    }
}

#[test]
fn blocks_are_independent_of_each_other() {
    let row = Random(16).values(256 * 5);
    for ty in QUANTIZED {
        let n = Format::of(ty).expect("a quantised type").block_values;
        let alone: Vec<u8> = row.chunks(n).flat_map(|block| blocks(ty, block, None)).collect();
        assert_eq!(blocks(ty, &row, None), alone, "{ty}");
    }
}

#[test]
fn importance_reduces_the_weighted_error() {
    let mut random = Random(17);
    let row = random.values(256 * 16);
    let importance: Vec<f32> = random.values(row.len()).iter().map(|x| x.powi(8)).collect();
    for ty in QUANTIZED {
        let error = |back: Vec<f32>| squared_error(&row, &back, Some(&importance));
        let with = error(round_trip(ty, &row, Some(&importance)));
        let without = error(round_trip(ty, &row, None));
        assert!(with < 0.99 * without, "{ty}: {with} with, {without} without");
    }
}

#[test]
fn only_relative_importance_matters() {
    let mut random = Random(18);
    let row = random.values(512);
    let importance: Vec<f32> = random.values(row.len()).iter().map(|x| x.abs() + 0.1).collect();
    for ty in QUANTIZED {
        let expected = blocks(ty, &row, Some(&importance));
        for power in [-60, 60] {
            let scaled: Vec<f32> = importance.iter().map(|x| x * 2.0_f32.powi(power)).collect();
            assert_eq!(blocks(ty, &row, Some(&scaled)), expected, "{ty}, 2^{power}");
        }
        // If all weights are zero, all values are weighted equally.
        let error = rms_error(&row, &round_trip(ty, &row, Some(&[0.0; 512])));
        assert!(error < 1.1 * expected_error(ty), "{ty}: {error}");
    }
}

#[test]
fn rejects_invalid_input_and_leaves_the_output_unchanged() {
    let mut out = [7; 68];
    let mut row = [0.5; 64];
    let mut refused = |row: &[f32], importance: Option<&[f32]>| {
        let result = quantize(TensorType::Q8_0, row, importance, &mut out);
        assert_eq!(out, [7; 68], "unchanged");
        result.expect_err("invalid input")
    };
    for (value, index) in [(f32::NAN, 0), (f32::INFINITY, 33), (f32::NEG_INFINITY, 63)] {
        row[index] = value;
        assert_eq!(refused(&row, None), QuantizeError::NotFinite { index });
        row[index] = 0.5;
    }
    row[40] = -65_505.0;
    let ty = TensorType::Q8_0;
    assert_eq!(refused(&row, None), QuantizeError::TooLarge { ty, index: 40 });
    row[40] = 0.5;
    let error = QuantizeError::Length { ty, values: 32, bytes: 68 };
    assert_eq!(refused(&row[..32], None), error);
    let error = QuantizeError::ImportanceLength { expected: 64, got: 32 };
    assert_eq!(refused(&row, Some(&[1.0; 32])), error);
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let mut importance = [1.0; 64];
        importance[5] = bad;
        assert_eq!(refused(&row, Some(&importance)), QuantizeError::Importance { index: 5 });
    }
    for ty in [TensorType::F32, TensorType::I8, TensorType::Unknown(99)] {
        let result = quantize(ty, &row, None, &mut out);
        assert_eq!(result, Err(QuantizeError::Unsupported { ty }));
    }
}

/// Rounds to f16.
fn rounded(value: f32) -> f32 {
    f16::from_f32_const(value).to_f32_const()
}

/// `value / scale` to the nearest integer of a range.
fn snap(value: f32, scale: f32, low: f32, high: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { (value / scale).round_ties_even().clamp(low, high) }
}

/// The value of the largest magnitude, the positive one if there are two.
fn largest(values: &[f32]) -> f32 {
    let (low, high) = bounds(values);
    if -low > high { low } else { high }
}

fn bounds(values: &[f32]) -> (f32, f32) {
    let (low, high) = (f32::INFINITY, f32::NEG_INFINITY);
    values.iter().fold((low, high), |(low, high), &value| (low.min(value), high.max(value)))
}

/// A block rounded to nearest with a scale that maps the largest value to `end`.
fn nearest_scaled(block: &[f32], end: f32, low: f32, high: f32) -> Vec<f32> {
    let scale = rounded(largest(block) / end);
    block.iter().map(|&value| scale * snap(value, scale, low, high)).collect()
}

/// A block rounded to nearest with a scale and a minimum.
fn nearest_affine(block: &[f32], max: f32) -> Vec<f32> {
    let (low, high) = bounds(block);
    let (scale, min) = (rounded((high - low) / max), rounded(low));
    block.iter().map(|&value| scale * snap(value - min, scale, 0.0, max) + min).collect()
}

/// A block rounded to nearest with `IQ4_NL`'s table.
fn nearest_by_table(block: &[f32]) -> Vec<f32> {
    let table = crate::blocks::IQ4_NL_VALUES.map(f32::from);
    let scale = rounded(largest(block) / table[0]);
    let off = |value: f32, q: f32| (value - scale * q).abs();
    let nearest = |value: f32| {
        let closer = |a: &f32, b: &f32| off(value, *a).total_cmp(&off(value, *b));
        scale * table.into_iter().min_by(closer).expect("sixteen values")
    };
    block.iter().map(|&value| nearest(value)).collect()
}

/// A block rounded to nearest, with groups of 16 whose scales are integers of at least `low`.
fn nearest_super_scaled(block: &[f32], end: f32, low: f32) -> Vec<f32> {
    let groups = block.chunks(16);
    let scales = groups.clone().map(|group| largest(group) / end);
    let larger = |a: f32, b: f32| if b.abs() > a.abs() { b } else { a };
    let d = rounded(scales.clone().fold(0.0, larger) / low);
    let decode = |(group, scale): (&[f32], f32)| {
        let scale = d * snap(scale, d, low, -low - 1.0);
        let values = group.iter().map(|&value| scale * snap(value, scale, end, -end - 1.0));
        values.collect::<Vec<_>>()
    };
    groups.zip(scales).flat_map(decode).collect()
}

/// A block rounded to nearest, with groups of `n` whose scales and minimums are integers up to
/// `steps`.
fn nearest_super_affine(block: &[f32], n: usize, max: f32, steps: f32) -> Vec<f32> {
    let ranges = block.chunks(n).map(|group| {
        let (low, high) = bounds(group);
        ((high - low.min(0.0)) / max, -low.min(0.0))
    });
    let d = rounded(ranges.clone().fold(0.0, |all, range| range.0.max(all)) / steps);
    let d_min = rounded(ranges.clone().fold(0.0, |all, range| range.1.max(all)) / steps);
    let decode = |(group, (scale, min)): (&[f32], (f32, f32))| {
        let scale = d * snap(scale, d, 0.0, steps);
        let min = -(d_min * snap(min, d_min, 0.0, steps));
        let values = group.iter().map(|&value| scale * snap(value - min, scale, 0.0, max) + min);
        values.collect::<Vec<_>>()
    };
    block.chunks(n).zip(ranges).flat_map(decode).collect()
}

/// A block rounded to nearest.
fn nearest(ty: TensorType, block: &[f32]) -> Vec<f32> {
    match ty {
        TensorType::Q4_0 => nearest_scaled(block, -8.0, -8.0, 7.0),
        TensorType::Q5_0 => nearest_scaled(block, -16.0, -16.0, 15.0),
        TensorType::Q8_0 => nearest_scaled(block, 127.0, -127.0, 127.0),
        TensorType::IQ4_NL => nearest_by_table(block),
        TensorType::Q4_1 => nearest_affine(block, 15.0),
        TensorType::Q5_1 => nearest_affine(block, 31.0),
        TensorType::Q3_K => nearest_super_scaled(block, -4.0, -32.0),
        TensorType::Q6_K => nearest_super_scaled(block, -32.0, -128.0),
        TensorType::Q2_K => nearest_super_affine(block, 16, 3.0, 15.0),
        TensorType::Q4_K => nearest_super_affine(block, 32, 15.0, 63.0),
        TensorType::Q5_K => nearest_super_affine(block, 32, 31.0, 63.0),
        other => panic!("{other} is not quantised"),
    }
}

/// Rows whose groups are uniform, of one sign, constant, of few levels, or with an outlier.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let group = (0..6u8, -6..3i32, prop::collection::vec(-1000..=1000i16, 32)).prop_map(
        |(kind, power, values)| {
            let mut values: Vec<f32> = values.iter().map(|&value| f32::from(value) / 1e3).collect();
            let first = values[0];
            match kind {
                0 => values.iter_mut().for_each(|value| *value = value.abs()),
                1 => values.fill(first),
                2 => values.iter_mut().for_each(|value| *value = (*value * 4.0).round()),
                3 => values[7] = 100.0 * first,
                _ => {}
            }
            values.iter_mut().for_each(|value| *value *= 10.0_f32.powi(power));
            values
        },
    );
    prop::collection::vec(group, 8).prop_map(|groups| groups.concat())
}

proptest! {
    #[test]
    fn never_worse_than_round_to_nearest(
        row in rows(),
        importance in prop::option::of(prop::collection::vec(1..1000u16, 256)),
    ) {
        let importance: Option<Vec<f32>> =
            importance.map(|all| all.into_iter().map(f32::from).collect());
        for ty in QUANTIZED {
            let n = Format::of(ty).expect("a quantised type").block_values;
            let back = round_trip(ty, &row, importance.as_deref());
            for start in (0..row.len()).step_by(n) {
                let (row, back) = (&row[start..start + n], &back[start..start + n]);
                let importance = importance.as_ref().map(|all| &all[start..start + n]);
                let ours = squared_error(row, back, importance);
                let plain = squared_error(row, &nearest(ty, row), importance);
                // The error of f32 rounding for values of this size.
                let size = squared_error(row, &vec![0.0; n], importance);
                let slack = SUM_SLACK * plain + 1e-12 * size;
                prop_assert!(ours <= plain + slack, "{ty}: {ours} above {plain}");
            }
        }
    }
}
