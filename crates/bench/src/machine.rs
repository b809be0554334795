//! Describes the machine that a figure was measured on.

use lilims_quant::Isa;
use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The properties of a machine that affect a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model name of the processor.
    pub cpu: String,
    /// Cores available to this process.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The operating system and its version.
    pub os: String,
    /// The instruction set that the kernels use.
    pub isa: &'static str,
}

impl Machine {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted);
        let cpu = system.cpus().first().map_or("", |cpu| cpu.brand()).trim();
        Self {
            cpu: if cpu.is_empty() { std::env::consts::ARCH } else { cpu }.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.total_memory(),
            os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            isa: Isa::detected().name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_this_machine() {
        let machine = Machine::here();
        assert!(!machine.cpu.is_empty() && !machine.os.is_empty(), "{machine:?}");
        assert!(machine.cores >= 1);
        assert!(machine.memory_bytes > 1 << 28, "{machine:?}");
    }
}
