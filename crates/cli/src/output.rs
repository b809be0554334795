//! Writing to the terminal: pipes that close, and text from files that must not control it.

use std::io::{self, Write};

use anyhow::{Error, Result};
use serde::Serialize;

/// Whether the error is that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes `line` to standard error; if nobody reads that, nothing is lost.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes `text` to standard output at once.
pub(crate) fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes `value` to standard output as indented JSON.
pub(crate) fn show_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(show(&text)?)
}

/// `text` with control characters spelled out, except line breaks and tabs: what a file says must
/// not be able to steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `bytes` of memory in the unit that reads best.
pub(crate) fn size(bytes: u64) -> String {
    in_units(bytes, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

/// `bytes` of a disk in the unit that reads best: decimal, as disks are sold.
pub(crate) fn disk_size(bytes: u64) -> String {
    in_units(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

fn in_units(bytes: u64, step: f64, units: &[&str]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(printable("a\u{1b}[2Jé\n\tb\r"), "a\\u{1b}[2Jé\n\tb\\r");
    }

    #[test]
    fn sizes_have_fitting_units() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(98_362_432), "93.8 MiB");
        assert_eq!(size(5 << 40), "5120.0 GiB");
        assert_eq!(disk_size(999), "999 B");
        assert_eq!(disk_size(98_362_432), "98.4 MB");
        assert_eq!(disk_size(4_100_000_000), "4.1 GB");
    }

    #[test]
    fn a_closed_pipe_is_seen_through_the_context() {
        let error = Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&Error::msg("other")));
    }
}
