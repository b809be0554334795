//! The `cpu` backend: f32 activations, weights used in place in the memory map, integer kernels.
//!
//! One dispatch runs a whole forward pass: all workers execute the same program ([`worker`]) and
//! split the work of each operation ([`team`]).

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

mod activations;
mod attention;
mod attention_buffers;
mod buffer;
mod cache;
mod cores;
mod matrix;
mod model;
mod pass_buffers;
mod prefetch;
mod scratch;
mod sizes;
mod team;
mod view;
mod worker;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::buffer::zeros;
use self::buffer::{Output, out_of_memory};
pub use self::cores::max_threads;
pub(crate) use self::cores::performance_cores;
pub(crate) use self::model::CpuModel;
use self::pass_buffers::PassBuffers;
pub(crate) use self::prefetch::prefetch;
use self::scratch::Scratch;
pub(crate) use self::sizes::{shared_bytes, worker_bytes};
use self::team::Team;
use self::worker::Worker;
use super::{Chunk, Runner, WantedLogits};
use crate::forward::forward;
use crate::importance::ImportanceMatrix;
use crate::observe::ObservingBackend;
use crate::window::{MAX_CHUNK, Window};
use crate::{Error, KvType};

/// The most tokens in an exact chunk, whose logits are bit-identical to reading the tokens one by
/// one: few enough that multiplying each token directly by the quantised blocks costs less than
/// that many passes.
const MAX_EXACT: usize = 8;

const DOES_NOT_FAIL: &str = "operations of the cpu backend do not fail";

/// A model with the cache, buffers and workers of one session.
pub(crate) struct CpuRunner {
    model: Arc<CpuModel>,
    team: Team,
    buffers: PassBuffers,
    kv_type: KvType,
    /// Of each worker.
    scratch: Vec<Mutex<Scratch>>,
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
        let buffers = PassBuffers::new(&model.spec, context, kv_type, team.n_workers())?;
        // The workers' own buffers grow during a pass, where a failed allocation would abort: check
        // now that the memory is available.
        drop(zeros::<u8>(model.worker_bytes().saturating_mul(team.n_workers()))?);
        let scratch = (0..team.n_workers())
            .map(|_| Scratch::new(&model.spec).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { model, team, buffers, kv_type, scratch })
    }

    /// Ends a pass.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the chunk was cancelled.
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
            WantedLogits::None => 0,
            WantedLogits::Last => 1,
            WantedLogits::All => n_tokens,
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
        // the head wrote every requested row.
        unsafe { logits.set_len(logits.len() + n_logits) };
        Ok(())
    }

    fn observe(
        &mut self,
        chunk: &Chunk<'_>,
        importance: &mut ImportanceMatrix,
    ) -> Result<(), Error> {
        let (model, buffers, scratch) = (&*self.model, &self.buffers, &self.scratch);
        let output = Output::new(&mut []);
        let shared = Mutex::new(&mut *importance);
        self.team.run(chunk.cancel, |member| {
            let mut scratch = scratch[member.idx()].lock().unwrap_or_else(PoisonError::into_inner);
            let worker = Worker::new(model, buffers, member, &mut scratch, *chunk, &output);
            // Each worker can read all rows: only worker 0 records them.
            let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
            let mut recorded = (member.idx() == 0).then(lock);
            let importance = recorded.as_mut().map(|recorded| &mut ***recorded);
            forward(
                &mut ObservingBackend::new(worker, importance),
                &model.spec,
                &model.weights,
                chunk.want,
            )
            .expect(DOES_NOT_FAIL);
        });
        importance.n_tokens += chunk.tokens.len() as u64;
        self.end(chunk)
    }

    fn max_exact(&self) -> usize {
        MAX_EXACT
    }

    fn has_clamped(&self) -> bool {
        let mut caches = self.buffers.cache.iter();
        caches.any(|cache| cache.keys.has_clamped() || cache.values.has_clamped())
    }

    fn fork(&self, window: &Window, len: usize) -> Result<Box<dyn Runner>, Error> {
        let (model, n_workers) = (Arc::clone(&self.model), self.team.n_workers());
        let mut fork = Self::new(model, self.buffers.context, self.kv_type, n_workers)?;
        for (from, to) in self.buffers.cache.iter().zip(&mut fork.buffers.cache) {
            for slots in from.layout.kept_slots(window, len) {
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
            for slots in cache.layout.kept_slots(window, len) {
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
            for slots in cache.layout.kept_slots(window, len) {
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
