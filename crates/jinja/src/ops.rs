//! Python's operators.

use std::cmp::Ordering;

use crate::ast::Binary;
use crate::format;
use crate::limits::Budget;
use crate::text::{Text, TextBuf};
pub(crate) use crate::value::equality::{Number, equals};
use crate::value::{Seq, Value, View, check_values};
use crate::{Error, Limit};

/// Compares `left` and `right`; `None` if they are unordered, as with NaN.
pub(crate) fn order(
    budget: &Budget<'_>,
    operator: &str,
    left: &Value,
    right: &Value,
) -> Result<Option<Ordering>, Error> {
    budget.tick(1)?;
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(left.compare(right));
    }
    match (left, right) {
        (Value::Undefined(undefined), _) | (_, Value::Undefined(undefined)) => {
            Err(undefined.error())
        }
        (Value::Str(left), Value::Str(right)) => {
            budget.tick(left.len().min(right.len()) / 64)?;
            Ok(Some(left.as_str().cmp(right.as_str())))
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            budget.check_stack()?;
            for (left, right) in left.items.iter().zip(&right.items) {
                budget.tick(1)?;
                if !left.is_same(right) && !equals(budget, left, right)? {
                    return order(budget, operator, left, right);
                }
            }
            Ok(Some(left.items.len().cmp(&right.items.len())))
        }
        _ => Err(Error::type_error(format!(
            "'{operator}' not supported between instances of '{}' and '{}'",
            left.type_name(),
            right.type_name()
        ))),
    }
}

/// Evaluates `left < right`.
pub(crate) fn is_less(budget: &Budget<'_>, left: &Value, right: &Value) -> Result<bool, Error> {
    Ok(order(budget, "<", left, right)? == Some(Ordering::Less))
}

/// Returns the indices of `keys` in stable sorted order. Own merge sort, because the standard
/// library's sort may panic if the order is not total, as with NaN.
pub(crate) fn sort_order(
    budget: &Budget<'_>,
    keys: &[Value],
    reverse: bool,
) -> Result<Vec<usize>, Error> {
    check_values(budget, keys.len())?;
    let mut current: Vec<usize> = (0..keys.len()).collect();
    let mut width = 1;
    while width < keys.len() {
        let mut merged = Vec::with_capacity(keys.len());
        for run in current.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some(l), Some(r)) = (left.first(), right.first()) {
                let right_first = if reverse {
                    is_less(budget, &keys[*l], &keys[*r])?
                } else {
                    is_less(budget, &keys[*r], &keys[*l])?
                };
                let taken = if right_first { &mut right } else { &mut left };
                merged.push(taken[0]);
                *taken = &taken[1..];
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        current = merged;
        width *= 2;
    }
    Ok(current)
}

/// Evaluates `left operator right`.
pub(crate) fn binary(
    budget: &Budget<'_>,
    operator: Binary,
    left: &Value,
    right: &Value,
) -> Result<Value, Error> {
    budget.tick(1)?;
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return arithmetic(operator, left, right);
    }
    if operator == Binary::Mod
        && let Value::Str(template) = left
    {
        return format::percent(budget, template, right).map(Value::Str);
    }
    if let Value::Undefined(undefined) = left {
        return Err(undefined.error());
    }
    if let Value::Undefined(undefined) = right {
        return Err(undefined.error());
    }
    match (operator, left, right) {
        (Binary::Add, Value::Str(left), Value::Str(right)) => {
            add_texts(budget, left, right).map(Value::Str)
        }
        (Binary::Add, Value::List(left), Value::List(right)) => {
            Ok(Value::List(Seq::new(budget, chain(budget, &left.items, &right.items)?)?))
        }
        (Binary::Add, Value::Tuple(left), Value::Tuple(right)) => {
            Ok(Value::Tuple(Seq::new(budget, chain(budget, &left.items, &right.items)?)?))
        }
        (Binary::Mul, sequence, n) | (Binary::Mul, n, sequence)
            if is_sequence(sequence) && n.as_index().is_some() =>
        {
            repeat(budget, sequence, n.as_index().unwrap_or_default())
        }
        _ => Err(Error::type_error(format!(
            "unsupported operand type(s) for {}: '{}' and '{}'",
            symbol(operator),
            left.type_name(),
            right.type_name()
        ))),
    }
}

fn symbol(operator: Binary) -> &'static str {
    match operator {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "** or pow()",
    }
}

fn is_sequence(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_))
}

/// Evaluates `left + right` of strings; if one of them is `Markup`, the other is escaped.
pub(crate) fn add_texts(budget: &Budget<'_>, left: &Text, right: &Text) -> Result<Text, Error> {
    let is_markup = left.is_markup() || right.is_markup();
    let mut sum = TextBuf::new(budget);
    for text in [left, right] {
        if is_markup {
            sum.push(&escape(budget, text)?)?;
        } else {
            sum.push(text)?;
        }
    }
    Ok(sum.finish_markup(is_markup))
}

/// Escapes the text for HTML, unless it is `Markup`.
pub(crate) fn escape(budget: &Budget<'_>, text: &Text) -> Result<Text, Error> {
    if text.is_markup() {
        return Ok(text.clone());
    }
    let mut escaped = TextBuf::new(budget);
    for (part, mark) in text.segments() {
        let mut rest = part;
        while let Some(at) = rest.find(['&', '<', '>', '\'', '"']) {
            escaped.push_str(&rest[..at], mark)?;
            let entity = match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'\'' => "&#39;",
                _ => "&#34;",
            };
            escaped.push_str(entity, mark)?;
            rest = &rest[at + 1..];
        }
        escaped.push_str(rest, mark)?;
    }
    Ok(escaped.finish_markup(true))
}

fn chain(budget: &Budget<'_>, left: &[Value], right: &[Value]) -> Result<Vec<Value>, Error> {
    let n = left.len().saturating_add(right.len());
    check_values(budget, n)?;
    budget.tick(n)?;
    let mut items = Vec::with_capacity(n);
    items.extend_from_slice(left);
    items.extend_from_slice(right);
    Ok(items)
}

fn repeat(budget: &Budget<'_>, sequence: &Value, n: i128) -> Result<Value, Error> {
    let n = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
    match sequence {
        Value::Str(text) => {
            let mut repeated = TextBuf::new(budget);
            budget.check_value(text.len().saturating_mul(n))?;
            if text.is_empty() {
                return Ok(Value::Str(text.clone()));
            }
            if text.spans().is_empty() {
                repeated.push_repeated(text.as_str(), n)?;
            } else {
                for _ in 0..n {
                    repeated.push(text)?;
                }
            }
            Ok(Value::Str(repeated.finish_markup(text.is_markup())))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            let total = seq.items.len().saturating_mul(n);
            check_values(budget, total)?;
            budget.tick(total)?;
            let mut items = Vec::with_capacity(total);
            if !seq.items.is_empty() {
                for _ in 0..n {
                    items.extend_from_slice(&seq.items);
                }
            }
            let items = Seq::new(budget, items)?;
            Ok(if matches!(sequence, Value::List(_)) {
                Value::List(items)
            } else {
                Value::Tuple(items)
            })
        }
        _ => Err(Error::type_error("can't multiply sequence by non-int")),
    }
}

fn zero_division(what: &str) -> Error {
    Error::runtime("ZeroDivisionError", what)
}

fn too_large() -> Error {
    Error::overflow("the number is too large")
}

fn arithmetic(operator: Binary, left: Number, right: Number) -> Result<Value, Error> {
    if let (Number::Int(a), Number::Int(b)) = (left, right) {
        let result = match operator {
            Binary::Add => a.checked_add(b),
            Binary::Sub => a.checked_sub(b),
            Binary::Mul => a.checked_mul(b),
            Binary::Div if b == 0 => return Err(zero_division("division by zero")),
            Binary::Div => return Ok(Value::Float(a as f64 / b as f64)),
            Binary::FloorDiv | Binary::Mod if b == 0 => {
                return Err(zero_division("integer division or modulo by zero"));
            }
            Binary::FloorDiv => {
                let quotient = a.checked_div(b);
                let is_inexact = a.checked_rem(b).is_some_and(|rest| rest != 0);
                quotient.map(|quotient| quotient - i128::from(is_inexact && (a < 0) != (b < 0)))
            }
            Binary::Mod => {
                let rest = a.checked_rem(b).unwrap_or(0);
                Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
            }
            Binary::Pow if b >= 0 => power(a, b),
            Binary::Pow if a == 0 => {
                return Err(zero_division("0.0 cannot be raised to a negative power"));
            }
            Binary::Pow => return Ok(Value::Float((a as f64).powf(b as f64))),
        };
        return result.map(Value::Int).ok_or_else(too_large);
    }
    let (a, b) = (left.to_float(), right.to_float());
    Ok(Value::Float(match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div if b == 0.0 => return Err(zero_division("float division by zero")),
        Binary::Div => a / b,
        Binary::FloorDiv | Binary::Mod if b == 0.0 => {
            return Err(zero_division("float floor division by zero"));
        }
        Binary::FloorDiv => floor_mod(a, b).0,
        Binary::Mod => floor_mod(a, b).1,
        Binary::Pow if a == 0.0 && b < 0.0 => {
            return Err(zero_division("0.0 cannot be raised to a negative power"));
        }
        Binary::Pow if a < 0.0 && b.fract() != 0.0 => {
            return Err(Error::type_error("complex numbers are not supported"));
        }
        Binary::Pow => {
            let result = a.powf(b);
            if result.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(Error::overflow("Numerical result out of range"));
            }
            result
        }
    }))
}

/// Python's floored quotient and remainder.
fn floor_mod(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 {
        if (rest < 0.0) != (b < 0.0) {
            rest += b;
            quotient -= 1.0;
        }
    } else {
        rest = 0.0_f64.copysign(b);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn power(base: i128, exponent: i128) -> Option<i128> {
    match base {
        0 => Some((exponent == 0).into()),
        1 => Some(1),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

/// Evaluates `-value` or `+value`.
pub(crate) fn sign(value: &Value, is_minus: bool) -> Result<Value, Error> {
    match (Number::of(value), value) {
        (Some(Number::Int(number)), _) if is_minus => {
            number.checked_neg().map(Value::Int).ok_or_else(too_large)
        }
        (Some(Number::Int(number)), _) => Ok(Value::Int(number)),
        (Some(Number::Float(number)), _) => {
            Ok(Value::Float(if is_minus { -number } else { number }))
        }
        (None, Value::Undefined(undefined)) => Err(undefined.error()),
        _ => Err(Error::type_error(format!(
            "bad operand type for unary {}: '{}'",
            if is_minus { "-" } else { "+" },
            value.type_name()
        ))),
    }
}

/// Evaluates `item in container`.
pub(crate) fn contains(
    budget: &Budget<'_>,
    container: &Value,
    item: &Value,
) -> Result<bool, Error> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => {
                budget.tick(1 + text.len() / 64)?;
                Ok(text.as_str().contains(part.as_str()))
            }
            _ => Err(Error::type_error(format!(
                "'in <string>' requires string as left operand, not {}",
                item.type_name()
            ))),
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(budget, item)?.is_some()),
        Value::Range(range) => match Number::of(item) {
            Some(Number::Int(number)) => {
                let distance = number.saturating_sub(range.start);
                let idx = distance.checked_div(range.step).unwrap_or(-1);
                Ok(distance.checked_rem(range.step) == Some(0)
                    && usize::try_from(idx).is_ok_and(|idx| idx < range.len()))
            }
            _ => Ok(false),
        },
        Value::Iter(iter) => {
            while let Some(value) = iter.next()? {
                if value.is_same(item) || equals(budget, &value, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => {
            let items = crate::iterate::items(budget, container).map_err(|error| match error {
                Error::Runtime { class: "TypeError", .. } => Error::type_error(format!(
                    "argument of type '{}' is not iterable",
                    container.type_name()
                )),
                error => error,
            })?;
            for value in &items.items {
                budget.tick(1)?;
                if value.is_same(item) || equals(budget, value, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Converts a number of the template to a size; negative numbers become 0, huge ones are an error.
pub(crate) fn size(value: &Value) -> Result<usize, Error> {
    match value.as_index() {
        Some(number) => Ok(usize::try_from(number.max(0)).unwrap_or(usize::MAX)),
        None => match value {
            Value::Undefined(undefined) => Err(undefined.error()),
            _ => Err(Error::type_error(format!(
                "'{}' object cannot be interpreted as an integer",
                value.type_name()
            ))),
        },
    }
}

/// Like [`size`], limited to `max`.
pub(crate) fn small_size(value: &Value, max: usize) -> Result<usize, Error> {
    let size = size(value)?;
    if size > max { Err(Error::LimitExceeded { limit: Limit::Memory }) } else { Ok(size) }
}
