//! Documents that are attached to questions: their text, what of it is sent, and how.
//!
//! Reading is the work of `lilims-documents`, ranking that of `lilims-store`. Both block, as does all here:
//! call it where waiting is allowed.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_documents::{Document, Kind, Note, passages};
use lilims_ipc::{AttachmentKind, AttachmentNote};
use lilims_store::PassageIndex;
use serde::Serialize;

use crate::Error;

pub use lilims_documents::Options;
pub(crate) use lilims_documents::prompt::Content;

/// The size of a passage: a paragraph or two, so that some of them fit any context.
const PASSAGE_WORDS: usize = 150;
/// The most passages of a ranking that are looked at.
const MAX_RANKED: usize = 500;

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadDocument {
    /// The file's name without its folder, on one line; may be untrusted.
    pub name: String,
    /// What the file is.
    pub kind: AttachmentKind,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// Its text.
    pub text: String,
    /// What was guessed or left out when it was read.
    pub notes: Vec<AttachmentNote>,
}

/// A place in a text, in bytes.
pub(crate) type Piece = Range<usize>;

/// Counts the tokens of a text, or estimates them.
type CountTokens<'a> = dyn FnMut(&str) -> usize + 'a;

/// Where this process was started to read a document, reads it and ends the process; else does nothing.
///
/// A program that reads documents calls this first in `main`.
pub fn run_reader_if_requested() {
    lilims_documents::child::run_if_requested();
}

/// Reads the document in a file.
///
/// # Errors
/// [`Error::Document`].
pub fn read(path: &Path, options: &Options, cancel: &AtomicBool) -> Result<ReadDocument, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let document = lilims_documents::read(path, options, cancel);
    let document = document.map_err(|source| Error::Document { name, source })?;
    // Where the file is gone by now, its text still says how large it was.
    let size_bytes = path.metadata().map_or(document.text.len() as u64, |it| it.len());
    Ok(read_document(document, size_bytes))
}

/// A text that was pasted as a document of this name.
///
/// # Errors
/// [`Error::Document`].
pub(crate) fn pasted(name: &str, text: String) -> Result<ReadDocument, Error> {
    let size_bytes = text.len() as u64;
    let document = lilims_documents::from_text(name, text, &Options::default());
    let document = document.map_err(|source| Error::Document { name: name.to_owned(), source })?;
    Ok(read_document(document, size_bytes))
}

/// Writes documents before a question, as the model reads them: of each its name, its kind and what of it
/// is sent.
pub(crate) fn prompt(documents: &[(&str, AttachmentKind, Content<'_>)], question: &str) -> String {
    let attached: Vec<_> = documents
        .iter()
        .map(|(name, of, content)| lilims_documents::prompt::Attached {
            name,
            kind: kind(*of),
            content: content.clone(),
        })
        .collect();
    lilims_documents::prompt::render(&attached, question)
}

/// The beginning and the end of `text` with at most `max_tokens` together, about half of them each, cut
/// at the borders of passages. One piece where they meet.
pub(crate) fn ends(text: &str, max_tokens: usize, count: &mut CountTokens<'_>) -> Vec<Piece> {
    let passages = passages(text, PASSAGE_WORDS);
    let (mut n_tokens, mut n_first) = (0, 0);
    for passage in &passages {
        let more = count(&text[passage.clone()]);
        if n_tokens + more > max_tokens / 2 {
            break;
        }
        n_tokens += more;
        n_first += 1;
    }
    let mut start = passages.len();
    while start > n_first {
        let more = count(&text[passages[start - 1].clone()]);
        if n_tokens + more > max_tokens {
            break;
        }
        n_tokens += more;
        start -= 1;
    }
    joined((0..n_first).chain(start..passages.len()).map(|idx| passages[idx].clone()))
}

/// Places in their order; neighbours become one.
fn joined(pieces: impl Iterator<Item = Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => joined.push(piece),
        }
    }
    joined
}

/// A document that is asked over: its passages and their index. Making one takes about 0.05 s for each
/// MB of text.
pub(crate) struct Passages<'a> {
    text: &'a str,
    ranges: Vec<Piece>,
    index: PassageIndex,
}

impl<'a> Passages<'a> {
    /// Cuts and indexes a text.
    ///
    /// # Errors
    /// [`Error::Problem`], where the index fails.
    pub(crate) fn new(text: &'a str) -> Result<Self, Error> {
        let ranges = passages(text, PASSAGE_WORDS);
        let index = PassageIndex::new(ranges.iter().map(|range| &text[range.clone()]));
        Ok(Self { text, ranges, index: index.map_err(not_searched)? })
    }

    /// The passages that fit `question` best, in the order of the text: as many as have `max_tokens`
    /// together. Neighbours are one passage. Where none has a word of the question, those of the
    /// beginning.
    ///
    /// # Errors
    /// [`Error::Problem`], where the index fails.
    pub(crate) fn best(
        &self,
        question: &str,
        max_tokens: usize,
        count: &mut CountTokens<'_>,
    ) -> Result<Vec<Piece>, Error> {
        let ranked = self.index.rank(question, MAX_RANKED).map_err(not_searched)?;
        let mut order: Vec<usize> = ranked.into_iter().map(|passage| passage.idx).collect();
        if order.is_empty() {
            order = (0..self.ranges.len().min(MAX_RANKED)).collect();
        }
        let (mut chosen, mut n_tokens) = (Vec::new(), 0);
        for idx in order {
            let Some(range) = self.ranges.get(idx) else { continue };
            let more = count(&self.text[range.clone()]);
            if n_tokens + more > max_tokens {
                break;
            }
            n_tokens += more;
            chosen.push(idx);
        }
        chosen.sort_unstable();
        Ok(joined(chosen.into_iter().map(|idx| self.ranges[idx].clone())))
    }
}

fn not_searched(error: lilims_store::Error) -> Error {
    Error::Problem(lilims_ipc::Error::caused_by(lilims_ipc::Problem::Internal, &error))
}

fn read_document(document: Document, size_bytes: u64) -> ReadDocument {
    let Document { name, kind, text, notes } = document;
    ReadDocument {
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
        text,
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

    fn count_words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn texts<'a>(text: &'a str, pieces: &[Piece]) -> Vec<&'a str> {
        pieces.iter().map(|piece| &text[piece.clone()]).collect()
    }

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn files_and_pasted_texts_become_documents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Größe.csv");
        fs::write(&path, "a,b\r\n1,2\r\n").unwrap();
        let document = read(&path, &Options::default(), &never()).unwrap();
        assert_eq!((document.name.as_str(), document.size_bytes), ("Größe.csv", 10));
        assert_eq!((document.kind, &*document.text), (AttachmentKind::Table, "a,b\n1,2\n"));
        let content = Content::Whole(&document.text);
        assert_eq!(
            prompt(&[(&document.name, document.kind, content)], "Which?"),
            "Document Größe.csv:\n```csv\na,b\n1,2\n```\n\nWhich?"
        );
        let pasted = pasted("Pasted text", "<p>a\r\nb</p>".to_owned()).unwrap();
        assert_eq!((pasted.kind, &*pasted.text), (AttachmentKind::Text, "<p>a\nb</p>"));
    }

    #[test]
    fn what_cannot_be_read_has_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.x");
        let read = |bytes: &[u8], options: &Options, cancel| {
            fs::write(&path, bytes).unwrap();
            read(&path, options, &AtomicBool::new(cancel)).unwrap_err()
        };
        let (options, file) = (Options::default(), || "a.x".to_owned());
        let what = lilims_ipc::ForeignKind::Image;
        let error = read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &options, false);
        assert_eq!(error.problem(), Problem::DocumentUnsupported { file: file(), what });
        let small = Options { file_bytes: 3, ..Options::default() };
        let error = read(b"long", &small, false);
        assert_eq!(error.problem(), Problem::DocumentTooLarge { file: file(), limit_bytes: 3 });
        assert!(read(b"<!doctype html><p>x", &options, true).is_cancelled());
        let error = super::read(Path::new("/nonexistent/a.pdf"), &options, &never()).unwrap_err();
        assert_eq!(error.problem(), Problem::FileUnusable { path: "/nonexistent/a.pdf".into() });
    }

    #[test]
    fn passages_that_fit_the_question_are_sent() {
        let filler = "The garden is old and the house is large. ".repeat(18);
        let text = format!("{filler}\n\nTenants may cancel with three months' notice.\n\n{filler}");
        let passages = Passages::new(&text).unwrap();
        let best = |question, max_tokens| {
            texts(&text, &passages.best(question, max_tokens, &mut count_words).unwrap())
        };
        let notice = best("How long is the notice?", 200).concat();
        assert!(notice.contains("three months") && count_words(&notice) <= 200, "{notice}");
        assert!(text.starts_with(best("zebra", 200)[0]));
        assert_eq!(best("garden", 1_000_000), [text.as_str()]);
        assert!(best("garden", 1).is_empty());
    }

    #[test]
    fn beginning_and_end_are_sent() {
        let text = (0..90).map(|n| format!("Line {n} has some words.\n\n")).collect::<String>();
        let kept = |max_tokens| texts(&text, &ends(&text, max_tokens, &mut count_words));
        let [first, last] = kept(320)[..] else { panic!("{:?}", kept(320)) };
        assert!(text.starts_with(first) && text.ends_with(last));
        assert!(count_words(first) + count_words(last) <= 320);
        assert_eq!(kept(1_000_000), [text.as_str()]);
        assert!(kept(1).is_empty());
    }
}
