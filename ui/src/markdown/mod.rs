//! Markdown of answers, as HTML that is safe to put into the page.
//!
//! [`render`] writes a whole text; [`Stream`] renders an answer as it grows and parses only what
//! can still change. Both share one writer, which lets nothing through but its own tags: raw HTML
//! is shown as text, and links lead nowhere but to http, https and mailto.
//! The dialect is CommonMark with the tables, task lists and strikethrough of GFM.

mod stream;
mod writer;

pub(crate) use stream::{Block, Change, Stream};

use pulldown_cmark::{Event, Options, Parser, TagEnd};

/// The extensions that answers may use.
fn dialect() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// The HTML of `text`.
pub(crate) fn render(text: &str) -> String {
    let mut writer = writer::Writer::default();
    for event in Parser::new_ext(text, dialect()) {
        writer.write(event);
    }
    writer.take()
}

/// The words of `text` without its markup, for a screen reader.
pub(crate) fn plain_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for event in Parser::new_ext(text, dialect()) {
        match event {
            Event::Text(part) | Event::Code(part) | Event::Html(part) | Event::InlineHtml(part) => {
                plain.push_str(&part);
            }
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
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_markup() {
        assert_eq!(plain_text("# Hi\n\n*a* `b`\n- [c](https://d.example)"), "Hi\na b\nc");
    }
}
