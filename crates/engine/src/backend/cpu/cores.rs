//! How many cores are worth a worker: those of the fastest kind, as the operating system tells.
//!
//! Work is shared out in small chunks with a barrier after each operation, so a slow core makes
//! the fast ones wait.

#[cfg(any(target_os = "linux", target_os = "android", test))]
use std::path::Path;

/// Worker threads that may be asked for, for each core.
const THREADS_EACH: usize = 4;
/// So many may be asked for on any machine.
const LEAST_MAX_THREADS: usize = 64;
/// More may not be asked for on any machine.
const MOST_MAX_THREADS: usize = 1024;

/// A worker for each performance core that this process may use.
pub(crate) fn performance_cores() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    fastest_kind().map_or(usable, |fastest| fastest.clamp(1, usable))
}

/// The most worker threads that make sense here: four for each core, and as many on small machines
/// as people try. More would only wait for each other.
pub fn max_threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.saturating_mul(THREADS_EACH).clamp(LEAST_MAX_THREADS, MOST_MAX_THREADS)
}

/// Cores of the fastest kind; two threads of one core count once.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn fastest_kind() -> Option<usize> {
    count_fastest(Path::new("/sys/devices/system/cpu"))
}

/// Cores of the first performance level, which is the fastest.
#[cfg(target_vendor = "apple")]
#[expect(unsafe_code, reason = "a call of the system")]
fn fastest_kind() -> Option<usize> {
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

/// Not told here.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn fastest_kind() -> Option<usize> {
    None
}

/// Counts the cores with the highest capacity, or else the highest frequency, in Linux' folder of
/// processors.
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
            std::fs::read_to_string(entry.path().join(file)).ok()?.trim().parse().ok()
        };
        let speed = read("cpu_capacity").or_else(|| read("cpufreq/cpuinfo_max_freq")).unwrap_or(0);
        let place = [read("topology/physical_package_id")?, read("topology/core_id")?];
        if !cores.iter().any(|(_, known)| *known == place) {
            cores.push((speed, place));
        }
    }
    let fastest = cores.iter().map(|(speed, _)| *speed).max()?;
    // Favoured cores of one kind differ by a few per cent.
    Some(cores.iter().filter(|(speed, _)| speed * 10 >= fastest * 9).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder as Linux has it: speed, package and core of each processor.
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
    fn slow_cores_and_second_threads_do_not_count() {
        let alike = processors(&[(1024, 0, 0), (1024, 0, 1)]);
        assert_eq!(count_fastest(alike.path()), Some(2));
        let threads = processors(&[(1024, 0, 0), (1024, 0, 0), (1024, 1, 0), (1024, 1, 0)]);
        assert_eq!(count_fastest(threads.path()), Some(2));
        let big_and_small = processors(&[(1024, 0, 0), (1000, 0, 1), (446, 0, 2), (446, 0, 3)]);
        assert_eq!(count_fastest(big_and_small.path()), Some(2));
        assert_eq!(count_fastest(processors(&[]).path()), None);
        assert_eq!(count_fastest(Path::new("/nowhere")), None);
        assert!(performance_cores() >= 1);
        assert!((performance_cores()..=MOST_MAX_THREADS).contains(&max_threads()));
    }
}
