//! String search. Offsets are in characters.

use crate::Error;
use crate::args::CallArgs;
use crate::limits::Budget;
use crate::slice::bounds;
use crate::text::Text;
use crate::value::Value;

use super::arguments::string;

/// Converts slice offsets in characters to a byte range; `None` if the start is beyond the end.
fn range(
    text: &Text,
    start: Option<Value>,
    end: Option<Value>,
) -> Result<Option<std::ops::Range<usize>>, Error> {
    let offset = |value: Option<Value>| match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => value.as_index().map(Some).ok_or_else(|| {
            Error::type_error("slice indices must be integers or None or have an __index__ method")
        }),
    };
    let (start, end) = (offset(start)?, offset(end)?);
    let n = text.n_chars();
    if start.is_some_and(|start| start > n as i128) {
        return Ok(None);
    }
    let bounds = bounds(n, start, end, None)?;
    let first = usize::try_from(bounds.start).unwrap_or(0);
    let from = text.byte_of_char(first);
    Ok(Some(from..text.byte_of_char(first + bounds.len).max(from)))
}

/// Implements `find`, `rfind`, `index`, `rindex` and `count`.
pub(super) fn search(
    budget: &Budget<'_>,
    text: &Text,
    name: &str,
    args: CallArgs,
) -> Result<Value, Error> {
    let [sub, start, end] = args.bind(name, ["sub", "start", "end"], 1)?;
    let sub = string(sub, name)?;
    let range = range(text, start, end)?;
    budget.tick(1 + text.len() / 64)?;
    if name == "count" {
        let Some(range) = range else { return Ok(Value::Int(0)) };
        let part = &text.as_str()[range];
        let n = if sub.is_empty() {
            part.chars().count() + 1
        } else {
            part.matches(sub.as_str()).count()
        };
        return Ok(Value::Int(n as i128));
    }
    let found = range.and_then(|range| {
        let part = &text.as_str()[range.clone()];
        let at =
            if name.starts_with('r') { part.rfind(sub.as_str()) } else { part.find(sub.as_str()) };
        at.map(|at| text.char_of_byte(range.start + at))
    });
    match found {
        Some(at) => Ok(Value::Int(at as i128)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(Error::value_error("substring not found")),
    }
}

/// Implements `startswith` and `endswith`, for one string or any of a tuple.
pub(super) fn has_affix(
    budget: &Budget<'_>,
    text: &Text,
    name: &str,
    args: CallArgs,
) -> Result<Value, Error> {
    let [affix, start, end] = args.bind(name, ["prefix", "start", "end"], 1)?;
    let affixes = match affix {
        Some(Value::Tuple(seq)) => seq.items.clone(),
        Some(affix) => vec![affix],
        None => Vec::new(),
    };
    let range = range(text, start, end)?;
    for affix in affixes {
        budget.tick(1)?;
        let Value::Str(affix) = affix else {
            return Err(Error::type_error(format!(
                "{name} first arg must be str or a tuple of str, not {}",
                affix.type_name()
            )));
        };
        let Some(range) = range.clone() else { continue };
        let part = &text.as_str()[range];
        let has = if name == "startswith" {
            part.starts_with(affix.as_str())
        } else {
            part.ends_with(affix.as_str())
        };
        if has {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
