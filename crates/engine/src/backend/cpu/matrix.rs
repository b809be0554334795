//! Weight matrices in the memory map, and one worker's products with them.

use std::ops::Range;
use std::sync::Arc;

use lilims_gguf::{File, TensorInfo, TensorType};

use crate::Error;
use crate::quant::{ActivationBatch, Kernel, PANEL_ROWS, Panel, dequantize};

/// From this many tokens on, weights are unpacked once for all tokens.
const MIN_PANEL_TOKENS: usize = 4;
/// Bytes per chunk on the direct path: enough to hide its overhead, small enough to balance the
/// load. The next chunk is prefetched while one is computed.
const CHUNK_BYTES: usize = 16 * 1024;
/// Rows that the kernels compute together, at most.
const ROWS_AT_ONCE: usize = 8;
/// Bytes that are read from the disk at once: enough for a long request, few enough that the workers
/// need not wait for all of a matrix.
const PRELOAD_BYTES: usize = 4 << 20;
/// Panels per chunk on the panel path.
const CHUNK_PANELS: usize = 1;

/// A weight matrix `[n_rows, n_cols]` in the memory map: a tensor, or some of its rows.
pub(crate) struct Matrix {
    file: Arc<File>,
    /// Byte range of the weights in the file.
    data: Range<usize>,
    kernel: Kernel,
    n_rows: usize,
    n_cols: usize,
    row_bytes: usize,
    /// How the rows are split into chunks on each path.
    direct: Chunks,
    panels: Chunks,
}

/// How a weight matrix is multiplied by tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatmulPath {
    /// Each token directly by the quantised blocks.
    Direct,
    /// All tokens by unpacked panels of rows.
    Panel,
}

impl MatmulPath {
    /// The path for `n_tokens`. With `is_exact` the result of each token is bit-identical to
    /// computing it alone.
    pub(crate) fn new(n_tokens: usize, is_exact: bool) -> Self {
        if n_tokens < MIN_PANEL_TOKENS || is_exact { Self::Direct } else { Self::Panel }
    }
}

/// A split of the rows of a matrix into chunks.
#[derive(Clone, Copy)]
struct Chunks {
    rows: usize,
    count: usize,
}

impl Chunks {
    fn new(n_rows: usize, rows: usize) -> Self {
        Self { rows, count: n_rows.div_ceil(rows) }
    }
}

impl Matrix {
    /// Rows `rows` of the tensor `info`, a matrix of a supported type.
    pub(crate) fn new(
        file: &Arc<File>,
        info: &TensorInfo,
        rows: Range<usize>,
    ) -> Result<Self, Error> {
        let kernel = Kernel::new(info.tensor_type).ok_or_else(|| Error::Unsupported {
            what: format!("tensor `{}` has type {}", info.name, info.tensor_type),
        })?;
        let (n_cols, n_rows) = (info.dims[0] as usize, rows.len());
        let row_bytes = kernel.row_bytes(n_cols);
        let data = &file.data(info)?[rows.start * row_bytes..rows.end * row_bytes];
        let start = data.as_ptr().addr() - file.as_bytes().as_ptr().addr();
        let direct_rows = (CHUNK_BYTES / row_bytes.max(1)).next_multiple_of(ROWS_AT_ONCE);
        Ok(Self {
            file: Arc::clone(file),
            data: start..start + data.len(),
            kernel,
            n_rows,
            n_cols,
            row_bytes,
            direct: Chunks::new(n_rows, direct_rows.max(ROWS_AT_ONCE)),
            panels: Chunks::new(n_rows, CHUNK_PANELS * PANEL_ROWS),
        })
    }

    /// Whether products take quantised activations.
    pub(crate) fn quantizes_activations(&self) -> bool {
        self.kernel.quantizes_activations()
    }

    /// The type and width of its panels; `None` for float weights.
    pub(crate) fn panel(&self) -> Option<(TensorType, usize)> {
        self.quantizes_activations().then(|| (self.kernel.tensor_type(), self.n_cols))
    }

    /// Reads all rows from the disk.
    pub(crate) fn preload(&self) {
        for start in self.data.clone().step_by(PRELOAD_BYTES) {
            self.file.preload(start..(start + PRELOAD_BYTES).min(self.data.end));
        }
    }

    fn bytes(&self, rows: Range<usize>) -> &[u8] {
        &self.file.as_bytes()[self.data.clone()]
            [rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    /// Decodes row `row_idx` into `out`.
    pub(crate) fn decode_row(&self, row_idx: usize, out: &mut [f32]) {
        let bytes = self.bytes(row_idx..row_idx + 1);
        dequantize(self.kernel.tensor_type(), bytes, out).expect("`new` accepted the type");
    }

    /// The chunks of a path.
    fn chunks(&self, matmul_path: MatmulPath) -> Chunks {
        match matmul_path {
            MatmulPath::Direct => self.direct,
            MatmulPath::Panel => self.panels,
        }
    }
}

/// The matrix products between two barriers.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Matrices with the same input, one after the other.
    Separate([Option<&'a Matrix>; 3]),
    /// Two matrices of one shape, whose rows are computed together.
    Pair([&'a Matrix; 2]),
}

impl<'a> Step<'a> {
    /// The number of chunks of the step.
    pub(crate) fn n_chunks(&self, matmul_path: MatmulPath) -> usize {
        match self {
            Self::Separate(matrices) => {
                matrices.iter().flatten().map(|matrix| matrix.chunks(matmul_path).count).sum()
            }
            Self::Pair([a, _]) => a.chunks(matmul_path).count,
        }
    }

    /// The matrices, in the order in which they are read.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &'a Matrix> + use<'a> {
        let matrices = match *self {
            Self::Separate(matrices) => matrices,
            Self::Pair([a, b]) => [Some(a), Some(b), None],
        };
        matrices.into_iter().flatten()
    }

    /// Whether any product takes quantised activations.
    pub(crate) fn quantizes_activations(&self) -> bool {
        self.matrices().any(Matrix::quantizes_activations)
    }

    /// The matrix of a chunk (its index in the step and itself) and its rows; for a pair, those of
    /// the first matrix.
    pub(crate) fn chunk(
        &self,
        mut chunk: usize,
        matmul_path: MatmulPath,
    ) -> (usize, &'a Matrix, Range<usize>) {
        let matrices = match *self {
            Self::Separate(matrices) => matrices,
            Self::Pair([a, _]) => [Some(a), None, None],
        };
        for (idx, matrix) in matrices.into_iter().flatten().enumerate() {
            let Chunks { rows, count } = matrix.chunks(matmul_path);
            if chunk < count {
                let start = chunk * rows;
                return (idx, matrix, start..(start + rows).min(matrix.n_rows));
            }
            chunk -= count;
        }
        unreachable!("the chunk is in the step")
    }

    /// The weights of a chunk that are read first.
    pub(crate) fn bytes(&self, chunk: usize, matmul_path: MatmulPath) -> &'a [u8] {
        let (_, matrix, rows) = self.chunk(chunk, matmul_path);
        matrix.bytes(rows)
    }
}

/// The input rows of a product: floats for float weights, quantised for the others.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) matmul_path: MatmulPath,
    /// `[n_tokens, n_cols]`
    pub(crate) floats: &'a [f32],
    /// The same rows, quantised; empty if no matrix needs them.
    pub(crate) quantized: ActivationBatch<'a>,
}

/// Buffers for matrix products.
#[derive(Default)]
pub(crate) struct Products {
    panels: Vec<((TensorType, usize), Panel)>,
    tile: Vec<[f32; PANEL_ROWS]>,
    row_products: Vec<f32>,
    /// Products with the first matrix of a pair.
    gates: Vec<f32>,
}

impl Products {
    /// Multiplies rows `rows` of `matrix` by the tokens of `x`, and prefetches `ahead`, the weights
    /// that are read next. `sink` gets each part of the result: the token, the first row, and the
    /// products from that row on.
    pub(crate) fn multiply(
        &mut self,
        matrix: &Matrix,
        rows: Range<usize>,
        ahead: &[u8],
        x: Rows<'_>,
        mut sink: impl FnMut(usize, usize, &mut [f32]),
    ) {
        let n_tokens = x.floats.len() / matrix.n_cols;
        let n_rows = rows.len();
        if !matrix.kernel.quantizes_activations() {
            self.row_products.resize(n_tokens * n_rows, 0.0);
            let bytes = matrix.bytes(rows.clone());
            matrix.kernel.matmul_float(
                bytes,
                ahead,
                x.floats,
                matrix.n_cols,
                &mut self.row_products,
            );
            let products = self.row_products.chunks_exact_mut(n_rows).enumerate();
            return products.for_each(|(token, y)| sink(token, rows.start, y));
        }
        if x.matmul_path == MatmulPath::Direct {
            self.row_products.resize(n_rows, 0.0);
            for token in 0..n_tokens {
                let bytes = matrix.bytes(rows.clone());
                matrix.kernel.matvec(bytes, ahead, x.quantized.row(token), &mut self.row_products);
                sink(token, rows.start, &mut self.row_products);
            }
            return;
        }
        self.tile.resize(n_tokens, [0.0; PANEL_ROWS]);
        let panel = panel(&mut self.panels, matrix);
        for first in rows.clone().step_by(PANEL_ROWS) {
            let end = (first + PANEL_ROWS).min(rows.end);
            panel.load(matrix.bytes(first..end));
            panel.matmul(x.quantized, 0, &mut self.tile);
            for (token, y) in self.tile.iter_mut().enumerate() {
                sink(token, first, &mut y[..end - first]);
            }
        }
    }
}

impl Products {
    /// Multiplies the same rows of two matrices, and prefetches `ahead`. `sink` gets the token, the
    /// first row, and the products with the first and the second matrix.
    pub(crate) fn multiply_pair(
        &mut self,
        matrices: [&Matrix; 2],
        rows: Range<usize>,
        ahead: &[u8],
        x: Rows<'_>,
        mut sink: impl FnMut(usize, usize, &mut [f32], &mut [f32]),
    ) {
        let n_rows = rows.len();
        let mut gates = std::mem::take(&mut self.gates);
        gates.resize(x.floats.len() / matrices[0].n_cols * n_rows, 0.0);
        let part = |token: usize, first: usize, len: usize| {
            let start = token * n_rows + first - rows.start;
            start..start + len
        };
        self.multiply(
            matrices[0],
            rows.clone(),
            matrices[1].bytes(rows.clone()),
            x,
            |token, first, y| {
                gates[part(token, first, y.len())].copy_from_slice(y);
            },
        );
        self.multiply(matrices[1], rows.clone(), ahead, x, |token, first, y| {
            sink(token, first, &mut gates[part(token, first, y.len())], y);
        });
        self.gates = gates;
    }
}

/// The panel for matrices of this type and width, created at its first use.
fn panel<'a>(panels: &'a mut Vec<((TensorType, usize), Panel)>, matrix: &Matrix) -> &'a mut Panel {
    let key = (matrix.kernel.tensor_type(), matrix.n_cols);
    let found = panels.iter().position(|(of, _)| *of == key);
    let idx = found.unwrap_or_else(|| {
        panels.push((key, matrix.kernel.panel(matrix.n_cols)));
        panels.len() - 1
    });
    &mut panels[idx].1
}
