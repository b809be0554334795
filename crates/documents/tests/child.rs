//! The bounds of the process that reads PDFs: time, memory, size, cancellation, and nothing left over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use lilims_documents::{Document, Error, Options, from_bytes};
use support::{options, pdf};

/// From a bound to the error: starting the process, a look each 20 ms, and a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// Tests that look for processes left over run one after another.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What reading gives where the child does `what`, and how long it took.
fn hostile(
    what: &str,
    options: &Options,
    cancel: &AtomicBool,
) -> (Result<Document, Error>, Duration) {
    let _alone = alone();
    let bytes = format!("%PDF-hostile {what}").into_bytes();
    let started = Instant::now();
    let result = from_bytes("a.pdf", bytes, options, cancel);
    let elapsed = started.elapsed();
    assert_eq!(n_children(), 0, "a process is left over");
    (result, elapsed)
}

/// The number of processes that this one has started and that are still there, zombies included.
#[cfg(target_os = "linux")]
fn n_children() -> usize {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
    // pid (name) state parent …
    let parent = |stat: String| stat.rsplit_once(") ").map(|(_, rest)| rest[2..].to_owned());
    stats.filter_map(parent).filter(|rest| rest.split(' ').next() == Some(&me)).count()
}

#[cfg(not(target_os = "linux"))]
fn n_children() -> usize {
    0
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

#[test]
fn a_child_that_takes_too_long_is_killed() {
    let options = Options { time: Duration::from_millis(300), ..options() };
    let (result, elapsed) = hostile("sleep", &options, &never());
    assert!(matches!(result, Err(Error::TookTooLong { .. })), "{result:?}");
    assert!(elapsed < options.time + SLACK, "{elapsed:?}");
}

#[test]
fn a_child_that_takes_too_much_memory_ends() {
    let options = Options { memory_bytes: 256 << 20, ..options() };
    for what in ["allocate", "reserve"] {
        let (result, elapsed) = hostile(what, &options, &never());
        assert!(matches!(result, Err(Error::TooMuchMemory { .. })), "{what}: {result:?}");
        assert!(elapsed < options.time, "{what}: {elapsed:?}");
    }
    // So little that not even the file or a thread has room.
    let _alone = alone();
    let text = "x".repeat(4 << 20);
    for memory_bytes in [1 << 20, 16 << 20] {
        let options = Options { memory_bytes, ..options.clone() };
        let result = from_bytes("a.pdf", pdf(&[text.as_bytes()]), &options, &never());
        assert!(matches!(result, Err(Error::TooMuchMemory { .. })), "{result:?}");
    }
}

#[test]
fn a_child_that_crashes_is_a_damaged_file() {
    for what in ["panic", "abort", "exit", "recurse", "other"] {
        let (result, _) = hostile(what, &options(), &never());
        assert!(matches!(result, Err(Error::Damaged { .. })), "{what}: {result:?}");
    }
}

#[test]
fn a_child_that_writes_without_end_is_cut_off() {
    let options = Options { text_bytes: 1 << 20, ..options() };
    let (result, _) = hostile("flood", &options, &never());
    assert!(matches!(result, Err(Error::TextTooLong { .. })), "{result:?}");
}

#[test]
fn cancelling_kills_the_child() {
    let cancel = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            cancel.store(true, Ordering::Relaxed);
        });
        let (result, elapsed) = hostile("sleep", &options(), &cancel);
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(elapsed < SLACK, "{elapsed:?}");
    });
}

#[cfg(unix)]
#[test]
fn a_child_opens_no_file() {
    let (result, _) = hostile("open", &options(), &never());
    assert_eq!(result.unwrap().text, "refused");
}

#[test]
fn a_program_that_is_missing_or_another_is_an_error() {
    let _alone = alone();
    let read = |program: &str| {
        let options = Options { program: Some(program.into()), ..options() };
        from_bytes("a.pdf", pdf(&[b"text"]), &options, &never())
    };
    assert!(matches!(read("/nonexistent"), Err(Error::Process(_))));
    if cfg!(unix) {
        assert!(matches!(read("/bin/true"), Err(Error::Damaged { .. })));
    }
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let _alone = alone();
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let text = format!("number {number}");
                let bytes = pdf(&[text.as_bytes()]);
                assert_eq!(from_bytes("a.pdf", bytes, &options(), &never()).unwrap().text, text);
            });
        }
    });
}
