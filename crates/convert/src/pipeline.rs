//! Tensors through threads: one reads, some convert, and the caller takes the pieces in their order.
//!
//! Pieces go to the workers in turn and come back in turn, so that nothing waits for anything but the
//! next piece, the order needs no sorting, and only a few pieces are in memory at once. Of a tensor
//! that cannot be read in pieces, one is in memory and another on its way.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope};

use crate::Error;
use crate::encode::{Piece, Tensor};
use crate::source::TensorReader;

/// Pieces that wait for a worker, and pieces of its that wait for the caller.
const WAITING: usize = 2;

/// A piece on its way to a worker, or why there is none.
type Job<'a> = Result<(&'a Tensor<'a>, Piece), Error>;

/// The converted pieces of all tensors, in order.
pub(crate) struct Pieces {
    workers: Vec<Receiver<Result<Vec<u8>, Error>>>,
    next: usize,
}

impl Pieces {
    /// The next piece's bytes.
    ///
    /// *Errors*: what went wrong with this piece; those before it are right. [`Error::Panicked`] after the
    /// last piece.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, Error> {
        let worker = &self.workers[self.next % self.workers.len()];
        self.next += 1;
        // A worker ends after its last piece; before it, only by a fault.
        worker.recv().unwrap_or(Err(Error::Panicked))
    }
}

/// Starts to convert with `n_workers` threads, fewer where the system gives no more. `open` takes
/// the number of a tensor and how many bytes it has, and returns what reads them. The threads end after the last
/// piece, or once what this returns is dropped.
///
/// *Errors*: [`Error::Threads`] when the system gives not even two.
pub(crate) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    tensors: &'env [Tensor<'env>],
    open: impl Fn(usize, usize) -> Result<TensorReader<'env>, Error> + Send + 'scope,
    n_workers: usize,
) -> Result<Pieces, Error> {
    let (spare, spares) = channel();
    let (mut jobs, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..n_workers.max(1) {
        let (job, to_worker) = sync_channel::<Job<'env>>(WAITING);
        let (done, from_worker) = sync_channel(WAITING);
        let spare = spare.clone();
        let work = move || work(&to_worker, &done, &spare);
        match Builder::new().spawn_scoped(scope, work) {
            Ok(_) => {}
            // What is there does it all, in turn.
            Err(_) if !jobs.is_empty() => break,
            Err(error) => return Err(Error::Threads(error)),
        }
        jobs.push(job);
        workers.push(from_worker);
    }
    let read = move || read(tensors, &open, &jobs, &spares);
    Builder::new().spawn_scoped(scope, read).map_err(Error::Threads)?;
    Ok(Pieces { workers, next: 0 })
}

/// Converts pieces. Their buffers go back through `spare`.
fn work(
    jobs: &Receiver<Job<'_>>,
    done: &SyncSender<Result<Vec<u8>, Error>>,
    spare: &Sender<Vec<u8>>,
) {
    for job in jobs {
        let result = job.and_then(|(tensor, piece)| {
            let encode = AssertUnwindSafe(|| tensor.encode(&piece));
            let result = catch_unwind(encode).unwrap_or(Err(Error::Panicked));
            // The reader may have ended: it needs no buffer then.
            let _ = Arc::into_inner(piece.bytes).map(|bytes| spare.send(bytes));
            result
        });
        if done.send(result).is_err() {
            return;
        }
    }
}

/// Reads all pieces and hands them to the workers in turn, up to the first that cannot be read.
fn read<'env>(
    tensors: &'env [Tensor<'env>],
    open: &impl Fn(usize, usize) -> Result<TensorReader<'env>, Error>,
    jobs: &[SyncSender<Job<'env>>],
    spares: &Receiver<Vec<u8>>,
) {
    let mut turns = jobs.iter().cycle();
    let mut hand_over = |job| match turns.next().map(|worker| worker.send(job)) {
        Some(Ok(())) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    for (tensor_idx, tensor) in tensors.iter().enumerate() {
        let open = |n_bytes| open(tensor_idx, n_bytes);
        let read = AssertUnwindSafe(|| {
            read_tensor(tensor, open, spares, |piece| hand_over(Ok((tensor, piece))))
        });
        let read = catch_unwind(read).unwrap_or(Err(Error::Panicked));
        match read {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(error) => {
                // Where nobody waits for it, something else went wrong before.
                let _ = hand_over(Err(error));
                return;
            }
        }
    }
}

/// Hands the pieces of a tensor over until nobody takes them.
fn read_tensor<'a>(
    tensor: &Tensor<'_>,
    open: impl FnOnce(usize) -> Result<TensorReader<'a>, Error>,
    spares: &Receiver<Vec<u8>>,
    mut hand_over: impl FnMut(Piece) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let n_bytes = tensor.source_bytes(tensor.rows)?;
    let mut reader = open(n_bytes)?;
    let mut whole = Vec::new();
    if tensor.is_turned() {
        reader.read(n_bytes, &mut whole)?;
    }
    let whole = Arc::new(whole);
    for rows in tensor.pieces() {
        let bytes = if tensor.is_turned() {
            Arc::clone(&whole)
        } else {
            let mut bytes = spares.try_recv().unwrap_or_default();
            reader.read(tensor.source_bytes(rows.len())?, &mut bytes)?;
            Arc::new(bytes)
        };
        if hand_over(Piece { rows, bytes }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
