//! Quantises to blocks of 32 values: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0` and `IQ4_NL`.
//!
//! Eight blocks are searched at once, one per lane; then each is written separately.

use super::half::Bits;
use super::tile::{Grid, Importance, Integers, Tile, Weighting, inverse, nearest_bytes};
use super::{affine, scaled};
use crate::blocks::IQ4_NL_VALUES;

/// Values per block.
const VALUES: usize = 32;
/// Blocks that are searched at once.
const LANES: usize = 8;

/// A type whose blocks have a scale and no minimum.
pub(super) trait Scaled<const BYTES: usize> {
    /// The possible `q`.
    type Grid: Grid;
    /// Candidate grid positions for the largest value; round-to-nearest uses the first.
    const TARGETS: &'static [f32];
    /// Writes the block from its values in units of the scale.
    fn pack(scale: Bits, units: &[f32; VALUES], block: &mut [u8; BYTES]);
}

/// A type whose blocks have a scale and a minimum.
pub(super) trait Affine<const BYTES: usize> {
    /// The possible `q`, from 0 on.
    type Grid: Grid;
    /// The largest `q`.
    const MAX: f32;
    /// Writes the block from its values above the minimum, in units of the scale.
    fn pack(scale: Bits, min: Bits, units: &[f32; VALUES], block: &mut [u8; BYTES]);
}

/// Quantises a row to a type with scales.
#[inline(always)]
pub(super) fn scaled<T: Scaled<BYTES>, const BYTES: usize, W: Weighting>(
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    // No closures in the loops: they would be compiled without the target features.
    for (idx, (values, blocks)) in tiles::<BYTES>(row, out).enumerate() {
        let importance = importance.part(idx * VALUES * LANES, VALUES * LANES);
        let tile = Tile::<VALUES, LANES, W>::load(values.as_flattened(), importance);
        let (scales, rounded) = scaled::search::<T::Grid, VALUES, LANES, W>(&tile, T::TARGETS);
        for (lane, (values, block)) in values.iter().zip(blocks).enumerate() {
            let inverse = inverse(rounded[lane]);
            let mut units = [0.0; VALUES];
            for (unit, value) in units.iter_mut().zip(values) {
                *unit = value * inverse;
            }
            T::pack(scales[lane], &units, block);
        }
    }
}

/// Quantises a row to a type with scales and minimums.
#[inline(always)]
pub(super) fn affine<T: Affine<BYTES>, const BYTES: usize, W: Weighting>(
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    for (idx, (values, blocks)) in tiles::<BYTES>(row, out).enumerate() {
        let importance = importance.part(idx * VALUES * LANES, VALUES * LANES);
        let tile = Tile::<VALUES, LANES, W>::load(values.as_flattened(), importance);
        let [scales, mins] = affine::search::<T::Grid, VALUES, LANES, W>(&tile, T::MAX);
        for (lane, (values, block)) in values.iter().zip(blocks).enumerate() {
            let inverse = inverse(scales.1[lane]);
            let min = mins.1[lane];
            let mut units = [0.0; VALUES];
            for (unit, value) in units.iter_mut().zip(values) {
                *unit = (value - min) * inverse;
            }
            T::pack(scales.0[lane], mins.0[lane], &units, block);
        }
    }
}

/// Iterates over the values and output bytes of up to eight blocks at a time.
#[inline(always)]
fn tiles<'a, const BYTES: usize>(
    row: &'a [f32],
    out: &'a mut [u8],
) -> impl Iterator<Item = (&'a [[f32; VALUES]], &'a mut [[u8; BYTES]])> {
    let values = row.as_chunks::<VALUES>().0.chunks(LANES);
    values.zip(out.as_chunks_mut::<BYTES>().0.chunks_mut(LANES))
}

/// Packs the two halves of a block into the low and the high nibbles.
#[inline(always)]
fn pack_nibbles(q: &[u8; VALUES], out: &mut [u8]) {
    let (low, high) = q.split_at(VALUES / 2);
    for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
        *out = low & 15 | high << 4;
    }
}

/// The fifth bit of each value.
#[inline(always)]
fn fifth_bits(q: &[u8; VALUES]) -> [u8; 4] {
    let mut bits = [0; 4];
    for (bits, q) in bits.iter_mut().zip(q.as_chunks::<8>().0) {
        // Gathers one bit of each byte in three steps, which are vectorised, unlike a step for each.
        let mut fifths = u64::from_le_bytes(*q) >> 4 & 0x0101_0101_0101_0101;
        fifths = (fifths | fifths >> 7) & 0x0003_0003_0003_0003;
        fifths = (fifths | fifths >> 14) & 0x0000_000f_0000_000f;
        *bits = (fifths | fifths >> 28) as u8;
    }
    bits
}

/// The nearest integers of `-zero..=high` to `units`, plus `zero`.
#[inline(always)]
fn bytes_above(units: &[f32; VALUES], zero: u8, high: i32) -> [u8; VALUES] {
    let mut bytes = nearest_bytes(units, -i32::from(zero), high);
    for byte in &mut bytes {
        *byte = byte.wrapping_add(zero);
    }
    bytes
}

pub(super) struct Q4_0;

impl Scaled<18> for Q4_0 {
    type Grid = Integers<-8, 7>;
    const TARGETS: &'static [f32] = &[-8.0, -8.5, -7.3, 7.5];

    #[inline(always)]
    fn pack(scale: Bits, units: &[f32; VALUES], block: &mut [u8; 18]) {
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        pack_nibbles(&bytes_above(units, 8, 7), &mut block[2..]);
    }
}

pub(super) struct Q5_0;

impl Scaled<22> for Q5_0 {
    type Grid = Integers<-16, 15>;
    const TARGETS: &'static [f32] = &[-16.0, -16.5, -15.3, 15.5];

    #[inline(always)]
    fn pack(scale: Bits, units: &[f32; VALUES], block: &mut [u8; 22]) {
        let q = bytes_above(units, 16, 15);
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        block[2..6].copy_from_slice(&fifth_bits(&q));
        pack_nibbles(&q, &mut block[6..]);
    }
}

pub(super) struct Q8_0;

impl Scaled<34> for Q8_0 {
    type Grid = Integers<-127, 127>;
    const TARGETS: &'static [f32] = &[127.0, 127.4];

    #[inline(always)]
    fn pack(scale: Bits, units: &[f32; VALUES], block: &mut [u8; 34]) {
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        block[2..].copy_from_slice(&nearest_bytes(units, -127, 127));
    }
}

/// The value table of `IQ4_NL`.
pub(super) struct Iq4Nl;

impl Grid for Iq4Nl {
    #[inline(always)]
    fn snap<const L: usize>(values: [f32; L]) -> [f32; L] {
        let mut snapped = [f32::from(IQ4_NL_VALUES[0]); L];
        for pair in IQ4_NL_VALUES.windows(2) {
            let (low, high) = (f32::from(pair[0]), f32::from(pair[1]));
            let middle = 0.5 * (low + high);
            for lane in 0..L {
                snapped[lane] += if values[lane] > middle { high - low } else { 0.0 };
            }
        }
        snapped
    }
}

impl Scaled<18> for Iq4Nl {
    type Grid = Self;
    const TARGETS: &'static [f32] = &[
        -127.0, -136.0, -132.0, -123.0, -119.0, -114.0, -109.0, -104.0, 98.0, 103.0, 108.0, 113.0,
        118.0, 123.0,
    ];

    #[inline(always)]
    fn pack(scale: Bits, units: &[f32; VALUES], block: &mut [u8; 18]) {
        let mut bytes = [0; VALUES];
        for (byte, q) in bytes.iter_mut().zip(Self::snap(*units)) {
            for &value in &IQ4_NL_VALUES[1..] {
                *byte += u8::from(q >= f32::from(value));
            }
        }
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        pack_nibbles(&bytes, &mut block[2..]);
    }
}

pub(super) struct Q4_1;

impl Affine<20> for Q4_1 {
    type Grid = Integers<0, 15>;
    const MAX: f32 = 15.0;

    #[inline(always)]
    fn pack(scale: Bits, min: Bits, units: &[f32; VALUES], block: &mut [u8; 20]) {
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        block[2..4].copy_from_slice(&min.to_le_bytes()[..2]);
        pack_nibbles(&bytes_above(units, 0, 15), &mut block[4..]);
    }
}

pub(super) struct Q5_1;

impl Affine<24> for Q5_1 {
    type Grid = Integers<0, 31>;
    const MAX: f32 = 31.0;

    #[inline(always)]
    fn pack(scale: Bits, min: Bits, units: &[f32; VALUES], block: &mut [u8; 24]) {
        let q = bytes_above(units, 0, 31);
        block[..2].copy_from_slice(&scale.to_le_bytes()[..2]);
        block[2..4].copy_from_slice(&min.to_le_bytes()[..2]);
        block[4..8].copy_from_slice(&fifth_bits(&q));
        pack_nibbles(&q, &mut block[8..]);
    }
}
