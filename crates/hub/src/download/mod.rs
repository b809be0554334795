//! Downloads: a queue that outlasts the process, ranges in parallel, hashes while writing.
//!
//! `chunks` knows what of a file is here; `hasher` computes its SHA-256 in the file's order;
//! `sink` is the thread that writes and hashes; `transfer` gets ranges over the network;
//! `task` is one download from its row in the queue to a model in the library; `queue` runs
//! several.

mod chunks;
mod hasher;
mod queue;
mod rate;
mod sink;
mod task;
mod transfer;
mod verify;

pub use queue::{Downloader, Outcome};
pub use verify::Verified;

/// The piece of a file that is written down as here or not, and that is fetched again when it is
/// damaged. Bytes.
pub(crate) const CHUNK_BYTES: u64 = 4 << 20;
/// Files from this size on are fetched in several ranges at once.
const PARALLEL_FROM_BYTES: u64 = 64 << 20;
/// Ranges at once.
const WORKERS: usize = 4;

/// The bytes that are here of a file of which the chunks in `received` are.
pub(crate) fn here_bytes(total_bytes: u64, received: &[u8]) -> u64 {
    match received {
        [] => 0,
        received => chunks::Chunks::from_bits(total_bytes, received).here_bytes(),
    }
}
