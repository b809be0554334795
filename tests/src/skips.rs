//! Records tests that cannot run on this machine, which `cargo xtask test` lists and counts.
//! Missing data or programs are not a reason to skip: such a test must fail.
//!
//! The harness captures a test's output, so each skip is a line in the file that
//! `LILIMS_TEST_SKIPS` names. Crates that cannot depend on this one include the file by its path.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

/// Records the running test as skipped; the test should return afterwards.
///
/// # Panics
/// If the file of skips cannot be written.
pub fn skip(reason: &str) {
    record("test", thread::current().name().unwrap_or("a test"), reason);
}

/// Records a part of a test as skipped; the test itself continues and is counted separately.
///
/// # Panics
/// If the file of skips cannot be written.
pub fn skip_part(name: &str, reason: &str) {
    record("part", name, reason);
}

fn record(kind: &str, name: &str, reason: &str) {
    let line = format!("lilims-test-skipped: {kind}: {name}: {reason}\n");
    print!("{line}");
    if let Some(path) = env::var_os("LILIMS_TEST_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("cannot write the file of skipped tests");
    }
}
