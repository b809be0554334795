//! The text of documents that people attach to questions.
//!
//! [`read`] and [`from_bytes`] turn a file into a [`Document`]: plain text, Markdown, source code,
//! tables, HTML, Word (`.docx`) and PDF. HTML and Word become text with the marks of Markdown for
//! headings, lists and tables, since models know them. [`passages()`] cuts a text into passages for a
//! search, and [`prompt`] writes documents into a question.
//!
//! **Bounds.** Files come from anywhere, so every reader has bounds of size and time ([`Options`]) and
//! looks at the caller's flag. The format PDF is too large for that: its reader runs in a process of
//! its own ([`child`]), which is killed at its deadline and cannot take more memory than it was given.
//!
//! Nothing here knows models, tokens or the database, and no sentence for people is made here.

pub mod child;
mod clean;
mod decode;
mod docx;
mod error;
mod html;
mod kind;
mod markdown;
mod passages;
mod pdf;
pub mod prompt;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use error::{Error, Foreign};
pub use kind::Kind;
pub use passages::passages;

use kind::Format;

/// The text of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The file's name without its folder, on one line.
    pub name: String,
    /// What the file is.
    pub kind: Kind,
    /// Its text: line ends are `\n`, and there are no control characters but `\n` and `\t`.
    pub text: String,
    /// What a reader of the text should know.
    pub notes: Vec<Note>,
}

/// Something that was guessed or left out when a document was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The text is not Unicode, and its encoding was guessed from its content.
    GuessedEncoding {
        /// The encoding's name, such as `windows-1252`.
        encoding: &'static str,
    },
    /// Bytes that are not valid in the text's encoding became `U+FFFD`.
    InvalidBytes {
        /// The number of places.
        n_places: usize,
    },
    /// Characters that no one can see were removed: control characters and Unicode's tags, which can
    /// carry text to a model past its reader.
    InvisibleCharacters {
        /// Their number.
        n_chars: usize,
    },
    /// Images were left out.
    Images {
        /// Their number.
        n_images: usize,
    },
    /// Pages have no text: they are empty, drawn or scanned.
    PagesWithoutText {
        /// Their number.
        n_pages: usize,
        /// The number of all pages.
        n_all: usize,
    },
    /// Pages are damaged and were left out.
    DamagedPages {
        /// Their number.
        n_pages: usize,
        /// The number of all pages.
        n_all: usize,
    },
}

/// How documents are read, and how much one may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// The longest text, in bytes.
    pub text_bytes: usize,
    /// The longest time that reading may take.
    pub time: Duration,
    /// The most memory of the process that reads a PDF, in bytes.
    pub memory_bytes: u64,
    /// The program that reads PDFs, whose `main` begins with [`child::run_if_requested`]; `None` is this
    /// program.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            text_bytes: 16 << 20,
            time: Duration::from_secs(20),
            memory_bytes: 1 << 30,
            program: None,
        }
    }
}

/// Reads the document in a file.
///
/// # Errors
/// [`Error::File`] if the file cannot be read; [`Error::Unsupported`], [`Error::Encrypted`],
/// [`Error::NoText`] and [`Error::Damaged`] if it has no text for us; [`Error::TooLarge`],
/// [`Error::TextTooLong`], [`Error::TookTooLong`] and [`Error::TooMuchMemory`] where it exceeds
/// `options`; [`Error::Cancelled`] once `cancel` is set; [`Error::Process`].
pub fn read(path: &Path, options: &Options, cancel: &AtomicBool) -> Result<Document, Error> {
    let bytes = match lilims_files::read(path, options.file_bytes) {
        Err(lilims_files::Error::TooLarge { limit_bytes, .. }) => {
            return Err(Error::TooLarge { limit_bytes });
        }
        bytes => bytes?,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    from_bytes(&name, bytes, options, cancel)
}

/// Reads the document in `bytes`; `name` is the file's name, whose ending tells apart what the content
/// does not.
///
/// # Errors
/// Those of [`read`], without [`Error::File`].
pub fn from_bytes(
    name: &str,
    bytes: Vec<u8>,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Document, Error> {
    if bytes.len() as u64 > options.file_bytes {
        return Err(Error::TooLarge { limit_bytes: options.file_bytes });
    }
    let watch = Watch::new(options, cancel);
    let name = clean::line(name);
    let mut notes = Vec::new();
    let (kind, text) = match kind::format(&name, &bytes)? {
        Format::Pdf => (Kind::Pdf, child::extract_pdf(bytes, options, cancel, &mut notes)?),
        Format::Word => (Kind::Word, docx::text(bytes, &watch, &mut notes)?),
        Format::Text(text_kind) => {
            let label =
                if text_kind == Kind::Html { html::declared_encoding(&bytes) } else { None };
            let text = decode::text(bytes, label, &mut notes)?;
            match text_kind {
                Kind::Html => (Kind::Html, html::text(&text, &watch, &mut notes)?),
                kind => (kind, text),
            }
        }
    };
    let text = clean::text(text, &mut notes);
    watch.check_text(text.len())?;
    // Plain text may be empty, but a file that has a layout and no text is a surprise.
    if text.trim().is_empty() && matches!(kind, Kind::Pdf | Kind::Word | Kind::Html) {
        return Err(Error::NoText);
    }
    Ok(Document { name, kind, text, notes })
}

/// A text that is no file, such as one that was pasted, as a document: nothing of it is read as marks of
/// another format.
///
/// # Errors
/// [`Error::TextTooLong`].
pub fn from_text(name: &str, text: String, options: &Options) -> Result<Document, Error> {
    let mut notes = Vec::new();
    let text = clean::text(text, &mut notes);
    if text.len() > options.text_bytes {
        return Err(Error::TextTooLong { limit_bytes: options.text_bytes });
    }
    Ok(Document { name: clean::line(name), kind: Kind::Text, text, notes })
}

/// The bounds of one document that is being read in this process.
pub(crate) struct Watch<'a> {
    started: Instant,
    options: &'a Options,
    cancel: &'a AtomicBool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(options: &'a Options, cancel: &'a AtomicBool) -> Self {
        Self { started: Instant::now(), options, cancel }
    }

    /// Whether the work may go on. Readers look at it after each small piece of their input.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if self.started.elapsed() > self.options.time {
            return Err(Error::TookTooLong { limit: self.options.time });
        }
        Ok(())
    }

    /// Whether a text of this size is allowed.
    pub(crate) fn check_text(&self, n_bytes: usize) -> Result<(), Error> {
        let limit_bytes = self.options.text_bytes;
        if n_bytes > limit_bytes { Err(Error::TextTooLong { limit_bytes }) } else { Ok(()) }
    }
}
