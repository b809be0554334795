//! Downloads: a persistent queue, parallel ranges, hashing while writing.
//!
//! `chunks` records which parts of a file have been received; `hasher` computes its SHA-256 in file
//! order; `sink` is the thread that writes and hashes; `transfer` requests ranges; `task` is one
//! download, from its row in the queue to a model in the library, and `steps` its blocking parts;
//! `queue` runs several downloads.

mod chunks;
mod hasher;
mod queue;
mod rate;
mod sink;
mod steps;
mod task;
mod transfer;
mod verify;

pub use queue::{Downloader, Outcome};
pub use verify::Verified;

/// Size of a chunk: the unit that is recorded as received, and downloaded again when damaged.
pub(crate) const CHUNK_BYTES: u64 = 4 << 20;
/// Files from this size on are downloaded in parallel ranges.
const PARALLEL_FROM_BYTES: u64 = 64 << 20;
/// Number of parallel ranges.
const WORKERS: usize = 4;

/// The number of bytes in the chunks that `received` marks.
pub(crate) fn received_bytes(total_bytes: u64, received: &[u8]) -> u64 {
    match received {
        [] => 0,
        received => chunks::Chunks::from_bits(total_bytes, received).received_bytes(),
    }
}
