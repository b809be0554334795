//! Converts tensors on several threads: one reads, some encode, and the caller receives the chunks
//! in order. What is read can also be passed on to be hashed.
//!
//! Chunks are dealt to the workers round-robin and received round-robin, so they need no sorting
//! and only a few are in memory at once. Tensors that must be read whole (transposed ones) are
//! limited to one in use and one being read.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use crate::Error;
use crate::buffer::{Buffer, BufferPool};
use crate::encode::{Chunk, Tensor};
use crate::file_hash::PartSender;
use crate::source::TensorReader;

/// The capacity of each worker's queue of chunks to encode, and of that of encoded chunks.
const QUEUE_LEN: usize = 2;

/// A chunk to encode, or the error that ended reading.
type Job<'a> = Result<(&'a Tensor<'a>, Chunk), Error>;

/// The encoded chunks of all tensors, in order.
pub(crate) struct EncodedChunks {
    workers: Vec<Receiver<Result<Vec<u8>, Error>>>,
    next: usize,
}

impl EncodedChunks {
    /// Waits for the next chunk and returns its bytes.
    ///
    /// # Errors
    ///
    /// The error of this chunk; earlier ones are valid. [`Error::Panicked`] after the last chunk.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, Error> {
        let worker = &self.workers[self.next % self.workers.len()];
        self.next += 1;
        // A worker ends after its last chunk, or earlier if it panics.
        worker.recv().unwrap_or(Err(Error::Panicked))
    }
}

/// Starts one reading and `n_workers` encoding threads, fewer where the system cannot start them
/// all. `open` takes the index of a tensor and its size in bytes, and returns its reader. What is
/// read goes to `parts` as well. The threads end after the last chunk, or once the returned value is
/// dropped.
///
/// # Errors
///
/// [`Error::Threads`] when not even two threads can be started.
pub(crate) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    tensors: &'env [Tensor<'env>],
    open: impl Fn(usize, usize) -> Result<TensorReader<'env>, Error> + Send + 'scope,
    parts: PartSender,
    n_workers: usize,
) -> Result<EncodedChunks, Error> {
    let (mut jobs, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..n_workers.max(1) {
        let (job, to_worker) = sync_channel::<Job<'env>>(QUEUE_LEN);
        let (done, from_worker) = sync_channel(QUEUE_LEN);
        let work = move || work(&to_worker, &done);
        match Builder::new().spawn_scoped(scope, work) {
            Ok(_) => {}
            // The workers that did start do all the work.
            Err(_) if !jobs.is_empty() => break,
            Err(error) => return Err(Error::Threads(error)),
        }
        jobs.push(job);
        workers.push(from_worker);
    }
    let read = move || read(tensors, &open, &jobs, parts);
    Builder::new().spawn_scoped(scope, read).map_err(Error::Threads)?;
    Ok(EncodedChunks { workers, next: 0 })
}

/// Encodes chunks.
fn work(jobs: &Receiver<Job<'_>>, done: &SyncSender<Result<Vec<u8>, Error>>) {
    for job in jobs {
        let result = job.and_then(|(tensor, chunk)| {
            let encode = AssertUnwindSafe(|| tensor.encode(&chunk));
            catch_unwind(encode).unwrap_or(Err(Error::Panicked))
        });
        if done.send(result).is_err() {
            return;
        }
    }
}

/// Reads all chunks and deals them to the workers, up to the first that cannot be read.
fn read<'env>(
    tensors: &'env [Tensor<'env>],
    open: &impl Fn(usize, usize) -> Result<TensorReader<'env>, Error>,
    jobs: &[SyncSender<Job<'env>>],
    mut parts: PartSender,
) {
    let buffers = BufferPool::new();
    let mut turns = jobs.iter().cycle();
    let mut send = |job| match turns.next().map(|worker| worker.send(job)) {
        Some(Ok(())) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    for (tensor_idx, tensor) in tensors.iter().enumerate() {
        let open = |n_bytes| open(tensor_idx, n_bytes);
        let read = AssertUnwindSafe(|| {
            read_tensor(tensor, open, &buffers, &mut parts, |chunk| send(Ok((tensor, chunk))))
        });
        let read = catch_unwind(read).unwrap_or(Err(Error::Panicked));
        match read {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(error) => {
                // Fails where the workers have ended because of an earlier error.
                let _ = send(Err(error));
                return;
            }
        }
    }
}

/// Reads the chunks of a tensor and passes them to `send` until it breaks.
fn read_tensor<'a>(
    tensor: &Tensor<'_>,
    open: impl FnOnce(usize) -> Result<TensorReader<'a>, Error>,
    buffers: &BufferPool,
    parts: &mut PartSender,
    mut send: impl FnMut(Chunk) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let n_bytes = tensor.source_bytes(tensor.rows)?;
    let mut reader = open(n_bytes)?;
    let mut whole = Vec::new();
    if tensor.is_transposed() {
        reader.read(n_bytes, &mut whole)?;
    }
    let whole = Arc::new(Buffer::from(whole));
    for rows in tensor.chunks() {
        let bytes = if tensor.is_transposed() {
            Arc::clone(&whole)
        } else {
            let n_bytes = tensor.source_bytes(rows.len())?;
            let offset = reader.offset();
            let bytes = Arc::new(buffers.fill(|bytes| reader.read(n_bytes, bytes))?);
            parts.send(offset, &bytes);
            bytes
        };
        if send(Chunk { rows, bytes }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
