//! A model whose weights stay in the memory map, and the order in which a pass multiplies them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use lilims_gguf::{File, TensorInfo};

use super::matrix::{Matrix, Step};
use super::sizes::worker_bytes;
use crate::rope::Rope;
use crate::weights::{Upload, Weights, rope_factors};
use crate::{Error, ModelSpec};

/// Matrix products per layer: queries, keys and values; attention output; gate and up (or up
/// alone); down.
const STEPS_PER_LAYER: usize = 4;

/// A model whose weights stay in the memory map of the file.
pub(crate) struct CpuModel {
    pub(super) spec: ModelSpec,
    pub(super) weights: Weights<Matrix, Vec<f32>>,
    pub(super) rope: Rope,
}

impl CpuModel {
    /// The size in bytes to which a worker's own buffers grow.
    pub(super) fn worker_bytes(&self) -> usize {
        let steps = (0..).map_while(|idx| self.step(idx));
        let panels: HashSet<_> =
            steps.flat_map(|step| step.matrices().filter_map(Matrix::panel)).collect();
        worker_bytes(&self.spec, panels.into_iter().map(|(_, n_cols)| n_cols))
    }

    /// The matrices of the `idx`th product of a pass, counted over all layers; the head is the
    /// last. `None` past the end.
    pub(super) fn step(&self, idx: usize) -> Option<Step<'_>> {
        let Weights { layers, output, embedding, .. } = &self.weights;
        let single = |matrix| Step::Separate([Some(matrix), None, None]);
        let Some(layer) = layers.get(idx / STEPS_PER_LAYER) else {
            let head = output.as_ref().map_or(embedding, |head| &head.weight);
            return (idx == layers.len() * STEPS_PER_LAYER).then(|| single(head));
        };
        let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|linear| Some(&linear.weight));
        Some(match idx % STEPS_PER_LAYER {
            0 => Step::Separate([q, k, v]),
            1 => single(&layer.attention_out.weight),
            2 => match &layer.gate {
                Some(gate) => Step::Pair([&gate.weight, &layer.up.weight]),
                None => single(&layer.up.weight),
            },
            _ => single(&layer.down.weight),
        })
    }

    /// Locates the weights, and prepares the rope for sessions of `context` tokens. Only the norms
    /// are read.
    pub(crate) fn load(file: &Arc<File>, spec: &ModelSpec, context: usize) -> Result<Self, Error> {
        let weights = Weights::load(file, spec, &InPlace { file })?;
        let rope = Rope::new(spec, rope_factors(file, spec, context)?.as_deref());
        Ok(Self { spec: spec.clone(), weights, rope })
    }
}

struct InPlace<'a> {
    file: &'a Arc<File>,
}

impl Upload for InPlace<'_> {
    type Matrix = Matrix;
    type Vector = Vec<f32>;

    fn matrix(&self, _file: &File, info: &TensorInfo, rows: Range<usize>) -> Result<Matrix, Error> {
        Matrix::new(self.file, info, rows)
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>, Error> {
        Ok(values)
    }
}
