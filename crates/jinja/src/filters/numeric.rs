//! Filters on numbers.

use crate::Error;
use crate::args::CallArgs;
use crate::ast::Binary;
use crate::context::Context;
use crate::iterate;
use crate::number;
use crate::ops::{self, Number};
use crate::value::Value;

use super::select::Getter;

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "abs" => {
            args.expect_none(name)?;
            match Number::of(value) {
                Some(Number::Int(number)) => number
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| Error::overflow("the number is too large")),
                Some(Number::Float(number)) => Ok(Value::Float(number.abs())),
                None => Err(Error::type_error(format!(
                    "bad operand type for abs(): '{}'",
                    value.type_name()
                ))),
            }
        }
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"], 0)?;
            let base = base.and_then(|base| base.as_index()).unwrap_or(10);
            to_int(value, u32::try_from(base).unwrap_or(1), default)
        }
        "float" => {
            let [default] = args.bind(name, ["default"], 0)?;
            let number = match value {
                Value::Str(text) => number::parse_float(text.as_str()),
                Value::Undefined(undefined) => return Err(undefined.error()),
                _ => Number::of(value).map(Number::to_float),
            };
            Ok(number.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
        }
        "round" => {
            let [precision, method] = args.bind(name, ["precision", "method"], 0)?;
            let precision = precision.unwrap_or(Value::Int(0));
            let method = method.unwrap_or_else(|| Value::str("common"));
            round(value, &precision, method.as_str().unwrap_or_default())
        }
        "sum" => {
            let [attribute, start] = args.bind(name, ["attribute", "start"], 0)?;
            let getter = Getter::new(attribute.as_ref(), None)?;
            let mut sum = start.unwrap_or(Value::Int(0));
            if matches!(sum, Value::Str(_)) {
                let what = "sum() can't sum strings [use ''.join(seq) instead]";
                return Err(Error::type_error(what));
            }
            for item in &iterate::items(budget, value)?.items {
                let item = getter.get(budget, item)?;
                sum = ops::binary(budget, Binary::Add, &sum, &item)?;
            }
            Ok(sum)
        }
        _ => {
            let [binary] = args.bind(name, ["binary"], 0)?;
            let bytes = match value {
                Value::Str(text) => number::parse_float(text.as_str()),
                _ => Number::of(value).map(Number::to_float),
            };
            let bytes = bytes.ok_or_else(|| match value {
                Value::Undefined(undefined) => undefined.error(),
                Value::Str(_) => Error::value_error("could not convert string to float"),
                _ => Error::type_error("float() argument must be a string or a real number"),
            })?;
            Ok(Value::str(file_size(bytes, binary.is_some_and(|binary| binary.is_true()))))
        }
    }
}

fn to_int(value: &Value, base: u32, default: Option<Value>) -> Result<Value, Error> {
    let too_large = || Error::overflow("the number is too large");
    let number = match value {
        Value::Undefined(undefined) => return Err(undefined.error()),
        Value::Str(text) => {
            let text = text.as_str();
            match number::parse_int(text, base) {
                Some(number) => Some(number),
                None if text.len() > 38 && text.bytes().all(|b| b.is_ascii_digit()) => {
                    return Err(too_large());
                }
                None => match number::parse_float(text) {
                    Some(float) if float.is_finite() => {
                        Some(number::truncate(float).ok_or_else(too_large)?)
                    }
                    _ => None,
                },
            }
        }
        Value::Float(number) if number.is_infinite() => {
            return Err(Error::overflow("cannot convert float infinity to integer"));
        }
        Value::Float(number) if number.is_nan() => None,
        Value::Float(number) => Some(number::truncate(*number).ok_or_else(too_large)?),
        _ => value.as_index(),
    };
    Ok(number.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
}

fn round(value: &Value, precision: &Value, method: &str) -> Result<Value, Error> {
    let not_a_number = || match value {
        Value::Undefined(undefined) if method != "common" => undefined.error(),
        _ => {
            let name = value.type_name();
            Error::type_error(format!("type {name} doesn't define __round__ method"))
        }
    };
    let number = Number::of(value).ok_or_else(not_a_number)?;
    let places = precision.as_index().map(|places| places.clamp(-400, 400) as i32);
    match (method, number) {
        ("common", Number::Int(number)) => {
            let places = places.ok_or_else(|| Error::type_error("an integer is required"))?;
            Ok(Value::Int(number::round_int(number, places)))
        }
        ("common", Number::Float(number)) => {
            if matches!(precision, Value::None) {
                let rounded = number::truncate(number.round_ties_even());
                let rounded = rounded.ok_or_else(|| Error::overflow("the number is too large"))?;
                return Ok(Value::Int(rounded));
            }
            let places = places.ok_or_else(|| Error::type_error("an integer is required"))?;
            Ok(Value::Float(number::round(number, places)))
        }
        ("ceil" | "floor", number) => {
            let places = places.ok_or_else(|| Error::type_error("an integer is required"))?;
            let factor = 10_f64.powi(places);
            let scaled = number.to_float() * factor;
            let whole = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
            if !whole.is_finite() {
                return Err(Error::overflow("cannot convert float infinity to integer"));
            }
            Ok(Value::Float(whole / factor))
        }
        _ => Err(Error::runtime("FilterArgumentError", "method must be common, ceil or floor")),
    }
}

fn file_size(bytes: f64, is_binary: bool) -> String {
    let base: f64 = if is_binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return "1 Byte".to_owned();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let mut unit = base;
    let mut name = 'k';
    for prefix in ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'] {
        unit *= base;
        name = prefix;
        if bytes < unit {
            break;
        }
    }
    let name =
        if is_binary { format!("{}iB", name.to_ascii_uppercase()) } else { format!("{name}B") };
    format!("{:.1} {name}", base * bytes / unit)
}
