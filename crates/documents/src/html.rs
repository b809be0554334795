//! The text of HTML, with the marks of Markdown.
//!
//! The tokens of the HTML standard are read, without its tree: what is nested a million times costs no
//! more than what is not, and nothing moves text about. Scripts, styles and the head are left out; of
//! links stays their text, of images their description.

use std::cell::RefCell;

use encoding_rs::Encoding;
use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::markdown::Markdown;
use crate::{Error, Note, Watch};

/// Bytes that are read between two looks at the clock. Small, since the tokenizer compares each
/// attribute of a tag with all before it.
const PIECE_BYTES: usize = 16 << 10;
/// Where the encoding is declared, if it is.
const DECLARATION_BYTES: usize = 1024;

/// The text of a page.
pub(crate) fn text(html: &str, watch: &Watch<'_>, notes: &mut Vec<Note>) -> Result<String, Error> {
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    let (queue, mut rest) = (BufferQueue::default(), html);
    while !rest.is_empty() {
        watch.check()?;
        watch.check_text(tokenizer.sink.state.borrow().out.len())?;
        let mut end = PIECE_BYTES.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, next) = rest.split_at(end);
        queue.push_back(StrTendril::from_slice(piece));
        // It pauses at scripts only, which nothing here runs.
        while !matches!(tokenizer.feed(&queue), TokenizerResult::Done) {}
        rest = next;
    }
    tokenizer.end();
    let State { out, n_images, .. } = tokenizer.sink.state.into_inner();
    if n_images > 0 {
        notes.push(Note::Images { n_images });
    }
    Ok(out.finish())
}

/// The encoding that a page declares, in any of the ways in which it may.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let start = String::from_utf8_lossy(&start);
    let (_, declaration) = start.split_once("charset=")?;
    let label = declaration.trim_start_matches(['"', '\'', ' ']);
    let end = label.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | ':'));
    Encoding::for_label(&label.as_bytes()[..end.unwrap_or(label.len())])
}

#[derive(Default)]
struct Sink {
    state: RefCell<State>,
}

/// A list that is open, with the number of its next item.
struct List {
    next: Option<u64>,
}

struct State {
    out: Markdown,
    lists: Vec<List>,
    /// Elements of preformatted text that are open.
    n_preformatted: usize,
    /// An element that is left out, and how often it is open.
    skipped: Option<(String, usize)>,
    n_images: usize,
}

impl Default for State {
    fn default() -> Self {
        let out = Markdown::new();
        Self { out, lists: Vec::new(), n_preformatted: 0, skipped: None, n_images: 0 }
    }
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.state.borrow_mut();
        match token {
            Token::CharacterTokens(text) => state.text(&text),
            Token::TagToken(tag) => return state.tag(&tag),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl State {
    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.n_preformatted > 0 {
            self.out.verbatim(text);
        } else {
            self.out.text(text);
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let is_start = tag.kind == TagKind::StartTag;
        self.skip(name, is_start, tag.self_closing);
        if self.skipped.is_none() {
            if is_start { self.open(name, tag) } else { self.close(name) }
        }
        match name {
            _ if !is_start => TokenSinkResult::Continue,
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }

    /// Notes which element is being left out.
    fn skip(&mut self, name: &str, is_start: bool, is_empty: bool) {
        // The end of a head may be missing, and an element that is never closed hides no more than the
        // body.
        if (name == "body" || name == "html") && is_start != (name == "html") {
            self.skipped = None;
        }
        match &mut self.skipped {
            Some((skipped, depth)) if skipped == name => {
                match is_start {
                    true => *depth += usize::from(!is_empty),
                    false => *depth -= 1,
                }
                if *depth == 0 {
                    self.skipped = None;
                }
            }
            None if is_start && !is_empty && is_left_out(name) => {
                self.skipped = Some((name.to_owned(), 1));
            }
            _ => {}
        }
    }

    fn open(&mut self, name: &str, tag: &Tag) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = name[1..].parse().unwrap_or(6);
                self.out.heading(level);
            }
            "ul" | "menu" | "dir" => self.open_list(None),
            "ol" => {
                let start = attribute(tag, "start").and_then(|start| start.parse().ok());
                self.open_list(Some(start.unwrap_or(1)));
            }
            "li" => {
                let depth = self.lists.len().saturating_sub(1);
                let number = self.lists.last_mut().and_then(|list| {
                    let number = list.next?;
                    list.next = Some(number.saturating_add(1));
                    Some(number)
                });
                self.out.item(depth, number);
            }
            "table" => self.out.open_table(),
            "tr" => self.out.open_row(),
            "td" | "th" => self.out.open_cell(),
            "br" => self.break_line(),
            "hr" => {
                self.out.block();
                self.out.verbatim("---");
                self.out.block();
            }
            "pre" | "listing" | "xmp" | "plaintext" => {
                self.out.block();
                self.out.verbatim("```\n");
                self.n_preformatted += 1;
            }
            "img" => {
                self.n_images += 1;
                if let Some(description) = attribute(tag, "alt") {
                    self.text(&format!(" {description} "));
                }
            }
            _ => self.edge(name),
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "ul" | "ol" | "menu" | "dir" => {
                self.out.drop_mark();
                self.edge(name);
                self.lists.pop();
            }
            "table" => self.out.close_table(),
            "tr" => self.out.close_row(),
            "td" | "th" => self.out.close_cell(),
            "pre" | "listing" | "xmp" if self.n_preformatted > 0 => {
                self.n_preformatted -= 1;
                self.out.verbatim("\n```");
                self.out.block();
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "li" => {
                self.out.drop_mark();
                self.edge(if name == "li" { name } else { "p" });
            }
            _ => self.edge(name),
        }
    }

    /// The edge of an element that is shown as a block.
    fn edge(&mut self, name: &str) {
        match name {
            "p" | "article" | "aside" | "blockquote" | "center" | "details" | "dl" | "fieldset"
            | "figure" | "footer" | "form" | "header" | "main" | "nav" | "section" => {
                self.out.block();
            }
            // Within a list, an inner list is part of its item.
            "ul" | "ol" | "menu" | "dir" if self.lists.len() > 1 => self.out.line(),
            "ul" | "ol" | "menu" | "dir" => self.out.block(),
            "address" | "caption" | "dd" | "div" | "dt" | "figcaption" | "hgroup" | "legend"
            | "li" | "option" | "summary" | "tbody" | "tfoot" | "thead" => self.out.line(),
            _ => {}
        }
    }

    fn open_list(&mut self, next: Option<u64>) {
        self.lists.push(List { next });
        self.edge("ul");
    }

    fn break_line(&mut self) {
        if self.n_preformatted > 0 { self.out.verbatim("\n") } else { self.out.line() }
    }
}

/// Whether an element's content is no text of the page.
fn is_left_out(name: &str) -> bool {
    matches!(
        name,
        "audio"
            | "canvas"
            | "head"
            | "iframe"
            | "noembed"
            | "noframes"
            | "noscript"
            | "object"
            | "script"
            | "style"
            | "svg"
            | "template"
            | "title"
            | "video"
    )
}

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| attribute.value.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::Options;

    fn read(html: &str) -> (String, Vec<Note>) {
        let (options, cancel, mut notes) = (Options::default(), AtomicBool::new(false), Vec::new());
        let read = text(html, &Watch::new(&options, &cancel), &mut notes).unwrap();
        (read, notes)
    }

    #[test]
    fn structure_becomes_markdown() {
        let (read, notes) = read(
            "<!doctype html><html><head><title>t</title><style>p{}</style></head><body>
            <script>if (a < b) '<p>'</script>
            <h1>Gr&ouml;&szlig;e</h1><p>One <b>bold</b>\n word, <a href=x>a link</a>.<br>Next&nbsp;line
            <ul><li>one<li>two<ol start=3><li><p>three</ol></ul>
            <table><tr><th>a<th>b<tr><td>1<td>2</table>
            <pre>fn  a() {\n  1 &lt; 2\n}</pre>
            <img src=x alt='A cat'><noscript>no</noscript>end</body></html>",
        );
        assert_eq!(
            read,
            "# Größe\n\nOne bold word, a link.\nNext\u{a0}line\n\n- one\n- two\n  3. three\n\n\
             | a | b |\n| --- | --- |\n| 1 | 2 |\n\n```\nfn  a() {\n  1 < 2\n}\n```\n\nA cat end"
        );
        assert_eq!(notes, [Note::Images { n_images: 1 }]);
    }

    #[test]
    fn elements_that_are_never_closed_hide_no_body() {
        assert_eq!(read("<head><title>x</title><body>text").0, "text");
        assert_eq!(read("<svg><g><svg/></svg>text").0, "text");
        assert_eq!(read("a</svg></td></table></li></ol>b").0, "a\n\nb");
        assert_eq!(read("<h1></h1><ul><li></ul><p>text").0, "text");
        assert_eq!(read("a &#0; &#x110000; &nosuch; b").0, "a \u{fffd} \u{fffd} &nosuch; b");
    }

    #[test]
    fn encodings_are_declared_in_several_ways() {
        let of = |html: &str| declared_encoding(html.as_bytes()).map(Encoding::name);
        assert_eq!(of("<meta charset=\"Shift_JIS\">"), Some("Shift_JIS"));
        assert_eq!(of("<META content='text/html; charset=iso-8859-1'>"), Some("windows-1252"));
        assert_eq!(of("<meta charset=nonsense>"), None);
        assert_eq!(of("<p>"), None);
    }
}
