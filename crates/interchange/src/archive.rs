//! ZIP archives of exports: ChatGPT's and Claude's downloads, and several conversations of llama.cpp's
//! page.
//!
//! All entries that are JSON by their name are looked at; their format is detected by their content. Entries
//! together may unpack to no more than one file may have, and the directory of the archive is read within
//! a bound of its own, since each of its entries takes memory.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use zip::ZipArchive;

use crate::error::Error;
use crate::read::{Reading, read_entry};
use crate::repair::Allowance;
use crate::summary::SkipReason;

const MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const EXTENSIONS: [&str; 3] = [".json", ".jsonl", ".ndjson"];

/// Whether a file that begins so is an archive.
pub(crate) fn is_archive(prefix: &[u8]) -> bool {
    MAGICS.iter().any(|magic| prefix.starts_with(magic))
}

/// Reads the conversations of all entries.
///
/// # Errors
/// [`Error::Archive`], [`Error::TooManyEntries`]; [`Error::UnknownFormat`] where no entry has
/// conversations, or the first error of an entry.
pub(crate) fn read(file: impl Read + Seek, reading: &mut Reading<'_>) -> Result<(), Error> {
    let limits = reading.limits;
    let left = Rc::new(Cell::new(Some(limits.max_directory_bytes)));
    let bounded = Bounded { inner: file, left: Rc::clone(&left) };
    let mut archive = ZipArchive::new(bounded).map_err(Error::Archive)?;
    if archive.len() > limits.max_entries {
        return Err(Error::TooManyEntries { found: archive.len(), limit: limits.max_entries });
    }
    left.set(None);

    let mut names: Vec<(String, usize)> = Vec::new();
    for idx in 0..archive.len() {
        let Some(Ok(name)) = archive.name_for_index(idx) else { continue };
        let lower_case = name.to_ascii_lowercase();
        // Folders of macOS with the same names and other content.
        let is_resource_fork = lower_case.starts_with("__macosx/");
        if !is_resource_fork && EXTENSIONS.iter().any(|it| lower_case.ends_with(it)) {
            names.push((name.into_owned(), idx));
        }
    }
    // `conversations-000.json` comes before `conversations-001.json`.
    names.sort();

    let (mut allowance, mut first_error) = (Allowance::new(limits.max_bytes), None);
    for (_, idx) in names {
        let entry = match archive.by_index(idx) {
            Ok(entry) => entry,
            // Encrypted, or compressed in a way that is not known.
            Err(error) => {
                first_error.get_or_insert(Error::Archive(error));
                continue;
            }
        };
        let n_before = reading.n_recognised;
        match read_entry(reading, entry, &mut allowance) {
            Ok(()) => {}
            Err(error @ (Error::TooLarge { .. } | Error::NewerVersion { .. })) => {
                first_error.get_or_insert(error);
                reading.skips.add(SkipReason::BeyondLimit, None, 1);
                break;
            }
            Err(error) => {
                // Other files of an export are not always JSON that is understood.
                first_error.get_or_insert(error);
            }
        }
        if reading.is_stopped {
            return Ok(());
        }
        if allowance.left_bytes == 0 && reading.n_recognised > n_before {
            break;
        }
    }
    match first_error {
        Some(error) if reading.n_recognised == 0 => Err(error),
        None if reading.n_recognised == 0 => Err(Error::UnknownFormat),
        _ => Ok(()),
    }
}

/// A reader of which only so many bytes can be read while `left` is some.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(n as u64);
            self.left.set(Some(left.ok_or(io::ErrorKind::FileTooLarge)?));
        }
        Ok(n)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}
