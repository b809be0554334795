//! Model cards as Markdown that is safe to show: no front matter, no HTML tags, no endless text.
//!
//! Where a tag is a tag is CommonMark's to say: `pulldown-cmark` finds the raw HTML, so that
//! nothing is cut from code, and `batch<n` stays text. Of the raw HTML only the tags that HTML
//! knows are cut: `<think>`, `<bos>` and `<s>` are what cards explain. The page shows whatever is
//! left of HTML as text; the cutting is for legibility and nothing depends on it.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Cards are cut after this many bytes.
const MAX_BYTES: usize = 60_000;
/// What is looked at of a card: more than is shown, since front matter and tags are cut from it.
const MAX_READ_BYTES: usize = 8 * MAX_BYTES;
/// How many HTML blocks without an end a card may open; see [`close_endless_html`].
const MAX_ENDLESS: usize = 16;

/// The tags that are cut. `s` is missing on purpose: in cards it is the start of a sequence.
const TAGS: [&str; 79] = [
    "a",
    "abbr",
    "address",
    "article",
    "aside",
    "audio",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "object",
    "ol",
    "p",
    "picture",
    "pre",
    "script",
    "section",
    "small",
    "source",
    "span",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];
/// The tags that part words: without a space in their place, cells and lines would run together.
const PARTING_TAGS: [&str; 21] = [
    "blockquote",
    "br",
    "caption",
    "dd",
    "div",
    "dt",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "p",
    "summary",
    "td",
    "th",
    "tr",
];

/// The card's text without its front matter and without HTML tags and comments; code keeps what
/// looks like tags.
pub(crate) fn sanitise(card: &str) -> String {
    let card = cut_at(card, MAX_READ_BYTES);
    let text = card.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let text = close_endless_html(without_front_matter(&text).to_owned());
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for range in raw_html(&text) {
        out.push_str(&text[copied..range.start]);
        cut_tags(&text[range.clone()], &mut out);
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    let out = trim_blank_lines(&out);
    if out.len() <= MAX_BYTES {
        return out.to_owned();
    }
    format!("{}…\n", cut_at(out, MAX_BYTES))
}

/// The first `max_bytes` of `text`, or a little less: no character is torn apart.
fn cut_at(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `text` without blank lines at its beginning, whose first line may be indented code, and without
/// blanks at its end.
fn trim_blank_lines(text: &str) -> &str {
    let first = text.len() - text.trim_start().len();
    let line_start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    text[line_start..].trim_end()
}

/// What follows the YAML between two lines `---` at the beginning, as Hugging Face reads it.
fn without_front_matter(card: &str) -> &str {
    let mut rest = card.trim_start_matches(['\n', ' ', '\t']);
    let Some(first) = next_line(&mut rest).filter(|line| line.trim_end() == "---") else {
        return card;
    };
    debug_assert!(first.starts_with("---"));
    // A rule that begins a text is no front matter.
    let is_yaml = |line: &str| {
        let word = line.trim_start().split([':', ' ']).next().unwrap_or_default();
        line.trim().is_empty()
            || line.starts_with(['#', '-', ' '])
            || (line.contains(':') && !word.is_empty())
    };
    let mut looked_at = rest;
    if !next_line(&mut looked_at).is_some_and(is_yaml) {
        return card;
    }
    while let Some(line) = next_line(&mut rest) {
        if matches!(line.trim_end(), "---" | "...") {
            return rest;
        }
    }
    card
}

/// Takes the first line off `text`.
fn next_line<'a>(text: &mut &'a str) -> Option<&'a str> {
    let whole = *text;
    if whole.is_empty() {
        return None;
    }
    let (line, rest) = whole.split_once('\n').unwrap_or((whole, ""));
    *text = rest;
    Some(line)
}

/// The page's dialect: what it takes for code must be code here.
fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let dialect = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    Parser::new_ext(text, dialect).into_offset_iter()
}

/// Where `text` has raw HTML, in order. An HTML block is one range unless it stands in a quote or
/// a list, whose marks are no part of it.
fn raw_html(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut is_in_block = false;
    for (event, range) in events(text) {
        match event {
            Event::Start(Tag::HtmlBlock) => is_in_block = true,
            Event::End(TagEnd::HtmlBlock) => is_in_block = false,
            Event::Html(_) | Event::InlineHtml(_) => match ranges.last_mut() {
                Some(last) if is_in_block && last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            },
            _ => {}
        }
    }
    ranges
}

/// Makes text of what opens an HTML block that has no end, such as `<!--` without `-->`: the block
/// would hold the rest of the card, code and headings included.
fn close_endless_html(mut text: String) -> String {
    const ENDS: [(&str, &[&str]); 4] =
        [("<!--", &["-->"]), ("<?", &["?>"]), ("<![CDATA[", &["]]>"]), ("<!", &[">"])];
    const VERBATIM_ENDS: [&str; 4] = ["</pre>", "</script>", "</style>", "</textarea>"];
    for _ in 0..MAX_ENDLESS {
        let endless = raw_html(&text).into_iter().find_map(|range| {
            let html = text[range.clone()].to_ascii_lowercase();
            let indent = html.len() - html.trim_start().len();
            let html = html.trim_start();
            let is_verbatim = VERBATIM_ENDS
                .iter()
                .any(|end| html[1..].starts_with(end[2..].trim_end_matches('>')));
            let ends = match ENDS.iter().find(|(start, _)| html.starts_with(&start.to_lowercase()))
            {
                Some((_, ends)) => *ends,
                None if is_verbatim => &VERBATIM_ENDS,
                None => return None,
            };
            // A comment that swallows another one's beginning was never meant to.
            let is_closed = ends.iter().any(|end| {
                html.find(end).is_some_and(|at| {
                    let inside = &html[1..at];
                    !(inside.contains("<!--") && inside.contains("\n\n"))
                })
            });
            (!is_closed).then_some(range.start + indent)
        });
        let Some(at) = endless else { break };
        text.insert(at, '\\');
    }
    text
}

/// Appends `html` to `out` without its known tags and its comments. Backticks protect, as they do
/// in Markdown: what stands in an HTML block is Markdown once its tags are gone.
fn cut_tags(html: &str, out: &mut String) {
    let mut rest = html;
    let mut line_start = out.rfind('\n').map_or(0, |newline| newline + 1);
    // A line that a tag began is not indented code once the tag is gone.
    let mut drops_indent = false;
    let last_comment_end = html.rfind("-->").unwrap_or(0);
    while let Some(at) = rest.find(['<', '`', '\n', ' ', '\t']) {
        let (before, found) = rest.split_at(at);
        if !before.is_empty() {
            drops_indent = false;
        }
        out.push_str(before);
        let taken = match found.as_bytes()[0] {
            // Only where there is an end is it looked for: a search from each beginning to the end
            // of the card would take quadratic time.
            b'<' if found.starts_with("<!--") && html.len() - found.len() > last_comment_end => 1,
            b'<' => match markup(found) {
                Some((length, parts_words)) => {
                    if out[line_start..].trim().is_empty() {
                        out.truncate(line_start);
                        drops_indent = true;
                    } else if parts_words && !out.ends_with(char::is_whitespace) {
                        out.push(' ');
                    }
                    rest = &found[length..];
                    continue;
                }
                None => 1,
            },
            b'`' => code_span(found),
            b' ' | b'\t' if drops_indent => {
                rest = &found[1..];
                continue;
            }
            _ => 1,
        };
        if !found.starts_with([' ', '\t']) {
            drops_indent = false;
        }
        out.push_str(&found[..taken]);
        if found.starts_with('\n') {
            line_start = out.len();
        }
        rest = &found[taken..];
    }
    out.push_str(rest);
}

/// The length of the code span that `text` begins with, or of its backticks where they open none.
fn code_span(text: &str) -> usize {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let mut rest = &text[ticks..];
    while let Some(at) = rest.find('`') {
        let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        if rest[..at].contains("\n\n") {
            break;
        }
        rest = &rest[at + run..];
        if run == ticks {
            return text.len() - rest.len();
        }
    }
    ticks
}

/// The length of the tag or comment that `text` begins with, and whether it parts words. `None`
/// for what is no tag, for a tag that HTML does not know, and for one that goes beyond a blank line.
fn markup(text: &str) -> Option<(usize, bool)> {
    if text.starts_with("<!--") {
        return text.find("-->").map(|at| (at + "-->".len(), false));
    }
    let after = text.strip_prefix("</").or_else(|| text.strip_prefix('<'))?;
    let name_end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
    let name = after[..name_end].to_ascii_lowercase();
    if !TAGS.contains(&&*name) || !after[name_end..].starts_with(['>', '/', ' ', '\t', '\n']) {
        return None;
    }
    let length = tag_end(text)?;
    Some((length, PARTING_TAGS.contains(&&*name)))
}

/// Where the tag ends that `text` begins with: at the first `>` that is not in quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = '\0';
    for (at, c) in text.char_indices().skip(1) {
        match (quote, c) {
            (_, '\n') if before == '\n' => return None,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if before == '=' => quote = Some(c),
            (None, '>') => return Some(at + 1),
            (None, '<') => return None,
            (None, _) => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
