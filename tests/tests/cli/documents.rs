//! `lilims extract`: documents through the real program, which starts itself to read a PDF.

use std::fs;
use std::path::Path;

use lilims_tests::lilims;
use serde_json::json;

use super::{failure, json_of, stdout_of};

/// A PDF of one page with this text.
fn pdf(text: &str) -> String {
    let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
    let objects = [
        "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
        "<</Type /Pages /Kids [3 0 R] /Count 1>>".to_owned(),
        "<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R
         /Resources <</Font <</F1 4 0 R>>>>>>"
            .to_owned(),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_owned(),
        format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()),
    ];
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut table = String::new();
    for (idx, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", pdf.len()));
        pdf.push_str(&format!("{} 0 obj\n{object}\nendobj\n", idx + 1));
    }
    let start = pdf.len();
    pdf.push_str(&format!("xref\n0 6\n0000000000 65535 f \n{table}"));
    pdf + &format!("trailer\n<</Size 6 /Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n")
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn documents_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.pdf", pdf("Hello, World!"));
    assert_eq!(stdout_of(&["extract", &path]), "Hello, World!\n");
    let path = write(folder.path(), "b.txt", b"Gr\xf6\xdfe und Gewicht der \xc4pfel\r\n");
    let expected = json!({
        "name": "b.txt",
        "kind": "text",
        "size_bytes": 29,
        "text": "Größe und Gewicht der Äpfel\n",
        "notes": [{ "guessed-encoding": { "encoding": "windows-1252" } }],
    });
    assert_eq!(json_of(&["extract", "--json", &path]), expected);
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let png = write(folder.path(), "a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let damaged = write(folder.path(), "b.pdf", "%PDF-1.4\n");
    let good = write(folder.path(), "c.pdf", pdf("Hello"));
    for (arguments, sentence) in [
        (&["extract", &png][..], "a.png is an image, which Lilims cannot read"),
        (&["extract", &damaged], "b.pdf is damaged"),
        // No program runs in so little memory.
        (&["extract", "--memory", "1", &good], "reading c.pdf takes more than"),
    ] {
        let error = failure(&mut lilims(arguments), 1);
        assert!(error.contains(sentence), "{error}");
    }
}
