//! Documents that are attached to questions: those of a draft, and those that were sent.

use serde::{Deserialize, Serialize};

use crate::{AttachmentId, Error};

/// A document that is attached to a draft or was sent with a question, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Names it among those of its draft or its question.
    pub id: AttachmentId,
    /// The file's name without its folder, on one line; may be untrusted.
    pub name: String,
    /// What the file is.
    pub kind: AttachmentKind,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The tokens of its text in the vocabulary of the model that is or was loaded; `None` while they
    /// are not counted.
    pub tokens: Option<u32>,
    /// Whether all of it fits the context beside the attachments before it; `None` while that is not
    /// known, and of one that was sent.
    pub fits: Option<bool>,
    /// How it is sent, or was sent.
    pub sent_as: AttachmentUse,
    /// The tokens of what was sent; `None` in a draft, and where they were not counted.
    pub sent_tokens: Option<u32>,
    /// What was guessed or left out when it was read.
    pub notes: Vec<AttachmentNote>,
}

/// The documents that are attached to a draft.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attachments {
    /// The documents, in the order in which they were attached.
    pub attachments: Vec<Attachment>,
    /// Why files of the command were not attached.
    pub failures: Vec<Error>,
}

/// A change of the documents that are attached to a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentChange {
    /// None: they are only listed. Their tokens are counted again where another model was loaded.
    List,
    /// Files are attached.
    Files {
        /// Their paths.
        paths: Vec<String>,
    },
    /// A text is attached, such as a long one that was pasted.
    Text {
        /// The name that it gets.
        name: String,
        /// The text.
        text: String,
    },
    /// An attachment is removed.
    Remove {
        /// Which.
        attachment: AttachmentId,
    },
    /// It is chosen how an attachment is sent that is too long.
    Use {
        /// Which.
        attachment: AttachmentId,
        /// How.
        sent_as: AttachmentUse,
    },
}

/// What a document is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentKind {
    /// Plain text.
    #[default]
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
#[serde(rename_all = "kebab-case")]
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
    Unknown,
}

/// How a document is sent, where the context may be too short for all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentUse {
    /// All of it; a context that slides forgets its beginning.
    #[default]
    Whole,
    /// Its beginning and its end, as much as fits.
    Ends,
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
            id: AttachmentId("7".into()),
            name: "a.pdf".into(),
            kind: AttachmentKind::Pdf,
            size_bytes: 9,
            tokens: Some(3),
            fits: Some(false),
            sent_as: AttachmentUse::Passages,
            sent_tokens: None,
            notes: vec![AttachmentNote::PagesWithoutText { n_pages: 1, n_all: 2 }],
        };
        let json = serde_json::to_string(&attachment).unwrap();
        assert_eq!(
            json,
            r#"{"id":"7","name":"a.pdf","kind":"pdf","size_bytes":9,"tokens":3,"fits":false,"sent_as":"passages","sent_tokens":null,"notes":[{"pages-without-text":{"n_pages":1,"n_all":2}}]}"#
        );
        assert_eq!(serde_json::from_str::<Attachment>(&json).unwrap(), attachment);
    }
}
