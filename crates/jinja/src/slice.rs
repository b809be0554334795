//! Evaluates `value[start:stop:step]`.

use std::rc::Rc;

use crate::Error;
use crate::iterate;
use crate::limits::Budget;
use crate::text::TextBuf;
use crate::value::{Range, Seq, Value, check_values};

/// The resolved bounds of a slice.
pub(crate) struct Bounds {
    pub(crate) start: i128,
    pub(crate) step: i128,
    pub(crate) len: usize,
}

/// Resolves slice bounds for a sequence of `n` items by Python's rules.
pub(crate) fn bounds(
    n: usize,
    start: Option<i128>,
    stop: Option<i128>,
    step: Option<i128>,
) -> Result<Bounds, Error> {
    let n = n as i128;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::value_error("slice step cannot be zero"));
    }
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let clamp = |bound: i128| {
        let bound = if bound < 0 { bound.saturating_add(n) } else { bound };
        bound.clamp(low, high)
    };
    let start = start.map_or(if step > 0 { low } else { high }, clamp);
    let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
    let len = Range { start, stop, step }.len();
    Ok(Bounds { start, step, len })
}

/// Evaluates `value[start:stop:step]`.
pub(crate) fn slice(
    budget: &Budget<'_>,
    value: &Value,
    bounds_given: [Option<Value>; 3],
) -> Result<Value, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    let not_sliced = || {
        let name = value.type_name();
        Error::type_error(format!("'{name}' object is not subscriptable"))
    };
    if !matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_)) {
        return Err(not_sliced());
    }
    let mut numbers = [None; 3];
    for (number, given) in numbers.iter_mut().zip(bounds_given) {
        *number = match given {
            None | Some(Value::None) => None,
            Some(given) => Some(given.as_index().ok_or_else(|| {
                Error::type_error(
                    "slice indices must be integers or None or have an __index__ method",
                )
            })?),
        };
    }
    let n = iterate::length(value)?;
    let [start, stop, step] = numbers;
    let bounds = bounds(n, start, stop, step)?;
    let at = |idx: usize| {
        // Never negative, because the bounds lie within the value.
        usize::try_from(bounds.start + bounds.step * idx as i128).unwrap_or(0)
    };
    budget.tick(bounds.len / 8)?;
    match value {
        Value::Str(text) if bounds.step == 1 => {
            budget.tick(text.len() / 64)?;
            let start = text.byte_of_char(at(0));
            let end = text.byte_of_char(at(0) + bounds.len).max(start);
            Ok(Value::Str(text.slice(start..end)))
        }
        Value::Str(text) => {
            budget.check_value(text.len() * 4)?;
            let characters: Vec<_> = text.chars().collect();
            let mut out = TextBuf::new(budget);
            for idx in 0..bounds.len {
                let (c, mark) = characters[at(idx)];
                out.push_char(c, mark)?;
            }
            Ok(Value::Str(out.finish_markup(text.is_markup())))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            check_values(budget, bounds.len)?;
            let items = (0..bounds.len).map(|idx| seq.items[at(idx)].clone()).collect();
            let items = Seq::new(budget, items)?;
            Ok(match value {
                Value::List(_) => Value::List(items),
                _ => Value::Tuple(items),
            })
        }
        Value::Range(range) => {
            let begin = range.start.saturating_add(range.step.saturating_mul(bounds.start));
            let step = range.step.saturating_mul(bounds.step);
            let stop = begin.saturating_add(step.saturating_mul(bounds.len as i128));
            Ok(Value::Range(Rc::new(Range { start: begin, stop, step })))
        }
        _ => Err(not_sliced()),
    }
}
