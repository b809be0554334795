//! Evaluates `value.name` and `value[key]` as jinja2's sandbox does.

use std::rc::Rc;

use crate::Error;
use crate::iterate;
use crate::limits::Budget;
use crate::methods;
use crate::repr;
use crate::value::{LoopState, Method, Undefined, Value};

/// An attribute that exists.
enum Found {
    Value(Value),
    /// Not accessible in the sandbox.
    Unsafe,
}

/// Evaluates `value.name`: looks up attributes first, then items.
pub(crate) fn attribute(budget: &Budget<'_>, value: &Value, name: &str) -> Result<Value, Error> {
    budget.tick(1)?;
    match find(budget, value, name)? {
        Some(Found::Value(found)) => Ok(found),
        Some(Found::Unsafe) => Ok(unsafe_attribute(value, name)),
        None => {
            if let Value::Dict(dict) = value
                && let Some(found) = dict.get_str(name)
            {
                return Ok(found.clone());
            }
            Ok(missing_attribute(value, name))
        }
    }
}

/// Evaluates `value[key]`: looks up items first, then attributes.
pub(crate) fn item(budget: &Budget<'_>, value: &Value, key: &Value) -> Result<Value, Error> {
    budget.tick(1)?;
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    if let Some(found) = own_item(budget, value, key)? {
        return Ok(found);
    }
    if let Value::Str(name) = key {
        return Ok(match find(budget, value, name.as_str())? {
            Some(Found::Value(found)) => found,
            Some(Found::Unsafe) => unsafe_attribute(value, name.as_str()),
            None => missing_attribute(value, name.as_str()),
        });
    }
    let key = match key {
        Value::Int(_) | Value::None | Value::Bool(_) => {
            repr::repr(budget, key)?.as_str().to_owned()
        }
        _ => key.type_name().to_owned(),
    };
    let type_name = value.type_name();
    Ok(Value::Undefined(Rc::new(Undefined::Element { type_name, key })))
}

fn own_item(budget: &Budget<'_>, value: &Value, key: &Value) -> Result<Option<Value>, Error> {
    if let Value::Dict(dict) = value {
        return match dict.get(budget, key) {
            Ok(found) => Ok(found.cloned()),
            Err(Error::Runtime { class: "TypeError", .. }) => Ok(None),
            Err(error) => Err(error),
        };
    }
    let Some(number) = key.as_index() else { return Ok(None) };
    let n = match value {
        Value::List(_) | Value::Tuple(_) | Value::Str(_) | Value::Range(_) => {
            iterate::length(value)?
        }
        _ => return Ok(None),
    };
    let at = if number < 0 { number.saturating_add(n as i128) } else { number };
    let Some(at) = usize::try_from(at).ok().filter(|at| *at < n) else { return Ok(None) };
    Ok(match value {
        Value::List(seq) | Value::Tuple(seq) => seq.items.get(at).cloned(),
        Value::Range(range) => Some(range.get(at)),
        Value::Str(text) => {
            budget.tick(text.len() / 64)?;
            let start = text.byte_of_char(at);
            let len = text.as_str()[start..].chars().next().map_or(0, char::len_utf8);
            Some(Value::Str(text.slice(start..start + len)))
        }
        _ => None,
    })
}

fn missing_attribute(value: &Value, name: &str) -> Value {
    let (type_name, name) = (value.type_name(), truncate(name));
    Value::Undefined(Rc::new(Undefined::Attribute { type_name, name }))
}

fn unsafe_attribute(value: &Value, name: &str) -> Value {
    let (type_name, name) = (value.type_name(), truncate(name));
    Value::Undefined(Rc::new(Undefined::Unsafe { type_name, name }))
}

/// Truncates a name for error messages.
fn truncate(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Looks up the attribute `name` of `value`.
fn find(budget: &Budget<'_>, value: &Value, name: &str) -> Result<Option<Found>, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    if let Value::Namespace(namespace) = value {
        return Ok(namespace.values.borrow().get_str(name).cloned().map(Found::Value));
    }
    if name.starts_with('_') {
        // Python's objects have many such attributes, and the sandbox hides all of them.
        let is_own = name.starts_with("__") && name.ends_with("__");
        let is_item = matches!(value, Value::Dict(dict) if dict.get_str(name).is_some());
        return Ok((is_own && !is_item).then_some(Found::Unsafe));
    }
    if let Some(name) = methods::find(value, name) {
        let object = value.clone();
        return Ok(Some(Found::Value(Value::Method(Rc::new(Method { object, name })))));
    }
    if methods::is_mutating(value, name) {
        return Ok(Some(Found::Unsafe));
    }
    let found = match (value, name) {
        (Value::Loop(state), _) => return Ok(loop_attribute(state, name).map(Found::Value)),
        (Value::Tuple(seq), "grouper") if seq.is_group => seq.items.first().cloned(),
        (Value::Tuple(seq), "list") if seq.is_group => seq.items.get(1).cloned(),
        (Value::Range(range), "start") => Some(Value::Int(range.start)),
        (Value::Range(range), "stop") => Some(Value::Int(range.stop)),
        (Value::Range(range), "step") => Some(Value::Int(range.step)),
        (Value::Int(_), "real" | "numerator") => Some(value.clone()),
        (Value::Bool(truth), "real" | "numerator") => Some(Value::Int((*truth).into())),
        (Value::Float(_), "real") => Some(value.clone()),
        (Value::Int(_) | Value::Bool(_), "imag") => Some(Value::Int(0)),
        (Value::Int(_) | Value::Bool(_), "denominator") => Some(Value::Int(1)),
        (Value::Float(_), "imag") => Some(Value::Float(0.0)),
        (Value::Cycler(cycler), "current") => cycler.items.items.get(cycler.idx.get()).cloned(),
        (Value::Cycler(cycler), "pos") => Some(Value::Int(cycler.idx.get() as i128)),
        (Value::Cycler(cycler), "items") => Some(Value::Tuple(cycler.items.clone())),
        (Value::Joiner(joiner), "sep") => Some(joiner.separator.clone()),
        (Value::Joiner(joiner), "used") => Some(Value::Bool(joiner.used.get())),
        (Value::Macro(definition), "name") => Some(match &definition.definition.name {
            Some(name) => Value::str(&**name),
            None => Value::None,
        }),
        (Value::Macro(definition), "catch_kwargs") => {
            Some(Value::Bool(definition.definition.uses.kwargs))
        }
        (Value::Macro(definition), "catch_varargs") => {
            Some(Value::Bool(definition.definition.uses.varargs))
        }
        (Value::Macro(definition), "caller") => {
            Some(Value::Bool(definition.definition.uses.caller))
        }
        _ => None,
    };
    budget.tick(1)?;
    Ok(found.map(Found::Value))
}

fn loop_attribute(state: &LoopState, name: &str) -> Option<Value> {
    let at = state.idx.get();
    let items = &state.items.items;
    let int = |number: usize| Some(Value::Int(number as i128));
    match name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(items.len().saturating_sub(at)),
        "revindex0" => int(items.len().saturating_sub(at + 1)),
        "first" => Some(Value::Bool(at == 0)),
        "last" => Some(Value::Bool(at + 1 >= items.len())),
        "length" => int(items.len()),
        "depth" => int(state.depth + 1),
        "depth0" => int(state.depth),
        "previtem" => Some(match at.checked_sub(1).and_then(|at| items.get(at)) {
            Some(item) => item.clone(),
            None => Value::hint("there is no previous item"),
        }),
        "nextitem" => Some(match items.get(at + 1) {
            Some(item) => item.clone(),
            None => Value::hint("there is no next item"),
        }),
        _ => None,
    }
}
