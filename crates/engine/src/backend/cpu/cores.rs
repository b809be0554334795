//! The number of workers: one for each core of the fastest kind that the operating system reports.
//!
//! Work is split into small chunks with a barrier after each operation, so a slow core makes the
//! fast ones wait.

#[cfg(any(target_os = "linux", target_os = "android", test))]
use std::path::Path;

/// The most worker threads per core.
const THREADS_PER_CORE: usize = 4;
/// At least this many are allowed on any machine.
const MIN_MAX_THREADS: usize = 64;
/// Never more than this.
const MAX_MAX_THREADS: usize = 1024;

/// The number of performance cores that this process may use, at least 1.
pub(crate) fn performance_cores() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    fastest_cores().map_or(usable, |fastest| fastest.clamp(1, usable))
}

/// The most worker threads that can be requested: four per core, at least 64 and at most 1,024.
/// More would only wait for each other.
pub fn max_threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.saturating_mul(THREADS_PER_CORE).clamp(MIN_MAX_THREADS, MAX_MAX_THREADS)
}

/// Cores of the fastest kind; two threads of one core count once.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn fastest_cores() -> Option<usize> {
    count_fastest(Path::new("/sys/devices/system/cpu"))
}

/// Cores of the first performance level, which is the fastest.
#[cfg(target_vendor = "apple")]
#[expect(unsafe_code, reason = "a call of the system")]
fn fastest_cores() -> Option<usize> {
    let mut count: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>();
    // SAFETY: the name is a C string, `count` has `size` bytes, and nothing is written to the
    // system.
    let result = unsafe {
        libc::sysctlbyname(
            c"hw.perflevel0.physicalcpu".as_ptr(),
            (&raw mut count).cast(),
            &mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0).then(|| usize::try_from(count).ok()).flatten()
}

/// Unknown on other systems.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn fastest_cores() -> Option<usize> {
    None
}

/// Counts the cores with the highest capacity (or else the highest frequency) in the CPU folder of
/// Linux.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn count_fastest(folder: &Path) -> Option<usize> {
    let mut cores: Vec<(u64, [u64; 2])> = Vec::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
        if number.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        let read = |file: &str| -> Option<u64> {
            let text = lilims_files::read_to_string(&entry.path().join(file), 4096);
            text.ok()?.trim().parse().ok()
        };
        let speed = read("cpu_capacity").or_else(|| read("cpufreq/cpuinfo_max_freq")).unwrap_or(0);
        let core_id = [read("topology/physical_package_id")?, read("topology/core_id")?];
        if !cores.iter().any(|(_, known)| *known == core_id) {
            cores.push((speed, core_id));
        }
    }
    let fastest = cores.iter().map(|(speed, _)| *speed).max()?;
    // Preferred cores of the same kind differ by a few per cent.
    Some(cores.iter().filter(|(speed, _)| speed * 10 >= fastest * 9).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a CPU folder as on Linux: speed, package and core of each processor.
    fn processors(list: &[(u64, u64, u64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, (speed, package, core)) in list.iter().enumerate() {
            let cpu = folder.path().join(format!("cpu{number}"));
            std::fs::create_dir_all(cpu.join("topology")).unwrap();
            std::fs::write(cpu.join("cpu_capacity"), format!("{speed}\n")).unwrap();
            let id = cpu.join("topology/physical_package_id");
            std::fs::write(id, format!("{package}\n")).unwrap();
            std::fs::write(cpu.join("topology/core_id"), format!("{core}\n")).unwrap();
        }
        std::fs::create_dir(folder.path().join("cpufreq")).unwrap();
        folder
    }

    #[test]
    fn ignores_slow_cores_and_hyperthreads() {
        let alike = processors(&[(1024, 0, 0), (1024, 0, 1)]);
        assert_eq!(count_fastest(alike.path()), Some(2));
        let threads = processors(&[(1024, 0, 0), (1024, 0, 0), (1024, 1, 0), (1024, 1, 0)]);
        assert_eq!(count_fastest(threads.path()), Some(2));
        let big_and_small = processors(&[(1024, 0, 0), (1000, 0, 1), (446, 0, 2), (446, 0, 3)]);
        assert_eq!(count_fastest(big_and_small.path()), Some(2));
        assert_eq!(count_fastest(processors(&[]).path()), None);
        assert_eq!(count_fastest(Path::new("/nowhere")), None);
        assert!(performance_cores() >= 1);
        assert!((performance_cores()..=MAX_MAX_THREADS).contains(&max_threads()));
    }
}
