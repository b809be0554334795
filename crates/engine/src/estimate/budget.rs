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
    /// Where the figure comes from, such as `free now, less a reserve of 512 MiB`.
    pub source: String,
}

impl MemoryBudget {
    /// The memory that a model on `backend` may use now: the smaller of the limits of the system
    /// and, if used, the GPU.
    pub fn now(backend: BackendKind) -> Self {
        let (system_bytes, from) = system();
        let system = Self::less_reserve(system_bytes, from);
        match gpu(backend) {
            Some(gpu) if gpu.available_bytes < system.available_bytes => gpu,
            _ => system,
        }
    }

    fn less_reserve(free_bytes: u64, from: &str) -> Self {
        Self {
            available_bytes: free_bytes.saturating_sub(RESERVE_BYTES),
            source: format!("{from}, less a reserve of {} MiB", RESERVE_BYTES >> 20),
        }
    }
}

/// The working set that Metal recommends, less what this process uses.
#[cfg(feature = "metal")]
fn gpu(backend: BackendKind) -> Option<MemoryBudget> {
    if backend != BackendKind::Candle {
        return None;
    }
    let (recommended, taken) = crate::backend::candle::working_set_bytes()?;
    let source = "what Metal recommends to use at most".to_owned();
    Some(MemoryBudget { available_bytes: recommended.saturating_sub(taken), source })
}

#[cfg(not(feature = "metal"))]
fn gpu(_backend: BackendKind) -> Option<MemoryBudget> {
    None
}

/// Available memory in bytes, and a description of the figure.
#[cfg(target_os = "ios")]
fn system() -> (u64, &'static str) {
    (super::process_limit::available_bytes(), "what this app may still take")
}

#[cfg(not(target_os = "ios"))]
fn system() -> (u64, &'static str) {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let free = system.available_memory();
    // `cgroup_limits` panics if the system does not report its memory.
    let limits = if system.total_memory() == 0 { None } else { system.cgroup_limits() };
    // `free_memory` counts cached file pages as used, although the system can drop them.
    let in_container = limits.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    match in_container.filter(|&bytes| bytes < free) {
        Some(bytes) => (bytes, "free now in this container"),
        None => (free, "free now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_plausible_memory() {
        let budget = MemoryBudget::now(BackendKind::Cpu);
        assert!((1 << 24..1 << 45).contains(&budget.available_bytes), "{budget:?}");
        assert!(budget.source.ends_with("less a reserve of 512 MiB"), "{budget:?}");
    }

    #[test]
    fn keeps_the_reserve() {
        assert_eq!(MemoryBudget::less_reserve(RESERVE_BYTES + 5, "free now").available_bytes, 5);
        assert_eq!(MemoryBudget::less_reserve(5, "free now").available_bytes, 0);
    }
}
