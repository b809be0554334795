//! The memory of a download is small and independent of the file size.

use super::*;

/// Much larger than the allowed memory.
const FILE_BYTES: u64 = 2 << 30;
/// The memory that a download may take in addition to the idle process.
const MAX_ADDITIONAL_KB: u64 = 64 << 10;

/// The peak memory of this process so far, if the system reports it.
pub(crate) fn peak_kb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn large_download_takes_little_memory() {
    let hub = hub_with(&model(20, FILE_BYTES));
    let [idle, pulling] = ["nothing", "pull"].map(|job| {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let stdout = child::run(&mut child::command(job, folder.path(), &hub.endpoint()));
        println!("{job}: {:?}", start.elapsed());
        if job == "pull" {
            assert_eq!(child::value_of(&stdout, "done"), "tiny-q8_0");
        }
        stdout
    });
    if peak_kb().is_none() {
        return lilims_tests::skip("this system does not report the memory of a process");
    }
    let peak = |text: &str| child::value_of(text, "peak_kb").parse::<u64>().unwrap();
    let more = peak(&pulling).saturating_sub(peak(&idle));
    println!("{} KiB, of which the download took {more}", peak(&pulling));
    assert!(more < MAX_ADDITIONAL_KB, "{more} KiB");
}
