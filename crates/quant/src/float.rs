//! Products of float rows with f32 rows, without quantisation and with f32 sums: weights with
//! activations, and attention's products with keys and values.
//!
//! Only checks lengths and dispatches: the scalar versions are in `scalar`, the SIMD versions in
//! `float_tiles`.

use lilims_gguf::TensorType;

use super::Isa;
use super::scalar::{axpy, dot_float};

/// `out[t][r]` = weight row `r` · activation row `t`.
pub(super) fn matmul(
    ty: TensorType,
    isa: Isa,
    rows: &[u8],
    ahead: &[u8],
    x: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    if n_cols == 0 {
        return out.fill(0.0);
    }
    let row_bytes = ty.size_bytes(n_cols as u64).expect("a float type") as usize;
    let (n_rows, n_tokens) = (rows.len() / row_bytes, x.len() / n_cols);
    assert_eq!(rows.len(), n_rows * row_bytes, "whole weight rows");
    assert_eq!(x.len(), n_tokens * n_cols, "whole activation rows");
    assert_eq!(out.len(), n_rows * n_tokens, "one result per pair of rows");
    let ahead = if ahead.is_empty() { rows } else { ahead };
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => super::vnni::matmul_float(ty, rows, ahead, x, n_cols, out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni | Isa::Avx2 => super::avx2::matmul_float(ty, rows, ahead, x, n_cols, out),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon => {
            super::neon::matmul_float(ty, rows, ahead, x, n_cols, out)
        }
        _ => {
            for (t, x) in x.chunks_exact(n_cols).enumerate() {
                for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
                    out[t * n_rows + r] = dot_float(ty, row, x);
                }
            }
        }
    }
}

/// `out[t] += p[t][r] * values[r]`, summed over `r`.
pub(super) fn add_weighted(
    ty: TensorType,
    isa: Isa,
    values: &[u8],
    ahead: &[u8],
    p: &[f32],
    n_cols: usize,
    out: &mut [f32],
) {
    if n_cols == 0 || values.is_empty() {
        return;
    }
    let row_bytes = ty.size_bytes(n_cols as u64).expect("a float type") as usize;
    let (n_values, n_rows) = (values.len() / row_bytes, out.len() / n_cols);
    assert_eq!(values.len(), n_values * row_bytes, "whole value rows");
    assert_eq!(out.len(), n_rows * n_cols, "whole result rows");
    assert_eq!(p.len(), n_rows * n_values, "one weight per pair of rows");
    let ahead = if ahead.is_empty() { values } else { ahead };
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => super::vnni::add_weighted(ty, values, ahead, p, n_cols, out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni | Isa::Avx2 => super::avx2::add_weighted(ty, values, ahead, p, n_cols, out),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm | Isa::NeonDotprod | Isa::Neon => {
            super::neon::add_weighted(ty, values, ahead, p, n_cols, out)
        }
        _ => {
            for (out, p) in out.chunks_exact_mut(n_cols).zip(p.chunks_exact(n_values)) {
                for (row, p) in values.chunks_exact(row_bytes).zip(p) {
                    axpy(ty, row, *p, out);
                }
            }
        }
    }
}
