//! Scalar versions of the matrix kernels: the reference that every SIMD kernel is tested against,
//! and the fallback on other processors.

use half::{bf16, f16};
use lilims_gguf::TensorType;

use super::activation::ActivationRow;
use super::blocks::{self, Format};
use super::panel::{PANEL_ROWS, Panel};

/// The dot product of each row in `rows` with `activations`.
pub(super) fn matvec(
    ty: TensorType,
    format: Format,
    rows: &[u8],
    activations: ActivationRow<'_>,
    out: &mut [f32],
) {
    let row_bytes = format.row_bytes(activations.n_cols());
    for (row, out) in rows.chunks_exact(row_bytes).zip(out) {
        *out = row
            .chunks_exact(format.block_bytes)
            .enumerate()
            .map(|(block_idx, block)| dot_block(ty, format, block, activations, block_idx))
            .sum();
    }
}

fn dot_block(
    ty: TensorType,
    format: Format,
    block: &[u8],
    activations: ActivationRow<'_>,
    block_idx: usize,
) -> f32 {
    let mut q = [0; 256];
    let mut scales = [0.0; 16];
    let mut mins = [0.0; 16];
    let (n, group) = (format.block_values, format.group);
    let n_groups = n / group;
    blocks::unpack(ty, block, &mut q[..n], &mut scales[..n_groups], &mut mins[..n_groups]);
    let mut sum = 0.0;
    for group_idx in 0..n_groups {
        let start = block_idx * n + group_idx * group;
        let dot = dot_i8(&q[group_idx * group..][..group], &activations.values[start..][..group]);
        sum += scales[group_idx] * activations.scales[start / 32] * dot as f32
            + mins[group_idx] * group_sum(activations, group, start);
    }
    sum
}

fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

/// The sum of the activations of the group that starts at value `start`.
fn group_sum(activations: ActivationRow<'_>, group: usize, start: usize) -> f32 {
    if group == 32 { activations.sums_32[start / 32] } else { activations.sums_16[start / 16] }
}

/// The dot products of a panel's rows with one activation row.
pub(super) fn panel_row(panel: &Panel, activations: ActivationRow<'_>) -> [f32; PANEL_ROWS] {
    let group = panel.format().group;
    let mut out = [0.0; PANEL_ROWS];
    for group_idx in 0..panel.n_cols() / group {
        let start = group_idx * group;
        let values = &activations.values[start..][..group];
        let sum = group_sum(activations, group, start);
        for (row_idx, out) in out.iter_mut().enumerate() {
            let dot: i32 = values
                .iter()
                .enumerate()
                .map(|(i, &value)| i32::from(panel.value(row_idx, start + i)) * i32::from(value))
                .sum();
            let scale = panel.scales[group_idx * PANEL_ROWS + row_idx];
            let min = panel.mins[group_idx * PANEL_ROWS + row_idx];
            *out += scale * activations.scales[start / 32] * dot as f32 + min * sum;
        }
    }
    out
}

/// `out += p * row`.
pub(super) fn axpy(ty: TensorType, row: &[u8], p: f32, out: &mut [f32]) {
    match ty {
        TensorType::F32 => axpy_with(row, p, out, f32::from_le_bytes),
        TensorType::F16 => axpy_with(row, p, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        _ => axpy_with(row, p, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
    }
}

fn axpy_with<const B: usize>(row: &[u8], p: f32, out: &mut [f32], value: impl Fn([u8; B]) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(row.as_chunks::<B>().0) {
        *out += p * value(bytes);
    }
}

/// The scalar dot product: eight partial sums, like a vector's lanes, keep long rows accurate.
pub(super) fn dot_float(ty: TensorType, row: &[u8], x: &[f32]) -> f32 {
    match ty {
        TensorType::F32 => dot_float_with(row, x, f32::from_le_bytes),
        TensorType::F16 => dot_float_with(row, x, |bytes| f16::from_le_bytes(bytes).to_f32()),
        _ => dot_float_with(row, x, |bytes| bf16::from_le_bytes(bytes).to_f32()),
    }
}

fn dot_float_with<const B: usize>(row: &[u8], x: &[f32], value: impl Fn([u8; B]) -> f32) -> f32 {
    let mut sums = [0.0; 8];
    for (row, x) in row.as_chunks::<B>().0.chunks(8).zip(x.chunks(8)) {
        for ((sum, &bytes), x) in sums.iter_mut().zip(row).zip(x) {
            *sum += value(bytes) * x;
        }
    }
    sums.iter().sum()
}
