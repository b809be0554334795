//! Rounds lanes of f32 to f16 without branches or conversion instructions, so that the compiler can
//! vectorise it on every processor.

/// The bits of an f16.
pub(super) type Bits = u32;
/// The bits of f16 values, and the same values as f32.
pub(super) type Halves<const L: usize> = ([Bits; L], [f32; L]);

/// The largest finite f16.
pub(super) const MAX: f32 = 65_504.0;
/// The smallest normal f16.
const MIN_NORMAL: f32 = 6.103_515_6e-5;
/// The difference between the exponent biases of f32 and f16, at the exponent's position in an f32.
const BIAS: u32 = (127 - 15) << 23;
const SIGN: u32 = 1 << 31;

/// Rounds to the nearest f16, ties to even; larger values become the largest f16.
#[inline(always)]
pub(super) fn round<const L: usize>(values: &[f32; L]) -> Halves<L> {
    let (mut bits, mut rounded) = ([0; L], [0.0; L]);
    for lane in 0..L {
        let sign = values[lane].to_bits() & SIGN;
        let size = f32::from_bits(values[lane].to_bits() & !SIGN);
        let size = if size > MAX { MAX } else { size };
        // Drops 13 bits, rounding half to even: the addition carries if they are above half, or
        // exactly half and the next bit is odd.
        let odd = size.to_bits() >> 13 & 1;
        let normal = (size.to_bits() + 0xfff + odd) & !0x1fff;
        // Near 0.5, an f32 has steps of 2⁻²⁴, like a subnormal f16.
        let shifted = size + 0.5;
        let small = if size < MIN_NORMAL { u32::MAX } else { 0 };
        let magnitude = normal & !small | (shifted - 0.5).to_bits() & small;
        let short = normal.wrapping_sub(BIAS) >> 13 & !small
            | shifted.to_bits().wrapping_sub(0.5_f32.to_bits()) & small;
        bits[lane] = short | sign >> 16;
        rounded[lane] = f32::from_bits(magnitude | sign);
    }
    (bits, rounded)
}

/// Rounds a value in f16's subnormal range away from zero to the next f16; returns others
/// unchanged.
#[inline(always)]
pub(super) fn round_subnormal_up(value: f32) -> f32 {
    const STEPS: f32 = (1 << 24) as f32;
    if value.abs() < MIN_NORMAL {
        (value.abs() * STEPS).ceil().copysign(value) / STEPS
    } else {
        value
    }
}

/// For each lane, `first` if its error is not larger, else `second`.
#[inline(always)]
pub(super) fn select<const L: usize>(
    first: &Halves<L>,
    second: &Halves<L>,
    first_error: &[f32; L],
    second_error: &[f32; L],
) -> Halves<L> {
    let mut selected = *second;
    for lane in 0..L {
        let is_first = first_error[lane] <= second_error[lane];
        selected.0[lane] = if is_first { first.0[lane] } else { second.0[lane] };
        selected.1[lane] = if is_first { first.1[lane] } else { second.1[lane] };
    }
    selected
}
