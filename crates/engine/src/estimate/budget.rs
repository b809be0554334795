//! The memory that a model may use on this machine now.
//!
//! On Metal it is the recommended working set; on iOS the limit at which the system ends the
//! process; elsewhere the available memory that the system reports, which counts droppable file
//! pages, within the limit of a container.

#[cfg(not(target_os = "ios"))]
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::BackendKind;

/// Memory left for the system and other programs.
#[cfg(not(target_os = "ios"))]
const RESERVE_BYTES: u64 = 512 << 20;
/// Memory left for the app itself: its page and images.
#[cfg(target_os = "ios")]
const RESERVE_BYTES: u64 = 128 << 20;

/// The memory that a model may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Available memory in bytes.
    pub available_bytes: u64,
    /// Where the figure comes from.
    pub source: MemorySource,
}

/// Where the memory for a model comes from. Reserves are bytes that are left to other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// The free memory of the system, less a reserve.
    Free {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The free memory of the container, less a reserve.
    Container {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The memory that the system lets this app use, less a reserve.
    AppLimit {
        /// The reserve.
        reserve_bytes: u64,
    },
    /// The maximum that Metal recommends, less what this process uses.
    Metal,
}

impl MemoryBudget {
    /// The memory that a model on `backend` may use now: the smaller of the limits of the system
    /// and, if used, the GPU.
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

/// The working set that Metal recommends, less what this process uses.
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

/// Available memory in bytes, and its source.
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
    // `cgroup_limits` panics if the system does not report its memory.
    let limits = if system.total_memory() == 0 { None } else { system.cgroup_limits() };
    // `free_memory` counts cached file pages as used, although the system can drop them.
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
    fn reports_plausible_memory() {
        let budget = MemoryBudget::now(BackendKind::Cpu);
        assert!((1 << 24..1 << 45).contains(&budget.available_bytes), "{budget:?}");
    }

    #[test]
    fn keeps_the_reserve() {
        let available = |free_bytes| {
            let source = MemorySource::Free { reserve_bytes: RESERVE_BYTES };
            MemoryBudget::less_reserve(free_bytes, source).available_bytes
        };
        assert_eq!(available(RESERVE_BYTES + 5), 5);
        assert_eq!(available(5), 0);
    }
}
