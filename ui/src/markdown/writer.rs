//! Turns Markdown events into HTML. Owns every tag that an answer can put into the page.
//!
//! Safety rests on two rules: text and attribute values are always escaped, and an address is
//! written only if [`is_allowed`] accepts its scheme. No attribute is ever copied from the text.
//! Formulas are written as they are in the text; the page draws them afterwards.
//! Alignment is a class and not a style, because the content security policy rejects inline styles.

use std::ops::Range;

use pulldown_cmark::{
    Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Parser, Tag, TagEnd,
};
use pulldown_cmark_escape::{escape_href, escape_html, escape_html_body_text};

use super::dialect;
use super::inline::{Located, Piece, correct, is_inline};
use super::money::is_money;
use super::notes::Notes;
use crate::text::text;

/// The maximum nesting of tags. Deeper tags are left out and their text stays: browsers flatten
/// nesting of several hundred levels, and layout takes stack.
const MAX_DEPTH: usize = 48;
/// The number of characters of a code block's language that are shown at most.
const MAX_LANGUAGE_CHARS: usize = 40;
/// How often text between signs of currency is read again, to find formulas in it.
const MAX_MONEY_DEPTH: usize = 4;

/// What the HTML is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The page, with its buttons and classes.
    Page,
    /// Other programs, by the clipboard: content alone.
    Clipboard,
}

/// Collects the HTML of the events of one text.
pub(super) struct Writer<'a> {
    source: &'a str,
    html: String,
    /// The inline events since the last block began or ended.
    run: Vec<Located<'a>>,
    /// The closing tags of open elements, innermost last; empty for a tag that was left out.
    open: Vec<&'static str>,
    table: TableState,
    in_code: bool,
    purpose: Purpose,
    notes: Notes,
    /// The open footnotes: their labels, and the HTML before them.
    open_notes: Vec<(String, String)>,
}

#[derive(Default)]
struct TableState {
    alignments: Vec<Alignment>,
    column: usize,
    in_head: bool,
}

impl<'a> Writer<'a> {
    /// A writer of events whose ranges refer to `source`.
    pub(super) fn new(source: &'a str, purpose: Purpose) -> Self {
        Self {
            source,
            html: String::with_capacity(source.len() * 2),
            run: Vec::new(),
            open: Vec::new(),
            table: TableState::default(),
            in_code: false,
            purpose,
            notes: Notes::default(),
            open_notes: Vec::new(),
        }
    }

    /// Returns the HTML of the footnotes, which follows all other.
    pub(super) fn take_notes(&mut self) -> String {
        self.flush();
        self.notes.take()
    }

    /// Returns the HTML written since the last call.
    pub(super) fn take(&mut self) -> String {
        self.flush();
        std::mem::take(&mut self.html)
    }

    /// Adds the HTML of one event, whose source is at `range`.
    pub(super) fn write(&mut self, event: Event<'a>, range: Range<usize>) {
        if !self.in_code && is_inline(&event) {
            match math_of(&event) {
                Some((mark, latex)) if is_money(self.source, &range, latex) => {
                    let events = around_money(mark, latex, MAX_MONEY_DEPTH);
                    self.run.extend(events.into_iter().map(|event| (event, range.clone())));
                }
                _ => self.run.push((event, range)),
            }
            return;
        }
        self.flush();
        self.put(event);
    }

    /// Writes the collected run of inline events.
    fn flush(&mut self) {
        if self.run.is_empty() {
            return;
        }
        for piece in correct(self.source, std::mem::take(&mut self.run)) {
            match piece {
                Piece::Event(event) => self.put(event),
                Piece::Latex(latex) => self.math("", &latex),
            }
        }
    }

    fn put(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::FootnoteDefinition(label)) => {
                let before = std::mem::take(&mut self.html);
                self.open_notes.push((label.into_string(), before));
                // Blocks inside are not outermost ones.
                self.open.push("");
            }
            Event::End(TagEnd::FootnoteDefinition) => {
                self.open.pop();
                if let Some((label, before)) = self.open_notes.pop() {
                    let html = std::mem::replace(&mut self.html, before);
                    self.notes.define(&label, html);
                }
            }
            Event::FootnoteReference(label) => {
                let reference = self.notes.reference(&label);
                self.html.push_str(&reference);
            }
            Event::Start(tag) => {
                let close = if self.open.len() < MAX_DEPTH { self.open(tag) } else { "" };
                self.open.push(close);
            }
            Event::End(tag) => self.close(tag),
            Event::Code(code) => {
                self.html.push_str("<code dir=\"ltr\">");
                self.code(&code);
                self.html.push_str("</code>");
            }
            Event::SoftBreak => self.html.push('\n'),
            Event::HardBreak => self.html.push_str("<br>\n"),
            Event::Rule => self.html.push_str("<hr>\n"),
            Event::TaskListMarker(is_done) if self.purpose == Purpose::Clipboard => {
                self.html.push_str(if is_done { "☑ " } else { "☐ " });
            }
            Event::TaskListMarker(is_done) => {
                let (label, checked) = match is_done {
                    true => (text!(prose.task_done), " checked"),
                    false => (text!(prose.task_open), ""),
                };
                self.html.push_str("<input type=\"checkbox\" aria-label=\"");
                self.attribute(label);
                self.html.push_str(&format!("\" disabled{checked}> "));
            }
            Event::InlineMath(text) => self.math("$", &text),
            Event::DisplayMath(text) => self.math("$$", &text),
            Event::Text(text) if self.in_code => self.code(&text),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
        }
    }

    /// Opens `tag` and returns its closing tag.
    fn open(&mut self, tag: Tag<'_>) -> &'static str {
        // Each outermost block has its own direction, which its content follows, so that a list has
        // its markers on one side. Code always reads from left to right.
        let dir = if self.open.is_empty() { " dir=\"auto\"" } else { "" };
        match tag {
            Tag::Paragraph => self.start(format!("<p{dir}>"), "</p>\n"),
            Tag::HtmlBlock => self.start(format!("<p class=\"raw\"{dir}>"), "</p>\n"),
            Tag::Heading { level, .. } => {
                let close = match level {
                    HeadingLevel::H1 => "</h1>\n",
                    HeadingLevel::H2 => "</h2>\n",
                    HeadingLevel::H3 => "</h3>\n",
                    HeadingLevel::H4 => "</h4>\n",
                    HeadingLevel::H5 => "</h5>\n",
                    HeadingLevel::H6 => "</h6>\n",
                };
                self.start(format!("<{level}{dir}>"), close)
            }
            Tag::BlockQuote(_) => self.start(format!("<blockquote{dir}>\n"), "</blockquote>\n"),
            Tag::CodeBlock(kind) => {
                self.in_code = true;
                if self.purpose == Purpose::Clipboard {
                    self.start("<pre><code>", "</code></pre>\n")
                } else {
                    self.open_code(&kind);
                    "</code></pre></figure>\n"
                }
            }
            Tag::List(None) => self.start(format!("<ul{dir}>\n"), "</ul>\n"),
            Tag::List(Some(1)) => self.start(format!("<ol{dir}>\n"), "</ol>\n"),
            Tag::List(Some(start)) => {
                self.start(format!("<ol start=\"{start}\"{dir}>\n"), "</ol>\n")
            }
            Tag::Item => self.start("<li>", "</li>\n"),
            Tag::Table(alignments) => {
                self.table = TableState { alignments, ..TableState::default() };
                if self.purpose == Purpose::Clipboard {
                    return self.start("<table>", "</tbody></table>\n");
                }
                self.html.push_str("<div class=\"table\" role=\"region\" aria-label=\"");
                self.attribute(text!(prose.table));
                self.start(format!("\" tabindex=\"0\"{dir}><table>"), "</tbody></table></div>\n")
            }
            Tag::TableHead => {
                self.table.in_head = true;
                self.table.column = 0;
                self.start("<thead><tr>", "</tr></thead><tbody>\n")
            }
            Tag::TableRow => {
                self.table.column = 0;
                self.start("<tr>", "</tr>\n")
            }
            Tag::TableCell => self.open_cell(),
            Tag::Emphasis => self.start("<em>", "</em>"),
            Tag::Strong => self.start("<strong>", "</strong>"),
            Tag::Strikethrough => self.start("<del>", "</del>"),
            Tag::Link { link_type, dest_url, .. } => self.open_link(link_type, &dest_url, false),
            Tag::Image { link_type, dest_url, .. } => self.open_link(link_type, &dest_url, true),
            // Extensions that are disabled, and footnotes, which do not get here.
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => "",
        }
    }

    fn start(&mut self, tag: impl AsRef<str>, close: &'static str) -> &'static str {
        self.html.push_str(tag.as_ref());
        close
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::CodeBlock => self.in_code = false,
            TagEnd::TableHead => self.table.in_head = false,
            _ => {}
        }
        let close = self.open.pop().unwrap_or_default();
        // Keeps blocks apart whose tags were left out.
        self.html.push_str(if close.is_empty() { "\n" } else { close });
    }

    fn open_code(&mut self, kind: &CodeBlockKind<'_>) {
        let language = match kind {
            CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default(),
            CodeBlockKind::Indented => "",
        };
        let language: String = language.chars().take(MAX_LANGUAGE_CHARS).collect();
        self.html.push_str("<figure class=\"code\" dir=\"ltr\"><figcaption><span>");
        self.text(if language.is_empty() { text!(prose.plain_code) } else { &language });
        self.html.push_str("</span><span class=\"code-actions\">");
        self.code_button(
            "wrap-code\" aria-pressed=\"false",
            text!(prose.wrap_lines),
            text!(prose.wrap),
        );
        self.code_button("copy-code", text!(prose.copy_code), text!(prose.copy));
        self.html.push_str("</span></figcaption><pre tabindex=\"0\"><code>");
    }

    fn code_button(&mut self, class: &str, label: &str, text: &str) {
        self.html.push_str("<button type=\"button\" class=\"");
        self.html.push_str(class);
        self.html.push_str("\" aria-label=\"");
        self.attribute(label);
        self.html.push_str("\">");
        self.text(text);
        self.html.push_str("</button>");
    }

    fn open_cell(&mut self) -> &'static str {
        let alignment = self.table.alignments.get(self.table.column);
        self.table.column += 1;
        let class = match alignment {
            Some(Alignment::Center) => " class=\"center\"",
            Some(Alignment::Right) => " class=\"end\"",
            Some(Alignment::Left | Alignment::None) | None => "",
        };
        let (tag, close) = match self.table.in_head {
            true => ("th scope=\"col\"", "</th>"),
            false => ("td", "</td>"),
        };
        self.start(format!("<{tag}{class}>"), close)
    }

    /// Opens a link, or an image as a link to it: images are never loaded.
    fn open_link(&mut self, link_type: LinkType, url: &CowStr<'_>, is_image: bool) -> &'static str {
        let url = match link_type {
            LinkType::Email => format!("mailto:{url}"),
            _ => url.to_string(),
        };
        let inside_link = self.open.contains(&"</a>");
        let is_dead = inside_link || !is_allowed(&url);
        self.html.push_str(if is_dead { "<span" } else { "<a" });
        if is_image {
            // The style sheet shows the label before the image's description.
            self.html.push_str(" class=\"image\" data-label=\"");
            self.attribute(text!(prose.image));
            self.html.push('"');
        }
        if is_dead {
            return self.start(">", "</span>");
        }
        self.html.push_str(" href=\"");
        escape_href(&mut self.html, &url).expect("writing to a string cannot fail");
        self.start("\" rel=\"noopener noreferrer\" target=\"_blank\">", "</a>")
    }

    /// Writes mathematics verbatim, with its delimiters.
    fn math(&mut self, mark: &str, latex: &str) {
        self.html.push_str("<span class=\"math\" dir=\"ltr\">");
        self.html.push_str(mark);
        self.code(latex);
        self.html.push_str(mark);
        self.html.push_str("</span>");
    }

    /// Writes text. Embedding and override characters are shown by name and have no effect, so that
    /// they cannot reorder their neighbours. Isolates end with their block at the latest.
    fn text(&mut self, text: &str) {
        self.escape(text, |c| matches!(c, '\u{202a}'..='\u{202e}'));
    }

    fn code(&mut self, text: &str) {
        escape_code(&mut self.html, text);
    }

    /// Writes an attribute value.
    fn attribute(&mut self, value: &str) {
        escape_html(&mut self.html, value).expect("writing to a string cannot fail");
    }

    fn escape(&mut self, text: &str, is_shown_by_name: impl Fn(char) -> bool) {
        escape(&mut self.html, text, is_shown_by_name);
    }
}

/// Writes code. Characters that reorder their neighbours are shown by name, so that code cannot look
/// different from what it does.
pub(super) fn escape_code(html: &mut String, code: &str) {
    escape(html, code, |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
}

fn escape(html: &mut String, text: &str, is_shown_by_name: impl Fn(char) -> bool) {
    let mut rest = text;
    while let Some(at) = rest.find(&is_shown_by_name) {
        let (before, found) = rest.split_at(at);
        escape_html_body_text(&mut *html, before).expect("writing to a string cannot fail");
        let c = found.chars().next().unwrap_or_default();
        // Isolated in its element the character reorders nothing, and copying the text keeps it.
        let name = u32::from(c);
        html.push_str(&format!("<bdi class=\"control\" data-name=\"U+{name:04X}\">{c}</bdi>"));
        rest = &found[c.len_utf8()..];
    }
    escape_html_body_text(html, rest).expect("writing to a string cannot fail");
}

/// The sign of a formula between `$`, and its LaTeX.
fn math_of<'e>(event: &'e Event<'_>) -> Option<(&'static str, &'e str)> {
    match event {
        Event::InlineMath(latex) => Some(("$", latex)),
        Event::DisplayMath(latex) => Some(("$$", latex)),
        _ => None,
    }
}

/// What the parser took for a formula, as the text that it is.
fn around_money(mark: &'static str, latex: &str, depth: usize) -> Vec<Event<'static>> {
    // A paragraph would lose the spaces before its text.
    let start = &latex[..latex.len() - latex.trim_start().len()];
    let rest = format!("{}{mark}", latex.trim_start());
    let parsed: Vec<Located<'_>> = Parser::new_ext(&rest, dialect()).into_offset_iter().collect();
    let inside = match parsed.as_slice() {
        [(Event::Start(Tag::Paragraph), _), inside @ .., (Event::End(TagEnd::Paragraph), _)]
            if depth > 0 && inside.iter().all(|(event, _)| is_inline(event)) =>
        {
            inside
        }
        _ => return vec![Event::Text(format!("{mark}{start}{rest}").into())],
    };
    let mut events = vec![Event::Text(format!("{mark}{start}").into())];
    for (event, range) in inside {
        match math_of(event) {
            Some((mark, latex)) if is_money(&rest, range, latex) => {
                events.extend(around_money(mark, latex, depth - 1));
            }
            _ => events.push(event.clone().into_static()),
        }
    }
    events
}

/// Whether an answer may link to `url`.
fn is_allowed(url: &str) -> bool {
    let Some((scheme, _)) = url.split_once(':') else { return false };
    ["http", "https", "mailto"].iter().any(|allowed| scheme.eq_ignore_ascii_case(allowed))
}

#[cfg(test)]
mod tests {
    use super::super::render;

    #[test]
    fn renders_common_markup() {
        assert_eq!(
            render("# A *b*\n\nc  \nd ~~e~~ `f<`\n\n---\n"),
            "<h1 dir=\"auto\">A <em>b</em></h1>\n<p dir=\"auto\">c<br>\nd <del>e</del> \
             <code dir=\"ltr\">f&lt;</code></p>\n<hr>\n"
        );
        assert_eq!(
            render("3. a\n4. b\n"),
            "<ol start=\"3\" dir=\"auto\">\n<li>a</li>\n<li>b</li>\n</ol>\n"
        );
        assert!(render("- [x] a\n- [ ] b").contains("disabled checked> a</li>"));
    }

    #[test]
    fn aligns_tables_by_class() {
        let html = render("|a|b|c|\n|-|:-:|-:|\n|1|2|3|\n");
        assert!(html.contains("<th scope=\"col\">a</th><th scope=\"col\" class=\"center\">b</th>"));
        assert!(html.contains("<td>1</td><td class=\"center\">2</td><td class=\"end\">3</td>"));
        assert!(!html.contains("style"));
    }

    #[test]
    fn labels_and_escapes_code() {
        let html = render("```rust ignore\nlet a = &b;</code>\n```\n");
        assert!(html.contains("<span>rust</span>"));
        assert!(html.contains("<code>let a = &amp;b;&lt;/code&gt;\n</code>"));
        let html = render("```\"><script>\nx\n```\n");
        assert!(html.contains("<span>\"&gt;&lt;script&gt;</span>"));
    }

    #[test]
    fn shows_raw_html_as_text() {
        for text in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div onclick=\"x()\">\n\n<b>c</b>\n\n</div>",
            "<!-- <script> -->",
            "<style>*{display:none}</style>",
            "| <svg/onload=x> |\n|-|\n| <iframe> |",
            "- <object>\n\n> <form>",
        ] {
            let html = render(text);
            let ours =
                ["p", "p class=\"raw\"", "ul", "li", "blockquote", "table", "thead", "tbody"];
            let ours = ours.iter().chain(&["tr", "th scope=\"col\"", "td"]);
            let wrapper = r#"<div class="table" role="region" aria-label="Table" tabindex="0">"#;
            let html = html.replace(" dir=\"auto\"", "");
            let mut rest = html.replace(wrapper, "").replace("</div>", "");
            for tag in ours {
                let name = tag.split(' ').next().unwrap();
                rest = rest.replace(&format!("<{tag}>"), "").replace(&format!("</{name}>"), "");
            }
            assert!(!rest.contains('<'), "{rest}");
        }
    }

    #[test]
    fn allows_only_web_and_mail_links() {
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\u{1}script:alert(1)",
            "&#106;avascript:alert(1)",
            "data:text/html,<script>",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:x",
            "tauri://localhost",
            "ipc:send",
            "//evil.example",
            "/relative",
            "#fragment",
            "relative.html",
            "\u{20}javascript:x",
        ] {
            for text in [
                format!("[a]({url})"),
                format!("[a](<{url}>)"),
                format!("![a]({url})"),
                format!("[a][b]\n\n[b]: {url}"),
                format!("[a][b]\n\n[b]: <{url}>"),
            ] {
                assert!(!render(&text).contains("<a"), "{text}");
            }
        }
        assert!(!render("<javascript:alert(1)>").contains("<a"));
        for url in ["https://a.example/?b=c&d", "HTTP://a.example", "mailto:a@b.example"] {
            assert!(render(&format!("[x]({url})")).contains("<a href=\""), "{url}");
            assert!(render(&format!("<{url}>")).contains("rel=\"noopener noreferrer\""), "{url}");
        }
        assert!(render("<a@b.example>").contains("href=\"mailto:a@b.example\""));
    }

    #[test]
    fn addresses_cannot_leave_their_attribute() {
        let html = render("[a](<https://b.example/\" onmouseover=\"x> \"t\\\" onclick=y\")");
        assert!(
            html.starts_with(
                "<p dir=\"auto\"><a href=\"https://b.example/%22%20onmouseover=%22x\""
            ),
            "{html}"
        );
        assert!(!html.contains("onclick"), "{html}");
    }

    #[test]
    fn images_are_links_and_never_loaded() {
        let html = render("![a cat](https://b.example/c.png)");
        assert!(
            html.contains(
                "<a class=\"image\" data-label=\"Image\" href=\"https://b.example/c.png\""
            )
        );
        assert!(html.contains(">a cat</a>"));
        assert!(!html.contains("<img"));
        let html = render("[![a](https://b.example/c.png)](https://d.example)");
        assert_eq!(html.matches("<a").count(), 1, "{html}");
        assert_eq!(html.matches("</a>").count(), 1, "{html}");
    }
}
