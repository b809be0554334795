//! jinja2's tests, as in `value is defined`.

use crate::Error;
use crate::args::CallArgs;
use crate::ast::Binary;
use crate::context::Context;
use crate::filters;
use crate::iterate;
use crate::methods::is_of;
use crate::ops::{self, Number};
use crate::repr;
use crate::value::Value;

const NAMES: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Whether a test of that name exists.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

/// Evaluates `value is name(args)`.
pub(crate) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<bool, Error> {
    let budget = context.budget;
    budget.tick(1)?;
    match name {
        "divisibleby" | "sameas" | "in" | "==" | "eq" | "equalto" | "!=" | "ne" | ">" | "gt"
        | "greaterthan" | ">=" | "ge" | "<" | "lt" | "lessthan" | "<=" | "le" => {
            let [other] = args.bind(name, ["other"], 1)?;
            let other = other.unwrap_or(Value::None);
            let order = |operator| ops::order(budget, operator, value, &other);
            return Ok(match name {
                "divisibleby" => {
                    let rest = ops::binary(budget, Binary::Mod, value, &other)?;
                    ops::equals(budget, &rest, &Value::Int(0))?
                }
                "sameas" => value.is_same(&other),
                "in" => ops::contains(budget, &other, value)?,
                "==" | "eq" | "equalto" => ops::equals(budget, value, &other)?,
                "!=" | "ne" => !ops::equals(budget, value, &other)?,
                ">" | "gt" | "greaterthan" => order(">")?.is_some_and(|order| order.is_gt()),
                ">=" | "ge" => order(">=")?.is_some_and(|order| order.is_ge()),
                "<" | "lt" | "lessthan" => order("<")?.is_some_and(|order| order.is_lt()),
                _ => order("<=")?.is_some_and(|order| order.is_le()),
            });
        }
        _ => {}
    }
    args.expect_none(name)?;
    Ok(match name {
        "odd" | "even" => {
            let rest = ops::binary(budget, Binary::Mod, value, &Value::Int(2))?;
            ops::equals(budget, &rest, &Value::Int((name == "odd").into()))?
        }
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => Number::of(value).is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "iterable" => iterate::is_iterable(value),
        "sequence" => matches!(
            value,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
        ),
        "callable" => matches!(
            value,
            Value::Undefined(_)
                | Value::Macro(_)
                | Value::Loop(_)
                | Value::Joiner(_)
                | Value::Method(_)
                | Value::Function(_)
        ),
        "escaped" => matches!(value, Value::Str(text) if text.is_markup()),
        "lower" | "upper" => {
            let text = repr::text(budget, value)?;
            budget.tick(text.len() / 16)?;
            is_of(text.as_str(), if name == "lower" { "islower" } else { "isupper" })
        }
        "filter" => value.as_str().is_some_and(filters::names::exists),
        "test" => value.as_str().is_some_and(exists),
        _ => {
            let what = format!("No test named '{name}'.");
            return Err(Error::runtime("TemplateRuntimeError", what));
        }
    })
}
