//! Documents of every kind become their text.

mod support;

use lilims_documents::{Error, Foreign, Kind, Note};
use support::{archive, docx, docx_with, lines, pages, pdf, pdf_of, read, stream};

#[test]
fn plain_files_keep_their_text() {
    let document = read("notes.txt", "a\r\nb\0c").unwrap_err();
    assert!(matches!(document, Error::Unsupported { what: Foreign::Binary }), "{document}");
    for (name, kind) in [
        ("notes.txt", Kind::Text),
        ("README.md", Kind::Markdown),
        ("main.rs", Kind::Code),
        ("data.csv", Kind::Table),
    ] {
        let document = read(name, "# Größe, 1\r\n<b>&amp;</b>\n").unwrap();
        assert_eq!((document.name.as_str(), document.kind), (name, kind));
        assert_eq!(document.text, "# Größe, 1\n<b>&amp;</b>\n");
        assert_eq!(document.notes, []);
    }
    assert_eq!(read("empty.txt", "").unwrap().text, "");
    let utf16: Vec<u8> = "\u{feff}Größe\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read("notes.txt", utf16).unwrap().text, "Größe\n");
}

#[test]
fn html_in_its_declared_encoding_is_text() {
    let html = b"<meta charset=iso-8859-15><title>t</title><p>Gr\xf6\xdfe \xa4<p>next".to_vec();
    let document = read("page.html", html).unwrap();
    assert_eq!((document.kind, document.text.as_str()), (Kind::Html, "Größe €\n\nnext"));
    assert!(matches!(read("page.html", "<script>x</script>"), Err(Error::NoText)));
}

const STYLES: &str = r#"<w:styles>
    <w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
    <w:style w:styleId="Eigene"><w:name w:val="Eigene"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
    </w:styles>"#;
const NUMBERING: &str = r#"<w:numbering>
    <w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl>
    <w:lvl w:ilvl="1"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
    <w:num w:numId="3"><w:abstractNumId w:val="7"/></w:num></w:numbering>"#;
const FOOTNOTES: &str = r#"<w:footnotes><w:footnote w:id="-1"><w:p/></w:footnote>
    <w:footnote w:id="2"><w:p><w:r><w:t>Says who.</w:t></w:r></w:p></w:footnote>
    </w:footnotes>"#;
const RELATIONS: &str = r#"<Relationships>
    <Relationship Type="http://x/styles" Target="styles.xml"/>
    <Relationship Type="http://x/numbering" Target="numbering.xml"/>
    <Relationship Type="http://x/footnotes" Target="/word/footnotes.xml"/></Relationships>"#;

#[test]
fn word_documents_keep_their_structure() {
    let item = |level: u32, text: &str| {
        format!(
            r#"<w:p><w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="3"/></w:numPr></w:pPr>
            <w:r><w:t>{text}</w:t></w:r></w:p>"#
        )
    };
    let cell = |text: &str| format!("<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>");
    let body = [
        r#"<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Größe</w:t></w:r></w:p>"#,
        r#"<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">Two </w:t>
           </w:r><w:r><w:t>runs &amp; &#8222;quotes&#8220; &evil;</w:t><w:tab/><w:t>x</w:t><w:br/><w:t>y</w:t>
           <w:footnoteReference w:id="2"/></w:r><w:del><w:r><w:t>deleted</w:t></w:r></w:del></w:p>"#,
        r#"<w:p><w:pPr><w:pStyle w:val="Eigene"/></w:pPr><w:r><w:t>Second</w:t></w:r></w:p><w:p/>"#,
        &item(0, "one"),
        &item(1, "inner"),
        &item(0, "two"),
        "<w:tbl><w:tr>",
        &cell("a"),
        &cell("b"),
        "</w:tr><w:tr>",
        &cell("1"),
        &cell("2"),
        "</w:tr></w:tbl>",
        r#"<w:p><w:r><w:drawing><a:blip r:embed="x"/></w:drawing><w:t>end</w:t></w:r></w:p>"#,
    ]
    .concat();
    let parts: &[(&str, &[u8])] = &[
        ("word/_rels/document.xml.rels", RELATIONS.as_bytes()),
        ("word/styles.xml", STYLES.as_bytes()),
        ("word/numbering.xml", NUMBERING.as_bytes()),
        ("word/footnotes.xml", FOOTNOTES.as_bytes()),
    ];
    let document = read("brief.docx", docx_with(&body, parts)).unwrap();
    assert_eq!(
        document.text,
        "# Größe\n\nTwo runs & „quotes“ \tx\ny[^2]\n\n## Second\n\n1. one\n  - inner\n2. two\n\n\
         | a | b |\n| --- | --- |\n| 1 | 2 |\n\nend\n\n[^2]: Says who."
    );
    assert_eq!(document.kind, Kind::Word);
    assert_eq!(document.notes, [Note::Images { n_images: 1 }]);
    // The ending does not matter, and other packages of Office are named.
    assert_eq!(read("brief", docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>")).unwrap().text, "a");
    assert!(matches!(read("a.docx", docx("<w:p/>")), Err(Error::NoText)));
    for (part, what) in [
        ("xl/workbook.xml", Foreign::Spreadsheet),
        ("ppt/presentation.xml", Foreign::Presentation),
        ("notes.txt", Foreign::Archive),
    ] {
        let error = read("a.docx", archive(&[(part, b"x")])).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: it } if it == what), "{error}");
    }
}

#[test]
fn pdfs_are_read_page_by_page() {
    let document = read("a.pdf", pdf(&[b"Hello, World!", b"Gr\xf6\xdfe \x80"])).unwrap();
    assert_eq!((document.kind, document.text.as_str()), (Kind::Pdf, "Hello, World!\n\nGröße €"));
    assert_eq!(document.notes, []);
    let mixed = [lines(&[b"text"]), stream("", b""), lines(&[b"first line", b"second line"])];
    let document = read("a.pdf", pdf_of(&pages(&mixed), "")).unwrap();
    assert_eq!(document.text, "text\n\nfirst line\nsecond line");
    assert_eq!(document.notes, [Note::PagesWithoutText { n_pages: 1, n_all: 3 }]);
}

#[test]
fn pdfs_without_text_or_with_a_password_are_named() {
    let drawn = pdf_of(&pages(&[stream("", b"0 0 100 100 re f")]), "");
    assert!(matches!(read("a.pdf", drawn), Err(Error::NoText)));
    // The keys of no password fit these values.
    let key = "00".repeat(32);
    let encryption = format!(
        "/Encrypt <</Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <{key}> /U <{key}>>>"
    );
    let trailer = format!(
        "{encryption} /ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
    );
    let locked = pdf_of(&pages(&[lines(&[b"secret"])]), &trailer);
    let error = read("a.pdf", locked).unwrap_err();
    assert!(matches!(error, Error::Encrypted), "{error}");
    let error = read("a.pdf", b"%PDF-1.7\nnothing".to_vec()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
