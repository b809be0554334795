//! The peak memory of a conversion, measured in a separate process.
//!
//! Linux only: the peak comes from `/proc/self/status`.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use lilims_convert::{Mix, Options, convert};
use lilims_gguf::File;
use lilims_tests::real_model;

/// The variable with the job of the measured process: source, result and type.
const JOB: &str = "LILIMS_TEST_CONVERSION";
/// The memory that a conversion may take beside two tensors.
const ALLOWANCE_BYTES: u64 = 64 << 20;

/// Converts in another process and returns its peak memory.
fn peak_bytes(source: &Path, out: &Path, mix: Mix) -> u64 {
    let job = format!("{}\n{}\n{mix}", source.display(), out.display());
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "memory_is_bounded_by_two_tensors", "--nocapture"]);
    let output = child.env(JOB, job).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let peak = text.lines().find_map(|line| line.split("peak_kib=").nth(1));
    peak.unwrap().trim().parse::<u64>().unwrap() << 10
}

/// Converts in the measured process and prints its peak memory.
fn convert_and_report(job: &str) {
    let [source, out, mix] = job.split('\n').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let options = Options::new(mix.parse().unwrap());
    let cancel = AtomicBool::new(false);
    convert(Path::new(source), Path::new(out), &options, &cancel, &mut |_| {}).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak_kib={}", peak.unwrap().trim_end_matches("kB").trim());
}

fn largest_tensor_bytes(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    file.tensors().iter().map(|info| file.data(info).unwrap().len() as u64).max().unwrap()
}

#[test]
fn memory_is_bounded_by_two_tensors() {
    if let Ok(job) = env::var(JOB) {
        return convert_and_report(&job);
    }
    let model = real_model("SmolLM2-135M-Instruct.Q4_1.gguf");
    let folder = tempfile::tempdir().unwrap();
    let whole: PathBuf = folder.path().join("whole.gguf");
    for (source, mix) in [(&model, Mix::F32), (&whole, Mix::Q4_K_M), (&whole, Mix::F32)] {
        let out = if mix == Mix::F32 && source == &model {
            &whole
        } else {
            &folder.path().join("out.gguf")
        };
        let peak = peak_bytes(source, out, mix);
        let allowed = 2 * largest_tensor_bytes(source) + ALLOWANCE_BYTES;
        println!("{mix}: {} MiB, {} MiB allowed", peak >> 20, allowed >> 20);
        assert!(peak < allowed, "{mix}: {peak} bytes, {allowed} allowed");
    }
}
