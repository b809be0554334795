//! How documents stand in a question: their names, their texts in fences, and the question last.
//!
//! A document cannot close its fence, so it cannot pass for the question. That its text never becomes
//! control tokens is the work of the prompt's tokenizer, for documents as for everything that people
//! write.

use crate::Kind;
use crate::kind::language;

/// What stands for text that is left out.
const LEFT_OUT: &str = "[…]";
/// The shortest fence of Markdown.
const MIN_FENCE_LEN: usize = 3;

/// A document, or what is sent of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached<'a> {
    /// The document's name, as [`crate::Document::name`] has it.
    pub name: &'a str,
    /// What the document is.
    pub kind: Kind,
    /// What is sent of it.
    pub content: Content<'a>,
}

/// What is sent of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// All of it.
    Whole(&'a str),
    /// Its beginning and its end; one piece where they meet.
    Ends(Vec<&'a str>),
    /// Some passages, in their order.
    Passages(Vec<&'a str>),
}

/// Writes documents before a question.
pub fn render(documents: &[Attached<'_>], question: &str) -> String {
    let mut prompt = String::new();
    for document in documents {
        render_document(&mut prompt, document);
        prompt.push('\n');
    }
    prompt.push_str(question);
    prompt
}

fn render_document(prompt: &mut String, document: &Attached<'_>) {
    let Attached { name, kind, content } = document;
    let (label, passages) = match content {
        Content::Whole(text) => ("Document", std::slice::from_ref(text)),
        Content::Ends(ends) => ("Beginning and end of the document", &ends[..]),
        Content::Passages(passages) => ("Passages of the document", &passages[..]),
    };
    let longest = passages.iter().map(|text| longest_run(text)).max().unwrap_or(0);
    let fence = "`".repeat(MIN_FENCE_LEN.max(longest + 1));
    let language = match kind {
        Kind::Code => language(name).unwrap_or_default(),
        Kind::Markdown | Kind::Html | Kind::Word => "markdown",
        Kind::Table => "csv",
        Kind::Text | Kind::Pdf => "",
    };
    prompt.push_str(&format!("{label} {name}:\n{fence}{language}\n"));
    for (idx, text) in passages.iter().enumerate() {
        if idx > 0 {
            prompt.push_str(&format!("{LEFT_OUT}\n"));
        }
        prompt.push_str(text.trim_end_matches('\n'));
        prompt.push('\n');
    }
    prompt.push_str(&fence);
    prompt.push('\n');
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole<'a>(name: &'a str, kind: Kind, text: &'a str) -> Attached<'a> {
        Attached { name, kind, content: Content::Whole(text) }
    }

    #[test]
    fn documents_stand_before_the_question() {
        let rust = whole("lib.rs", Kind::Code, "fn a() {}\n");
        let passages = Content::Passages(vec!["one\n", "two"]);
        let book = Attached { name: "book.pdf", kind: Kind::Pdf, content: passages };
        assert_eq!(
            render(&[rust, book], "What is it?"),
            "Document lib.rs:\n```rust\nfn a() {}\n```\n\n\
             Passages of the document book.pdf:\n```\none\n[…]\ntwo\n```\n\nWhat is it?"
        );
        let content = Content::Ends(vec!["a\n\n", "z"]);
        let cut = Attached { name: "a.txt", kind: Kind::Text, content };
        assert_eq!(
            render(&[cut], "?"),
            "Beginning and end of the document a.txt:\n```\na\n[…]\nz\n```\n\n?"
        );
        assert_eq!(render(&[], "?"), "?");
    }

    proptest! {
        #[test]
        fn no_document_closes_its_fence(text in "(`{1,9}|[a\n~ ]){0,40}") {
            let prompt = render(&[whole("a.txt", Kind::Text, &text)], "question");
            let lines: Vec<&str> = prompt.lines().collect();
            let fence = lines[1];
            let closing = lines.iter().skip(2).position(|line| line.trim_start().starts_with(fence));
            prop_assert_eq!(closing, Some(lines.len() - 5));
        }
    }
}
