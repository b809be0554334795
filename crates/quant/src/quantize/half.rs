//! Rounding to f16 in lanes, without branches and without the processor's own conversion.

/// The bits of an f16.
pub(super) type Bits = u32;
/// Values as the bits of f16, and what these stand for.
pub(super) type Halves<const L: usize> = ([Bits; L], [f32; L]);

/// The largest f16.
pub(super) const MAX: f32 = 65_504.0;
/// The least f16 that is not subnormal.
const MIN_NORMAL: f32 = 6.103_515_6e-5;
/// What f32's exponents are above f16's, at its place in an f32.
const BIAS: u32 = (127 - 15) << 23;
const SIGN: u32 = 1 << 31;

/// Rounds to the nearest f16, ties to even; what is too large becomes the largest.
#[inline(always)]
pub(super) fn round<const L: usize>(values: &[f32; L]) -> Halves<L> {
    let (mut bits, mut rounded) = ([0; L], [0.0; L]);
    for lane in 0..L {
        let sign = values[lane].to_bits() & SIGN;
        let size = f32::from_bits(values[lane].to_bits() & !SIGN);
        let size = if size > MAX { MAX } else { size };
        // Thirteen bits fall away; this carries where they are above half, or half beside an odd one.
        let odd = size.to_bits() >> 13 & 1;
        let normal = (size.to_bits() + 0xfff + odd) & !0x1fff;
        // Beside 0.5, an f32 has steps of 2⁻²⁴, as has a subnormal f16.
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

/// The value, or where f16 has but few steps, near 0, the next of them that is no nearer to 0.
#[inline(always)]
pub(super) fn outwards(value: f32) -> f32 {
    const STEPS: f32 = (1 << 24) as f32;
    if value.abs() < MIN_NORMAL {
        (value.abs() * STEPS).ceil().copysign(value) / STEPS
    } else {
        value
    }
}

/// `first` where its error is not above the second's, else `second`.
#[inline(always)]
pub(super) fn choose<const L: usize>(
    first: &Halves<L>,
    second: &Halves<L>,
    first_error: &[f32; L],
    second_error: &[f32; L],
) -> Halves<L> {
    let mut chosen = *second;
    for lane in 0..L {
        let is_first = first_error[lane] <= second_error[lane];
        chosen.0[lane] = if is_first { first.0[lane] } else { second.0[lane] };
        chosen.1[lane] = if is_first { first.1[lane] } else { second.1[lane] };
    }
    chosen
}
