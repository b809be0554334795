//! This machine: the memory that the process holds, and how fast memory is read. iOS reports neither.

use lilims_engine::KvType;

use super::headers::Header;

/// The decoding speed to expect, from how fast this machine reads its memory.
#[cfg(not(target_os = "ios"))]
pub(crate) fn speed(header: &Header, depth: usize, kv_type: KvType) -> Option<f32> {
    use std::sync::OnceLock;

    use lilims_bench::roofline;

    static BYTES_PER_SECOND: OnceLock<f64> = OnceLock::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rate = *BYTES_PER_SECOND.get_or_init(|| roofline::quick_read_bytes_per_second(threads));
    let cache = roofline::cache_per_token(header.facts.spec(), depth, kv_type).ok()?;
    let bytes = header.weights_per_token.saturating_add(cache);
    Some((roofline::DEFAULT_EFFICIENCY * rate / bytes.max(1) as f64) as f32)
}

/// Not known on this system.
#[cfg(target_os = "ios")]
pub(crate) fn speed(_header: &Header, _depth: usize, _kv_type: KvType) -> Option<f32> {
    None
}

/// The most memory that this process has held, read parts of mapped files included, in bytes.
#[cfg(unix)]
pub fn peak_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // Apple's systems count bytes, the others KiB.
    const UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok()?.checked_mul(UNIT)
}

/// Not known on this system.
#[cfg(not(unix))]
pub fn peak_bytes() -> Option<u64> {
    None
}

/// The memory that this process holds now, in bytes; 0 where the system does not report it.
#[cfg(not(target_os = "ios"))]
pub fn resident_bytes() -> u64 {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

    let Ok(pid) = get_current_pid() else { return 0 };
    let mut system = System::new();
    let wanted = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
    system.process(pid).map_or(0, |process| process.memory())
}

/// Not known on this system.
#[cfg(target_os = "ios")]
pub fn resident_bytes() -> u64 {
    0
}
