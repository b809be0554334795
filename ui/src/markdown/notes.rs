//! Footnotes: numbered in the order of their references, and shown at the end of the text.
//!
//! References and ways back are buttons and no links, so that they work in every answer of the page
//! and never change its address.

use std::collections::HashMap;

use crate::text::text;

/// The footnotes of one text.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The number of each label that was referred to.
    numbers: HashMap<String, usize>,
    definitions: Vec<Definition>,
}

#[derive(Debug)]
struct Definition {
    label: String,
    html: String,
}

impl Notes {
    /// The button for a reference to `label`.
    pub(super) fn reference(&mut self, label: &str) -> String {
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(key(label)).or_insert(next);
        let name = escaped(&text!(prose.footnote, number));
        format!(
            "<sup class=\"note-mark\"><button type=\"button\" class=\"note-ref\" data-note=\"{number}\" \
             aria-label=\"{name}\">{number}</button></sup>"
        )
    }

    /// Adds the HTML of the footnote `label`.
    pub(super) fn define(&mut self, label: &str, html: String) {
        self.definitions.push(Definition { label: key(label), html });
    }

    /// The HTML of all footnotes; empty without any. Those that nothing refers to follow at the end.
    pub(super) fn take(&mut self) -> String {
        let Self { mut numbers, definitions } = std::mem::take(self);
        if definitions.is_empty() {
            return String::new();
        }
        let n_references = numbers.len();
        let numbered = definitions.into_iter().enumerate().map(|(position, definition)| {
            // A label that is defined twice keeps its number for the first definition only.
            let number = numbers.remove(&definition.label);
            (number.unwrap_or(n_references + 1 + position), number.is_some(), definition.html)
        });
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_by_key(|(number, ..)| *number);
        let back = escaped(text!(prose.back_to_text));
        let mut html = format!(
            "<section class=\"notes\" aria-label=\"{}\"><ol>\n",
            escaped(text!(prose.footnotes))
        );
        for (number, is_referred_to, content) in numbered {
            html.push_str(&format!(
                "<li data-note-text=\"{number}\" tabindex=\"-1\" dir=\"auto\">{content}"
            ));
            if is_referred_to {
                html.push_str(&format!(
                    "<button type=\"button\" class=\"note-back\" data-note=\"{number}\" \
                     aria-label=\"{back}\">↩</button>"
                ));
            }
            html.push_str("</li>\n");
        }
        html.push_str("</ol></section>\n");
        html
    }
}

/// Labels are compared without regard to case.
fn key(label: &str) -> String {
    label.to_lowercase()
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    pulldown_cmark_escape::escape_html(&mut escaped, value)
        .expect("writing to a string cannot fail");
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::render;

    #[test]
    fn footnotes_are_numbered_by_their_first_reference() {
        let html = render("a[^x] b[^y] c[^x]\n\n[^y]: second *note*\n[^x]: first\n\nend\n");
        let numbers: Vec<&str> = html
            .split("class=\"note-ref\" data-note=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(numbers, ["1", "2", "1"], "{html}");
        let (text, notes) = html.split_once("<section class=\"notes\"").expect("notes");
        assert!(text.contains(">end</p>"), "{text}");
        let first = notes.find("data-note-text=\"1\"").expect("the first note");
        let second = notes.find("data-note-text=\"2\"").expect("the second note");
        assert!(first < second && notes[first..second].contains("first"), "{notes}");
        assert!(notes.contains("second <em>note</em>"), "{notes}");
        assert!(!html.contains("href"), "{html}");
    }

    #[test]
    fn nothing_of_a_footnote_vanishes() {
        assert!(render("a[^1]\n").contains("a[^1]"), "a reference without a note is text");
        let html = render("a\n\n[^1]: unused\n\n[^1]: twice\n\n> [^2]: inside\n");
        for text in ["unused", "twice", "inside"] {
            assert!(html.contains(text), "{text} in {html}");
        }
        assert!(!html.contains("note-back"), "{html}");
        let html = render("a[^<b>]\n\n[^<b>]: <script>x</script>\n");
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }
}
