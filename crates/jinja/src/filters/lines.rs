//! Filters that indent, truncate and wrap text.

use std::ops::Range;

use crate::Error;
use crate::args::CallArgs;
use crate::context::Context;
use crate::iterate;
use crate::limits::Budget;
use crate::methods::lines;
use crate::ops;
use crate::repr;
use crate::text::{Mark, Text, TextBuf};
use crate::value::Value;

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "indent" => {
            let [width, first, blank] = args.bind(name, ["width", "first", "blank"], 0)?;
            let Value::Str(text) = value else {
                let is_list = matches!(value, Value::List(_));
                return Err(if is_list { without_lines(value) } else { not_text(value) });
            };
            let indention = match width {
                Some(Value::Str(indention)) => indention,
                width => {
                    let n = width.map_or(Ok(4), |width| ops::size(&width))?;
                    budget.check_value(n)?;
                    Text::plain(" ".repeat(n))
                }
            };
            let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
            indent(budget, text, &indention, is_true(first), is_true(blank)).map(Value::Str)
        }
        "truncate" => {
            let names = ["length", "killwords", "end", "leeway"];
            let [length, killwords, end, leeway] = args.bind(name, names, 0)?;
            let length = length.map_or(Ok(255), |length| ops::size(&length))?;
            let leeway = match leeway {
                None | Some(Value::None) => 5,
                Some(leeway) => ops::size(&leeway)?,
            };
            let end = match end {
                Some(end) => repr::text(budget, &end)?,
                None => Text::plain("..."),
            };
            if length < end.n_chars() {
                let what = format!("expected length >= {}, got {length}", end.n_chars());
                return Err(Error::runtime("AssertionError", what));
            }
            if iterate::length(value)? <= length.saturating_add(leeway) {
                return Ok(value.clone());
            }
            let Value::Str(text) = value else { return Err(not_text(value)) };
            let mut cut = text.slice(0..text.byte_of_char(length - end.n_chars()));
            if !killwords.is_some_and(|killwords| killwords.is_true())
                && let Some(space) = cut.as_str().rfind(' ')
            {
                cut = cut.slice(0..space);
            }
            ops::add_texts(budget, &cut, &end).map(Value::Str)
        }
        _ => {
            let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
            let [width, breaks_words, wrap, on_hyphens] = args.bind(name, names, 0)?;
            let Value::Str(text) = value else { return Err(without_lines(value)) };
            let width = width.map_or(Ok(79), |width| ops::size(&width))?;
            if width == 0 {
                return Err(Error::value_error("invalid width 0 (must be > 0)"));
            }
            let wrap = match wrap {
                None | Some(Value::None) => Text::plain("\n"),
                Some(wrap) => repr::text(budget, &wrap)?,
            };
            let wrapper = Wrapper {
                budget,
                width,
                breaks_words: breaks_words.is_none_or(|breaks| breaks.is_true()),
                on_hyphens: on_hyphens.is_none_or(|breaks| breaks.is_true()),
            };
            wrapper.wrap(text, &wrap).map(Value::Str)
        }
    }
}

fn not_text(value: &Value) -> Error {
    match value {
        Value::Undefined(undefined) => undefined.error(),
        _ => Error::type_error(format!("expected str, got {}", value.type_name())),
    }
}

fn without_lines(value: &Value) -> Error {
    match value {
        Value::Undefined(undefined) => undefined.error(),
        _ => {
            let what = format!("'{}' object has no attribute 'splitlines'", value.type_name());
            Error::runtime("AttributeError", what)
        }
    }
}

fn indent(
    budget: &Budget<'_>,
    text: &Text,
    indention: &Text,
    first: bool,
    blank: bool,
) -> Result<Text, Error> {
    let mut with_end = TextBuf::new(budget);
    with_end.push(text)?;
    with_end.push_str("\n", None)?;
    let lines = lines(budget, &with_end.finish(), false)?;
    let mut out = TextBuf::new(budget);
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str("\n", None)?;
        }
        let is_indented = if at == 0 { first } else { blank || !line.is_empty() };
        if is_indented {
            out.push(indention)?;
        }
        out.push(line)?;
    }
    Ok(out.finish_markup(text.is_markup()))
}

/// Python's `textwrap.TextWrapper`, with jinja2's settings.
struct Wrapper<'b> {
    budget: &'b Budget<'b>,
    width: usize,
    breaks_words: bool,
    on_hyphens: bool,
}

type Chars = [(char, Option<Mark>)];

impl Wrapper<'_> {
    fn wrap(&self, text: &Text, wrap: &Text) -> Result<Text, Error> {
        let mut out = TextBuf::new(self.budget);
        let mut is_first_line = true;
        for line in lines(self.budget, text, false)? {
            if !is_first_line {
                out.push(wrap)?;
            }
            is_first_line = false;
            self.budget.check_value(line.len().saturating_mul(16))?;
            let chars: Vec<_> = line.chars().collect();
            for (at, part) in self.lines(&chars)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(wrap)?;
                }
                for (c, mark) in part.into_iter().flat_map(|chunk| &chars[chunk]) {
                    out.push_char(*c, *mark)?;
                }
            }
        }
        Ok(out.finish())
    }

    /// Distributes the chunks over lines.
    fn lines(&self, chars: &Chars) -> Result<Vec<Vec<Range<usize>>>, Error> {
        let mut chunks = self.chunks(chars)?;
        chunks.reverse();
        let is_blank = |chunk: &Range<usize>| {
            chars[chunk.clone()].iter().all(|(c, _)| crate::unicode::is_space(*c))
        };
        let mut lines: Vec<Vec<Range<usize>>> = Vec::new();
        while let Some(last) = chunks.last() {
            self.budget.tick(1)?;
            if !lines.is_empty() && is_blank(last) {
                chunks.pop();
            }
            let mut line: Vec<Range<usize>> = Vec::new();
            let mut length = 0;
            while let Some(chunk) = chunks.last()
                && chunk.len() <= self.width - length
            {
                length += chunk.len();
                line.extend(chunks.pop());
                self.budget.tick(1)?;
            }
            if let Some(chunk) = chunks.last().cloned()
                && chunk.len() > self.width
            {
                if self.breaks_words {
                    // Even if it is empty: otherwise the white space before it would be dropped.
                    let cut = self.cut(chars, &chunk, self.width - length);
                    line.push(chunk.start..cut);
                    chunks.pop();
                    chunks.push(cut..chunk.end);
                } else if line.is_empty() {
                    line.extend(chunks.pop());
                }
            }
            if line.last().is_some_and(is_blank) {
                line.pop();
            }
            if !line.is_empty() {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// The position at which to split a chunk that is too long, after at most `space` characters.
    fn cut(&self, chars: &Chars, chunk: &Range<usize>, space: usize) -> usize {
        let end = (chunk.start + space).min(chunk.end);
        if self.on_hyphens && chunk.len() > space {
            let part = &chars[chunk.start..end];
            if let Some(hyphen) = part.iter().rposition(|(c, _)| *c == '-')
                && hyphen > 0
                && part[..hyphen].iter().any(|(c, _)| *c != '-')
            {
                return chunk.start + hyphen + 1;
            }
        }
        end
    }

    /// Splits into chunks, between which lines may be broken.
    fn chunks(&self, chars: &Chars) -> Result<Vec<Range<usize>>, Error> {
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < chars.len() {
            let end = self.chunk_end(chars, start)?;
            chunks.push(start..end);
            start = end;
        }
        Ok(chunks)
    }

    fn chunk_end(&self, chars: &Chars, start: usize) -> Result<usize, Error> {
        let at = |idx: usize| chars.get(idx).map(|(c, _)| *c);
        let is_space = |idx: usize| at(idx).is_some_and(|c| " \t\n\r\x0b\x0c".contains(c));
        let run = |from: usize, test: &dyn Fn(usize) -> bool| {
            (from..chars.len()).find(|idx| !test(*idx)).unwrap_or(chars.len())
        };
        self.budget.tick(1)?;
        if is_space(start) {
            return Ok(run(start, &is_space));
        }
        if !self.on_hyphens {
            let end = run(start, &|idx| !is_space(idx));
            self.budget.tick(end - start)?;
            return Ok(end);
        }
        let is_word = |idx: usize| at(idx).is_some_and(|c| c.is_alphanumeric() || c == '_');
        let is_letter = |idx: usize| {
            at(idx).is_some_and(|c| (c.is_alphanumeric() || c == '_') && !c.is_numeric())
        };
        let is_word_end =
            |idx: usize| is_word(idx) || at(idx).is_some_and(|c| "!\"'&.,?".contains(c));
        let is_hyphen = |idx: usize| at(idx) == Some('-');
        // A dash: two hyphens or more between words.
        let dash_end = |from: usize| {
            let end = run(from, &is_hyphen);
            (from > 0 && is_word_end(from - 1) && end >= from + 2 && is_word(end)).then_some(end)
        };
        if let Some(end) = dash_end(start) {
            return Ok(end);
        }
        let mut end = start + 1;
        loop {
            self.budget.tick(1)?;
            if is_hyphen(end) {
                let two = end >= 2 && is_letter(end - 1) && is_letter(end - 2);
                let one =
                    end >= 3 && is_letter(end - 1) && is_hyphen(end - 2) && is_letter(end - 3);
                let next = end + 1;
                let goes_on = is_letter(next)
                    && (is_letter(next + 1) || (is_hyphen(next + 1) && is_letter(next + 2)));
                if (two || one) && goes_on {
                    return Ok(next);
                }
                if dash_end(end).is_some() {
                    return Ok(end);
                }
            }
            if end >= chars.len() || is_space(end) {
                return Ok(end.min(chars.len()));
            }
            end += 1;
        }
    }
}
