//! Decoding and unpacking.

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use half::{bf16, f16};
use lilims_gguf::TensorType;

use super::super::{DecodeError, Format, Isa, blocks, dequantize, supported, unpack};
use super::{FLOATS, QUANTIZED, Random};
use crate::backend::candle::candle_dtype;

#[test]
fn decodes_every_type_as_candle_does() {
    let mut random = Random(1);
    for ty in QUANTIZED.into_iter().chain(FLOATS) {
        // It has none for `IQ4_NL`.
        let Some(dtype) = candle_dtype(ty) else { continue };
        let n = 256 * 24;
        let bytes = match ty {
            TensorType::F32 => random.values(n).iter().flat_map(|x| x.to_le_bytes()).collect(),
            TensorType::F16 => (0..n).flat_map(|_| random.scale().to_le_bytes()).collect(),
            TensorType::BF16 => random
                .values(n)
                .iter()
                .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
                .collect::<Vec<u8>>(),
            _ => random.blocks(ty, n),
        };
        let device = candle_core::Device::Cpu;
        let tensor = qtensor_from_ggml(dtype, &bytes, vec![n], &device).expect("whole blocks");
        let expected = tensor.dequantize(&device).and_then(|t| t.to_vec1::<f32>());
        let expected = expected.expect("candle decodes");
        let mut got = vec![0.0; n];
        dequantize(ty, &bytes, &mut got).expect("whole blocks");
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!(got == expected, "{ty} value {i}: {got} is not candle's {expected}");
        }
    }
}

#[test]
fn decodes_iq4_nl_by_its_table() {
    let table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    let mut block = f16::from_f32(0.5).to_le_bytes().to_vec();
    // Byte i holds value i in its low nibble and value i + 16 in its high one.
    block.extend((0..16).map(|i| i | (15 - i) << 4));
    let mut got = [0.0; 32];
    dequantize(TensorType::IQ4_NL, &block, &mut got).expect("one block");
    for i in 0..16 {
        assert_eq!(got[i], 0.5 * table[i] as f32);
        assert_eq!(got[i + 16], 0.5 * table[15 - i] as f32);
    }
}

#[test]
fn refuses_what_it_cannot_decode() {
    let mut out = [0.0; 32];
    assert_eq!(
        dequantize(TensorType::Unknown(99), &[], &mut out),
        Err(DecodeError::Unsupported { ty: TensorType::Unknown(99) })
    );
    assert_eq!(
        dequantize(TensorType::Q4_0, &[0; 17], &mut out),
        Err(DecodeError::Length { ty: TensorType::Q4_0, values: 32, got: 17 })
    );
    assert_eq!(
        dequantize(TensorType::Q4_K, &[0; 144], &mut out),
        Err(DecodeError::Length { ty: TensorType::Q4_K, values: 32, got: 144 })
    );
    assert!(!supported(TensorType::I32));
    assert!(QUANTIZED.into_iter().chain(FLOATS).all(supported));
}

#[test]
fn unpacks_the_same_on_every_isa() {
    let mut random = Random(2);
    for ty in QUANTIZED {
        let format = Format::of(ty).expect("a quantised type");
        let n = 256 * 9;
        let n_groups = n / format.group;
        let bytes = random.blocks(ty, n);
        let (mut q, mut scales, mut mins) = (vec![0; n], vec![0.0; n_groups], vec![0.0; n_groups]);
        blocks::unpack(ty, &bytes, &mut q, &mut scales, &mut mins);
        let expected = (q.clone(), scales.clone(), mins.clone());
        unpack(ty, &bytes, &mut q, &mut scales, &mut mins);
        assert_eq!((q, scales, mins), expected, "{ty} on {}", Isa::detected().name());
        if let Some(max) = format.max {
            assert!(expected.0.iter().all(|&q| (0..=max as i8).contains(&q)), "{ty} up to {max}");
        }
    }
}
