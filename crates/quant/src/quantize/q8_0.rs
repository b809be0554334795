//! Fast quantisation to `Q8_0`, without a search, for the KV cache.

use half::f16;

use crate::vector::F16_MAX;

/// Values and bytes per block: an f16 scale, then the integers.
const BLOCK_VALUES: usize = 32;
const BLOCK_BYTES: usize = 34;

/// Quantises `values` to `Q8_0` like ggml: the largest magnitude of each block becomes ±127.
///
/// A block with an infinity or NaN becomes all NaN. Values beyond the largest scale are clamped.
///
/// *Shapes*: `blocks` holds 34 bytes for each 32 of `values`.
///
/// # Panics
/// When the lengths do not match.
pub fn quantize_q8_0(values: &[f32], blocks: &mut [u8]) {
    let (groups, rest) = values.as_chunks::<BLOCK_VALUES>();
    assert!(rest.is_empty() && blocks.len() == groups.len() * BLOCK_BYTES, "whole blocks");
    for (values, block) in groups.iter().zip(blocks.chunks_exact_mut(BLOCK_BYTES)) {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // NaN propagates the error to the result.
        if !values.iter().all(|value| value.is_finite()) {
            block.fill(0);
            block[..2].copy_from_slice(&f16::NAN.to_le_bytes());
            continue;
        }
        let scale = (largest / 127.0).min(F16_MAX);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        for (byte, value) in block[2..].iter_mut().zip(values) {
            *byte = (value * inverse).round() as i8 as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use lilims_gguf::TensorType;

    use super::*;

    #[test]
    fn error_is_at_most_half_a_step() {
        let values: Vec<f32> = (0..96).map(|i| (i as f32 * 0.7).sin() * (i + 1) as f32).collect();
        let mut blocks = vec![0; 3 * BLOCK_BYTES];
        quantize_q8_0(&values, &mut blocks);
        let mut back = vec![0.0; 96];
        crate::dequantize(TensorType::Q8_0, &blocks, &mut back).unwrap();
        for (values, back) in values.chunks(32).zip(back.chunks(32)) {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            for (value, back) in values.iter().zip(back) {
                // Half a step, plus the error of rounding the scale to f16.
                assert!((value - back).abs() <= largest * (0.5 / 127.0 + 1.0 / 2048.0), "{value}");
            }
        }
        quantize_q8_0(&[0.0; 32], &mut blocks[..BLOCK_BYTES]);
        assert_eq!(blocks[..BLOCK_BYTES], [0; BLOCK_BYTES]);
    }

    #[test]
    fn t12_clamps_huge_values_and_propagates_nan() {
        let back = |value: f32| {
            let (mut blocks, mut back) = ([0; BLOCK_BYTES], [0.0; 32]);
            let mut values = [1.0; 32];
            values[7] = value;
            quantize_q8_0(&values, &mut blocks);
            crate::dequantize(TensorType::Q8_0, &blocks, &mut back).unwrap();
            back
        };
        assert_eq!(back(1e30)[7], 127.0 * F16_MAX);
        assert!(back(-1e30)[7] <= -127.0 * F16_MAX && back(-1e30)[7].is_finite());
        assert_eq!(back(1e30)[0], 0.0);
        for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(back(fault).iter().all(|value| value.is_nan()), "{fault}");
        }
    }
}
