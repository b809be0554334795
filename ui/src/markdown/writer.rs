//! Turns Markdown events into HTML. Owns every tag that an answer can put into the page.
//!
//! Safety rests on two rules: text and attribute values are always escaped, and an address is
//! written only if [`is_allowed`] knows its scheme. No attribute is ever copied from the text.
//! Alignment is a class and not a style, because the content security policy refuses inline styles.

use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, LinkType, Tag, TagEnd};
use pulldown_cmark_escape::{escape_href, escape_html, escape_html_body_text};

/// Collects the HTML of the events written to it.
#[derive(Default)]
pub(super) struct Writer {
    html: String,
    table: TableState,
    /// The closing tags of the links and images that are open, innermost last.
    open_links: Vec<&'static str>,
}

#[derive(Default)]
struct TableState {
    alignments: Vec<Alignment>,
    column: usize,
    in_head: bool,
}

impl Writer {
    /// What was written since the last call.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.html)
    }

    /// Adds the HTML of one event.
    pub(super) fn write(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag),
            Event::Code(code) => {
                self.html.push_str("<code>");
                self.text(&code);
                self.html.push_str("</code>");
            }
            Event::SoftBreak => self.html.push('\n'),
            Event::HardBreak => self.html.push_str("<br>\n"),
            Event::Rule => self.html.push_str("<hr>\n"),
            Event::TaskListMarker(done) => self.html.push_str(if done {
                "<input type=\"checkbox\" aria-label=\"Done\" disabled checked> "
            } else {
                "<input type=\"checkbox\" aria-label=\"To do\" disabled> "
            }),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.text(&text),
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.html.push_str("<p>"),
            Tag::HtmlBlock => self.html.push_str("<p class=\"raw\">"),
            Tag::Heading { level, .. } => self.html.push_str(&format!("<{level}>")),
            Tag::BlockQuote(_) => self.html.push_str("<blockquote>\n"),
            Tag::CodeBlock(kind) => self.open_code(&kind),
            Tag::List(None) => self.html.push_str("<ul>\n"),
            Tag::List(Some(1)) => self.html.push_str("<ol>\n"),
            Tag::List(Some(start)) => self.html.push_str(&format!("<ol start=\"{start}\">\n")),
            Tag::Item => self.html.push_str("<li>"),
            Tag::Table(alignments) => {
                self.table = TableState { alignments, ..TableState::default() };
                self.html.push_str(
                    "<div class=\"table\" role=\"region\" aria-label=\"Table\" tabindex=\"0\"><table>",
                );
            }
            Tag::TableHead => {
                self.table.in_head = true;
                self.table.column = 0;
                self.html.push_str("<thead><tr>");
            }
            Tag::TableRow => {
                self.table.column = 0;
                self.html.push_str("<tr>");
            }
            Tag::TableCell => self.open_cell(),
            Tag::Emphasis => self.html.push_str("<em>"),
            Tag::Strong => self.html.push_str("<strong>"),
            Tag::Strikethrough => self.html.push_str("<del>"),
            Tag::Link { link_type, dest_url, .. } => self.open_link(link_type, &dest_url, false),
            Tag::Image { link_type, dest_url, .. } => self.open_link(link_type, &dest_url, true),
            // Extensions that the dialect leaves off.
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.html.push_str("</p>\n"),
            TagEnd::Heading(level) => self.html.push_str(&format!("</{level}>\n")),
            TagEnd::BlockQuote(_) => self.html.push_str("</blockquote>\n"),
            TagEnd::CodeBlock => self.html.push_str("</code></pre></figure>\n"),
            TagEnd::List(true) => self.html.push_str("</ol>\n"),
            TagEnd::List(false) => self.html.push_str("</ul>\n"),
            TagEnd::Item => self.html.push_str("</li>\n"),
            TagEnd::Table => self.html.push_str("</tbody></table></div>\n"),
            TagEnd::TableHead => {
                self.table.in_head = false;
                self.html.push_str("</tr></thead><tbody>\n");
            }
            TagEnd::TableRow => self.html.push_str("</tr>\n"),
            TagEnd::TableCell => {
                self.html.push_str(if self.table.in_head { "</th>" } else { "</td>" });
            }
            TagEnd::Emphasis => self.html.push_str("</em>"),
            TagEnd::Strong => self.html.push_str("</strong>"),
            TagEnd::Strikethrough => self.html.push_str("</del>"),
            TagEnd::Link | TagEnd::Image => {
                self.html.push_str(self.open_links.pop().unwrap_or_default());
            }
            TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    fn open_code(&mut self, kind: &CodeBlockKind<'_>) {
        let language = match kind {
            CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default(),
            CodeBlockKind::Indented => "",
        };
        self.html.push_str("<figure class=\"code\"><figcaption><span>");
        self.text(if language.is_empty() { "text" } else { language });
        self.html.push_str(
            "</span><button type=\"button\" class=\"copy-code\" aria-label=\"Copy code\">Copy</button>\
             </figcaption><pre tabindex=\"0\"><code>",
        );
    }

    fn open_cell(&mut self) {
        let alignment = self.table.alignments.get(self.table.column);
        self.table.column += 1;
        let class = match alignment {
            Some(Alignment::Center) => " class=\"center\"",
            Some(Alignment::Right) => " class=\"end\"",
            Some(Alignment::Left | Alignment::None) | None => "",
        };
        let (tag, scope) = if self.table.in_head { ("th", " scope=\"col\"") } else { ("td", "") };
        self.html.push_str(&format!("<{tag}{scope}{class}>"));
    }

    /// Opens a link, or an image as a link to it: images are never loaded.
    fn open_link(&mut self, link_type: LinkType, url: &CowStr<'_>, is_image: bool) {
        let url = match link_type {
            LinkType::Email => format!("mailto:{url}"),
            _ => url.to_string(),
        };
        let class = if is_image { " class=\"image\"" } else { "" };
        let inside_link = self.open_links.contains(&"</a>");
        if inside_link || !is_allowed(&url) {
            self.html.push_str(&format!("<span{class}>"));
            self.open_links.push("</span>");
            return;
        }
        self.html.push_str("<a");
        self.html.push_str(class);
        self.html.push_str(" href=\"");
        escape_href(&mut self.html, &url).expect("writing to a string cannot fail");
        self.html.push_str("\" title=\"");
        escape_html(&mut self.html, &url).expect("writing to a string cannot fail");
        self.html.push_str("\" rel=\"noopener noreferrer\" target=\"_blank\">");
        self.open_links.push("</a>");
    }

    fn text(&mut self, text: &str) {
        escape_html_body_text(&mut self.html, text).expect("writing to a string cannot fail");
    }
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
    fn common_markup() {
        assert_eq!(
            render("# A *b*\n\nc  \nd ~~e~~ `f<`\n\n---\n"),
            "<h1>A <em>b</em></h1>\n<p>c<br>\nd <del>e</del> <code>f&lt;</code></p>\n<hr>\n"
        );
        assert_eq!(render("3. a\n4. b\n"), "<ol start=\"3\">\n<li>a</li>\n<li>b</li>\n</ol>\n");
        assert!(render("- [x] a\n- [ ] b").contains("disabled checked> a</li>"));
    }

    #[test]
    fn tables_align_by_class() {
        let html = render("|a|b|c|\n|-|:-:|-:|\n|1|2|3|\n");
        assert!(html.contains("<th scope=\"col\">a</th><th scope=\"col\" class=\"center\">b</th>"));
        assert!(html.contains("<td>1</td><td class=\"center\">2</td><td class=\"end\">3</td>"));
        assert!(!html.contains("style"));
    }

    #[test]
    fn code_is_labelled_and_escaped() {
        let html = render("```rust ignore\nlet a = &b;</code>\n```\n");
        assert!(html.contains("<span>rust</span>"));
        assert!(html.contains("<code>let a = &amp;b;&lt;/code&gt;\n</code>"));
        let html = render("```\"><script>\nx\n```\n");
        assert!(html.contains("<span>\"&gt;&lt;script&gt;</span>"));
    }

    #[test]
    fn raw_html_is_text() {
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
            let mut rest = html.replace(wrapper, "").replace("</div>", "");
            for tag in ours {
                let name = tag.split(' ').next().unwrap();
                rest = rest.replace(&format!("<{tag}>"), "").replace(&format!("</{name}>"), "");
            }
            assert!(!rest.contains('<'), "{rest}");
        }
    }

    #[test]
    fn links_lead_to_the_web_or_to_mail_alone() {
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
            html.starts_with("<p><a href=\"https://b.example/%22%20onmouseover=%22x\""),
            "{html}"
        );
        assert!(html.contains("title=\"https://b.example/&quot; onmouseover=&quot;x\""), "{html}");
        assert!(!html.contains("onclick"), "{html}");
    }

    #[test]
    fn images_are_links_and_never_loaded() {
        let html = render("![a cat](https://b.example/c.png)");
        assert!(html.contains("<a class=\"image\" href=\"https://b.example/c.png\""));
        assert!(html.contains(">a cat</a>"));
        assert!(!html.contains("<img"));
        let html = render("[![a](https://b.example/c.png)](https://d.example)");
        assert_eq!(html.matches("<a").count(), 1, "{html}");
        assert_eq!(html.matches("</a>").count(), 1, "{html}");
    }
}
