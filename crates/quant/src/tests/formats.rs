//! Tests dequantising and unpacking. The engine's tests compare dequantising with candle's.

use half::f16;
use lilims_gguf::TensorType;

use super::super::{DecodeError, Format, Isa, blocks, dequantize, supported, unpack};
use super::{FLOATS, QUANTIZED, Random};

#[test]
fn dequantises_iq4_nl_with_its_table() {
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
fn rejects_unsupported_types_and_wrong_lengths() {
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
fn all_instruction_sets_unpack_the_same() {
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
