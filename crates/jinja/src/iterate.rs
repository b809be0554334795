//! Iteration over values, and their lengths.

use std::rc::Rc;

use crate::Error;
use crate::limits::Budget;
use crate::text::Text;
use crate::value::{Range, Seq, Value, View, check_values};

/// The items that a `for` loop over `value` visits.
pub(crate) fn items(budget: &Budget<'_>, value: &Value) -> Result<Rc<Seq>, Error> {
    match value {
        Value::List(seq) | Value::Tuple(seq) => Ok(seq.clone()),
        Value::Iter(iter) => iter.rest(budget),
        Value::Loop(state) => {
            // Iterating over `loop` yields the remaining items.
            let at = (state.idx.get() + 1).min(state.items.items.len());
            Seq::new(budget, state.items.items[at..].to_vec())
        }
        _ => Seq::new(budget, to_vec(budget, value)?),
    }
}

fn to_vec(budget: &Budget<'_>, value: &Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Undefined(_) => Ok(Vec::new()),
        Value::Str(text) => characters(budget, text),
        Value::Dict(dict) | Value::View(View::Keys, dict) => {
            check_values(budget, dict.len())?;
            budget.tick(dict.len())?;
            Ok(dict.entries().iter().map(|(key, _)| key.clone()).collect())
        }
        Value::View(View::Values, dict) => {
            check_values(budget, dict.len())?;
            budget.tick(dict.len())?;
            Ok(dict.entries().iter().map(|(_, value)| value.clone()).collect())
        }
        Value::View(View::Items, dict) => {
            check_values(budget, dict.len())?;
            let mut items = Vec::with_capacity(dict.len());
            for (key, value) in dict.entries() {
                budget.tick(1)?;
                items.push(pair(budget, key.clone(), value.clone())?);
            }
            Ok(items)
        }
        Value::Range(range) => range_items(budget, range),
        _ => Err(Error::type_error(format!("'{}' object is not iterable", value.type_name()))),
    }
}

pub(crate) fn pair(budget: &Budget<'_>, first: Value, second: Value) -> Result<Value, Error> {
    Ok(Value::Tuple(Seq::new(budget, vec![first, second])?))
}

fn characters(budget: &Budget<'_>, text: &Text) -> Result<Vec<Value>, Error> {
    check_values(budget, text.n_chars())?;
    let mut items = Vec::with_capacity(text.n_chars());
    let mut buffer = [0; 4];
    for (c, mark) in text.chars() {
        budget.tick(1)?;
        items.push(Value::Str(Text::marked(&*c.encode_utf8(&mut buffer), mark)));
    }
    Ok(items)
}

fn range_items(budget: &Budget<'_>, range: &Range) -> Result<Vec<Value>, Error> {
    check_values(budget, range.len())?;
    budget.tick(range.len())?;
    Ok((0..range.len()).map(|idx| range.get(idx)).collect())
}

/// Python's `len`.
pub(crate) fn length(value: &Value) -> Result<usize, Error> {
    match value {
        Value::Undefined(_) => Ok(0),
        Value::Str(text) => Ok(text.n_chars()),
        Value::List(seq) | Value::Tuple(seq) => Ok(seq.items.len()),
        Value::Dict(dict) | Value::View(_, dict) => Ok(dict.len()),
        Value::Range(range) => Ok(range.len()),
        Value::Loop(state) => Ok(state.items.items.len()),
        _ => Err(Error::type_error(format!("object of type '{}' has no len()", value.type_name()))),
    }
}

/// Whether `iter(value)` works.
pub(crate) fn is_iterable(value: &Value) -> bool {
    matches!(
        value,
        Value::Undefined(_)
            | Value::Str(_)
            | Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::View(..)
            | Value::Range(_)
            | Value::Iter(_)
            | Value::Loop(_)
    )
}
