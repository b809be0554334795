//! Tests that cannot run on a machine, counted: `cargo xtask test` lists them and counts them in its
//! last line. Data or programs that are missing are no reason to skip; such a test fails.
//!
//! The harness captures what a test prints, so each skip is a line of the file that
//! `LILIMS_TEST_SKIPS` names. Crates whose tests cannot use this one include the file by its path.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

/// Counts the running test as skipped; it should return then.
///
/// # Panics
/// Where the file that counts skips cannot be written.
pub fn skip(reason: &str) {
    record("test", thread::current().name().unwrap_or("a test"), reason);
}

/// Counts a part of a test as skipped; the test itself goes on and counts for itself.
///
/// # Panics
/// Where the file that counts skips cannot be written.
pub fn skip_part(name: &str, reason: &str) {
    record("part", name, reason);
}

fn record(kind: &str, name: &str, reason: &str) {
    let line = format!("lilims-test-skipped: {kind}: {name}: {reason}\n");
    print!("{line}");
    if let Some(path) = env::var_os("LILIMS_TEST_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the file of skipped tests can be written");
    }
}
