//! Why a document has no text for us.

use std::io;
use std::time::Duration;

/// Why a document was not read. The file's name is the caller's; no variant holds text of the document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] lilims_files::Error),
    /// The file is of a kind that has no text, or none that this crate reads.
    #[error("the file is {what}")]
    Unsupported {
        /// What it is.
        what: Foreign,
    },
    /// The document cannot be opened without a password.
    #[error("the document is encrypted")]
    Encrypted,
    /// The document has no text: it is empty, drawn or scanned.
    #[error("the document has no text")]
    NoText,
    /// The document is damaged or is not what it says that it is.
    #[error("the document is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The file, or what is packed in it, is larger than the limit.
    #[error("the file is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The text is longer than the limit.
    #[error("the text is longer than {limit_bytes} bytes")]
    TextTooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// Reading took longer than the limit.
    #[error("reading takes longer than {} s", limit.as_secs_f32())]
    TookTooLong {
        /// The limit.
        limit: Duration,
    },
    /// Reading took more memory than the limit.
    #[error("reading takes more than {limit_bytes} bytes of memory")]
    TooMuchMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// The process that reads PDFs cannot be started.
    #[error("the process that reads PDFs cannot be started")]
    Process(#[source] io::Error),
    /// The caller's flag was set.
    #[error("cancelled")]
    Cancelled,
}

/// Kinds of files that are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A film.
    Video,
    /// A packed folder, or a packed file.
    Archive,
    /// A spreadsheet.
    Spreadsheet,
    /// Slides.
    Presentation,
    /// A document of a text program that is not `.docx`, such as `.doc`, `.odt`, `.rtf` or `.pages`.
    OtherDocument,
    /// A book, such as `.epub`.
    Book,
    /// A program or a library.
    Program,
    /// Anything else that is not text.
    Binary,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Image => "an image",
            Self::Audio => "a sound file",
            Self::Video => "a video",
            Self::Archive => "an archive",
            Self::Spreadsheet => "a spreadsheet",
            Self::Presentation => "a presentation",
            Self::OtherDocument => "a document in another format than .docx",
            Self::Book => "an e-book",
            Self::Program => "a program",
            Self::Binary => "not text",
        })
    }
}
