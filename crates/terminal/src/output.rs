//! The one place that writes to the terminal.
//!
//! Callers hand over text as it came from files, models and hubs; this layer makes it harmless.
//! Notes, errors, tables and reports are always escaped: whatever a terminal would obey instead of
//! showing is spelled out as `\u{…}`. A *payload* (an answer, a rendered prompt) is escaped on a
//! terminal and exact in a pipe or a file, since programs read it there. JSON is always escaped in
//! JSON's own way, so that it says the same and steers nothing. Error messages are bounded: one
//! foreign text takes at most [`escape::QUOTED_CHARS`] of them.

mod escape;
mod line;
mod table;

use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::{backtrace, process, thread};

use anyhow::{Error, Result};
use clap::error::{ContextKind, ContextValue};
use serde::Serialize;

pub use line::Line;
pub use table::{fields, table};

/// Whether the error is that the reader of our output has closed it.
pub fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a line to standard error; if it is closed, nothing is lost.
pub fn note(line: &str) {
    write_stderr(&format!("{}\n", escape::lines(line)));
}

/// Writes an error of `program` to standard error: its causes, the outermost first, and what to do
/// about it.
pub fn error(program: &str, causes: impl Iterator<Item = String>, advice: Option<&str>) {
    let mut shown: Vec<String> = Vec::new();
    for cause in causes {
        let cause = escape::message(&cause).into_owned();
        // Some errors end with their cause already.
        if !shown.last().is_some_and(|last| last.ends_with(&cause)) {
            shown.push(cause);
        }
    }
    note(&format!("{program}: {}", shown.join(": ")));
    if let Some(advice) = advice {
        note(advice);
    }
}

/// Writes a piece of text that stands apart from the answer, such as reasoning, to standard error:
/// dimmed on a terminal.
pub fn aside(text: &str) {
    let text = escape::lines(text);
    if stderr_is_terminal() {
        write_stderr(&format!("\u{1b}[2m{text}\u{1b}[22m"));
    } else {
        write_stderr(&text);
    }
}

/// Asks on standard error, where the answer is typed behind `question`.
pub fn ask(question: &str) {
    write_stderr(&escape::lines(question));
}

/// Writes a report to standard output.
pub fn show(text: &str) -> io::Result<()> {
    write_stdout(&escape::lines(text))
}

/// Writes text that programs read, such as an answer or a rendered prompt: exact, except on a
/// terminal.
pub fn show_payload(text: &str) -> io::Result<()> {
    if stdout_is_terminal() { show(text) } else { write_stdout(text) }
}

/// Writes a result to standard output: as JSON, or as the text of a report.
pub fn show_result(
    is_json: bool,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<()> {
    if is_json {
        show_json(value)?
    } else {
        show(&text())?
    }
    Ok(())
}

/// Writes `value` to standard output as indented JSON.
pub fn show_json(value: &impl Serialize) -> Result<()> {
    show_json_text(&serde_json::to_string_pretty(value)?)
}

/// Writes a JSON text to standard output.
pub fn show_json_text(json: &str) -> Result<()> {
    Ok(write_stdout(&format!("{}\n", escape::json(json.trim_end())))?)
}

/// A foreign text for a line of a report: on one line, at most [`escape::QUOTED_CHARS`] of it.
pub fn field(text: &str) -> String {
    escape::clipped(&escape::one_line(text), escape::QUOTED_CHARS).into_owned()
}

/// Ends the program as for wrong usage, or after the help that was asked for.
pub fn exit_with_usage(mut error: clap::Error) -> ! {
    if !error.use_stderr() {
        // Our own words, which clap colours on a terminal. A reader who left has read enough.
        let _ = error.print();
        process::exit(0);
    }
    let quoted: Vec<_> =
        error.context().map(|(kind, value)| (kind, bounded(kind, value))).collect();
    for (kind, value) in quoted {
        if let Some(value) = value {
            error.insert(kind, value);
        }
    }
    let text = error.render().to_string();
    write_stderr(&escape::lines(&escape::message(&text)));
    process::exit(error.exit_code());
}

/// What clap quotes of the command line, on one line and not too much of it. Usage texts are ours.
fn bounded(kind: ContextKind, value: &ContextValue) -> Option<ContextValue> {
    match (kind, value) {
        (ContextKind::Usage, _) => None,
        (_, ContextValue::String(text)) => Some(ContextValue::String(field(text))),
        (_, ContextValue::Strings(texts)) => {
            Some(ContextValue::Strings(texts.iter().map(|text| field(text)).collect()))
        }
        _ => None,
    }
}

/// Has panics of `program` written by this layer, since their messages may quote foreign text.
pub fn take_over_panics(program: &'static str) {
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let what = field(panic_message(info));
        note(&format!("{program}: internal error: thread '{name}' panicked at {place}: {what}"));
        let trace = backtrace::Backtrace::capture();
        if trace.status() == backtrace::BacktraceStatus::Captured {
            note(&trace.to_string());
        }
    }));
}

fn panic_message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[expect(clippy::disallowed_methods, reason = "this is the layer")]
fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Standard error may be closed, which is no reason to fail.
#[expect(clippy::disallowed_methods, reason = "this is the layer")]
fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[expect(clippy::disallowed_methods, reason = "this is the layer")]
fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether notes go to a terminal.
#[expect(clippy::disallowed_methods, reason = "this is the layer")]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// `bytes` of memory in the unit that reads best.
pub fn size(bytes: u64) -> String {
    in_units(bytes, 1024.0, &["B", "KiB", "MiB", "GiB"])
}

/// `bytes` of a disk in the unit that reads best: decimal, as disks are sold.
pub fn disk_size(bytes: u64) -> String {
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
