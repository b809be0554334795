//! What this machine does: the memory that the process holds, and how fast memory is read. iOS tells
//! neither.

use lilims_gguf::File;

/// The decoding speed to expect, from how fast this machine reads its memory.
#[cfg(not(target_os = "ios"))]
pub(super) fn speed(file: &File, depth: usize) -> Option<f32> {
    use std::sync::OnceLock;

    use lilims_bench::roof;

    static BYTES_PER_SECOND: OnceLock<f64> = OnceLock::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rate = *BYTES_PER_SECOND.get_or_init(|| roof::quick_read_bytes_per_second(threads));
    let kv_type = lilims_engine::KvType::F16;
    let efficiency = roof::DEFAULT_EFFICIENCY;
    let speed = roof::expected_tokens_per_second(file, depth, kv_type, rate, efficiency);
    speed.ok().map(|speed| speed as f32)
}

/// Not known on this system.
#[cfg(target_os = "ios")]
pub(super) fn speed(_file: &File, _depth: usize) -> Option<f32> {
    None
}

/// The memory that this process holds now, in bytes; 0 where the system does not tell.
#[cfg(not(target_os = "ios"))]
pub(crate) fn resident_bytes() -> u64 {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

    let Ok(pid) = get_current_pid() else { return 0 };
    let mut system = System::new();
    let wanted = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, wanted);
    system.process(pid).map_or(0, |process| process.memory())
}

/// Not known on this system.
#[cfg(target_os = "ios")]
pub(crate) fn resident_bytes() -> u64 {
    0
}
