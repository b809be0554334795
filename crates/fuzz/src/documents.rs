//! Documents that are attached: HTML, Word, Markdown, text, in any encoding. PDFs are read in a process of
//! their own, and are not read here.

use std::io::{Cursor, Write};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lilims_documents::{Options, from_bytes, passages};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{Bound, Target};

/// Reads a document whose first byte chooses its name.
pub(crate) const DOCUMENTS: Target = Target {
    name: "documents",
    run: read,
    seeds,
    words: &[
        "<p>",
        "<table><tr><td>",
        "</td>",
        "<pre>",
        "<li>",
        "<ul>",
        "<script>",
        "<!--",
        "<meta charset=utf-16>",
        "<meta charset=iso-2022-jp>",
        "&#x110000;",
        "&nbsp;",
        "<svg><style>",
        "<template>",
        "<select>",
        "<w:p>",
        "</w:p>",
        "<w:r><w:t>",
        "<w:tbl><w:tr><w:tc>",
        "<w:numPr>",
        "<w:ilvl w:val=\"9\"/>",
        "<w:footnoteReference w:id=\"2\"/>",
        "<w:hyperlink r:id=\"a\">",
        "<!DOCTYPE a [<!ENTITY b \"c\">]>",
        "&b;",
        "word/document.xml",
        "word/_rels/document.xml.rels",
        "PK\x03\x04",
        "PK\x01\x02",
        "PK\x05\x06",
        "[a](b)",
        "# ",
        "```",
        "| - |",
        "\u{feff}",
        "\u{e0041}",
        "\u{0}",
        "\u{1b}[31m",
        "\x1b$B",
        "\u{85}",
    ],
    // The text that the options allow, its copies with another encoding and without unseen characters, and
    // a tree of HTML.
    bound: Bound { base_bytes: 16 << 20, per_byte: 400 },
    n_smoke: 4000,
};

const NAMES: [&str; 6] = ["a.html", "b.docx", "c.md", "d.txt", "e.csv", "f.rs"];

fn seeds() -> Vec<Vec<u8>> {
    let part = |n_word: u8, content: &[u8]| [&[n_word], content].concat();
    let utf16: Vec<u8> = "\u{feff}Größe\r\nb".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        part(0, b"<!doctype html><title>t</title><h1>a</h1><p>b <b>c</b><ul><li>d<ol><li>e</ol></ul>\
            <table><tr><th>f<td>g</table><pre>h\n i</pre><img alt=j><a href=k>l</a><script>m</script>&amp;"),
        part(0, b"<meta charset=iso-8859-15><p>Gr\xf6\xdfe \xa4<p>next<blockquote>q</blockquote><br>z"),
        part(1, &word()),
        part(2, "# a\n\n- b\n  1. c\n\n|d|e|\n|-|-|\n|f|g|\n\n<b>h</b> ![i](j) [k]: l\n".as_bytes()),
        part(3, &utf16),
        part(3, b"\x1b$B$3\x1b(B \x83\x65\x83\x58\x83\x67 caf\xe9 \xef\xbb\xbf"),
        part(4, b"a,b\n\"c\n d\",e\n"),
    ]
}

fn word() -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [
        (
            "word/document.xml",
            "<w:document><w:body><w:p><w:pPr><w:pStyle w:val=\"h1\"/></w:pPr><w:r><w:t>a\
            </w:t></w:r></w:p><w:p><w:pPr><w:numPr><w:ilvl w:val=\"1\"/><w:numId w:val=\"3\"/></w:numPr></w:pPr>\
            <w:r><w:t>b</w:t><w:tab/><w:footnoteReference w:id=\"2\"/></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r>\
            <w:t>c</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>",
        ),
        (
            "word/styles.xml",
            "<w:styles><w:style w:styleId=\"h1\"><w:name w:val=\"heading 1\"/></w:style></w:styles>",
        ),
        (
            "word/numbering.xml",
            "<w:numbering><w:abstractNum w:abstractNumId=\"7\"><w:lvl w:ilvl=\"1\"><w:numFmt \
            w:val=\"decimal\"/></w:lvl></w:abstractNum><w:num w:numId=\"3\"><w:abstractNumId w:val=\"7\"/></w:num>\
            </w:numbering>",
        ),
        (
            "word/footnotes.xml",
            "<w:footnotes><w:footnote w:id=\"2\"><w:p><w:r><w:t>d</w:t></w:r></w:p>\
            </w:footnote></w:footnotes>",
        ),
        (
            "word/_rels/document.xml.rels",
            "<Relationships><Relationship Type=\"http://x/styles\" \
            Target=\"styles.xml\"/><Relationship Type=\"http://x/numbering\" Target=\"numbering.xml\"/><Relationship \
            Type=\"http://x/footnotes\" Target=\"/word/footnotes.xml\"/></Relationships>",
        ),
    ] {
        archive.start_file(name, SimpleFileOptions::default()).expect("memory takes a file");
        archive.write_all(content.as_bytes()).expect("memory takes bytes");
    }
    archive.finish().expect("memory takes an archive").into_inner()
}

fn read(input: &[u8]) {
    let Some((&first, content)) = input.split_first() else { return };
    if content.windows(5).any(|five| five == b"%PDF-") {
        return;
    }
    let name = NAMES[usize::from(first) % NAMES.len()];
    let options =
        Options { text_bytes: 1 << 20, time: Duration::from_secs(3), ..Options::default() };
    let cancel = AtomicBool::new(false);
    let Ok(document) = from_bytes(name, content.to_vec(), &options, &cancel) else { return };
    let is_clean = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    assert!(document.text.len() <= options.text_bytes && document.text.chars().all(is_clean));
    let mut end = 0;
    for passage in passages(&document.text, 20) {
        assert!(
            end <= passage.start && document.text.get(passage.clone()).is_some(),
            "{passage:?}"
        );
        end = passage.end;
    }
}
