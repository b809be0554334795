//! Documents that tests make, and the options to read them with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{Cursor, Write};
use std::sync::atomic::AtomicBool;

use lilims_documents::{Document, Error, Options};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The default bounds, with the tests' own program as the child.
pub(crate) fn options() -> Options {
    Options { program: Some(env!("CARGO_BIN_EXE_documents-child").into()), ..Options::default() }
}

/// Reads with the default bounds.
pub(crate) fn read(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Document, Error> {
    lilims_documents::from_bytes(name, bytes.into(), &options(), &AtomicBool::new(false))
}

/// A ZIP archive of these parts.
pub(crate) fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let method = zip::CompressionMethod::Deflated;
    for (name, content) in parts {
        let options = SimpleFileOptions::default().compression_method(method).large_file(false);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A Word document with this body.
pub(crate) fn docx(body: &str) -> Vec<u8> {
    docx_with(body, &[])
}

/// A Word document with this body and further parts.
pub(crate) fn docx_with(body: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let document =
        format!("<?xml version=\"1.0\"?><w:document><w:body>{body}</w:body></w:document>");
    let relations = br#"<Relationships><Relationship Id="1" Target="word/document.xml"
        Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/>
        </Relationships>"#;
    let mut all = vec![("_rels/.rels", &relations[..]), ("word/document.xml", document.as_bytes())];
    all.extend(parts);
    archive(&all)
}

/// A PDF of these objects, of which the first is the catalog.
pub(crate) fn pdf_of(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (idx, object) in objects.iter().enumerate() {
        offsets.push(pdf.len());
        pdf.extend(format!("{} 0 obj\n", idx + 1).bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let start = pdf.len();
    let n_entries = objects.len() + 1;
    pdf.extend(format!("xref\n0 {n_entries}\n0000000000 65535 f \n").bytes());
    for offset in offsets {
        pdf.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let trailer = format!("trailer\n<</Size {n_entries} /Root 1 0 R {trailer}>>\n");
    pdf.extend(trailer.bytes());
    pdf.extend(format!("startxref\n{start}\n%%EOF\n").bytes());
    pdf
}

/// A stream object.
pub(crate) fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let start = format!("<<{dictionary} /Length {length}>>\nstream\n");
    [start.as_bytes(), content, b"\nendstream"].concat()
}

/// The objects of a PDF with one page for each of these content streams, which may use the font `/F1`.
pub(crate) fn pages(contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let page = |idx: usize| 4 + 2 * idx;
    let kids: String = (0..contents.len()).map(|idx| format!("{} 0 R ", page(idx))).collect();
    let mut objects = vec![
        b"<</Type /Catalog /Pages 2 0 R>>".to_vec(),
        format!("<</Type /Pages /Kids [{kids}] /Count {}>>", contents.len()).into_bytes(),
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>".to_vec(),
    ];
    for (idx, content) in contents.iter().enumerate() {
        let content_id = page(idx) + 1;
        objects.push(
            format!(
                "<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {content_id} 0 R
                 /Resources <</Font <</F1 3 0 R>>>>>>"
            )
            .into_bytes(),
        );
        objects.push(content.clone());
    }
    objects
}

/// A content stream that shows these lines, in Windows-1252.
pub(crate) fn lines(lines: &[&[u8]]) -> Vec<u8> {
    let mut content = b"BT /F1 12 Tf 14 TL 72 720 Td\n".to_vec();
    for line in lines {
        content.extend([b"(", *line, b") Tj T*\n"].concat());
    }
    content.extend(b"ET");
    stream("", &content)
}

/// A PDF with a page for each of these texts.
pub(crate) fn pdf(texts: &[&[u8]]) -> Vec<u8> {
    let contents: Vec<Vec<u8>> = texts.iter().map(|text| lines(&[text])).collect();
    pdf_of(&pages(&contents), "")
}
