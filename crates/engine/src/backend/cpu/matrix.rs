//! Weight matrices in place in the map, and one worker's products with them.

use std::ops::Range;
use std::sync::Arc;

use lilims_gguf::{File, TensorInfo, TensorType};

use super::attention::AttentionScratch;
use crate::quant::{Activations, Batch, Kernel, PANEL_ROWS, Panel, dequantize};
use crate::{Error, ModelSpec};

/// From this many tokens on, weights are unpacked once for all of them.
const MIN_PANEL_TOKENS: usize = 4;
/// Weights in a chunk when they are read once: enough to hide its cost, small enough to balance, and
/// as far ahead as the next chunk's weights are fetched into the cache.
const CHUNK_BYTES: usize = 16 * 1024;
/// Rows that the kernels multiply together.
const ROWS_AT_ONCE: usize = 4;
/// Weight rows in a chunk when many tokens meet them.
const CHUNK_PANELS: usize = 1;

/// A weight matrix `[n_rows, n_cols]`, borrowed from the map: a tensor, or some of its rows.
pub(crate) struct Matrix {
    file: Arc<File>,
    /// Where the weights lie in the file.
    data: Range<usize>,
    kernel: Kernel,
    n_rows: usize,
    n_cols: usize,
    row_bytes: usize,
    /// How the rows are split where weights are read once, and where many tokens meet them.
    few: Chunks,
    many: Chunks,
}

/// How weights meet tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// Each token straight from the blocks.
    Few,
    /// All at once with unpacked panels.
    Many,
}

impl Meeting {
    /// For so many tokens; `is_exact` gives each the bits that it would get alone.
    pub(crate) fn of(n_tokens: usize, is_exact: bool) -> Self {
        if n_tokens < MIN_PANEL_TOKENS || is_exact { Self::Few } else { Self::Many }
    }
}

/// A split of a matrix' rows.
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
        let once = (CHUNK_BYTES / row_bytes.max(1)).next_multiple_of(ROWS_AT_ONCE);
        Ok(Self {
            file: Arc::clone(file),
            data: start..start + data.len(),
            kernel,
            n_rows,
            n_cols,
            row_bytes,
            few: Chunks::new(n_rows, once.max(ROWS_AT_ONCE)),
            many: Chunks::new(n_rows, CHUNK_PANELS * PANEL_ROWS),
        })
    }

    /// Whether products take quantised activations.
    pub(crate) fn quantizes_activations(&self) -> bool {
        self.kernel.quantizes_activations()
    }

    /// The type and width of the panels that its rows are unpacked into, if they are.
    pub(crate) fn panel(&self) -> Option<(TensorType, usize)> {
        self.quantizes_activations().then(|| (self.kernel.tensor_type(), self.n_cols))
    }

    /// All rows.
    pub(crate) fn all_bytes(&self) -> &[u8] {
        &self.file.as_bytes()[self.data.clone()]
    }

    fn bytes(&self, rows: Range<usize>) -> &[u8] {
        &self.all_bytes()[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    /// Decodes row `row_idx` into `out`.
    pub(crate) fn decode_row(&self, row_idx: usize, out: &mut [f32]) {
        let bytes = self.bytes(row_idx..row_idx + 1);
        dequantize(self.kernel.tensor_type(), bytes, out).expect("`new` accepted the type");
    }

    /// How a product is split.
    fn chunks(&self, meeting: Meeting) -> Chunks {
        match meeting {
            Meeting::Few => self.few,
            Meeting::Many => self.many,
        }
    }
}

/// What is multiplied between two barriers.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    /// Matrices that take the same rows, one after the other.
    Apart([Option<&'a Matrix>; 3]),
    /// Matrices of one shape, of which the same rows are multiplied together.
    Pair([&'a Matrix; 2]),
}

impl<'a> Step<'a> {
    /// Into how many chunks the step is split.
    pub(crate) fn n_chunks(&self, meeting: Meeting) -> usize {
        match self {
            Self::Apart(matrices) => {
                matrices.iter().flatten().map(|matrix| matrix.chunks(meeting).count).sum()
            }
            Self::Pair([a, _]) => a.chunks(meeting).count,
        }
    }

    /// The matrices, in the order in which they are read.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = &'a Matrix> + use<'a> {
        let matrices = match *self {
            Self::Apart(matrices) => matrices,
            Self::Pair([a, b]) => [Some(a), Some(b), None],
        };
        matrices.into_iter().flatten()
    }

    /// Whether any of the products take quantised activations.
    pub(crate) fn quantizes_activations(&self) -> bool {
        self.matrices().any(Matrix::quantizes_activations)
    }

    /// A chunk's matrix, by its place in the step, and rows; of a pair, those of the first.
    pub(crate) fn chunk(
        &self,
        mut chunk: usize,
        meeting: Meeting,
    ) -> (usize, &'a Matrix, Range<usize>) {
        let matrices = match *self {
            Self::Apart(matrices) => matrices,
            Self::Pair([a, _]) => [Some(a), None, None],
        };
        for (idx, matrix) in matrices.into_iter().flatten().enumerate() {
            let Chunks { rows, count } = matrix.chunks(meeting);
            if chunk < count {
                let start = chunk * rows;
                return (idx, matrix, start..(start + rows).min(matrix.n_rows));
            }
            chunk -= count;
        }
        unreachable!("the step has the chunk")
    }

    /// The weights that are read first of a chunk.
    pub(crate) fn bytes(&self, chunk: usize, meeting: Meeting) -> &'a [u8] {
        let (_, matrix, rows) = self.chunk(chunk, meeting);
        matrix.bytes(rows)
    }
}

/// Activations as matrices take them: float weights the floats, others the integers.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) meeting: Meeting,
    /// `[n_tokens, n_cols]`
    pub(crate) floats: &'a [f32],
    /// The same rows, or none where no matrix asks for them.
    pub(crate) quantized: Batch<'a>,
}

/// One worker's buffers; they grow to what the model needs and stay.
pub(crate) struct Scratch {
    pub(crate) activations: Activations,
    pub(crate) products: Products,
    pub(crate) attention: AttentionScratch,
}

/// What products need beside their operands.
#[derive(Default)]
pub(crate) struct Products {
    panels: Vec<((TensorType, usize), Panel)>,
    tile: Vec<[f32; PANEL_ROWS]>,
    of_rows: Vec<f32>,
    /// Products of the matrix that is multiplied first in a pair.
    gates: Vec<f32>,
}

impl Scratch {
    /// Buffers for a model of this shape.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, Error> {
        Ok(Self {
            activations: Activations::new(0, 0),
            products: Products::default(),
            attention: AttentionScratch::new(spec)?,
        })
    }
}

impl Products {
    /// Multiplies rows `rows` of `matrix` with the tokens of `x`, and fetches `ahead`, the weights that
    /// are read next. `sink` gets each piece: the token, the first row and the products with the rows
    /// from there.
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
            self.of_rows.resize(n_tokens * n_rows, 0.0);
            let bytes = matrix.bytes(rows.clone());
            matrix.kernel.matmul_float(bytes, ahead, x.floats, matrix.n_cols, &mut self.of_rows);
            let products = self.of_rows.chunks_exact_mut(n_rows).enumerate();
            return products.for_each(|(token, y)| sink(token, rows.start, y));
        }
        if x.meeting == Meeting::Few {
            self.of_rows.resize(n_rows, 0.0);
            for token in 0..n_tokens {
                let bytes = matrix.bytes(rows.clone());
                matrix.kernel.matvec(bytes, ahead, x.quantized.row(token), &mut self.of_rows);
                sink(token, rows.start, &mut self.of_rows);
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
    /// Multiplies the same rows of two matrices and fetches `ahead`; `sink` gets the token, the first
    /// row and the products with the first and the second matrix.
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

/// The panel for matrices of this type and width, made at its first use.
fn panel<'a>(panels: &'a mut Vec<((TensorType, usize), Panel)>, matrix: &Matrix) -> &'a mut Panel {
    let key = (matrix.kernel.tensor_type(), matrix.n_cols);
    let found = panels.iter().position(|(of, _)| *of == key);
    let idx = found.unwrap_or_else(|| {
        panels.push((key, matrix.kernel.panel(matrix.n_cols)));
        panels.len() - 1
    });
    &mut panels[idx].1
}
