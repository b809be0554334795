//! Whether a model will run: the memory that it needs, estimated from the header of its file alone
//! ([`MemoryEstimate`]), against what this machine has ([`MemoryBudget`]), and the smallest change
//! that would make it fit ([`Fit`]).
//!
//! How fast the model will be is estimated in the crate `lilims-bench`.

mod budget;
mod fit;
mod memory;
#[cfg(target_os = "ios")]
mod process_limit;
#[cfg(test)]
pub(crate) mod samples;

pub use self::budget::{MemoryBudget, MemorySource};
pub use self::fit::{Fit, Suggestion, Verdict};
use self::memory::sum;
pub use self::memory::{
    CachePart, CacheShape, HeaderFacts, MeasuredPeak, MemoryEstimate, MemoryPart, MemoryPartKind,
};
use crate::backend::cpu::{shared_bytes, worker_bytes};
use crate::{BackendKind, Error, KvType, ModelSpec};

/// Sessions up to this size skip the memory check, which takes a while.
const UNCHECKED_BYTES: u64 = 256 << 20;

/// The bytes that a session of `context` tokens allocates for its cache and buffers.
///
/// # Errors
/// As for [`ModelSpec::cache_bytes`].
pub(crate) fn session_bytes(
    spec: &ModelSpec,
    context: usize,
    kv_type: KvType,
    n_workers: usize,
) -> Result<u64, Error> {
    let cache = spec.cache_bytes(context, kv_type)?;
    let workers_total =
        (worker_bytes(spec, std::iter::empty()) as u64).saturating_mul(n_workers as u64);
    Ok(sum([cache, shared_bytes(spec, n_workers), workers_total].into_iter()))
}

/// Checks that enough memory is available for a session of `context` tokens. Small sessions are
/// left to the allocator.
///
/// # Errors
/// [`Error::TooLarge`].
pub(crate) fn expect_room(
    needed_bytes: u64,
    context: usize,
    backend: BackendKind,
) -> Result<(), Error> {
    if needed_bytes <= UNCHECKED_BYTES {
        return Ok(());
    }
    let available_bytes = MemoryBudget::now(backend).available_bytes;
    if needed_bytes > available_bytes {
        return Err(Error::TooLarge { context, needed_bytes, available_bytes });
    }
    Ok(())
}
