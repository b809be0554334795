//! What a file is: by its content where that says it, else by the ending of its name.

use std::io::Cursor;
use std::path::Path;

use zip::ZipArchive;

use crate::{Error, Foreign};

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pdf,
    Word,
    /// Some encoding of text.
    Text(Kind),
}

/// The header of a PDF is somewhere in these first bytes.
const PDF_HEADER_BYTES: usize = 1024;
/// How much of a file is searched for its signature, and for marks of HTML.
const SIGNATURE_BYTES: usize = 8192;
/// The main part of a Word document, unless its relations name another.
const WORD_PART: &str = "word/document.xml";

/// Endings of names with the language that Markdown calls the content by.
const LANGUAGES: &[(&str, &str)] = &[
    ("ada", "ada"),
    ("asm", "asm"),
    ("bash", "bash"),
    ("bat", "bat"),
    ("c", "c"),
    ("cc", "cpp"),
    ("clj", "clojure"),
    ("cmake", "cmake"),
    ("cpp", "cpp"),
    ("cs", "csharp"),
    ("css", "css"),
    ("cu", "cuda"),
    ("cxx", "cpp"),
    ("dart", "dart"),
    ("diff", "diff"),
    ("el", "lisp"),
    ("erl", "erlang"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("f90", "fortran"),
    ("fish", "fish"),
    ("fs", "fsharp"),
    ("go", "go"),
    ("graphql", "graphql"),
    ("groovy", "groovy"),
    ("h", "c"),
    ("hpp", "cpp"),
    ("hs", "haskell"),
    ("ini", "ini"),
    ("ipynb", "json"),
    ("java", "java"),
    ("jl", "julia"),
    ("js", "javascript"),
    ("json", "json"),
    ("jsonl", "json"),
    ("jsx", "jsx"),
    ("kt", "kotlin"),
    ("less", "less"),
    ("lisp", "lisp"),
    ("lua", "lua"),
    ("m", "objectivec"),
    ("mjs", "javascript"),
    ("ml", "ocaml"),
    ("nim", "nim"),
    ("nix", "nix"),
    ("pas", "pascal"),
    ("patch", "diff"),
    ("php", "php"),
    ("pl", "perl"),
    ("proto", "protobuf"),
    ("ps1", "powershell"),
    ("py", "python"),
    ("r", "r"),
    ("rb", "ruby"),
    ("rs", "rust"),
    ("scala", "scala"),
    ("scss", "scss"),
    ("sh", "bash"),
    ("sql", "sql"),
    ("svelte", "svelte"),
    ("svg", "xml"),
    ("swift", "swift"),
    ("tcl", "tcl"),
    ("tex", "latex"),
    ("tf", "hcl"),
    ("toml", "toml"),
    ("ts", "typescript"),
    ("tsx", "tsx"),
    ("v", "verilog"),
    ("vb", "vb"),
    ("vhdl", "vhdl"),
    ("vue", "vue"),
    ("wgsl", "wgsl"),
    ("xml", "xml"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
    ("zig", "zig"),
    ("zsh", "bash"),
];

/// Names of source files that have no ending.
const CODE_NAMES: &[(&str, &str)] = &[
    ("cmakelists.txt", "cmake"),
    ("dockerfile", "dockerfile"),
    ("justfile", "make"),
    ("makefile", "make"),
];

/// How the file is read.
///
/// # Errors
/// [`Error::Unsupported`] for what has no text; [`Error::Damaged`] for archives that cannot be opened.
pub(crate) fn format(name: &str, bytes: &[u8]) -> Result<Format, Error> {
    let start = &bytes[..bytes.len().min(SIGNATURE_BYTES)];
    let header = &start[..start.len().min(PDF_HEADER_BYTES)];
    // Some programs write a few lines before the header; a text that quotes one has another ending.
    if header.starts_with(b"%PDF-") || (ending(name) == "pdf" && find(header, b"%PDF-")) {
        return Ok(Format::Pdf);
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return archive(bytes);
    }
    if start.starts_with(b"{\\rtf") || start.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Err(Error::Unsupported { what: of_ending(name, Foreign::OtherDocument) });
    }
    if !has_byte_order_mark(start) && bytes.contains(&0) {
        return Err(Error::Unsupported { what: foreign(name, start) });
    }
    Ok(Format::Text(text_kind(name, start)))
}

/// The language of source code, as Markdown calls it; `None` for other files.
pub(crate) fn language(name: &str) -> Option<&'static str> {
    let (name, ending) = (name.to_ascii_lowercase(), ending(name));
    let named = CODE_NAMES.iter().find(|(code_name, _)| *code_name == name);
    let found = named.or_else(|| LANGUAGES.iter().find(|(it, _)| *it == ending));
    found.map(|(_, language)| *language)
}

/// What kind of text this is.
fn text_kind(name: &str, start: &[u8]) -> Kind {
    match ending(name).as_str() {
        "md" | "markdown" | "mdown" | "mkd" => return Kind::Markdown,
        "csv" | "tsv" | "tab" => return Kind::Table,
        "html" | "htm" | "xhtml" => return Kind::Html,
        _ => {}
    }
    if language(name).is_some() || start.starts_with(b"#!") {
        return Kind::Code;
    }
    let first = start.trim_ascii_start().get(..14).unwrap_or_default().to_ascii_lowercase();
    if first == b"<!doctype html" || first.starts_with(b"<html") {
        return Kind::Html;
    }
    Kind::Text
}

/// What is in a ZIP archive, by the names of its members.
fn archive(bytes: &[u8]) -> Result<Format, Error> {
    let archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|_| Error::Damaged { what: "the archive has no directory" })?;
    let has = |prefix: &str| archive.file_names().flatten().any(|name| name.starts_with(prefix));
    let what = if archive.index_for_name(WORD_PART).is_some() || has("word/document") {
        return Ok(Format::Word);
    } else if has("xl/") {
        Foreign::Spreadsheet
    } else if has("ppt/") {
        Foreign::Presentation
    } else if has("META-INF/container.xml") {
        Foreign::Book
    } else if has("mimetype") || has("Index/Document.iwa") {
        Foreign::OtherDocument
    } else {
        Foreign::Archive
    };
    Err(Error::Unsupported { what })
}

/// What a file is that is not text.
fn foreign(name: &str, start: &[u8]) -> Foreign {
    use infer::MatcherType::{App, Archive, Audio, Book, Doc, Font, Image, Video};
    let found = infer::get(start).map(|found| found.matcher_type());
    match found {
        Some(Image) => Foreign::Image,
        Some(Audio) => Foreign::Audio,
        Some(Video) => Foreign::Video,
        Some(Archive) => Foreign::Archive,
        Some(Book) => Foreign::Book,
        Some(Doc) => Foreign::OtherDocument,
        Some(App) => Foreign::Program,
        Some(Font) => Foreign::Binary,
        _ => of_ending(name, Foreign::Binary),
    }
}

/// What the ending says, where the content says less.
fn of_ending(name: &str, otherwise: Foreign) -> Foreign {
    match ending(name).as_str() {
        "xls" | "xlsb" | "ods" | "numbers" => Foreign::Spreadsheet,
        "ppt" | "pps" | "odp" | "key" => Foreign::Presentation,
        "doc" | "dot" | "wps" | "pages" => Foreign::OtherDocument,
        "msi" => Foreign::Program,
        _ => otherwise,
    }
}

fn has_byte_order_mark(start: &[u8]) -> bool {
    start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff])
}

fn ending(name: &str) -> String {
    let ending = Path::new(name).extension().unwrap_or_default();
    ending.to_string_lossy().to_ascii_lowercase()
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_outranks_the_ending() {
        let of = |name: &str, bytes: &[u8]| format(name, bytes).unwrap();
        assert_eq!(of("a.txt", b"%PDF-1.7\n"), Format::Pdf);
        assert_eq!(of("a.pdf", b"junk\n%PDF-1.7\n"), Format::Pdf);
        assert_eq!(of("a.txt", b"It begins with %PDF-1.7"), Format::Text(Kind::Text));
        assert_eq!(of("saved", b"\n <!DOCTYPE html><p>"), Format::Text(Kind::Html));
        assert_eq!(of("run", b"#!/bin/sh\n"), Format::Text(Kind::Code));
    }

    #[test]
    fn endings_tell_texts_apart() {
        let of = |name: &str| format(name, b"a,b\n").unwrap();
        for (name, kind) in [
            ("A.MD", Kind::Markdown),
            ("a.csv", Kind::Table),
            ("a.tar.rs", Kind::Code),
            ("Dockerfile", Kind::Code),
            ("a.htm", Kind::Html),
            ("a", Kind::Text),
            ("a.log", Kind::Text),
            (".rs", Kind::Text),
        ] {
            assert_eq!(of(name), Format::Text(kind), "{name}");
        }
        assert_eq!(language("lib.rs"), Some("rust"));
        assert_eq!(language("notes.txt"), None);
    }

    #[test]
    fn what_has_no_text_is_named() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        for (name, bytes, what) in [
            ("a.txt", &png[..], Foreign::Image),
            ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0", Foreign::Archive),
            ("a.mp3", b"ID3\x03\0\0\0\0", Foreign::Audio),
            ("a", b"\x7fELF\x02\x01\x01\0", Foreign::Program),
            ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", Foreign::Spreadsheet),
            ("a.rtf", b"{\\rtf1 a}", Foreign::OtherDocument),
            ("a", b"a\0b", Foreign::Binary),
        ] {
            let bytes = [bytes, if bytes.contains(&0) { &[0; 64] } else { &[] }].concat();
            let error = format(name, &bytes).unwrap_err();
            assert!(matches!(error, Error::Unsupported { what: it } if it == what), "{error}");
        }
        // It begins as a bitmap does.
        assert_eq!(format("a", b"BM is two letters").unwrap(), Format::Text(Kind::Text));
    }
}
