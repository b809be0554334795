//! The block formats of GGUF: unpacks each type's bytes into small integers, scales and minimums.
//!
//! Every quantised type unpacks into the same canonical form: one `i8` per value and, for each
//! group of 16 or 32 values, an f32 scale and an f32 minimum, with `value = scale * q + min`.
//! Types that ggml writes with a fixed offset (`Q4_0` is `d * (q - 8)`) keep `q` unsigned here
//! and carry the offset in the minimum: integer kernels multiply unsigned weights by signed
//! activations. The products are exact in f32, so this form loses no precision.
//!
//! Source: `ggml-common.h` and `ggml-quants.c` of <https://github.com/ggml-org/ggml>.

use half::f16;
use lilims_gguf::TensorType;

/// The value table of `IQ4_NL`.
pub(super) const IQ4_NL_VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The block layout of a quantised type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Values per block.
    pub block_values: usize,
    /// Bytes per block.
    pub block_bytes: usize,
    /// Values that share a scale and a minimum: 16 or 32.
    pub group: usize,
    /// The largest unpacked integer of an unsigned type; `None` if the integers are signed.
    pub max: Option<u8>,
}

impl Format {
    /// The format of a quantised type; `None` for float types and types without kernels.
    pub fn of(ty: TensorType) -> Option<Self> {
        let (group, max) = match ty {
            TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K => (32, Some(15)),
            TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => (32, Some(31)),
            TensorType::Q8_0 | TensorType::IQ4_NL => (32, None),
            TensorType::Q2_K => (16, Some(3)),
            TensorType::Q3_K => (16, Some(7)),
            TensorType::Q6_K => (16, Some(63)),
            _ => return None,
        };
        let (block_values, block_bytes) = ty.block()?;
        Some(Self {
            block_values: block_values as usize,
            block_bytes: block_bytes as usize,
            group,
            max,
        })
    }

    /// Size in bytes of a row of `n_cols` values.
    ///
    /// # Panics
    /// When the row ends inside a block.
    pub fn row_bytes(&self, n_cols: usize) -> usize {
        assert_eq!(n_cols % self.block_values, 0, "a row ends inside a block");
        n_cols / self.block_values * self.block_bytes
    }
}

fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32_const()
}

fn word_at(block: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([block[offset], block[offset + 1], block[offset + 2], block[offset + 3]])
}

/// Unpacks whole blocks of a quantised type.
///
/// *Shapes*: `q` one per value; `scales` and `mins` one per group.
///
/// # Panics
/// When the lengths do not match, or `ty` has no [`Format`].
#[inline(always)]
pub(super) fn unpack(
    ty: TensorType,
    blocks: &[u8],
    q: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    let format = Format::of(ty).expect("only quantised types are unpacked");
    let n_blocks = blocks.len() / format.block_bytes;
    assert_eq!(blocks.len(), n_blocks * format.block_bytes, "a row ends inside a block");
    assert_eq!(q.len(), n_blocks * format.block_values, "one integer per value");
    assert_eq!(scales.len() * format.group, q.len(), "one scale per group");
    assert_eq!(mins.len(), scales.len(), "one minimum per group");
    match ty {
        TensorType::Q4_0 => each::<18, 32, 1>(blocks, q, scales, mins, q4_0),
        TensorType::Q4_1 => each::<20, 32, 1>(blocks, q, scales, mins, q4_1),
        TensorType::Q5_0 => each::<22, 32, 1>(blocks, q, scales, mins, q5_0),
        TensorType::Q5_1 => each::<24, 32, 1>(blocks, q, scales, mins, q5_1),
        TensorType::Q8_0 => each::<34, 32, 1>(blocks, q, scales, mins, q8_0),
        TensorType::IQ4_NL => each::<18, 32, 1>(blocks, q, scales, mins, iq4_nl),
        TensorType::Q2_K => each::<84, 256, 16>(blocks, q, scales, mins, q2_k),
        TensorType::Q3_K => each::<110, 256, 16>(blocks, q, scales, mins, q3_k),
        TensorType::Q4_K => each::<144, 256, 8>(blocks, q, scales, mins, q4_k),
        TensorType::Q5_K => each::<176, 256, 8>(blocks, q, scales, mins, q5_k),
        TensorType::Q6_K => each::<210, 256, 16>(blocks, q, scales, mins, q6_k),
        _ => unreachable!("`Format::of` names the types above"),
    }
}

/// Calls `block` for each block of `B` bytes, `V` values and `G` groups.
#[inline(always)]
fn each<const B: usize, const V: usize, const G: usize>(
    blocks: &[u8],
    q: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
    block: impl Fn(&[u8; B], &mut [i8; V], &mut [f32; G], &mut [f32; G]),
) {
    let (blocks, _) = blocks.as_chunks::<B>();
    let (q, _) = q.as_chunks_mut::<V>();
    let (scales, _) = scales.as_chunks_mut::<G>();
    let (mins, _) = mins.as_chunks_mut::<G>();
    for (((bytes, q), scales), mins) in blocks.iter().zip(q).zip(scales).zip(mins) {
        block(bytes, q, scales, mins);
    }
}

#[inline(always)]
fn nibbles(bytes: &[u8], q: &mut [i8; 32]) {
    let (low, high) = q.split_at_mut(16);
    for ((&byte, low), high) in bytes[..16].iter().zip(low).zip(high) {
        *low = (byte & 15) as i8;
        *high = (byte >> 4) as i8;
    }
}

#[inline(always)]
fn fifth_bits(bits: u32, q: &mut [i8; 32]) {
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((bits >> i & 1) << 4) as i8;
    }
}

#[inline(always)]
fn q4_0(block: &[u8; 18], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = -8.0 * scale[0];
    nibbles(&block[2..], q);
}

#[inline(always)]
fn q4_1(block: &[u8; 20], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = half_at(block, 2);
    nibbles(&block[4..], q);
}

#[inline(always)]
fn q5_0(block: &[u8; 22], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = -16.0 * scale[0];
    nibbles(&block[6..], q);
    fifth_bits(word_at(block, 2), q);
}

#[inline(always)]
fn q5_1(block: &[u8; 24], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = half_at(block, 2);
    nibbles(&block[8..], q);
    fifth_bits(word_at(block, 4), q);
}

#[inline(always)]
fn q8_0(block: &[u8; 34], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = 0.0;
    for (q, &byte) in q.iter_mut().zip(&block[2..]) {
        *q = byte as i8;
    }
}

#[inline(always)]
fn iq4_nl(block: &[u8; 18], q: &mut [i8; 32], scale: &mut [f32; 1], min: &mut [f32; 1]) {
    scale[0] = half_at(block, 0);
    min[0] = 0.0;
    nibbles(&block[2..], q);
    for q in q {
        *q = IQ4_NL_VALUES[*q as usize & 15];
    }
}

/// Unpacks two bits per value: each 32 bytes hold four rows of 32 values, lowest bits first.
#[inline(always)]
fn two_bit_rows(bytes: &[u8], q: &mut [i8; 256]) {
    for (bytes, q) in bytes.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<128>().0) {
        for (row, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (q, &byte) in q.iter_mut().zip(bytes) {
                *q = (byte >> (2 * row) & 3) as i8;
            }
        }
    }
}

#[inline(always)]
fn q2_k(block: &[u8; 84], q: &mut [i8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    let d = half_at(block, 80);
    let d_min = half_at(block, 82);
    for ((scale, min), &packed) in scales.iter_mut().zip(mins).zip(&block[..16]) {
        *scale = d * f32::from(packed & 15);
        *min = -(d_min * f32::from(packed >> 4));
    }
    two_bit_rows(&block[16..80], q);
}

/// The sixteen 6-bit scales of a `Q3_K` block, still offset by 32.
#[inline(always)]
pub(super) fn q3_k_scales(packed: &[u8; 12]) -> [u8; 16] {
    let mut scales = [0; 16];
    for (i, scale) in scales.iter_mut().enumerate() {
        let low = packed[i % 8] >> (4 * (i / 8)) & 15;
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        *scale = low | high << 4;
    }
    scales
}

#[inline(always)]
fn q3_k(block: &[u8; 110], q: &mut [i8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    let d = half_at(block, 108);
    let packed = block[96..108].try_into().expect("twelve bytes");
    for ((scale, min), packed) in scales.iter_mut().zip(mins).zip(q3_k_scales(packed)) {
        *scale = d * (f32::from(packed) - 32.0);
        *min = -4.0 * *scale;
    }
    two_bit_rows(&block[32..96], q);
    for (row, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, &bits) in q.iter_mut().zip(&block[..32]) {
            *q |= ((bits >> row & 1) << 2) as i8;
        }
    }
}

/// Same as [`q4_k_scales`], as the bytes of two words, for SIMD kernels.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn six_bits([a, b, c]: [u32; 3]) -> (u64, u64) {
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let top = |word: u32| (word >> 6 & 0x0303_0303) << 4;
    (
        join(a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | top(a)),
        join(b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | top(b)),
    )
}

/// The eight 6-bit scales and eight 6-bit minimums of a `Q4_K` or `Q5_K` block.
#[inline(always)]
fn q4_k_scales(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let mut scales = [0; 8];
    let mut mins = [0; 8];
    for i in 0..4 {
        scales[i] = packed[i] & 63;
        mins[i] = packed[i + 4] & 63;
        scales[i + 4] = packed[i + 8] & 15 | packed[i] >> 6 << 4;
        mins[i + 4] = packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4;
    }
    (scales, mins)
}

/// The scales and minimums at the start of a `Q4_K` or `Q5_K` block.
#[inline(always)]
fn q4_k_head(block: &[u8], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    let d = half_at(block, 0);
    let d_min = half_at(block, 2);
    let packed = block[4..16].try_into().expect("twelve bytes");
    let (packed_scales, packed_mins) = q4_k_scales(packed);
    for i in 0..8 {
        scales[i] = d * f32::from(packed_scales[i]);
        mins[i] = -(d_min * f32::from(packed_mins[i]));
    }
}

/// Unpacks four bits per value: each 32 bytes hold two rows of 32 values, low nibbles first.
#[inline(always)]
fn nibble_rows(bytes: &[u8], q: &mut [i8; 256]) {
    for (bytes, q) in bytes.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<64>().0) {
        let (low, high) = q.split_at_mut(32);
        for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
            *low = (byte & 15) as i8;
            *high = (byte >> 4) as i8;
        }
    }
}

#[inline(always)]
fn q4_k(block: &[u8; 144], q: &mut [i8; 256], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    q4_k_head(block, scales, mins);
    nibble_rows(&block[16..], q);
}

#[inline(always)]
fn q5_k(block: &[u8; 176], q: &mut [i8; 256], scales: &mut [f32; 8], mins: &mut [f32; 8]) {
    q4_k_head(block, scales, mins);
    nibble_rows(&block[48..], q);
    for (row, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, &bits) in q.iter_mut().zip(&block[16..48]) {
            *q |= ((bits >> row & 1) << 4) as i8;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], q: &mut [i8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    let d = half_at(block, 208);
    for ((scale, min), &packed) in scales.iter_mut().zip(mins).zip(&block[192..208]) {
        *scale = d * f32::from(packed as i8);
        *min = -32.0 * *scale;
    }
    for half in 0..2 {
        let low: &[u8; 64] = block[64 * half..][..64].try_into().expect("64 bytes");
        let high: &[u8; 32] = block[128 + 32 * half..][..32].try_into().expect("32 bytes");
        let q: &mut [i8; 128] = (&mut q[128 * half..][..128]).try_into().expect("128 values");
        for i in 0..32 {
            q[i] = (low[i] & 15 | (high[i] & 3) << 4) as i8;
            q[i + 32] = (low[i + 32] & 15 | (high[i] >> 2 & 3) << 4) as i8;
            q[i + 64] = (low[i] >> 4 | (high[i] >> 4 & 3) << 4) as i8;
            q[i + 96] = (low[i + 32] >> 4 | (high[i] >> 6) << 4) as i8;
        }
    }
}
