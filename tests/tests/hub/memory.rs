//! Memory: a download takes the same little, however large its file is.

use super::*;

/// Large against what may be held.
const FILE_BYTES: u64 = 2 << 30;
/// What a download may take beside what the process has anyway.
const MOST_KB: u64 = 64 << 10;

/// The most memory that this process had so far, where the system tells.
pub(crate) fn peak_kb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn a_large_file_takes_little_memory() {
    let hub = hub_with(&model(20, FILE_BYTES));
    let [idle, pulling] = ["nothing", "pull"].map(|job| {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let said = child::run(&mut child::command(job, folder.path(), &hub.endpoint()));
        println!("{job}: {:?}", start.elapsed());
        if job == "pull" {
            assert_eq!(child::said(&said, "done"), "tiny-q8_0");
        }
        said
    });
    if peak_kb().is_none() {
        return lilims_tests::skip("this system does not tell the memory of a process");
    }
    let peak = |text: &str| child::said(text, "peak_kb").parse::<u64>().unwrap();
    let more = peak(&pulling).saturating_sub(peak(&idle));
    println!("{} KiB, of which the download took {more}", peak(&pulling));
    assert!(more < MOST_KB, "{more} KiB");
}
