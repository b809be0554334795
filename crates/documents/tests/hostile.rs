//! Files that were made to do harm end as an error or a text, within their bounds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod support;

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use lilims_documents::{Document, Error, Options, from_bytes};
use proptest::prelude::*;
use support::{archive, docx, docx_with, lines, options, pages, pdf, pdf_of, read, stream};

/// The time for one hostile file, where its bound of time is not what ends it: some read 256 MiB.
const SLACK: Duration = Duration::from_secs(10);

/// Reads within the time.
fn quickly(name: &str, bytes: Vec<u8>) -> Result<Document, Error> {
    let started = Instant::now();
    let result = read(name, bytes);
    assert!(started.elapsed() < options().time + SLACK, "{name}: {:?}", started.elapsed());
    result
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn word_bombs_are_cut_off() {
    // 300 MiB of spaces, and as much text, in some hundred KiB.
    let spaces = " ".repeat(300 << 20);
    let error = quickly("a.docx", docx(&spaces)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let text = format!("<w:p><w:r><w:t>{}</w:t></w:r></w:p>", "x".repeat(32 << 20));
    let error = quickly("a.docx", docx(&text)).unwrap_err();
    assert!(matches!(error, Error::TextTooLong { .. }), "{error}");
    let parts: &[(&str, &[u8])] = &[("word/styles.xml", spaces.as_bytes()), (
        "word/_rels/document.xml.rels",
        br#"<Relationships><Relationship Type="x/styles" Target="styles.xml"/></Relationships>"#,
    )];
    let error = quickly("a.docx", docx_with("<w:p/>", parts)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn entities_are_not_expanded() {
    let mut document = "<!DOCTYPE w [<!ENTITY e0 \"lol\">".to_owned();
    for level in 1..10 {
        let inner = format!("&e{};", level - 1).repeat(10);
        document.push_str(&format!("<!ENTITY e{level} \"{inner}\">"));
    }
    document.push_str("]><w:document><w:p><w:r><w:t>a&e9;b</w:t></w:r></w:p></w:document>");
    let bytes = archive(&[("word/document.xml", document.as_bytes())]);
    assert_eq!(quickly("a.docx", bytes).unwrap().text, "ab");
}

#[test]
fn deep_and_broken_word_documents_end() {
    for (open, n) in [("<w:p>", 500_000), ("<w:tbl><w:tr><w:tc>", 200_000), ("<w:del>", 500_000)] {
        let _text = quickly("a.docx", docx(&open.repeat(n)));
    }
    let attributes: String = (0..200_000).map(|number| format!(" a{number}=\"\"")).collect();
    let body = format!("<w:p{attributes}><w:r><w:t>x</w:t></w:r></w:p>");
    assert_eq!(quickly("a.docx", docx(&body)).unwrap().text, "x");
    let good = docx("<w:p><w:r><w:t>text</w:t></w:r></w:p>");
    for length in 0..good.len() {
        let _text = quickly("a.docx", good[..length].to_vec());
    }
}

#[test]
fn deep_and_broken_html_ends() {
    let attributes: String = (0..50_000).map(|number| format!(" a{number}")).collect();
    for html in [
        "<div>".repeat(1_000_000),
        "<b><p>".repeat(500_000),
        "<table><tr><td>".repeat(200_000),
        "<ul><li>x".repeat(200_000),
        "<svg>".repeat(500_000),
        "<pre>".repeat(200_000),
        "&amp".repeat(1_000_000),
        "&".repeat(1_000_000),
        "<".repeat(1_000_000),
        "<!--".repeat(500_000),
        format!("<p{attributes}>x"),
    ] {
        let _text = quickly("a.html", html.into_bytes());
    }
}

/// Tags with many attributes are compared one by one, which the bound of time ends.
#[test]
fn the_clock_ends_what_is_slow() {
    let attributes: String = (0..2_000_000).map(|number| format!(" a{number}")).collect();
    let options = Options { time: Duration::from_millis(500), ..options() };
    let started = Instant::now();
    let html = format!("<p{attributes}>").into_bytes();
    let error = from_bytes("a.html", html, &options, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, Error::TookTooLong { .. }), "{error}");
    assert!(started.elapsed() < options.time + SLACK, "{:?}", started.elapsed());
}

#[test]
fn pdf_bombs_and_loops_end() {
    let bomb = deflated(&vec![b' '; 512 << 20]);
    let twice = deflated(&bomb);
    let page = |content: Vec<u8>| pdf_of(&pages(&[content]), "");
    let catalog = || b"<</Type /Catalog /Pages 2 0 R>>".to_vec();
    let nested = |open: &str| stream("", open.repeat(1 << 20).as_bytes());
    let form = stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</X 6 0 R>>>>",
        b"/X Do /X Do",
    );
    let mut form_loop = pages(&[stream("", b"/X Do")]);
    form_loop[3] = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 5 0 R
        /Resources <</XObject <</X 6 0 R>>>>>>"
        .to_vec();
    form_loop.push(form);
    for (what, bytes) in [
        ("bomb", page(stream("/Filter /FlateDecode", &bomb))),
        ("bomb in a bomb", page(stream("/Filter [/FlateDecode /FlateDecode]", &twice))),
        ("arrays", page(nested("["))),
        ("dictionaries", page(nested("<<"))),
        ("states", page(nested("q "))),
        ("texts", page(nested("BT ( "))),
        ("form loop", pdf_of(&form_loop, "")),
        (
            "page loop",
            pdf_of(&[catalog(), b"<</Type /Pages /Kids [2 0 R 2 0 R] /Count 2>>".to_vec()], ""),
        ),
        (
            "huge count",
            pdf_of(&[catalog(), b"<</Type /Pages /Kids [] /Count 2147483647>>".to_vec()], ""),
        ),
        ("own parent", pdf_of(&[b"1 0 R".to_vec()], "")),
        (
            "huge numbers",
            pdf_of(&pages(&[lines(&[b"x"])]), "/Prev 99999999999999999999 /XRefStm -1"),
        ),
        ("nested object", pdf_of(&["[".repeat(1 << 20).into_bytes(), b"null".to_vec()], "")),
    ] {
        let options = Options { time: Duration::from_secs(5), ..options() };
        let started = Instant::now();
        let result = from_bytes("a.pdf", bytes, &options, &AtomicBool::new(false));
        assert!(!matches!(result, Err(Error::Process(_))), "{what}: {result:?}");
        assert!(started.elapsed() < options.time + SLACK, "{what}: {:?}", started.elapsed());
    }
}

#[test]
fn truncated_pdfs_end() {
    let good = pdf(&[b"some text", b"more text"]);
    for length in (9..good.len()).step_by(good.len() / 25) {
        let _text = quickly("a.pdf", good[..length].to_vec());
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a.txt", "a.html", "a.docx", "a.rs", "a.csv", "a.rtf"])
}

proptest! {
    #[test]
    fn any_bytes_are_a_text_or_an_error(
        name in name(),
        start in prop::sample::select(vec!["", "PK\x03\x04", "<html>", "{\\rtf", "\u{feff}", "BM"]),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        let options = Options { text_bytes: 1500, ..options() };
        let document = from_bytes(name, bytes, &options, &AtomicBool::new(false));
        if let Ok(document) = document {
            prop_assert!(document.text.len() <= options.text_bytes);
            prop_assert!(!document.text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
    }

    #[test]
    fn any_markup_is_a_text_or_an_error(
        html in "(<(/?(p|td|tr|table|ul|li|h1|pre|svg|head|body|script)|!--|!doctype)[ a=\"]{0,3}/?>?|&(amp|#9+|x)?;?|[a-c \n]){0,60}",
    ) {
        let _text = read("a.html", html.clone().into_bytes());
        let _text = read("a.docx", docx(&html.replace('<', "<w:")));
    }

    #[test]
    fn any_change_of_a_word_document_is_a_text_or_an_error(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = docx("<w:p><w:r><w:t>text</w:t></w:r></w:p>");
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _text = read("a.docx", bytes);
    }
}

proptest! {
    // Each case starts a process.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_change_of_a_pdf_is_a_text_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = pdf(&[b"some text", b"more text"]);
        for (place, byte) in changes {
            let place = place.index(bytes.len() - 9) + 9;
            bytes[place] = byte;
        }
        let result = read("a.pdf", bytes);
        let is_late = matches!(result, Err(Error::Process(_) | Error::TookTooLong { .. }));
        prop_assert!(!is_late);
    }
}
