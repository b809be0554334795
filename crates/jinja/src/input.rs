//! Converts messages and variables from JSON, marking message content.

use serde_json::Value as Json;

use crate::Error;
use crate::limits::Budget;
use crate::text::{Mark, Text};
use crate::value::dict::DictBuilder;
use crate::value::{Seq, Value, check_values};

/// Converts the list of messages. All strings in a message are marked with its index, except its
/// role and the names of its top-level fields.
pub(crate) fn messages(budget: &Budget<'_>, json: &Json) -> Result<Value, Error> {
    let Json::Array(messages) = json else { return value(budget, json, Some(0)) };
    let mut items = Vec::with_capacity(messages.len());
    for (idx, message) in messages.iter().enumerate() {
        let mark = Some(Mark::try_from(idx).unwrap_or(Mark::MAX));
        let Json::Object(fields) = message else {
            items.push(value(budget, message, mark)?);
            continue;
        };
        let mut dict = DictBuilder::new(budget);
        for (name, field) in fields {
            let mark = if name == "role" { None } else { mark };
            dict.insert(Value::str(name.as_str()), value(budget, field, mark)?)?;
        }
        items.push(Value::Dict(dict.finish()?));
    }
    Ok(Value::List(Seq::new(budget, items)?))
}

/// Converts a value, with `mark` on all its strings.
pub(crate) fn value(budget: &Budget<'_>, json: &Json, mark: Option<Mark>) -> Result<Value, Error> {
    budget.tick(1)?;
    budget.check_stack()?;
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number.into()),
            (None, Some(number)) => Value::Int(number.into()),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => {
            budget.check_value(text.len())?;
            Value::Str(Text::marked(text.as_str(), mark))
        }
        Json::Array(array) => {
            check_values(budget, array.len())?;
            let items: Result<Vec<_>, _> =
                array.iter().map(|item| value(budget, item, mark)).collect();
            Value::List(Seq::new(budget, items?)?)
        }
        Json::Object(object) => {
            let mut dict = DictBuilder::new(budget);
            for (key, item) in object {
                let key = Value::Str(Text::marked(key.as_str(), mark));
                dict.insert(key, value(budget, item, mark)?)?;
            }
            Value::Dict(dict.finish()?)
        }
    })
}

/// The approximate size of a value in memory; limits are proportional to it.
pub(crate) fn size_bytes(json: &Json) -> usize {
    let mut total = 0_usize;
    let mut open = vec![json];
    while let Some(json) = open.pop() {
        total = total.saturating_add(32);
        match json {
            Json::String(text) => total = total.saturating_add(text.len()),
            Json::Array(items) => open.extend(items),
            Json::Object(object) => {
                total = total.saturating_add(object.keys().map(String::len).sum());
                open.extend(object.values());
            }
            _ => {}
        }
    }
    total
}
