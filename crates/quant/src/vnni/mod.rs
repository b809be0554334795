//! Kernels for x86-64 with `vpdpbusd`: AVX-512 VNNI and AVX-VNNI.
//!
//! The code is generic over the multiplication of 256-bit vectors ([`dot::Dot`]) and over vectors
//! of 64 bytes ([`wide::Wide`]): one register of AVX-512, two of AVX-VNNI, or, in tests, two of
//! AVX2, so that the code is tested on processors without VNNI.
//!
//! The functions visible outside of this module are sound only if the given instruction set is
//! available, which their callers check. They check the lengths of their slices; the kernels that
//! they call take raw pointers.
#![expect(unsafe_code, reason = "AVX intrinsics over raw pointers")]
#![expect(clippy::needless_range_loop, reason = "one index walks several arrays of registers")]

mod blocks_256;
mod blocks_32;
mod dot;
mod float;
mod panel;
mod q4_k;
#[cfg(test)]
mod tests;
mod wide;

use lilims_gguf::TensorType;

use super::Isa;
use super::activation::{ActivationBatch, ActivationRow};
use super::avx2::{self, Row, RowsKernel, blocks_32 as layouts};
use super::blocks::Format;
use super::panel::{PANEL_ROWS, Panel};

pub(super) use float::{add_weighted, matmul_float};

/// The instruction set that a kernel is instantiated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Avx512Vnni,
    AvxVnni,
    /// Emulation of `vpdpbusd` by several AVX2 instructions.
    #[cfg(test)]
    StandIn,
}

impl Set {
    /// The variant for an instruction set with `vpdpbusd`.
    pub(super) fn of(isa: Isa) -> Self {
        match isa {
            Isa::Avx512Vnni => Self::Avx512Vnni,
            _ => Self::AvxVnni,
        }
    }
}

/// The dot product of each row in `rows` with `activations`.
pub(super) fn matvec(
    set: Set,
    ty: TensorType,
    format: Format,
    rows: &[u8],
    ahead: &[u8],
    activations: ActivationRow<'_>,
    out: &mut [f32],
) {
    let n_blocks = activations.n_cols() / format.block_values;
    let row_bytes = format.row_bytes(activations.n_cols());
    assert_eq!(rows.len(), row_bytes * out.len(), "one result per row");
    let kernel: RowsKernel = match ty {
        TensorType::Q4_0 => blocks_32::kernel::<layouts::Q4_0>(set),
        TensorType::Q4_1 => blocks_32::kernel::<layouts::Q4_1>(set),
        TensorType::Q5_0 => blocks_32::kernel::<layouts::Q5_0>(set),
        TensorType::Q5_1 => blocks_32::kernel::<layouts::Q5_1>(set),
        TensorType::Q8_0 => blocks_32::kernel::<layouts::Q8_0>(set),
        TensorType::IQ4_NL => blocks_32::kernel::<layouts::Iq4Nl>(set),
        TensorType::Q2_K => blocks_256::kernel::<blocks_256::Q2K>(set),
        TensorType::Q3_K => blocks_256::kernel::<blocks_256::Q3K>(set),
        TensorType::Q4_K => q4_k::kernel::<false, blocks_256::Q4K>(set),
        TensorType::Q5_K => q4_k::kernel::<true, blocks_256::Q5K>(set),
        TensorType::Q6_K => blocks_256::kernel::<blocks_256::Q6K>(set),
        _ => unreachable!("only quantised types have a format"),
    };
    // SAFETY: the instruction set is available (see the module). `rows` holds `out.len()` rows of
    // `n_blocks` blocks, and the activation row as many values, scales and sums.
    unsafe { kernel(rows.as_ptr(), row_bytes, n_blocks, Row::of(activations), ahead.as_ptr(), out) }
}

/// Converts sixteen unpacked rows to the layout of AVX2, but unsigned: 128 is added to signed
/// values.
pub(super) fn interleave(format: Format, rows: &[i8], n_cols: usize, values: &mut [i8]) {
    avx2::interleave(rows, n_cols, values);
    if format.max.is_none() {
        for value in values {
            *value ^= i8::MIN;
        }
    }
}

/// Multiplies a panel with `out.len()` activation rows, starting at row `first`.
pub(super) fn panel_matmul(
    set: Set,
    panel: &Panel,
    activations: ActivationBatch<'_>,
    first: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    assert_eq!(panel.n_cols(), activations.n_cols(), "rows of equal length");
    // SAFETY: the instruction set is available (see the module).
    unsafe {
        match set {
            Set::Avx512Vnni => panel::with_avx512(panel, activations, first, out),
            Set::AvxVnni => panel::with_avx_vnni(panel, activations, first, out),
            #[cfg(test)]
            Set::StandIn => panel::with_avx2(panel, activations, first, out),
        }
    }
}
