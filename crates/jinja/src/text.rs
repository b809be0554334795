//! Strings that track which of their bytes come from which message.

use std::ops::Range;
use std::rc::Rc;

use crate::Error;
use crate::limits::{Budget, Charge};

/// The mark of bytes that come from a message: the message's index.
pub(crate) type Mark = u32;

/// A byte range that comes from one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) mark: Mark,
}

/// An immutable string with marks; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Text(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    /// Sorted, not overlapping, not empty.
    spans: Vec<Span>,
    is_ascii: bool,
    /// Whether it is jinja2's `Markup`: already escaped for HTML.
    is_markup: bool,
    _charge: Charge,
}

/// Accounted overhead per string, in bytes.
const OVERHEAD: usize = 128;

impl Text {
    fn build(mut text: String, mut spans: Vec<Span>, is_markup: bool) -> Self {
        if text.capacity() > 2 * text.len() {
            text.shrink_to_fit();
        }
        spans.shrink_to_fit();
        let bytes = OVERHEAD + text.capacity() + spans.capacity() * size_of::<Span>();
        let is_ascii = text.is_ascii();
        let charge = Charge::new(bytes);
        Self(Rc::new(Inner { text, spans, is_ascii, is_markup, _charge: charge }))
    }

    /// A string without marks, such as a literal of the template.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::build(text.into(), Vec::new(), false)
    }

    /// A string that comes entirely from a message.
    pub(crate) fn marked(text: impl Into<String>, mark: Option<Mark>) -> Self {
        let text = text.into();
        let spans = mark.and_then(|mark| whole(&text, mark)).into_iter().collect();
        Self::build(text, spans, false)
    }

    /// A string derived from `sources` without a byte-wise mapping: if any of them has a mark, the
    /// whole string gets the first one.
    pub(crate) fn mixed(text: impl Into<String>, sources: &[&Text]) -> Self {
        Self::marked(text, sources.iter().find_map(|source| source.first_mark()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn len(&self) -> usize {
        self.0.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.text.is_empty()
    }

    pub(crate) fn is_markup(&self) -> bool {
        self.0.is_markup
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The same string, as `Markup` or not.
    pub(crate) fn with_markup(&self, is_markup: bool) -> Self {
        if self.is_markup() == is_markup {
            return self.clone();
        }
        Self::build(self.0.text.clone(), self.0.spans.clone(), is_markup)
    }

    pub(crate) fn first_mark(&self) -> Option<Mark> {
        self.0.spans.first().map(|span| span.mark)
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.0.spans
    }

    /// The number of characters.
    pub(crate) fn n_chars(&self) -> usize {
        if self.0.is_ascii { self.len() } else { self.as_str().chars().count() }
    }

    /// The byte offset of the character with index `n`; the length if there are fewer.
    pub(crate) fn byte_of_char(&self, n: usize) -> usize {
        if self.0.is_ascii {
            return n.min(self.len());
        }
        self.as_str().char_indices().nth(n).map_or(self.len(), |(byte, _)| byte)
    }

    /// The index of the character at byte offset `byte`.
    pub(crate) fn char_of_byte(&self, byte: usize) -> usize {
        if self.0.is_ascii { byte } else { self.as_str()[..byte].chars().count() }
    }

    /// The substring at `range`, in bytes.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        if range == (0..self.len()) {
            return self.clone();
        }
        let text = self.as_str()[range.clone()].to_owned();
        let mut spans = Vec::new();
        clip(&self.0.spans, &range, 0, &mut spans);
        Self::build(text, spans, self.is_markup())
    }

    /// Splits into parts with one mark each.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&str, Option<Mark>)> {
        let text = self.as_str();
        let mut at = 0;
        let mut spans = self.0.spans.iter().peekable();
        std::iter::from_fn(move || {
            let (end, mark) = match spans.peek() {
                Some(span) if at == span.start as usize => {
                    let found = (span.end as usize, Some(span.mark));
                    spans.next();
                    found
                }
                Some(span) => (span.start as usize, None),
                None if at < text.len() => (text.len(), None),
                None => return None,
            };
            let part = &text[at..end];
            at = end;
            Some((part, mark))
        })
    }

    /// The characters with their marks.
    pub(crate) fn chars(&self) -> impl Iterator<Item = (char, Option<Mark>)> {
        self.segments().flat_map(|(part, mark)| part.chars().map(move |c| (c, mark)))
    }

    /// Applies `change` to each part, keeping its mark.
    pub(crate) fn map(
        &self,
        budget: &Budget<'_>,
        mut change: impl FnMut(&str) -> String,
    ) -> Result<Self, Error> {
        budget.check_value(self.len())?;
        let mut changed = TextBuf::new(budget);
        for (part, mark) in self.segments() {
            changed.push_str(&change(part), mark)?;
        }
        Ok(changed.finish_markup(self.is_markup()))
    }
}

fn whole(text: &str, mark: Mark) -> Option<Span> {
    let end = u32::try_from(text.len()).ok().filter(|end| *end > 0)?;
    Some(Span { start: 0, end, mark })
}

/// Appends to `found` the parts of `spans` inside `range`, shifted so that the range starts at
/// `at`.
fn clip(spans: &[Span], range: &Range<usize>, at: usize, found: &mut Vec<Span>) {
    let first = spans.partition_point(|span| span.end as usize <= range.start);
    for span in &spans[first..] {
        if span.start as usize >= range.end {
            break;
        }
        let start = (span.start as usize).max(range.start) - range.start + at;
        let end = (span.end as usize).min(range.end) - range.start + at;
        // No overflow: values are limited to far less than 4 GiB.
        push_span(found, Span { start: start as u32, end: end as u32, mark: span.mark });
    }
}

/// Appends a span, merging it with the last one if they are adjacent.
fn push_span(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.end == span.start && last.mark == span.mark => last.end = span.end,
        _ => spans.push(span),
    }
}

/// A growing string that is accounted in the budget.
pub(crate) struct TextBuf<'a> {
    budget: &'a Budget<'a>,
    text: String,
    spans: Vec<Span>,
    charge: Charge,
    charged: usize,
}

impl<'a> TextBuf<'a> {
    pub(crate) fn new(budget: &'a Budget<'a>) -> Self {
        let charge = Charge::new(0);
        Self { budget, text: String::new(), spans: Vec::new(), charge, charged: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Reserves `more` bytes.
    fn grow(&mut self, more: usize) -> Result<(), Error> {
        let needed = self.text.len().saturating_add(more);
        if needed > self.text.capacity() || self.spans.len() == self.spans.capacity() {
            // `reserve` may double the capacity.
            self.budget.check_value(needed.saturating_add(self.text.len()))?;
            self.text.reserve(more);
            self.spans.reserve(4);
        }
        let held = self.text.capacity() + self.spans.capacity() * size_of::<Span>();
        if held != self.charged {
            self.charge.resize(held);
            self.charged = held;
        }
        self.budget.tick(1 + more / 64)
    }

    pub(crate) fn push_str(&mut self, text: &str, mark: Option<Mark>) -> Result<(), Error> {
        self.grow(text.len())?;
        if let Some(mark) = mark
            && !text.is_empty()
        {
            let start = self.text.len();
            let end = (start + text.len()) as u32;
            push_span(&mut self.spans, Span { start: start as u32, end, mark });
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn push_char(&mut self, c: char, mark: Option<Mark>) -> Result<(), Error> {
        self.push_str(c.encode_utf8(&mut [0; 4]), mark)
    }

    /// Appends `text` `n` times, unmarked.
    pub(crate) fn push_repeated(&mut self, text: &str, n: usize) -> Result<(), Error> {
        self.budget.check_value(text.len().saturating_mul(n))?;
        self.grow(text.len() * n)?;
        self.text.extend(std::iter::repeat_n(text, n));
        Ok(())
    }

    pub(crate) fn push(&mut self, text: &Text) -> Result<(), Error> {
        self.push_slice(text, 0..text.len())
    }

    /// Appends the substring of `text` at `range`, in bytes.
    pub(crate) fn push_slice(&mut self, text: &Text, range: Range<usize>) -> Result<(), Error> {
        self.grow(range.len())?;
        if !text.spans().is_empty() {
            self.budget.tick(text.spans().len())?;
            clip(text.spans(), &range, self.text.len(), &mut self.spans);
        }
        self.text.push_str(&text.as_str()[range]);
        Ok(())
    }

    pub(crate) fn finish(self) -> Text {
        Text::build(self.text, self.spans, false)
    }

    pub(crate) fn finish_markup(self, is_markup: bool) -> Text {
        Text::build(self.text, self.spans, is_markup)
    }

    /// Returns the text and its marks.
    pub(crate) fn into_parts(self) -> (String, Vec<Span>) {
        (self.text, self.spans)
    }
}
