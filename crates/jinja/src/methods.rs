//! The methods of Python's types that the sandbox allows.

mod arguments;
mod case;
mod search;
mod split;
mod string;

pub(crate) use arguments::limit;
pub(crate) use case::change as change_case;
pub(crate) use split::lines;
pub(crate) use string::{is_of, justify, replace, strip};

use std::rc::Rc;

use crate::Error;
use crate::args::CallArgs;
use crate::limits::Budget;
use crate::ops;
use crate::value::dict::DictBuilder;
use crate::value::{LoopState, Method, Seq, Value, View};

const SEQUENCE: &[&str] = &["count", "index"];
const DICT: &[&str] = &["copy", "get", "items", "keys", "values"];
const MUTATING_LIST: &[&str] =
    &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const MUTATING_DICT: &[&str] = &["clear", "pop", "popitem", "setdefault", "update"];

/// The method `name` of `value`, if its type has it and the sandbox allows it.
pub(crate) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match value {
        Value::Str(_) => string::NAMES,
        Value::List(_) if name == "copy" => return Some("copy"),
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => SEQUENCE,
        Value::Dict(_) => DICT,
        Value::Int(_) | Value::Bool(_) => {
            &["as_integer_ratio", "bit_count", "bit_length", "conjugate"]
        }
        Value::Float(_) => &["conjugate", "is_integer"],
        Value::Cycler(_) => &["next", "reset"],
        Value::Loop(_) => &["changed", "cycle"],
        _ => &[],
    };
    names.iter().find(|known| **known == name).copied()
}

/// Whether `name` is a method that would mutate `value`.
pub(crate) fn is_mutating(value: &Value, name: &str) -> bool {
    match value {
        Value::List(_) => MUTATING_LIST.contains(&name),
        Value::Dict(_) => MUTATING_DICT.contains(&name),
        _ => false,
    }
}

/// Calls a method.
pub(crate) fn call(budget: &Budget<'_>, method: &Method, args: CallArgs) -> Result<Value, Error> {
    let name = method.name;
    match &method.object {
        Value::Str(text) => string::call(budget, text, name, args),
        Value::List(seq) if name == "copy" => {
            args.expect_none(name)?;
            Ok(Value::List(seq.clone()))
        }
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => {
            sequence(budget, &method.object, name, args)
        }
        Value::Dict(dict) => match name {
            "get" if !args.named.is_empty() => {
                Err(Error::type_error("dict.get() takes no keyword arguments"))
            }
            "get" => {
                let [key, default] = args.bind(name, ["key", "default"], 1)?;
                let key = key.unwrap_or(Value::None);
                let found = dict.get(budget, &key)?.cloned();
                Ok(found.or(default).unwrap_or(Value::None))
            }
            "copy" => {
                args.expect_none(name)?;
                Ok(Value::Dict(DictBuilder::from(budget, dict)?.finish()?))
            }
            _ => {
                args.expect_none(name)?;
                let view = match name {
                    "keys" => View::Keys,
                    "values" => View::Values,
                    _ => View::Items,
                };
                Ok(Value::View(view, dict.clone()))
            }
        },
        Value::Float(number) => {
            args.expect_none(name)?;
            Ok(match name {
                "is_integer" => Value::Bool(number.is_finite() && number.fract() == 0.0),
                _ => Value::Float(*number),
            })
        }
        Value::Cycler(cycler) => {
            args.expect_none(name)?;
            let at = cycler.idx.get();
            if name == "reset" {
                cycler.idx.set(0);
                return Ok(Value::None);
            }
            cycler.idx.set((at + 1) % cycler.items.items.len().max(1));
            Ok(cycler.items.items.get(at).cloned().unwrap_or(Value::None))
        }
        Value::Loop(state) => loop_method(budget, state, name, args),
        object => {
            args.expect_none(name)?;
            let number = object.as_index().unwrap_or_default();
            let bits = number.unsigned_abs();
            Ok(match name {
                "bit_length" => Value::Int((128 - bits.leading_zeros()).into()),
                "bit_count" => Value::Int(bits.count_ones().into()),
                "as_integer_ratio" => {
                    let ratio = vec![Value::Int(number), Value::Int(1)];
                    Value::Tuple(Seq::new(budget, ratio)?)
                }
                _ => Value::Int(number),
            })
        }
    }
}

fn sequence(
    budget: &Budget<'_>,
    object: &Value,
    name: &str,
    args: CallArgs,
) -> Result<Value, Error> {
    let items = crate::iterate::items(budget, object)?;
    let [wanted, start, stop] = args.bind(name, ["value", "start", "stop"], 1)?;
    let wanted = wanted.unwrap_or(Value::None);
    let bound = |value: Option<Value>| value.and_then(|value| value.as_index());
    let range = crate::slice::bounds(items.items.len(), bound(start), bound(stop), None)?;
    let first = usize::try_from(range.start).unwrap_or(0);
    let mut n = 0;
    for (at, item) in items.items.iter().enumerate().skip(first).take(range.len) {
        budget.tick(1)?;
        if item.is_same(&wanted) || ops::equals(budget, item, &wanted)? {
            if name == "index" {
                return Ok(Value::Int(at as i128));
            }
            n += 1;
        }
    }
    if name == "index" {
        return Err(Error::value_error(format!("value is not in {}", object.type_name())));
    }
    Ok(Value::Int(n))
}

fn loop_method(
    budget: &Budget<'_>,
    state: &Rc<LoopState>,
    name: &str,
    args: CallArgs,
) -> Result<Value, Error> {
    if !args.named.is_empty() {
        return Err(Error::type_error(format!("{name}() takes no keyword arguments")));
    }
    let values = args.positional;
    if name == "cycle" {
        if values.is_empty() {
            return Err(Error::type_error("no items for cycling given"));
        }
        return Ok(values[state.idx.get() % values.len()].clone());
    }
    let last = state.last_changed.borrow().clone();
    let is_same = match &last {
        Some(last) if last.len() == values.len() => {
            let mut is_same = true;
            for (old, new) in last.iter().zip(&values) {
                is_same = is_same && (old.is_same(new) || ops::equals(budget, old, new)?);
            }
            is_same
        }
        _ => false,
    };
    if !is_same {
        *state.last_changed.borrow_mut() = Some(values);
    }
    Ok(Value::Bool(!is_same))
}
