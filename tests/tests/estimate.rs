//! Compares the memory estimate from a model's header with the peak of a process that runs the
//! model.
//!
//! Linux and Apple systems only, which report a process's peak memory.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::io::Read;
use std::path::Path;
use std::process::Command;

use lilims_engine::{BackendKind, KvType, LoadOptions, MemoryEstimate};
use lilims_gguf::{FIRST_HEADER_BYTES, File, next_header_bytes};
use lilims_tests::{program, real_model};
use serde_json::Value as Json;

const MODELS: [&str; 2] = ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"];
/// The context, which the run fills: unwritten pages take no memory.
const CONTEXT: usize = 2048;
const THREADS: usize = 2;
/// The allowed difference between estimate and peak: this share of the peak, plus the bytes below
/// for allocators and libraries of other systems.
const TOLERANCE: f64 = 0.1;
const TOLERANCE_BYTES: f64 = (32 << 20) as f64;

/// Reads the header of the file at `path` as a download would.
fn header(path: &Path) -> File {
    let total_bytes = path.metadata().unwrap().len();
    let mut held_bytes = FIRST_HEADER_BYTES;
    loop {
        let mut first = Vec::new();
        std::fs::File::open(path).unwrap().take(held_bytes).read_to_end(&mut first).unwrap();
        match File::from_header(first, total_bytes) {
            Ok(file) => return file,
            Err(error) => held_bytes = next_header_bytes(&error, held_bytes, total_bytes).unwrap(),
        }
    }
}

/// The peak memory of a process with a prompt that fills the context.
fn peak_bytes(path: &Path, kv_type: KvType) -> u64 {
    let mut command = Command::new(program());
    command.args(["bench", "--json", "--backend", "cpu", "--repeat", "1"]);
    // At a depth it reads the context once, where a prompt would be read for a warm-up as well.
    command.args(["--depth", &(CONTEXT - 1).to_string(), "--prompt-tokens", "1"]);
    command.args(["--generate-tokens", "0"]);
    command.args(["--threads", &THREADS.to_string(), "--kv-type", kv_type.name()]);
    let output = command.arg("--model").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    report["peak_rss_bytes"].as_u64().unwrap()
}

#[test]
fn estimate_is_near_the_peak() {
    for name in MODELS {
        let path = real_model(name);
        for kv_type in [KvType::F16, KvType::Q8_0] {
            let options = LoadOptions {
                backend: BackendKind::Cpu,
                threads: Some(THREADS),
                context: Some(CONTEXT),
                kv_type,
            };
            let estimate = MemoryEstimate::new(&header(&path), &options).unwrap();
            let (estimated, peak) = (estimate.total_bytes(), peak_bytes(&path, kv_type));
            println!("{name} {}: {estimated} estimated, {peak} measured", kv_type.name());
            for part in estimate.parts() {
                println!("  {:>12} {:?}", part.bytes, part.kind);
            }
            let tolerance = TOLERANCE * peak as f64 + TOLERANCE_BYTES;
            assert!((estimated as f64 - peak as f64).abs() <= tolerance, "{name} {kv_type:?}");
        }
    }
}
