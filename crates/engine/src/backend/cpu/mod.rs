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
mod sizes;
mod team;
mod warm;
mod worker;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use lilims_gguf::{File, TensorInfo};

use self::activations::SharedActivations;
use self::attention::Partials;
pub(crate) use self::buffer::zeros;
use self::buffer::{Output, SharedBuffer, out_of_memory};
use self::cache::LayerCache;
pub use self::cores::max_threads;
pub(crate) use self::cores::performance_cores;
use self::matrix::{Matrix, Scratch, Step};
use self::sizes::{activation_values, angle_values, stream_values, width};
pub(crate) use self::sizes::{shared_bytes, worker_bytes};
use self::team::Team;
pub(crate) use self::warm::warm;
use self::worker::Worker;
use super::{Chunk, Runner, Slot, Want};
use crate::forward::forward;
use crate::observe::{InputSquares, Observed};
use crate::rope::Rope;
use crate::session::MAX_CHUNK;
use crate::weights::{Upload, Weights, rope_factors};
use crate::window::{Layout, Window};
use crate::{Error, KvType, ModelSpec};

/// Up to this many tokens every worker keeps its own residual stream: recomputing a norm is
/// cheaper than waiting for the others.
const MAX_REPLICATED: usize = 4;
/// The most tokens that are read with the bits that each would have alone: few enough that multiplying
/// each straight from the blocks costs less than as many passes.
const MAX_EXACT: usize = 8;

const DOES_NOT_FAIL: &str = "operations of the cpu backend do not fail";

/// The steps of multiplication in a layer: queries, keys and values; attention's output; gate and up,
/// or up alone; down.
const STEPS_OF_LAYER: usize = 4;

/// A model whose weights stay in the file's map.
pub(crate) struct CpuModel {
    spec: ModelSpec,
    weights: Weights<Matrix, Vec<f32>>,
    rope: Rope,
}

impl CpuModel {
    /// Bytes that a worker's own buffers grow to.
    fn worker_bytes(&self) -> usize {
        let steps = (0..).map_while(|idx| self.step(idx));
        let panels: HashSet<_> =
            steps.flat_map(|step| step.matrices().filter_map(Matrix::panel)).collect();
        worker_bytes(&self.spec, panels.into_iter().map(|(_, n_cols)| n_cols))
    }

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
            2 => match &layer.gate {
                Some(gate) => Step::Pair([&gate.weight, &layer.up.weight]),
                None => one(&layer.up.weight),
            },
            _ => one(&layer.down.weight),
        })
    }

    /// Locates the weights, for sessions of `context` tokens; nothing is read but the norms.
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

/// A model with one session's cache, buffers and workers.
pub(crate) struct CpuRunner {
    model: Arc<CpuModel>,
    team: Team,
    buffers: Buffers,
    kv_type: KvType,
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
    slots: Vec<SharedBuffer<f32>>,
    /// Any slot that is multiplied with, quantised by all workers together.
    activations: SharedActivations,
    /// Cosines, then sines: for the window and for the sinks, by rotation, token and pair.
    /// `[2, ropes, MAX_CHUNK, 2, rope_dim / 2]`
    angles: SharedBuffer<f32>,
    /// Keys and values of each layer.
    cache: Vec<LayerCache>,
    partials: Partials,
    /// Tokens that a session may see.
    context: usize,
}

impl Buffers {
    fn new(
        spec: &ModelSpec,
        context: usize,
        kv_type: KvType,
        n_workers: usize,
    ) -> Result<Self, Error> {
        let stream = |worker_idx| SharedBuffer::new(stream_values(spec, worker_idx));
        Ok(Self {
            residual: (0..n_workers).map(stream).collect::<Result<_, _>>()?,
            normed: (0..n_workers).map(stream).collect::<Result<_, _>>()?,
            slots: SLOTS
                .iter()
                .map(|&slot| SharedBuffer::new(MAX_CHUNK * width(spec, slot)))
                .collect::<Result<_, _>>()?,
            activations: SharedActivations::new(activation_values(spec))?,
            angles: SharedBuffer::new(angle_values(spec))?,
            cache: spec
                .layouts(context)
                .map(|layout| LayerCache::new(spec, layout, kv_type))
                .collect::<Result<_, _>>()?,
            partials: Partials::new(spec)?,
            context,
        })
    }

    /// What is allocated beside the cache.
    #[cfg(test)]
    fn size_bytes(&self) -> usize {
        let Self { residual, normed, slots, activations, angles, partials, .. } = self;
        let floats = residual.iter().chain(normed).chain(slots).chain([angles]);
        floats.map(SharedBuffer::size_bytes).sum::<usize>()
            + activations.allocated_bytes()
            + partials.allocated_bytes()
    }

    /// How layers keep positions that look at the whole context.
    fn global_layout(&self) -> Layout {
        Layout::new(None, self.context)
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

impl CpuRunner {
    /// Workers, buffers and an empty cache for `context` tokens.
    pub(crate) fn new(
        model: Arc<CpuModel>,
        context: usize,
        kv_type: KvType,
        n_threads: usize,
    ) -> Result<Self, Error> {
        let team = Team::new(n_threads)?;
        let buffers = Buffers::new(&model.spec, context, kv_type, team.n_workers())?;
        // Workers' own buffers grow while they run, where no memory would end the process.
        drop(zeros::<u8>(model.worker_bytes().saturating_mul(team.n_workers()))?);
        let scratch = (0..team.n_workers())
            .map(|_| Scratch::new(&model.spec).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { model, team, buffers, kv_type, scratch })
    }

    /// Says whether the pass over the chunk was cancelled.
    fn end(&self, chunk: &Chunk<'_>) -> Result<(), Error> {
        if chunk.cancel.load(Ordering::Relaxed) {
            self.buffers.partials.reset();
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

impl Runner for CpuRunner {
    fn run(&mut self, chunk: &Chunk<'_>, logits: &mut Vec<f32>) -> Result<(), Error> {
        let (model, buffers, scratch) = (&*self.model, &self.buffers, &self.scratch);
        let n_tokens = chunk.tokens.len();
        assert!(n_tokens <= if chunk.is_exact { MAX_EXACT } else { MAX_CHUNK });
        assert!(chunk.position + n_tokens <= chunk.window.written);
        let n_rows = match chunk.want {
            Want::Nothing => 0,
            Want::Last => 1,
            Want::All => n_tokens,
        };
        let n_logits = n_rows * model.spec.n_vocab;
        logits.try_reserve(n_logits).map_err(|_| out_of_memory::<f32>(n_logits))?;
        let output = Output::new(&mut logits.spare_capacity_mut()[..n_logits]);
        self.team.run(chunk.cancel, |member| {
            let mut scratch = scratch[member.idx()].lock().unwrap_or_else(PoisonError::into_inner);
            let mut worker = Worker::new(model, buffers, member, &mut scratch, *chunk, &output);
            forward(&mut worker, &model.spec, &model.weights, chunk.want).expect(DOES_NOT_FAIL);
        });
        self.end(chunk)?;
        // SAFETY: the head wrote each row that is wanted.
        unsafe { logits.set_len(logits.len() + n_logits) };
        Ok(())
    }

    fn observe(&mut self, chunk: &Chunk<'_>, squares: &mut InputSquares) -> Result<(), Error> {
        let (model, buffers, scratch) = (&*self.model, &self.buffers, &self.scratch);
        let output = Output::new(&mut []);
        let shared = Mutex::new(&mut *squares);
        self.team.run(chunk.cancel, |member| {
            let mut scratch = scratch[member.idx()].lock().unwrap_or_else(PoisonError::into_inner);
            let worker = Worker::new(model, buffers, member, &mut scratch, *chunk, &output);
            // The rows are all there for each worker to see: one notes them.
            let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
            let mut noted = (member.idx() == 0).then(lock);
            let squares = noted.as_mut().map(|noted| &mut ***noted);
            forward(&mut Observed::new(worker, squares), &model.spec, &model.weights, chunk.want)
                .expect(DOES_NOT_FAIL);
        });
        squares.n_tokens += chunk.tokens.len() as u64;
        self.end(chunk)
    }

    fn max_exact(&self) -> usize {
        MAX_EXACT
    }

    fn has_cut(&self) -> bool {
        let mut caches = self.buffers.cache.iter();
        caches.any(|cache| cache.keys.is_cut() || cache.values.is_cut())
    }

    fn fork(&self, window: &Window, len: usize) -> Result<Box<dyn Runner>, Error> {
        let (model, n_workers) = (Arc::clone(&self.model), self.team.n_workers());
        let mut fork = Self::new(model, self.buffers.context, self.kv_type, n_workers)?;
        for (from, to) in self.buffers.cache.iter().zip(&mut fork.buffers.cache) {
            for slots in from.layout.held_slots(window, len) {
                for kv_head in 0..self.model.spec.n_kv_heads {
                    for (from, to) in [(&from.keys, &mut to.keys), (&from.values, &mut to.values)] {
                        // SAFETY: no pass runs.
                        let rows = unsafe { from.rows(kv_head, slots.clone()) };
                        to.bytes_mut(kv_head, slots.clone()).copy_from_slice(rows.bytes());
                    }
                }
            }
        }
        Ok(Box::new(fork))
    }

    fn save(&self, window: &Window, len: usize, to: &mut dyn Write) -> Result<(), Error> {
        for cache in &self.buffers.cache {
            for slots in cache.layout.held_slots(window, len) {
                for kv_head in 0..self.model.spec.n_kv_heads {
                    for kv in [&cache.keys, &cache.values] {
                        // SAFETY: no pass runs.
                        let rows = unsafe { kv.rows(kv_head, slots.clone()) };
                        to.write_all(rows.bytes()).map_err(Error::SavedIo)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, window: &Window, len: usize, from: &mut dyn Read) -> Result<(), Error> {
        for cache in &mut self.buffers.cache {
            for slots in cache.layout.held_slots(window, len) {
                for kv_head in 0..self.model.spec.n_kv_heads {
                    for kv in [&mut cache.keys, &mut cache.values] {
                        let bytes = kv.bytes_mut(kv_head, slots.clone());
                        from.read_exact(bytes).map_err(Error::SavedIo)?;
                    }
                }
            }
        }
        Ok(())
    }
}
