//! The process that reads PDFs: this program again, with a hidden argument.
//!
//! PDF is a language of programs with fonts, filters and references in all directions, and every reader
//! of it has files that keep it busy for hours or take all memory. So it runs apart: the parent writes
//! the file to the child's standard input, reads the text from its standard output, and kills it when
//! its time is over, when it takes too much memory or when the caller no longer wants the text. Programs
//! call [`run_if_requested`] before anything else in `main`.
//!
//! **Memory.** On Unix the child sets `RLIMIT_DATA` for itself, and a kernel that counts all private
//! memory by it (Linux does) refuses more. Elsewhere the parent looks at the child's resident memory
//! every 20 ms and kills it, so it may take more for that long. iOS starts no processes: there a thread
//! reads, with the bounds of time and size alone, and one that is late goes on to the end of its page.
//!
//! **Protocol.** Text, then 48 bytes: a magic number, the status, counts of pages, and the text's
//! length. They stand last, so what a library prints before them does no harm.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::exit;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use crate::{Error, Note, Options, pdf};

pub use crate::pdf::extract as read_pages;

#[cfg(any(test, target_os = "ios"))]
mod in_thread;
#[cfg(not(target_os = "ios"))]
mod parent;

/// The argument that makes a program the child.
const ARGUMENT: &str = "--extract-pdf";
/// How much longer than its time a child lives whose parent is gone.
const ORPHAN_TIME: Duration = Duration::from_secs(2);
/// The stack of the thread that reads: PDF nests, and readers of it recurse.
const STACK_BYTES: usize = 32 << 20;
const MAGIC: u64 = u64::from_le_bytes(*b"LilimsP1");
/// The length of what stands behind the text.
const TRAILER_LEN: usize = 48;

/// The text of a PDF and what was found of its pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The text of all pages.
    pub text: String,
    /// The number of pages.
    pub n_pages: usize,
    /// Pages without text.
    pub n_empty: usize,
    /// Pages that could not be read.
    pub n_damaged: usize,
}

/// Why a PDF has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It needs a password.
    Encrypted,
    /// It is damaged.
    Damaged,
    /// Its text is too long.
    TextTooLong,
    /// The system refused a thread.
    NoMemory,
    /// The reader was asked to stop.
    Stopped,
}

/// A function that reads a PDF's text, of at most so many bytes, until it is asked to stop.
pub type Extract = fn(Vec<u8>, usize, &dyn Fn() -> bool) -> Result<Extracted, Failure>;

/// Where this process was started to read a PDF, reads it and ends the process; else does nothing.
///
/// Call this first in `main`, before threads, handlers and arguments.
pub fn run_if_requested() {
    run_if_requested_with(pdf::extract);
}

/// As [`run_if_requested`], with another reader: for tests of the bounds.
pub fn run_if_requested_with(extract: Extract) {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return;
    }
    let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
    let (Some(file_bytes), Some(text_bytes), Some(time_ms), Some(memory_bytes)) =
        (number(), number(), number(), number())
    else {
        exit(2);
    };
    // Nothing but the protocol leaves this process; a message could quote the document.
    panic::set_hook(Box::new(|_| {}));
    let time = Duration::from_millis(time_ms).saturating_add(ORPHAN_TIME);
    let watchdog = thread::Builder::new().spawn(move || {
        thread::sleep(time);
        exit(1);
    });
    limit_this_process(memory_bytes);
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(file_bytes).read_to_end(&mut bytes);
    let text_bytes = usize::try_from(text_bytes).unwrap_or(usize::MAX);
    let result = match read {
        Ok(_) if watchdog.is_ok() => on_large_stack(move || extract(bytes, text_bytes, &|| false)),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(Failure::NoMemory),
        _ => exit(1),
    };
    let is_written = io::stdout().lock().write_all(&encode(result)).is_ok();
    exit(i32::from(!is_written));
}

/// Reads the PDF in `bytes` within the bounds of `options`.
pub(crate) fn extract_pdf(
    bytes: Vec<u8>,
    options: &Options,
    cancel: &AtomicBool,
    notes: &mut Vec<Note>,
) -> Result<String, Error> {
    #[cfg(not(target_os = "ios"))]
    let extracted = parent::extract(bytes, options, cancel)?;
    #[cfg(target_os = "ios")]
    let extracted = in_thread::extract(bytes, options, cancel, pdf::extract)?;
    let Extracted { text, n_pages, n_empty, n_damaged } = extracted;
    if n_damaged > 0 && n_damaged == n_pages {
        return Err(Error::Damaged { what: "no page can be read" });
    }
    if n_empty > 0 {
        notes.push(Note::PagesWithoutText { n_pages: n_empty, n_all: n_pages });
    }
    if n_damaged > 0 {
        notes.push(Note::DamagedPages { n_pages: n_damaged, n_all: n_pages });
    }
    Ok(text)
}

/// What a failure is to the caller.
fn error(failure: Failure, options: &Options) -> Error {
    match failure {
        Failure::Encrypted => Error::Encrypted,
        Failure::Damaged => Error::Damaged { what: "it cannot be read as PDF" },
        Failure::TextTooLong => Error::TextTooLong { limit_bytes: options.text_bytes },
        Failure::NoMemory => Error::TooMuchMemory { limit_bytes: options.memory_bytes },
        Failure::Stopped => Error::TookTooLong { limit: options.time },
    }
}

/// Runs `work` on a thread with a large stack; a panic is a damaged file.
fn on_large_stack(
    work: impl FnOnce() -> Result<Extracted, Failure> + Send + 'static,
) -> Result<Extracted, Failure> {
    let work = || panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Failure::Damaged));
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    thread.map_err(|_| Failure::NoMemory)?.join().unwrap_or(Err(Failure::Damaged))
}

/// Makes this process take no more memory than it may, and open or write no file. What the system does
/// not set, the parent's look at the resident memory replaces.
#[cfg(unix)]
fn limit_this_process(memory_bytes: u64) {
    use nix::sys::resource::{Resource, setrlimit};
    // Not `RLIMIT_AS`: it would count the libraries of the window, which are larger than any PDF.
    let memory = (Resource::RLIMIT_DATA, memory_bytes);
    let files = (Resource::RLIMIT_NOFILE, 3);
    for (resource, limit) in
        [memory, files, (Resource::RLIMIT_FSIZE, 0), (Resource::RLIMIT_CORE, 0)]
    {
        let _ = setrlimit(resource, limit, limit);
    }
}

#[cfg(not(unix))]
fn limit_this_process(_memory_bytes: u64) {}

fn encode(result: Result<Extracted, Failure>) -> Vec<u8> {
    let (status, extracted) = match result {
        Ok(extracted) => (0_u64, extracted),
        Err(Failure::Encrypted) => (1, Extracted::default()),
        Err(Failure::Damaged) => (2, Extracted::default()),
        Err(Failure::TextTooLong) => (3, Extracted::default()),
        Err(Failure::NoMemory) => (4, Extracted::default()),
        Err(Failure::Stopped) => (5, Extracted::default()),
    };
    let Extracted { text, n_pages, n_empty, n_damaged } = extracted;
    let counts = [n_pages, n_empty, n_damaged, text.len()].map(|count| count as u64);
    let mut bytes = text.into_bytes();
    for number in [MAGIC, status].into_iter().chain(counts) {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

/// What a child wrote; `None` if it did not come to the end.
fn decode(mut bytes: Vec<u8>) -> Option<Result<Extracted, Failure>> {
    let text_end = bytes.len().checked_sub(TRAILER_LEN)?;
    let (numbers, _) = bytes[text_end..].as_chunks::<8>();
    let &[magic, status, n_pages, n_empty, n_damaged, text_len] = numbers else { return None };
    if u64::from_le_bytes(magic) != MAGIC {
        return None;
    }
    let count = |bytes| usize::try_from(u64::from_le_bytes(bytes)).ok();
    let failure = match u64::from_le_bytes(status) {
        0 => None,
        1 => Some(Failure::Encrypted),
        2 => Some(Failure::Damaged),
        3 => Some(Failure::TextTooLong),
        4 => Some(Failure::NoMemory),
        5 => Some(Failure::Stopped),
        _ => return None,
    };
    if let Some(failure) = failure {
        return Some(Err(failure));
    }
    let text_start = text_end.checked_sub(count(text_len)?)?;
    bytes.truncate(text_end);
    let text = String::from_utf8(bytes.split_off(text_start)).ok()?;
    let (n_pages, n_empty, n_damaged) = (count(n_pages)?, count(n_empty)?, count(n_damaged)?);
    Some(Ok(Extracted { text, n_pages, n_empty, n_damaged }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_printed_before_the_text_is_ignored() {
        let extracted = Extracted { text: "Größe".into(), n_pages: 3, n_empty: 1, n_damaged: 1 };
        let mut bytes = b"warning: something\n".to_vec();
        bytes.extend(encode(Ok(extracted.clone())));
        assert_eq!(decode(bytes), Some(Ok(extracted)));
        for failure in [Failure::Encrypted, Failure::Damaged, Failure::TextTooLong] {
            assert_eq!(decode(encode(Err(failure))), Some(Err(failure)));
        }
    }

    proptest! {
        #[test]
        fn any_output_is_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            numbers in proptest::collection::vec(any::<u64>(), 5),
        ) {
            prop_assert_eq!(decode(bytes.clone()), None);
            let mut bytes = bytes;
            for number in [MAGIC].into_iter().chain(numbers) {
                bytes.extend(number.to_le_bytes());
            }
            let _ = decode(bytes);
        }
    }
}
