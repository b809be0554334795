//! Tests the SIMD kernels against the scalar ones.

mod formats;
mod products;
#[expect(dead_code, unreachable_pub, reason = "shared with crates that use all of it")]
#[path = "../../../../tests/src/skips.rs"]
mod skips;
mod vectors;

use half::f16;
use lilims_gguf::TensorType;

use super::{Format, Isa};

/// The quantised types.
pub(crate) const QUANTIZED: [TensorType; 11] = [
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::IQ4_NL,
];

/// The float types.
const FLOATS: [TensorType; 3] = [TensorType::F32, TensorType::F16, TensorType::BF16];

/// A generator of test values: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Uniform in -1..1.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }

    /// A finite f16 scale: mostly in -1..1, sometimes zero, subnormal or the largest.
    fn scale(&mut self) -> f16 {
        match self.below(8) {
            0 => f16::ZERO,
            1 => f16::from_bits(self.below(1 << 10) as u16),
            2 => f16::MAX,
            _ => f16::from_f32(self.value()),
        }
    }

    /// Values in -1..1, where some blocks are zeros, contain an outlier, are very small or only ±1.
    pub(crate) fn activations(&mut self, n: usize) -> Vec<f32> {
        let mut x = self.values(n);
        for block in x.chunks_mut(32) {
            match self.below(8) {
                0 => block.fill(0.0),
                1 => block[self.below(block.len())] = 1e4,
                2 => block.iter_mut().for_each(|x| *x *= 1e-20),
                3 => block.iter_mut().for_each(|x| *x = x.signum()),
                _ => {}
            }
        }
        x
    }

    /// Blocks of random bytes, all zeros or all ones, with finite scales.
    pub(crate) fn blocks(&mut self, ty: TensorType, n_values: usize) -> Vec<u8> {
        let format = Format::of(ty).expect("a quantised type");
        let mut bytes = vec![0; format.row_bytes(n_values)];
        for block in bytes.chunks_exact_mut(format.block_bytes) {
            match self.below(6) {
                0 => block.fill(0x00),
                1 => block.fill(0xff),
                _ => block.iter_mut().for_each(|byte| *byte = self.next() as u8),
            }
            for &offset in scale_offsets(ty) {
                block[offset..offset + 2].copy_from_slice(&self.scale().to_le_bytes());
            }
        }
        bytes
    }
}

/// The offsets of a block's f16 scales and minimums.
pub(crate) fn scale_offsets(ty: TensorType) -> &'static [usize] {
    match ty {
        TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 | TensorType::IQ4_NL => &[0],
        TensorType::Q2_K => &[80, 82],
        TensorType::Q3_K => &[108],
        TensorType::Q6_K => &[208],
        _ => &[0, 2],
    }
}

/// The other tests loop over all instruction sets, and those that the processor lacks fall back to
/// scalar code. This test reports the missing ones of this architecture as skipped, and checks that
/// an emulated processor has the instruction set that it is run for.
#[test]
fn reports_untested_instruction_sets() {
    for isa in Isa::ALL {
        let is_arm = isa.name().starts_with("neon");
        if !isa.is_available() && is_arm == cfg!(target_arch = "aarch64") {
            skips::skip_part(
                &format!("kernels of {}", isa.name()),
                "not supported by this processor",
            );
        }
    }
    let best = Isa::ALL.into_iter().find(|isa| isa.is_available()).map(Isa::name);
    if let Ok(expected) = std::env::var("LILIMS_TEST_ISA") {
        assert_eq!(best, Some(expected.as_str()), "the best instruction set");
    }
    if cfg!(target_arch = "aarch64") {
        assert!(Isa::Neon.is_available(), "every 64-bit Arm processor has NEON");
    }
}
