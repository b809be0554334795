//! The `cpu` backend: f32 activations, weights in place in the memory map, integer kernels.
//!
//! One dispatch runs a whole forward pass: every worker executes the same program ([`worker`])
//! and they split the work inside each operation ([`team`]).

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

mod activations;
mod attention;
mod buffer;
mod cache;
mod cores;
mod matrix;
mod team;
mod warm;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use lilims_gguf::{File, TensorInfo};

use self::activations::SharedActivations;
use self::attention::Partials;
use self::buffer::{Output, SharedBuffer};
use self::cache::KvBuffer;
pub(crate) use self::cores::performance_cores;
use self::matrix::{Matrix, Scratch, Step};
use self::team::Team;
pub(crate) use self::warm::warm;
use self::worker::{Pass, Worker};
use super::{Runner, Slot, Want};
use crate::forward::forward;
use crate::rope::Rope;
use crate::session::MAX_CHUNK;
use crate::weights::{Upload, Weights, rope_factors};
use crate::{Error, KvType, ModelSpec};

/// Up to this many tokens every worker keeps its own residual stream: recomputing a norm is
/// cheaper than waiting for the others.
const MAX_REPLICATED: usize = 4;

/// The steps of multiplication in a layer: queries, keys and values; attention's output; gate and up;
/// down.
const STEPS_OF_LAYER: usize = 4;

/// A model whose weights stay in the file's map.
pub(crate) struct CpuModel {
    spec: ModelSpec,
    weights: Weights<Matrix, Vec<f32>>,
    rope: Rope,
}

impl CpuModel {
    /// What is multiplied in the `idx`th step of a pass, over all layers; the head is the last.
    fn step(&self, idx: usize) -> Option<Step<'_>> {
        let Weights { layers, output, embedding, .. } = &self.weights;
        let one = |matrix| Step::Apart([Some(matrix), None, None]);
        let Some(layer) = layers.get(idx / STEPS_OF_LAYER) else {
            let head = output.as_ref().map_or(embedding, |head| &head.weight);
            return (idx == layers.len() * STEPS_OF_LAYER).then(|| one(head));
        };
        let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|linear| Some(&linear.weight));
        Some(match idx % STEPS_OF_LAYER {
            0 => Step::Apart([q, k, v]),
            1 => one(&layer.attention_out.weight),
            2 => Step::Pair([&layer.gate.weight, &layer.up.weight]),
            _ => one(&layer.down.weight),
        })
    }

    /// Locates the weights; nothing is read but the norms.
    pub(crate) fn load(file: &Arc<File>, spec: &ModelSpec) -> Result<Self, Error> {
        let weights = Weights::load(file, spec, &InPlace { file })?;
        let rope = Rope::new(spec, rope_factors(file, spec)?.as_deref());
        Ok(Self { spec: spec.clone(), weights, rope })
    }
}

struct InPlace<'a> {
    file: &'a Arc<File>,
}

impl Upload for InPlace<'_> {
    type Matrix = Matrix;
    type Vector = Vec<f32>;

    fn matrix(&self, _file: &File, info: &TensorInfo) -> Result<Matrix, Error> {
        Matrix::new(self.file, info)
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>, Error> {
        Ok(values)
    }
}

/// A model with one session's cache, buffers and workers.
pub(crate) struct CpuRunner {
    model: Arc<CpuModel>,
    team: Team,
    buffers: Buffers,
    /// One for each worker.
    scratch: Vec<Mutex<Scratch>>,
}

/// What the workers share during a pass.
pub(crate) struct Buffers {
    /// The residual stream: worker 0's holds a chunk, the others' the replicated rows.
    residual: Vec<SharedBuffer<f32>>,
    /// The normed stream, likewise.
    normed: Vec<SharedBuffer<f32>>,
    /// The other slots, indexed by [`Slot`]. `[rows, width]` each
    slots: [SharedBuffer<f32>; Slot::COUNT],
    /// Any slot that is multiplied with, quantised by all workers together.
    activations: SharedActivations,
    /// Cosines, then sines, by rotation, token and pair. `[ropes, MAX_CHUNK, 2, rope_dim / 2]`
    angles: SharedBuffer<f32>,
    /// Keys and values of each layer.
    cache: Vec<(KvBuffer, KvBuffer)>,
    partials: Partials,
    /// Tokens that the cache has room for.
    context: usize,
}

impl Buffers {
    fn new(spec: &ModelSpec, context: usize, kv_type: KvType, n_workers: usize) -> Self {
        let stream = |worker_idx: usize| {
            let rows = if worker_idx == 0 { MAX_CHUNK } else { MAX_REPLICATED };
            SharedBuffer::new(rows * spec.d_model)
        };
        let kv_len = spec.n_kv_heads * context * spec.head_dim;
        let widest = spec.d_model.max(spec.d_ff).max(spec.n_heads * spec.head_dim);
        let kv = || KvBuffer::new(kv_len, kv_type);
        Self {
            residual: (0..n_workers).map(stream).collect(),
            normed: (0..n_workers).map(stream).collect(),
            slots: SLOTS.map(|slot| SharedBuffer::new(MAX_CHUNK * width(spec, slot))),
            activations: SharedActivations::new(MAX_CHUNK * widest),
            angles: SharedBuffer::new(spec.ropes.len() * MAX_CHUNK * (spec.rope_dim / 2) * 2),
            cache: spec.layers.iter().map(|_| (kv(), kv())).collect(),
            partials: Partials::new(spec),
            context,
        }
    }
}

const SLOTS: [Slot; Slot::COUNT] = [
    Slot::Residual,
    Slot::Normed,
    Slot::Query,
    Slot::Key,
    Slot::Value,
    Slot::Attended,
    Slot::Gated,
    Slot::Projected,
    Slot::Logits,
];

/// Values in a row of a shared slot; the streams have buffers of their own, the logits the caller's.
fn width(spec: &ModelSpec, slot: Slot) -> usize {
    match slot {
        Slot::Residual | Slot::Normed | Slot::Logits => 0,
        Slot::Query | Slot::Attended => spec.n_heads * spec.head_dim,
        Slot::Key | Slot::Value => spec.n_kv_heads * spec.head_dim,
        Slot::Gated => spec.d_ff,
        Slot::Projected => spec.d_model,
    }
}

impl CpuRunner {
    /// Workers, buffers and an empty cache for `context` tokens.
    pub(crate) fn new(
        model: Arc<CpuModel>,
        context: usize,
        kv_type: KvType,
        n_threads: usize,
    ) -> Result<Self, Error> {
        let team = Team::new(n_threads)?;
        let buffers = Buffers::new(&model.spec, context, kv_type, team.n_workers());
        let scratch =
            (0..team.n_workers()).map(|_| Mutex::new(Scratch::new(&model.spec))).collect();
        Ok(Self { model, team, buffers, scratch })
    }
}

impl Runner for CpuRunner {
    fn run(
        &mut self,
        tokens: &[u32],
        position: usize,
        want: Want,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let (model, buffers, scratch) = (&*self.model, &self.buffers, &self.scratch);
        assert!(tokens.len() <= MAX_CHUNK && position + tokens.len() <= buffers.context);
        let n_rows = match want {
            Want::Nothing => 0,
            Want::Last => 1,
            Want::All => tokens.len(),
        };
        let n_logits = n_rows * model.spec.n_vocab;
        logits.reserve(n_logits);
        let output = Output::new(&mut logits.spare_capacity_mut()[..n_logits]);
        let pass = Pass { tokens, position, logits: &output };
        self.team.run(|member| {
            let mut scratch = scratch[member.idx()].lock().unwrap_or_else(PoisonError::into_inner);
            let mut worker = Worker::new(model, buffers, member, &mut scratch, &pass);
            forward(&mut worker, &model.spec, &model.weights, want)
                .expect("operations of the cpu backend do not fail");
        });
        // SAFETY: the head wrote each row that is wanted.
        unsafe { logits.set_len(logits.len() + n_logits) };
        Ok(())
    }
}
