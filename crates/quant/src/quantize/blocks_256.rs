//! Quantises to blocks of 256 values: `Q2_K`, `Q3_K`, `Q4_K`, `Q5_K` and `Q6_K`.
//!
//! All groups of a block are searched at once, one per lane.

use super::super_affine::{self, Scales as AffineScales};
use super::super_scaled::{self, Range, Scales};
use super::tile::{Grid, Importance, Integers, Tile, Weighting, inverse, low_byte};

const VALUES: usize = 256;

/// A type whose blocks have an f16 scale and an integer scale for each group of 16 values.
pub(super) trait Scaled<const BYTES: usize> {
    /// The possible `q`.
    type Grid: Grid;
    /// The possible integer scales.
    const RANGE: Range;
    /// Offset that makes every `q` non-negative.
    const ZERO: f32;
    /// Writes the block from its scales and its `q` plus the offset.
    fn pack(scales: &Scales<16>, q: &[u8; VALUES], block: &mut [u8; BYTES]);
}

/// A type whose blocks have an f16 scale and minimum, and integer scales and minimums for `L`
/// groups.
pub(super) trait Affine<const BYTES: usize, const L: usize> {
    /// The possible `q`, from 0 on.
    type Grid: Grid;
    /// The largest `q`.
    const MAX: f32;
    /// The largest integer scale or minimum.
    const STEPS: i32;
    /// Writes the block from its scales and its `q`.
    fn pack(scales: &AffineScales<L>, q: &[u8; VALUES], block: &mut [u8; BYTES]);
}

/// Quantises a row to a type with integer scales.
#[inline(always)]
pub(super) fn scaled<T: Scaled<BYTES>, const BYTES: usize, W: Weighting>(
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    // No closures in the loops: they would be compiled without the target features.
    let blocks = row.as_chunks::<VALUES>().0.iter().zip(out.as_chunks_mut::<BYTES>().0);
    for (idx, (values, block)) in blocks.enumerate() {
        let importance = importance.part(idx * VALUES, VALUES);
        let tile = Tile::<16, 16, W>::load(values, importance);
        let scales = super_scaled::search::<T::Grid, 16, 16, W>(&tile, &T::RANGE);
        let mut bytes = [0; VALUES];
        let groups = values.as_chunks::<16>().0.iter().zip(bytes.as_chunks_mut::<16>().0);
        for (group, (values, bytes)) in groups.enumerate() {
            let inverse = inverse(scales.d.1 * scales.scales[group]);
            let mut q = [0.0; 16];
            for (q, value) in q.iter_mut().zip(values) {
                *q = value * inverse;
            }
            for (byte, q) in bytes.iter_mut().zip(T::Grid::snap(q)) {
                *byte = low_byte(q + T::ZERO);
            }
        }
        T::pack(&scales, &bytes, block);
    }
}

/// Quantises a row to a type with integer scales and minimums, in `L` groups of `N`.
#[inline(always)]
pub(super) fn affine<
    T: Affine<BYTES, L>,
    const BYTES: usize,
    const N: usize,
    const L: usize,
    W: Weighting,
>(
    row: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
) {
    let blocks = row.as_chunks::<VALUES>().0.iter().zip(out.as_chunks_mut::<BYTES>().0);
    for (idx, (values, block)) in blocks.enumerate() {
        let importance = importance.part(idx * VALUES, VALUES);
        let tile = Tile::<N, L, W>::load(values, importance);
        let scales = super_affine::search::<T::Grid, N, L, W>(&tile, T::MAX, T::STEPS);
        let mut bytes = [0; VALUES];
        let groups = values.as_chunks::<N>().0.iter().zip(bytes.as_chunks_mut::<N>().0);
        for (group, (values, bytes)) in groups.enumerate() {
            let (scale, min) = scales.of(group);
            let inverse = inverse(scale);
            let mut q = [0.0; N];
            for (q, value) in q.iter_mut().zip(values) {
                *q = (value - min) * inverse;
            }
            for (byte, q) in bytes.iter_mut().zip(T::Grid::snap(q)) {
                *byte = low_byte(q);
            }
        }
        T::pack(&scales, &bytes, block);
    }
}

#[inline(always)]
fn put_half(bits: u32, to: &mut [u8]) {
    to[..2].copy_from_slice(&bits.to_le_bytes()[..2]);
}

/// Packs two bits per value: each 32 bytes hold four rows of 32 values, lowest bits first.
#[inline(always)]
fn put_two_bits(q: &[u8; VALUES], to: &mut [u8]) {
    for (q, to) in q.as_chunks::<128>().0.iter().zip(to.as_chunks_mut::<32>().0) {
        for i in 0..32 {
            let [a, b, c, d] = [0, 32, 64, 96].map(|row| q[row + i] & 3);
            to[i] = a | b << 2 | c << 4 | d << 6;
        }
    }
}

/// Packs four bits per value: each 32 bytes hold two rows of 32 values, low nibbles first.
#[inline(always)]
fn put_nibbles(q: &[u8; VALUES], to: &mut [u8]) {
    for (q, to) in q.as_chunks::<64>().0.iter().zip(to.as_chunks_mut::<32>().0) {
        for i in 0..32 {
            to[i] = q[i] & 15 | q[i + 32] << 4;
        }
    }
}

/// Packs bit `BIT` of each value: bit `r` of byte `i` belongs to value `32 r + i`.
#[inline(always)]
fn put_bits<const BIT: u32>(q: &[u8; VALUES], to: &mut [u8]) {
    let mut bits = [0; 32];
    for (row, q) in q.as_chunks::<32>().0.iter().enumerate() {
        for i in 0..32 {
            bits[i] |= (q[i] >> BIT & 1) << row;
        }
    }
    to[..32].copy_from_slice(&bits);
}

/// Packs eight 6-bit scales and eight 6-bit minimums.
#[inline(always)]
fn put_six_bits(scales: &AffineScales<8>, to: &mut [u8]) {
    for i in 0..4 {
        let [s, m] = [low_byte(scales.scales[i]), low_byte(scales.mins[i])];
        let [s_4, m_4] = [low_byte(scales.scales[i + 4]), low_byte(scales.mins[i + 4])];
        to[i] = s | s_4 >> 4 << 6;
        to[i + 4] = m | m_4 >> 4 << 6;
        to[i + 8] = s_4 & 15 | m_4 << 4;
    }
}

pub(super) struct Q2K;

impl Affine<84, 16> for Q2K {
    type Grid = Integers<0, 3>;
    const MAX: f32 = 3.0;
    const STEPS: i32 = 15;

    #[inline(always)]
    fn pack(scales: &AffineScales<16>, q: &[u8; VALUES], block: &mut [u8; 84]) {
        for i in 0..16 {
            block[i] = low_byte(scales.scales[i]) | low_byte(scales.mins[i]) << 4;
        }
        put_two_bits(q, &mut block[16..80]);
        put_half(scales.d.0, &mut block[80..]);
        put_half(scales.d_min.0, &mut block[82..]);
    }
}

pub(super) struct Q3K;

impl Scaled<110> for Q3K {
    type Grid = Integers<-4, 3>;
    const RANGE: Range =
        Range { low: -32, high: 31, targets: &[-4.0, -4.4, -3.8, -3.6, -3.2, -2.8, 3.6, 3.2, 2.8] };
    const ZERO: f32 = 4.0;

    #[inline(always)]
    fn pack(scales: &Scales<16>, q: &[u8; VALUES], block: &mut [u8; 110]) {
        put_bits::<2>(q, &mut block[..32]);
        put_two_bits(q, &mut block[32..96]);
        block[96..108].fill(0);
        for (i, &scale) in scales.scales.iter().enumerate() {
            let scale = low_byte(scale + 32.0);
            block[96 + i % 8] |= (scale & 15) << (4 * (i / 8));
            block[104 + i % 4] |= scale >> 4 << (2 * (i / 4));
        }
        put_half(scales.d.0, &mut block[108..]);
    }
}

pub(super) struct Q4K;

impl Affine<144, 8> for Q4K {
    type Grid = Integers<0, 15>;
    const MAX: f32 = 15.0;
    const STEPS: i32 = 63;

    #[inline(always)]
    fn pack(scales: &AffineScales<8>, q: &[u8; VALUES], block: &mut [u8; 144]) {
        put_half(scales.d.0, block);
        put_half(scales.d_min.0, &mut block[2..]);
        put_six_bits(scales, &mut block[4..16]);
        put_nibbles(q, &mut block[16..]);
    }
}

pub(super) struct Q5K;

impl Affine<176, 8> for Q5K {
    type Grid = Integers<0, 31>;
    const MAX: f32 = 31.0;
    const STEPS: i32 = 63;

    #[inline(always)]
    fn pack(scales: &AffineScales<8>, q: &[u8; VALUES], block: &mut [u8; 176]) {
        put_half(scales.d.0, block);
        put_half(scales.d_min.0, &mut block[2..]);
        put_six_bits(scales, &mut block[4..16]);
        put_bits::<4>(q, &mut block[16..48]);
        put_nibbles(q, &mut block[48..]);
    }
}

pub(super) struct Q6K;

impl Scaled<210> for Q6K {
    type Grid = Integers<-32, 31>;
    const RANGE: Range =
        Range { low: -128, high: 127, targets: &[-32.0, -32.5, -31.5, -31.0, -30.0, 31.5, 31.0] };
    const ZERO: f32 = 32.0;

    #[inline(always)]
    fn pack(scales: &Scales<16>, q: &[u8; VALUES], block: &mut [u8; 210]) {
        for (half, q) in q.as_chunks::<128>().0.iter().enumerate() {
            for i in 0..32 {
                let [a, b, c, d] = [0, 32, 64, 96].map(|row| q[row + i]);
                block[64 * half + i] = a & 15 | c << 4;
                block[64 * half + 32 + i] = b & 15 | d << 4;
                block[128 + 32 * half + i] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
            }
        }
        for (byte, &scale) in block[192..208].iter_mut().zip(&scales.scales) {
            *byte = low_byte(scale);
        }
        put_half(scales.d.0, &mut block[208..]);
    }
}
