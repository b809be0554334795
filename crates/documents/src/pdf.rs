//! The text of a PDF, page after page, through the crate `pdf_oxide`.
//!
//! This runs in the process of [`crate::child`], which ends it where it takes too much. A page at which
//! the crate fails is left out, and the others are read. Documents that are encrypted without a
//! password, as many forms are, open. `docs/documents.md` says why this crate.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_oxide::PdfDocument;

use crate::child::{Extracted, Failure};

/// Reads the text of all pages, of at most `text_bytes`, until `is_stopped` says so.
///
/// # Errors
/// [`Failure`].
pub fn extract(
    bytes: Vec<u8>,
    text_bytes: usize,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Extracted, Failure> {
    let document = PdfDocument::from_bytes(bytes).map_err(|error| match error {
        pdf_oxide::Error::EncryptedPdf => Failure::Encrypted,
        _ => Failure::Damaged,
    })?;
    if document.is_encrypted() && !document.authenticate(b"").unwrap_or(false) {
        return Err(Failure::Encrypted);
    }
    let n_pages = document.page_count().map_err(|_| Failure::Damaged)?;
    let mut extracted = Extracted { n_pages, ..Extracted::default() };
    for page_idx in 0..n_pages {
        if is_stopped() {
            return Err(Failure::Stopped);
        }
        // The document is only read, and what a panic leaves half done is a cache.
        let page = catch_unwind(AssertUnwindSafe(|| document.extract_text(page_idx)));
        match page {
            Ok(Ok(page)) if page.trim().is_empty() => extracted.n_empty += 1,
            Ok(Ok(page)) => append(&mut extracted.text, &page),
            Ok(Err(_)) | Err(_) => extracted.n_damaged += 1,
        }
        if extracted.text.len() > text_bytes {
            return Err(Failure::TextTooLong);
        }
    }
    Ok(extracted)
}

/// Adds a page, with an empty line before it and without spaces at the ends of its lines.
fn append(text: &mut String, page: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    for (idx, line) in page.trim().lines().enumerate() {
        if idx > 0 {
            text.push('\n');
        }
        text.push_str(line.trim_end());
    }
}
