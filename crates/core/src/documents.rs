//! Documents that are attached to questions: their text, what of it is sent, and how.
//!
//! Reading is the work of `lilims-documents`, ranking that of `lilims-store`. Both block, as does all here:
//! call it where waiting is allowed.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_documents::{Document, Kind, Note, passages};
use lilims_ipc::{Attachment, AttachmentKind, AttachmentNote};
use lilims_store::PassageIndex;

use crate::Error;

pub use lilims_documents::Options;
pub use lilims_documents::prompt::Content;

/// The size of a passage: a paragraph or two, so that some of them fit any context.
const PASSAGE_WORDS: usize = 150;
/// The most passages of a ranking that are looked at.
const MAX_RANKED: usize = 500;

/// Counts the tokens of a text; the caller knows the model.
pub type CountTokens<'a> = dyn FnMut(&str) -> Result<usize, Error> + 'a;

/// Where this process was started to read a document, reads it and ends the process; else does nothing.
///
/// A program that reads documents calls this first in `main`.
pub fn run_reader_if_requested() {
    lilims_documents::child::run_if_requested();
}

/// Reads the document in a file. Its tokens are not counted yet.
///
/// # Errors
/// [`Error::Document`].
pub fn read(path: &Path, options: &Options, cancel: &AtomicBool) -> Result<Attachment, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let document = lilims_documents::read(path, options, cancel);
    let document = document.map_err(|source| Error::Document { name, source })?;
    // Where the file is gone by now, its text still says how large it was.
    let size_bytes = path.metadata().map_or(document.text.len() as u64, |it| it.len());
    Ok(attachment(document, size_bytes))
}

/// Reads the document in `bytes`, as of a file of this name: what was dropped or pasted. A long pasted
/// text is a document, too.
///
/// # Errors
/// [`Error::Document`].
pub fn read_bytes(
    name: &str,
    bytes: Vec<u8>,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Attachment, Error> {
    let size_bytes = bytes.len() as u64;
    let document = lilims_documents::from_bytes(name, bytes, options, cancel);
    let document = document.map_err(|source| Error::Document { name: name.to_owned(), source })?;
    Ok(attachment(document, size_bytes))
}

/// Writes attachments before a question, as the model reads them; for each, what of it is sent.
pub fn prompt(attachments: &[(&Attachment, Content<'_>)], question: &str) -> String {
    let attached: Vec<_> = attachments
        .iter()
        .map(|(attachment, content)| lilims_documents::prompt::Attached {
            name: &attachment.name,
            kind: kind(attachment.kind),
            content: content.clone(),
        })
        .collect();
    lilims_documents::prompt::render(&attached, question)
}

/// Where the beginning of `text` ends that has at most `max_tokens`, at the border of a passage.
///
/// # Errors
/// Those of `count`.
pub fn beginning(
    text: &str,
    max_tokens: usize,
    count: &mut CountTokens<'_>,
) -> Result<usize, Error> {
    let (mut n_tokens, mut end) = (0, 0);
    for passage in passages(text, PASSAGE_WORDS) {
        n_tokens += count(&text[passage.clone()])?;
        if n_tokens > max_tokens {
            break;
        }
        end = passage.end;
    }
    Ok(end)
}

/// A document that is asked over: its passages and their index. Making one takes about 0.05 s for each
/// MB of text; it is worth keeping for the next question.
pub struct Passages<'a> {
    text: &'a str,
    ranges: Vec<Range<usize>>,
    index: PassageIndex,
}

impl<'a> Passages<'a> {
    /// Cuts and indexes a text.
    ///
    /// # Errors
    /// [`Error::Problem`], where the index fails.
    pub fn new(text: &'a str) -> Result<Self, Error> {
        let ranges = passages(text, PASSAGE_WORDS);
        let index = PassageIndex::new(ranges.iter().map(|range| &text[range.clone()]));
        Ok(Self { text, ranges, index: index.map_err(not_searched)? })
    }

    /// The passages that fit `question` best, in the order of the text: as many as have `max_tokens`
    /// together. Neighbours are one passage. Where none has a word of the question, those of the
    /// beginning.
    ///
    /// # Errors
    /// Those of `count`; [`Error::Problem`], where the index fails.
    pub fn best(
        &self,
        question: &str,
        max_tokens: usize,
        count: &mut CountTokens<'_>,
    ) -> Result<Vec<&'a str>, Error> {
        let ranked = self.index.rank(question, MAX_RANKED).map_err(not_searched)?;
        let mut order: Vec<usize> = ranked.into_iter().map(|passage| passage.idx).collect();
        if order.is_empty() {
            order = (0..self.ranges.len().min(MAX_RANKED)).collect();
        }
        let (mut chosen, mut n_tokens) = (Vec::new(), 0);
        for idx in order {
            let Some(range) = self.ranges.get(idx) else { continue };
            let more = count(&self.text[range.clone()])?;
            if n_tokens + more > max_tokens {
                break;
            }
            n_tokens += more;
            chosen.push(idx);
        }
        chosen.sort_unstable();
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in chosen.into_iter().map(|idx| self.ranges[idx].clone()) {
            match joined.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => joined.push(range),
            }
        }
        Ok(joined.into_iter().map(|range| &self.text[range]).collect())
    }
}

fn not_searched(error: lilims_store::Error) -> Error {
    Error::Problem(lilims_ipc::Error::caused_by(lilims_ipc::Problem::Internal, &error))
}

fn attachment(document: Document, size_bytes: u64) -> Attachment {
    let Document { name, kind, text, notes } = document;
    Attachment {
        name,
        kind: match kind {
            Kind::Text => AttachmentKind::Text,
            Kind::Markdown => AttachmentKind::Markdown,
            Kind::Code => AttachmentKind::Code,
            Kind::Table => AttachmentKind::Table,
            Kind::Html => AttachmentKind::Html,
            Kind::Word => AttachmentKind::Word,
            Kind::Pdf => AttachmentKind::Pdf,
        },
        size_bytes,
        text: Some(text),
        n_tokens: None,
        notes: notes.into_iter().map(note).collect(),
    }
}

fn kind(kind: AttachmentKind) -> Kind {
    match kind {
        AttachmentKind::Text => Kind::Text,
        AttachmentKind::Markdown => Kind::Markdown,
        AttachmentKind::Code => Kind::Code,
        AttachmentKind::Table => Kind::Table,
        AttachmentKind::Html => Kind::Html,
        AttachmentKind::Word => Kind::Word,
        AttachmentKind::Pdf => Kind::Pdf,
    }
}

fn note(note: Note) -> AttachmentNote {
    match note {
        Note::GuessedEncoding { encoding } => {
            AttachmentNote::GuessedEncoding { encoding: encoding.to_owned() }
        }
        Note::InvalidBytes { n_places } => {
            AttachmentNote::InvalidBytes { n_places: n_places as u64 }
        }
        Note::InvisibleCharacters { n_chars } => {
            AttachmentNote::InvisibleCharacters { n_chars: n_chars as u64 }
        }
        Note::Images { n_images } => AttachmentNote::Images { n_images: n_images as u64 },
        Note::PagesWithoutText { n_pages, n_all } => {
            AttachmentNote::PagesWithoutText { n_pages: n_pages as u64, n_all: n_all as u64 }
        }
        Note::DamagedPages { n_pages, n_all } => {
            AttachmentNote::DamagedPages { n_pages: n_pages as u64, n_all: n_all as u64 }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lilims_ipc::Problem;

    use super::*;

    fn count_words(text: &str) -> Result<usize, Error> {
        Ok(text.split_whitespace().count())
    }

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn files_and_pasted_texts_become_attachments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Größe.csv");
        fs::write(&path, "a,b\r\n1,2\r\n").unwrap();
        let attachment = read(&path, &Options::default(), &never()).unwrap();
        assert_eq!((attachment.name.as_str(), attachment.size_bytes), ("Größe.csv", 10));
        assert_eq!(attachment.kind, AttachmentKind::Table);
        assert_eq!(attachment.text.as_deref(), Some("a,b\n1,2\n"));
        let content = Content::Whole(attachment.text.as_deref().unwrap());
        assert_eq!(
            prompt(&[(&attachment, content)], "Which?"),
            "Document Größe.csv:\n```csv\na,b\n1,2\n```\n\nWhich?"
        );
        let pasted = read_bytes("Pasted text", b"x".to_vec(), &Options::default(), &never());
        assert_eq!(pasted.unwrap().kind, AttachmentKind::Text);
    }

    #[test]
    fn what_cannot_be_read_has_its_code() {
        let read = |name: &str, bytes: &[u8], options: &Options, cancel| {
            read_bytes(name, bytes.to_vec(), options, &AtomicBool::new(cancel)).unwrap_err()
        };
        let (options, file) = (Options::default(), || "a.x".to_owned());
        let what = lilims_ipc::ForeignKind::Image;
        let error = read("a.x", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &options, false);
        assert_eq!(error.problem(), Problem::DocumentUnsupported { file: file(), what });
        let small = Options { file_bytes: 3, ..Options::default() };
        let error = read("a.x", b"long", &small, false);
        assert_eq!(error.problem(), Problem::DocumentTooLarge { file: file(), limit_bytes: 3 });
        assert!(read("a.html", b"<p>x", &options, true).is_cancelled());
        let error = super::read(Path::new("/nonexistent/a.pdf"), &options, &never()).unwrap_err();
        assert_eq!(error.problem(), Problem::FileUnusable { path: "/nonexistent/a.pdf".into() });
    }

    #[test]
    fn passages_that_fit_the_question_are_sent() {
        let filler = "The garden is old and the house is large. ".repeat(18);
        let text = format!("{filler}\n\nTenants may cancel with three months' notice.\n\n{filler}");
        let passages = Passages::new(&text).unwrap();
        let best = passages.best("How long is the notice?", 200, &mut count_words).unwrap();
        assert!(best.concat().contains("three months"), "{best:?}");
        assert!(count_words(&best.concat()).unwrap() <= 200);
        let none = passages.best("zebra", 200, &mut count_words).unwrap();
        assert!(text.starts_with(none[0]), "{none:?}");
        assert_eq!(passages.best("garden", 1_000_000, &mut count_words).unwrap(), [text.as_str()]);
        assert!(passages.best("garden", 1, &mut count_words).unwrap().is_empty());
        let end = beginning(&text, 170, &mut count_words).unwrap();
        assert!(end > 0 && count_words(&text[..end]).unwrap() <= 170);
    }
}
