//! String splitting; the parts keep their marks.

use crate::Error;
use crate::limits::Budget;
use crate::text::Text;
use crate::unicode::is_space;
use crate::value::Value;

use super::arguments::{limit, string};

/// Implements `split` and `rsplit`.
pub(super) fn split(
    budget: &Budget<'_>,
    text: &Text,
    separator: Option<Value>,
    max: Option<Value>,
    from_end: bool,
) -> Result<Vec<Value>, Error> {
    let max = limit(max)?;
    let separator = match separator {
        None | Some(Value::None) => None,
        separator => Some(string(separator, "split")?),
    };
    let mut ranges = match &separator {
        Some(separator) if separator.is_empty() => {
            return Err(Error::value_error("empty separator"));
        }
        Some(separator) => by_text(budget, text.as_str(), separator.as_str(), max, from_end)?,
        None if from_end => words_from_end(budget, text.as_str(), max)?,
        None => words(budget, text.as_str(), max)?,
    };
    if from_end {
        ranges.reverse();
    }
    let mut parts = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        budget.tick(1)?;
        parts.push(Value::Str(text.slice(start..end)));
    }
    Ok(parts)
}

type Ranges = Vec<(usize, usize)>;

/// The memory of one part as a string in a list.
const PART_BYTES: usize = 192;

/// Adds a part, after checking that all parts may become strings.
fn push(budget: &Budget<'_>, ranges: &mut Ranges, range: (usize, usize)) -> Result<(), Error> {
    if ranges.len() == ranges.capacity() {
        budget.check_live(ranges.len().saturating_mul(PART_BYTES))?;
    }
    ranges.push(range);
    budget.tick(1)
}

fn by_text(
    budget: &Budget<'_>,
    text: &str,
    separator: &str,
    max: usize,
    from_end: bool,
) -> Result<Ranges, Error> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, text.len());
    while ranges.len() < max {
        budget.tick(1)?;
        let rest = &text[start..end];
        let found = if from_end { rest.rfind(separator) } else { rest.find(separator) };
        let Some(found) = found else { break };
        let at = start + found;
        if from_end {
            push(budget, &mut ranges, (at + separator.len(), end))?;
            end = at;
        } else {
            push(budget, &mut ranges, (start, at))?;
            start = at + separator.len();
        }
    }
    push(budget, &mut ranges, (start, end))?;
    Ok(ranges)
}

fn words(budget: &Budget<'_>, text: &str, max: usize) -> Result<Ranges, Error> {
    let mut ranges = Vec::new();
    let mut start = 0;
    loop {
        budget.tick(1)?;
        let rest = text[start..].trim_start_matches(is_space);
        start = text.len() - rest.len();
        if rest.is_empty() {
            return Ok(ranges);
        }
        if ranges.len() == max {
            push(budget, &mut ranges, (start, text.len()))?;
            return Ok(ranges);
        }
        let end = start + rest.find(is_space).unwrap_or(rest.len());
        push(budget, &mut ranges, (start, end))?;
        start = end;
    }
}

fn words_from_end(budget: &Budget<'_>, text: &str, max: usize) -> Result<Ranges, Error> {
    let mut ranges = Vec::new();
    let mut end = text.len();
    loop {
        budget.tick(1)?;
        let rest = text[..end].trim_end_matches(is_space);
        end = rest.len();
        if rest.is_empty() {
            return Ok(ranges);
        }
        if ranges.len() == max {
            push(budget, &mut ranges, (0, end))?;
            return Ok(ranges);
        }
        let last = rest.char_indices().rfind(|(_, c)| is_space(*c));
        let start = last.map_or(0, |(at, c)| at + c.len_utf8());
        push(budget, &mut ranges, (start, end))?;
        end = start;
    }
}

/// Implements `splitlines`.
pub(crate) fn lines(
    budget: &Budget<'_>,
    text: &Text,
    keeps_ends: bool,
) -> Result<Vec<Text>, Error> {
    let all = text.as_str();
    let mut lines = Vec::new();
    let mut start = 0;
    while start < all.len() {
        budget.tick(1)?;
        let end = all[start..].find(is_line_end).map_or(all.len(), |at| start + at);
        let next = match all[end..].chars().next() {
            Some('\r') if all[end..].starts_with("\r\n") => end + 2,
            Some(c) => end + c.len_utf8(),
            None => end,
        };
        lines.push(text.slice(start..if keeps_ends { next } else { end }));
        start = next;
    }
    Ok(lines)
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Implements `partition` and `rpartition`.
pub(super) fn partition(
    text: &Text,
    separator: &Text,
    from_end: bool,
) -> Result<Vec<Value>, Error> {
    if separator.is_empty() {
        return Err(Error::value_error("empty separator"));
    }
    let all = text.as_str();
    let found = if from_end { all.rfind(separator.as_str()) } else { all.find(separator.as_str()) };
    let (head, tail) = match found {
        Some(at) => (0..at, at + separator.len()..all.len()),
        None if from_end => (0..0, 0..all.len()),
        None => (0..all.len(), all.len()..all.len()),
    };
    let middle = if found.is_some() { head.end..tail.start } else { 0..0 };
    Ok([head, middle, tail].map(|range| Value::Str(text.slice(range))).to_vec())
}
