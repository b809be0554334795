//! How much memory a model may take on this machine now.
//!
//! Metal recommends how much of the unified memory its buffers should take at most; iOS ends a process
//! that goes over its limit; elsewhere it is what the system calls available, which counts pages of
//! files that it can drop, within the limit of a container.

#[cfg(not(target_os = "ios"))]
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::BackendKind;

/// What is left to the system and other programs, which also need more at times.
#[cfg(not(target_os = "ios"))]
const RESERVE_BYTES: u64 = 512 << 20;
/// What is left to the app itself: its page and its pictures.
#[cfg(target_os = "ios")]
const RESERVE_BYTES: u64 = 128 << 20;

/// The memory that a model may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// How much, in bytes.
    pub available_bytes: u64,
    /// Where that comes from.
    pub source: MemorySource,
}

/// Where the memory comes from that a model may take. Reserves are bytes that are left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// What the system has free, less a reserve.
    Free {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What the container has free, less a reserve.
    Container {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What the system lets this app take, less a reserve.
    AppLimit {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// What Metal recommends to use at most, less what this process has taken.
    Metal,
}

impl MemoryBudget {
    /// What a model that runs on `backend` may take now: the least of what the system and, where it is
    /// used, the GPU allow.
    pub fn now(backend: BackendKind) -> Self {
        let (free_bytes, source) = system();
        let system = Self::less_reserve(free_bytes, source);
        match gpu(backend) {
            Some(gpu) if gpu.available_bytes < system.available_bytes => gpu,
            _ => system,
        }
    }

    fn less_reserve(free_bytes: u64, source: MemorySource) -> Self {
        Self { available_bytes: free_bytes.saturating_sub(RESERVE_BYTES), source }
    }
}

/// What Metal recommends, less what this process has taken of it.
#[cfg(feature = "metal")]
fn gpu(backend: BackendKind) -> Option<MemoryBudget> {
    if backend != BackendKind::Candle {
        return None;
    }
    let (recommended, taken) = crate::backend::candle::working_set_bytes()?;
    let available_bytes = recommended.saturating_sub(taken);
    Some(MemoryBudget { available_bytes, source: MemorySource::Metal })
}

#[cfg(not(feature = "metal"))]
fn gpu(_backend: BackendKind) -> Option<MemoryBudget> {
    None
}

/// What the system has to give, in bytes.
#[cfg(target_os = "ios")]
fn system() -> (u64, MemorySource) {
    let source = MemorySource::AppLimit { reserve_bytes: RESERVE_BYTES };
    (super::process_limit::available_bytes(), source)
}

#[cfg(not(target_os = "ios"))]
fn system() -> (u64, MemorySource) {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let free = system.available_memory();
    // Asking for limits panics where the system does not tell its memory.
    let limits = if system.total_memory() == 0 { None } else { system.cgroup_limits() };
    // `free_memory` counts what is cached of files as taken, which a container's system can drop.
    let in_container = limits.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    match in_container.filter(|&bytes| bytes < free) {
        Some(bytes) => (bytes, MemorySource::Container { reserve_bytes: RESERVE_BYTES }),
        None => (free, MemorySource::Free { reserve_bytes: RESERVE_BYTES }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_tests_has_memory() {
        let budget = MemoryBudget::now(BackendKind::Cpu);
        assert!((1 << 24..1 << 45).contains(&budget.available_bytes), "{budget:?}");
    }

    #[test]
    fn the_reserve_is_never_given_away() {
        let available = |free_bytes| {
            let source = MemorySource::Free { reserve_bytes: RESERVE_BYTES };
            MemoryBudget::less_reserve(free_bytes, source).available_bytes
        };
        assert_eq!(available(RESERVE_BYTES + 5), 5);
        assert_eq!(available(5), 0);
    }
}
