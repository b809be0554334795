//! Filters on sequences.

use std::hash::{BuildHasher, RandomState};

use crate::Error;
use crate::args::CallArgs;
use crate::context::Context;
use crate::iterate;
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::{Iter, Seq, Value, View, check_values};

use super::select::Getter;

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "count" | "length" => {
            args.expect_none(name)?;
            Ok(Value::Int(iterate::length(value)? as i128))
        }
        "list" => {
            args.expect_none(name)?;
            Ok(Value::List(iterate::items(budget, value)?))
        }
        "first" => {
            args.expect_none(name)?;
            let first = match value {
                Value::Iter(iter) => iter.next()?,
                Value::Str(text) => {
                    let len = text.as_str().chars().next().map(char::len_utf8);
                    len.map(|len| Value::Str(text.slice(0..len)))
                }
                _ => iterate::items(budget, value)?.items.first().cloned(),
            };
            Ok(first.unwrap_or_else(|| Value::hint("No first item, sequence was empty.")))
        }
        "last" => {
            args.expect_none(name)?;
            if matches!(value, Value::Iter(_) | Value::Loop(_)) {
                return Err(not_reversible(value));
            }
            let last = iterate::items(budget, value)
                .map_err(|error| if error.is_final() { error } else { not_reversible(value) })?;
            let last = last.items.last().cloned();
            Ok(last.unwrap_or_else(|| Value::hint("No last item, sequence was empty.")))
        }
        "random" => {
            args.expect_none(name)?;
            let items = iterate::items(budget, value)?;
            let n = items.items.len().max(1) as u64;
            let idx = RandomState::new().hash_one(n) % n;
            let item = items.items.get(idx as usize).cloned();
            Ok(item.unwrap_or_else(|| Value::hint("No random item, sequence was empty.")))
        }
        "reverse" => {
            args.expect_none(name)?;
            if let Value::Str(text) = value {
                let mut out = TextBuf::new(budget);
                budget.check_value(text.len().saturating_mul(8))?;
                let chars: Vec<_> = text.chars().collect();
                for (c, mark) in chars.into_iter().rev() {
                    out.push_char(c, mark)?;
                }
                return Ok(Value::Str(out.finish_markup(text.is_markup())));
            }
            let items = iterate::items(budget, value).map_err(|error| match error {
                Error::Runtime { .. } => {
                    Error::runtime("FilterArgumentError", "argument must be iterable")
                }
                error => error,
            })?;
            check_values(budget, items.items.len())?;
            budget.tick(items.items.len())?;
            let reversed = items.items.iter().rev().cloned().collect();
            let reversed = Seq::new(budget, reversed)?;
            if matches!(value, Value::Iter(_)) {
                return Ok(Value::List(reversed));
            }
            Ok(Iter::value(reversed, None, "list_reverseiterator"))
        }
        "items" => {
            args.expect_none(name)?;
            let items = match value {
                Value::Undefined(_) => Seq::new(budget, Vec::new())?,
                Value::Dict(dict) => {
                    iterate::items(budget, &Value::View(View::Items, dict.clone()))?
                }
                _ => return Err(Error::type_error("Can only get item pairs from a mapping.")),
            };
            Ok(Iter::value(items, None, "generator"))
        }
        "join" => join(context, value, args),
        "batch" => {
            let [n, fill] = args.bind(name, ["linecount", "fill_with"], 1)?;
            let n = n.unwrap_or(Value::None);
            let fill = fill.filter(|fill| !matches!(fill, Value::None));
            let mut batches = Vec::new();
            let items = iterate::items(budget, value)?;
            if items.items.is_empty() {
                return Ok(Iter::value(Seq::new(budget, batches)?, None, "generator"));
            }
            let n = ops::size(&n)?.max(1);
            for chunk in items.items.chunks(n) {
                budget.tick(1)?;
                let mut batch = chunk.to_vec();
                if let Some(fill) = &fill {
                    check_values(budget, n)?;
                    budget.tick(n - batch.len())?;
                    batch.resize(n, fill.clone());
                }
                batches.push(Value::List(Seq::new(budget, batch)?));
            }
            Ok(Iter::value(Seq::new(budget, batches)?, None, "generator"))
        }
        _ => {
            let [n, fill] = args.bind(name, ["slices", "fill_with"], 1)?;
            let fill = fill.filter(|fill| !matches!(fill, Value::None));
            let items = iterate::items(budget, value)?;
            let n = ops::size(&n.unwrap_or(Value::None))?;
            if n == 0 {
                let what = "integer division or modulo by zero";
                return Err(Error::runtime("ZeroDivisionError", what));
            }
            check_values(budget, n)?;
            let (each, more) = (items.items.len() / n, items.items.len() % n);
            let mut slices = Vec::with_capacity(n);
            let mut start = 0;
            for idx in 0..n {
                budget.tick(1)?;
                let end = start + each + usize::from(idx < more);
                let mut slice = items.items[start..end].to_vec();
                if let Some(fill) = fill.as_ref().filter(|_| idx >= more) {
                    slice.push(fill.clone());
                }
                slices.push(Value::List(Seq::new(budget, slice)?));
                start = end;
            }
            Ok(Iter::value(Seq::new(budget, slices)?, None, "generator"))
        }
    }
}

fn not_reversible(value: &Value) -> Error {
    Error::type_error(format!("'{}' object is not reversible", value.type_name()))
}

fn join(context: &Context<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let budget = context.budget;
    let [separator, attribute] = args.bind("join", ["d", "attribute"], 0)?;
    let separator = match separator {
        Some(separator) => repr::text(budget, &separator)?,
        None => Text::plain(""),
    };
    let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
    let getter = Getter::new(attribute.as_ref(), None)?;
    let items = iterate::items(budget, value)?;
    let mut texts = Vec::new();
    let mut is_markup = false;
    if context.escapes() {
        for item in &items.items {
            let text = repr::text(budget, &getter.get(budget, item)?)?;
            is_markup |= text.is_markup();
            texts.push(Value::Str(text));
        }
        is_markup |= separator.is_markup();
    }
    let mut out = TextBuf::new(budget);
    let escaped = |text: &Text| {
        if is_markup { ops::escape(budget, text) } else { Ok(text.clone()) }
    };
    for (idx, item) in items.items.iter().enumerate() {
        if idx > 0 {
            out.push(&escaped(&separator)?)?;
        }
        match texts.get(idx) {
            Some(Value::Str(text)) => out.push(&escaped(text)?)?,
            _ => repr::write_str(&mut out, budget, &getter.get(budget, item)?)?,
        }
    }
    Ok(Value::Str(out.finish_markup(is_markup)))
}
