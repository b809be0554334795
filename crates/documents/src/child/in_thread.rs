//! Reads a PDF in a thread, where no process can be started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Extract, Extracted, error, on_large_stack};
use crate::{Error, Options};

/// How often the clock and the flag are looked at.
const TICK: Duration = Duration::from_millis(20);

/// Reads a PDF within the bounds of time and size. A thread cannot be killed: one that is late goes on
/// to the end of its page, and its result is dropped.
pub(super) fn extract(
    bytes: Vec<u8>,
    options: &Options,
    cancel: &AtomicBool,
    extract: Extract,
) -> Result<Extracted, Error> {
    let (started, text_bytes) = (Instant::now(), options.text_bytes);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, result) = mpsc::channel();
    let is_stopped = Arc::clone(&stop);
    let work = move || extract(bytes, text_bytes, &|| is_stopped.load(Ordering::Relaxed));
    thread::spawn(move || sender.send(on_large_stack(work)));
    let late = loop {
        match result.recv_timeout(TICK) {
            Ok(result) => return result.map_err(|failure| error(failure, options)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Damaged { what: "its reader crashed" });
            }
            Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                break Error::Cancelled;
            }
            Err(RecvTimeoutError::Timeout) if started.elapsed() > options.time => {
                break Error::TookTooLong { limit: options.time };
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    stop.store(true, Ordering::Relaxed);
    Err(late)
}

#[cfg(test)]
mod tests {
    use super::super::Failure;
    use super::*;

    /// More than a panic with its backtrace takes on a busy machine.
    const AMPLE: Duration = Duration::from_secs(60);

    /// Reads within a time that only a reader takes which never ends.
    fn run(extract_with: Extract, time: Duration, cancel: bool) -> Result<Extracted, Error> {
        let options = Options { time, ..Options::default() };
        extract(b"text".to_vec(), &options, &AtomicBool::new(cancel), extract_with)
    }

    fn until_stopped(
        _: Vec<u8>,
        _: usize,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Extracted, Failure> {
        while !is_stopped() {
            thread::yield_now();
        }
        Err(Failure::Stopped)
    }

    #[test]
    fn a_late_thread_is_told_to_stop() {
        let late = run(until_stopped, Duration::from_millis(100), false);
        assert!(matches!(late, Err(Error::TookTooLong { .. })));
        assert!(matches!(run(until_stopped, AMPLE, true), Err(Error::Cancelled)));
    }

    #[test]
    fn results_and_panics_come_back() {
        let text = |bytes, _: usize, _: &dyn Fn() -> bool| {
            let text = String::from_utf8(bytes).unwrap();
            Ok(Extracted { text, ..Extracted::default() })
        };
        assert_eq!(run(text, AMPLE, false).unwrap().text, "text");
        let panics = |_, _: usize, _: &dyn Fn() -> bool| panic!("as a reader may");
        assert!(matches!(run(panics, AMPLE, false), Err(Error::Damaged { .. })));
    }
}
