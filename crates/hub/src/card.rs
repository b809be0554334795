//! Prepares model cards as Markdown that is safe to show: without front matter and HTML tags, and of
//! limited length.
//!
//! `pulldown-cmark` finds the raw HTML by the rules of CommonMark, so that code is unchanged and
//! `batch<n` stays text. Only known HTML tags are removed: cards explain `<think>`, `<bos>` and `<s>`.
//! The page shows remaining HTML as text, so that removing tags is for legibility, not for safety.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The longest card that is shown.
const MAX_BYTES: usize = 60_000;
/// The longest part of a card that is read: more than is shown, since front matter and tags are
/// removed.
const MAX_READ_BYTES: usize = 8 * MAX_BYTES;
/// The most unclosed HTML blocks that are repaired; see [`escape_unclosed_html`].
const MAX_UNCLOSED: usize = 16;

/// The removed tags. `s` is not among them: in cards it is the token for the start of a sequence.
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
/// The tags that separate words: each is replaced by a space, or cells and lines would run together.
const SEPARATING_TAGS: [&str; 21] = [
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

/// Removes front matter, HTML tags and comments from a card, except in code.
pub fn sanitise(card: &str) -> String {
    let card = cut_at(card, MAX_READ_BYTES);
    let text = card.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let text = escape_unclosed_html(without_front_matter(&text).to_owned());
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

/// The first `max_bytes` of `text`, or slightly less to end at a character boundary.
fn cut_at(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Removes leading blank lines, but not the indentation of the first line, which may be code, and
/// trailing whitespace.
fn trim_blank_lines(text: &str) -> &str {
    let first = text.len() - text.trim_start().len();
    let line_start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    text[line_start..].trim_end()
}

/// Removes the YAML between two lines `---` at the beginning, by Hugging Face's rules.
fn without_front_matter(card: &str) -> &str {
    let mut rest = card.trim_start_matches(['\n', ' ', '\t']);
    let Some(first) = next_line(&mut rest).filter(|line| line.trim_end() == "---") else {
        return card;
    };
    debug_assert!(first.starts_with("---"));
    // A text may begin with a thematic break instead.
    let is_yaml = |line: &str| {
        let word = line.trim_start().split([':', ' ']).next().unwrap_or_default();
        line.trim().is_empty()
            || line.starts_with(['#', '-', ' '])
            || (line.contains(':') && !word.is_empty())
    };
    let mut lines = rest;
    if !next_line(&mut lines).is_some_and(is_yaml) {
        return card;
    }
    while let Some(line) = next_line(&mut rest) {
        if matches!(line.trim_end(), "---" | "...") {
            return rest;
        }
    }
    card
}

/// Removes the first line from `text` and returns it.
fn next_line<'a>(text: &mut &'a str) -> Option<&'a str> {
    let whole = *text;
    if whole.is_empty() {
        return None;
    }
    let (line, rest) = whole.split_once('\n').unwrap_or((whole, ""));
    *text = rest;
    Some(line)
}

/// Parses with the extensions that the page uses, so that both find the same code.
fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let dialect = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    Parser::new_ext(text, dialect).into_offset_iter()
}

/// The ranges of raw HTML in `text`, in order. An HTML block is one range, unless it is in a quote or
/// list, whose markers are not part of it.
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

/// Escapes the beginning of an HTML block that has no end, such as `<!--` without `-->`: the block
/// would include the rest of the card with its code and headings.
fn escape_unclosed_html(mut text: String) -> String {
    const ENDS: [(&str, &[&str]); 4] =
        [("<!--", &["-->"]), ("<?", &["?>"]), ("<![CDATA[", &["]]>"]), ("<!", &[">"])];
    const VERBATIM_ENDS: [&str; 4] = ["</pre>", "</script>", "</style>", "</textarea>"];
    for _ in 0..MAX_UNCLOSED {
        let unclosed = raw_html(&text).into_iter().find_map(|range| {
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
            // A comment that contains another one's beginning lacks its own end.
            let is_closed = ends.iter().any(|end| {
                html.find(end).is_some_and(|at| {
                    let inside = &html[1..at];
                    !(inside.contains("<!--") && inside.contains("\n\n"))
                })
            });
            (!is_closed).then_some(range.start + indent)
        });
        let Some(at) = unclosed else { break };
        text.insert(at, '\\');
    }
    text
}

/// Appends `html` to `out` without known tags and comments. Keeps code spans, because the content of an
/// HTML block is Markdown once its tags are removed.
fn cut_tags(html: &str, out: &mut String) {
    let mut rest = html;
    let mut line_start = out.rfind('\n').map_or(0, |newline| newline + 1);
    // A line that began with a tag must not become indented code.
    let mut drops_indent = false;
    let last_comment_end = html.rfind("-->").unwrap_or(0);
    while let Some(at) = rest.find(['<', '`', '\n', ' ', '\t']) {
        let (before, found) = rest.split_at(at);
        if !before.is_empty() {
            drops_indent = false;
        }
        out.push_str(before);
        let taken = match found.as_bytes()[0] {
            // After the last end of a comment, none is searched for: searching to the end of the card
            // for each beginning would take quadratic time.
            b'<' if found.starts_with("<!--") && html.len() - found.len() > last_comment_end => 1,
            b'<' => match markup(found) {
                Some((length, separates_words)) => {
                    if out[line_start..].trim().is_empty() {
                        out.truncate(line_start);
                        drops_indent = true;
                    } else if separates_words && !out.ends_with(char::is_whitespace) {
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

/// The length of the code span at the beginning of `text`, or of its backticks if they open none.
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

/// The length of the tag or comment at the beginning of `text`, and whether it separates words. `None`
/// for unknown tags, for tags that contain a blank line, and for other text.
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
    Some((length, SEPARATING_TAGS.contains(&&*name)))
}

/// The end of the tag at the beginning of `text`: the first `>` outside quotes.
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
