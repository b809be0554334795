//! Filters on strings.

use crate::Error;
use crate::args::CallArgs;
use crate::context::Context;
use crate::format;
use crate::limits::Budget;
use crate::methods::{self, justify, limit, replace, strip};
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::unicode::is_space;
use crate::value::dict::DictBuilder;
use crate::value::{Seq, Value};

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "pprint" => {
            args.expect_none(name)?;
            let sorted = sorted(budget, value)?;
            return repr::repr(budget, &sorted).map(Value::Str);
        }
        "format" => {
            let text = repr::text(budget, value)?;
            if args.named.is_empty() {
                let args = Value::Tuple(Seq::new(budget, args.positional)?);
                return format::percent(budget, &text, &args).map(Value::Str);
            }
            if !args.positional.is_empty() {
                let what = "can't handle positional and keyword arguments at the same time";
                return Err(Error::runtime("FilterArgumentError", what));
            }
            let mut dict = DictBuilder::new(budget);
            for (name, value) in args.named {
                dict.insert(Value::str(&*name), value)?;
            }
            let args = Value::Dict(dict.finish()?);
            return format::percent(budget, &text, &args).map(Value::Str);
        }
        _ => {}
    }
    let text = repr::text(budget, value)?;
    budget.tick(text.len() / 16)?;
    let result = match name {
        "lower" | "upper" | "capitalize" => {
            args.expect_none(name)?;
            methods::change_case(budget, &text, name)?
        }
        "title" => {
            args.expect_none(name)?;
            title(budget, &text)?
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"], 0)?;
            strip(&text, chars, true, true)?
        }
        "center" => {
            let [width] = args.bind(name, ["width"], 0)?;
            let width = width.unwrap_or(Value::Int(80));
            justify(budget, &text, name, &width, &Text::plain(" "))?
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
            let old = repr::text(budget, &old.unwrap_or(Value::None))?;
            let new = repr::text(budget, &new.unwrap_or(Value::None))?;
            let count = limit(count)?;
            if context.escapes() {
                let is_escaped = old.is_markup() || (new.is_markup() && !text.is_markup());
                let text = if is_escaped { ops::escape(budget, &text)? } else { text };
                replace(budget, &text, &old, &new, count)?
            } else {
                replace(budget, &text.with_markup(false), &old, &new, count)?
            }
        }
        _ => {
            args.expect_none(name)?;
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let n = text.as_str().split(|c| !is_word(c)).filter(|word| !word.is_empty()).count();
            return Ok(Value::Int(n as i128));
        }
    };
    Ok(Value::Str(result))
}

/// Converts to title case: words start with a capital and continue in lower case; they end at white
/// space, `-` and brackets.
fn title(budget: &Budget<'_>, text: &Text) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    let mut starts_word = true;
    for (c, mark) in text.chars() {
        let is_break = matches!(c, '-' | '(' | '{' | '[' | '<') || is_space(c);
        if is_break {
            out.push_char(c, mark)?;
        } else if starts_word {
            for c in c.to_uppercase() {
                out.push_char(c, mark)?;
            }
        } else {
            for c in c.to_lowercase() {
                out.push_char(c, mark)?;
            }
        }
        starts_word = is_break;
    }
    Ok(out.finish_markup(text.is_markup()))
}

/// The value with the keys of its dictionaries sorted, if they are comparable.
fn sorted(budget: &Budget<'_>, value: &Value) -> Result<Value, Error> {
    budget.check_stack()?;
    budget.tick(1)?;
    let all = |items: &[Value]| -> Result<Vec<Value>, Error> {
        items.iter().map(|item| sorted(budget, item)).collect()
    };
    Ok(match value {
        Value::List(seq) => Value::List(Seq::new(budget, all(&seq.items)?)?),
        Value::Tuple(seq) => Value::Tuple(Seq::new(budget, all(&seq.items)?)?),
        Value::Dict(dict) => {
            let keys: Vec<Value> = dict.entries().iter().map(|(key, _)| key.clone()).collect();
            let order = match ops::sort_order(budget, &keys, false) {
                Ok(order) => order,
                Err(error) if error.is_final() => return Err(error),
                Err(_) => (0..keys.len()).collect(),
            };
            let mut sorted_dict = DictBuilder::new(budget);
            for at in order {
                let (key, value) = &dict.entries()[at];
                sorted_dict.insert(key.clone(), sorted(budget, value)?)?;
            }
            Value::Dict(sorted_dict.finish()?)
        }
        _ => value.clone(),
    })
}
