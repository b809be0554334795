//! Markdown of answers, as HTML that is safe to put into the page.
//!
//! [`render`] renders a complete text; [`Stream`] renders an answer as it grows and parses only what
//! can still change. Both share one writer, which emits only its own tags: raw HTML is shown as
//! text, and only http, https and mailto links are kept.
//! The dialect is CommonMark with the tables, task lists and strikethrough of GFM; mathematics
//! between `$` or LaTeX's own delimiters stays as it was written.

mod inline;
mod source;
mod stream;
mod writer;

pub(crate) use source::{visible_bidi, visible_control};
pub(crate) use stream::{Block, Change, Stream};

use pulldown_cmark::{Event, Options, Parser, TagEnd};

use source::Source;

/// The extensions that answers may use.
fn dialect() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH
}

/// The HTML of `text`.
pub(crate) fn render(text: &str) -> String {
    let source = Source::of(text);
    let mut writer = writer::Writer::new(&source);
    for (event, range) in Parser::new_ext(&source, dialect()).into_offset_iter() {
        writer.write(event, range);
    }
    writer.take()
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
}
