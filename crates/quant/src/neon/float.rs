//! Float weights against f32 activations in NEON: tiles of weight rows and activation rows.
#![expect(unsafe_code, reason = "NEON intrinsics over raw pointers")]

use std::arch::aarch64::*;

use lilims_gguf::TensorType;

use super::load_f16;
use crate::float::dot;

/// How a float type is loaded.
trait Float {
    const TYPE: TensorType;
    const BYTES: usize;

    /// Eight values as f32. SAFETY: they can be read.
    unsafe fn load(pointer: *const u8) -> [float32x4_t; 2];
}

struct F32;
impl Float for F32 {
    const TYPE: TensorType = TensorType::F32;
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise; bytes need no alignment.
        unsafe {
            [
                vreinterpretq_f32_u8(vld1q_u8(pointer)),
                vreinterpretq_f32_u8(vld1q_u8(pointer.add(16))),
            ]
        }
    }
}

struct F16;
impl Float for F16 {
    const TYPE: TensorType = TensorType::F16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise.
        unsafe { load_f16(pointer.cast()) }
    }
}

struct Bf16;
impl Float for Bf16 {
    const TYPE: TensorType = TensorType::BF16;
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(pointer: *const u8) -> [float32x4_t; 2] {
        // SAFETY: the caller's promise; bytes need no alignment.
        unsafe {
            let x = vreinterpretq_u16_u8(vld1q_u8(pointer));
            [
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(x))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(x)),
            ]
        }
    }
}

/// `out[t][r]` = weight row `r` · activation row `t`.
pub(crate) fn matmul_float(ty: TensorType, rows: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    match ty {
        TensorType::F32 => matmul::<F32>(rows, x, n_cols, out),
        TensorType::F16 => matmul::<F16>(rows, x, n_cols, out),
        _ => matmul::<Bf16>(rows, x, n_cols, out),
    }
}

fn matmul<F: Float>(rows: &[u8], x: &[f32], n_cols: usize, out: &mut [f32]) {
    let row_bytes = n_cols * F::BYTES;
    let n_rows = rows.len() / row_bytes;
    let n_tokens = x.len() / n_cols;
    assert!(out.len() == n_rows * n_tokens, "one result per pair of rows");
    let row = |r: usize| &rows[r * row_bytes..][..row_bytes];
    let token = |t: usize| &x[t * n_cols..][..n_cols];
    let mut t = 0;
    while t < n_tokens {
        // One token takes rows a quarter of the matrix apart, four tokens neighbouring ones: the
        // former is bound by memory, which is read faster in four sequential streams.
        if n_tokens - t >= 4 {
            let x = [token(t), token(t + 1), token(t + 2), token(t + 3)];
            let mut r = 0;
            while r < n_rows {
                let width = if n_rows - r >= 4 { 4 } else { 1 };
                if width == 4 {
                    let dots = tile::<F, 4, 4>([row(r), row(r + 1), row(r + 2), row(r + 3)], x);
                    for (i, dots) in dots.into_iter().enumerate() {
                        for (j, dot) in dots.into_iter().enumerate() {
                            out[(t + j) * n_rows + r + i] = dot;
                        }
                    }
                } else {
                    for (j, dot) in tile::<F, 1, 4>([row(r)], x)[0].into_iter().enumerate() {
                        out[(t + j) * n_rows + r] = dot;
                    }
                }
                r += width;
            }
            t += 4;
        } else {
            let x = [token(t)];
            let out = &mut out[t * n_rows..][..n_rows];
            let quarter = n_rows / 4;
            for r in 0..quarter {
                let [a, b, c, d] = [r, r + quarter, r + 2 * quarter, r + 3 * quarter];
                let dots = tile::<F, 4, 1>([row(a), row(b), row(c), row(d)], x);
                [out[a], out[b], out[c], out[d]] = [dots[0][0], dots[1][0], dots[2][0], dots[3][0]];
            }
            for r in 4 * quarter..n_rows {
                let [[dot]] = tile::<F, 1, 1>([row(r)], x);
                out[r] = dot;
            }
            t += 1;
        }
    }
}

/// The dot products of `R` weight rows with `T` activation rows.
#[inline(always)]
fn tile<F: Float, const R: usize, const T: usize>(
    rows: [&[u8]; R],
    x: [&[f32]; T],
) -> [[f32; T]; R] {
    let n_cols = x[0].len();
    assert!(rows.iter().all(|row| row.len() == n_cols * F::BYTES), "whole rows");
    assert!(x.iter().all(|x| x.len() == n_cols), "whole rows");
    let whole = n_cols / 8 * 8;
    let mut out = [[0.0; T]; R];
    // SAFETY: eight values from each multiple of eight below `whole` on are inside each row.
    unsafe {
        let mut sums = [[[vdupq_n_f32(0.0); 2]; T]; R];
        for col in (0..whole).step_by(8) {
            let mut values = [[vdupq_n_f32(0.0); 2]; T];
            for t in 0..T {
                let x = x[t].as_ptr().add(col);
                values[t] = [vld1q_f32(x), vld1q_f32(x.add(4))];
            }
            for r in 0..R {
                let w = F::load(rows[r].as_ptr().add(col * F::BYTES));
                for t in 0..T {
                    // Sixteen sums of a large tile fill half of the registers; a small one takes
                    // two for each dot product, so that fewer wait for each other.
                    let other = usize::from(R * T < 16);
                    sums[r][t][0] = vfmaq_f32(sums[r][t][0], w[0], values[t][0]);
                    sums[r][t][other] = vfmaq_f32(sums[r][t][other], w[1], values[t][1]);
                }
            }
        }
        for r in 0..R {
            let rest_of_row = &rows[r][whole * F::BYTES..];
            for t in 0..T {
                let sum = vaddvq_f32(vaddq_f32(sums[r][t][0], sums[r][t][1]));
                out[r][t] = sum + dot(F::TYPE, rest_of_row, &x[t][whole..]);
            }
        }
    }
    out
}
