//! Markdown of answers, as HTML that is safe to put into the page.
//!
//! [`render`] renders a complete text; [`Stream`] renders an answer as it grows and parses only what
//! can still change. Both share one writer, which emits only its own tags: raw HTML is shown as
//! text, and only http, https and mailto links are kept.
//! The dialect is CommonMark with the tables, task lists, strikethrough and footnotes of GFM.
//! Mathematics between `$` or LaTeX's own delimiters, and code, are written as they are; [`mathml`] and
//! [`highlighted`] are what the page puts in their place.

mod code;
mod formula;
mod inline;
mod money;
mod notes;
mod source;
mod stream;
mod writer;

pub(crate) use code::highlighted;
pub(crate) use formula::{mathml, parse_delimiters};
pub(crate) use source::{visible_bidi, visible_control};
pub(crate) use stream::{Block, Change, Stream};

use pulldown_cmark::{Event, Options, Parser, TagEnd};

use source::Source;
use writer::{Purpose, Writer};

/// The extensions that answers may use.
fn dialect() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
}

/// The HTML of `text`.
pub(crate) fn render(text: &str) -> String {
    render_for(text, Purpose::Page)
}

/// The HTML of `text` for other programs: its content without the page's buttons and classes.
pub(crate) fn rich_text(text: &str) -> String {
    render_for(text, Purpose::Clipboard)
}

fn render_for(text: &str, purpose: Purpose) -> String {
    let source = Source::of(text);
    let mut writer = Writer::new(&source, purpose);
    for (event, range) in Parser::new_ext(&source, dialect()).into_offset_iter() {
        writer.write(event, range);
    }
    let mut html = writer.take();
    html.push_str(&writer.take_notes());
    html
}

/// The text without its markup, for screen readers.
pub(crate) fn plain_text(text: &str) -> String {
    let source = Source::of(text);
    let mut plain = String::with_capacity(source.len());
    for event in Parser::new_ext(&source, dialect()) {
        match event {
            Event::Text(part)
            | Event::Code(part)
            | Event::Html(part)
            | Event::InlineHtml(part)
            | Event::InlineMath(part)
            | Event::DisplayMath(part) => plain.push_str(&part),
            Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::TableCell) => plain.push(' '),
            Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::CodeBlock,
            ) => plain.push('\n'),
            _ => {}
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod fault_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_markup() {
        assert_eq!(plain_text("# Hi\n\n*a* `b`\n- [c](https://d.example)"), "Hi\na b\nc");
        assert_eq!(plain_text("a\r\rb $x$"), "a\nb x");
    }

    #[test]
    fn rich_text_has_content_only() {
        let text = "# T\n\n```rust\nlet a;\n```\n\n- [x] b\n\n|c|\n|-|\n|d $e$|\n\n<script>";
        let html = rich_text(text);
        assert!(html.contains("<pre><code>let a;\n</code></pre>"), "{html}");
        assert!(html.contains("☑ b") && html.contains("<table><thead>"), "{html}");
        assert!(html.contains("$e$"), "{html}");
        for part in ["<button", "<input", "<figure", "<script", "style"] {
            assert!(!html.contains(part), "{part} in {html}");
        }
    }
}
