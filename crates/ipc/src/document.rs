//! Documents that are attached to a question.

use serde::{Deserialize, Serialize};

/// A document that was read, before it is sent or as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file's name without its folder, on one line; may be untrusted.
    pub name: String,
    /// What the file is.
    pub kind: AttachmentKind,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// Its text; `None` where only the description crosses.
    #[serde(default)]
    pub text: Option<String>,
    /// The tokens of its text in the loaded model's vocabulary; `None` while they are not counted.
    #[serde(default)]
    pub n_tokens: Option<u32>,
    /// What was guessed or left out when it was read.
    #[serde(default)]
    pub notes: Vec<AttachmentNote>,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentKind {
    /// Plain text.
    Text,
    /// Markdown.
    Markdown,
    /// Source code, or data such as JSON.
    Code,
    /// A table in CSV or TSV.
    Table,
    /// HTML.
    Html,
    /// A document of Word (`.docx`).
    Word,
    /// PDF.
    Pdf,
}

/// Something that was guessed or left out when a document was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum AttachmentNote {
    /// The text is not Unicode, and its encoding was guessed from its content.
    GuessedEncoding {
        /// The encoding's name, such as `windows-1252`.
        encoding: String,
    },
    /// Bytes that are not valid in the text's encoding were replaced.
    InvalidBytes {
        /// The number of places.
        n_places: u64,
    },
    /// Characters that no one can see were removed.
    InvisibleCharacters {
        /// Their number.
        n_chars: u64,
    },
    /// Images were left out.
    Images {
        /// Their number.
        n_images: u64,
    },
    /// Pages have no text: they are empty, drawn or scanned.
    PagesWithoutText {
        /// Their number.
        n_pages: u64,
        /// The number of all pages.
        n_all: u64,
    },
    /// Pages are damaged and were left out.
    DamagedPages {
        /// Their number.
        n_pages: u64,
        /// The number of all pages.
        n_all: u64,
    },
    /// A note that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a document is sent, where the context may be too short for all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentUse {
    /// All of it; a context that slides forgets its beginning.
    #[default]
    Whole,
    /// As much of its beginning as fits.
    Beginning,
    /// The passages that have the question's words, as many as fit.
    Passages,
}

/// Kinds of files that have no text, or none that Lilims reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForeignKind {
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
    /// A document of a text program that is not `.docx`.
    OtherDocument,
    /// An e-book.
    Book,
    /// A program.
    Program,
    /// Anything else that is not text.
    Binary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_fixed() {
        let attachment = Attachment {
            name: "a.pdf".into(),
            kind: AttachmentKind::Pdf,
            size_bytes: 9,
            text: Some("é".into()),
            n_tokens: None,
            notes: vec![AttachmentNote::PagesWithoutText { n_pages: 1, n_all: 2 }],
        };
        let json = serde_json::to_string(&attachment).unwrap();
        assert_eq!(
            json,
            r#"{"name":"a.pdf","kind":"pdf","size_bytes":9,"text":"é","n_tokens":null,"notes":[{"note":"pages-without-text","n_pages":1,"n_all":2}]}"#
        );
        assert_eq!(serde_json::from_str::<Attachment>(&json).unwrap(), attachment);
        let later = r#"{"name":"a","kind":"text","size_bytes":1,"notes":[{"note":"x","y":1}]}"#;
        let later: Attachment = serde_json::from_str(later).unwrap();
        assert_eq!(later.notes, [AttachmentNote::Unknown]);
    }
}
