//! jinja2's filters, and transformers' `tojson`.

mod html;
mod lines;
pub(crate) mod names;
mod numeric;
mod select;
mod sequence;
mod string;

use crate::Error;
use crate::args::CallArgs;
use crate::context::Context;
use crate::json;
use crate::repr;
use crate::text::Text;
use crate::value::Value;

/// Evaluates `value | name(args)`.
pub(crate) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    budget.tick(1)?;
    match name {
        "default" | "d" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"], 0)?;
            let replaces = value.is_undefined()
                || (boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true());
            Ok(match default {
                _ if !replaces => value.clone(),
                Some(default) => default,
                None => Value::str(""),
            })
        }
        "tojson" => to_json(context, value, args),
        "string" => {
            args.expect_none(name)?;
            repr::text(budget, value).map(Value::Str)
        }
        "attr" => {
            let [attribute] = args.bind(name, ["name"], 1)?;
            let Some(Value::Str(attribute)) = attribute else {
                return Err(Error::type_error("attribute name must be string"));
            };
            // Unlike `value.name`, it never looks up items.
            let found = crate::attribute::attribute(budget, value, attribute.as_str())?;
            let is_item = matches!(value, Value::Dict(dict)
                if dict.get_str(attribute.as_str()).is_some_and(|item| item.is_same(&found)));
            Ok(if is_item { Value::hint("it has no such attribute") } else { found })
        }
        "abs" | "float" | "int" | "round" | "sum" | "filesizeformat" => {
            numeric::call(context, name, value, args)
        }
        "batch" | "count" | "first" | "items" | "join" | "last" | "length" | "list" | "random"
        | "reverse" | "slice" => sequence::call(context, name, value, args),
        "dictsort" | "groupby" | "map" | "max" | "min" | "reject" | "rejectattr" | "select"
        | "selectattr" | "sort" | "unique" => select::call(context, name, value, args),
        "e" | "escape" | "forceescape" | "safe" | "striptags" | "urlencode" | "urlize"
        | "xmlattr" => html::call(context, name, value, args),
        "indent" | "truncate" | "wordwrap" => lines::call(context, name, value, args),
        "capitalize" | "center" | "format" | "lower" | "pprint" | "replace" | "title" | "trim"
        | "upper" | "wordcount" => string::call(context, name, value, args),
        _ => {
            let what = format!("No filter named '{name}'.");
            Err(Error::runtime("TemplateRuntimeError", what))
        }
    }
}

fn to_json(context: &Context<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let budget = context.budget;
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = args.bind("tojson", names, 0)?;
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let indent = json::indentation(budget, &indent.unwrap_or(Value::None))?;
    let separators = match separators {
        None | Some(Value::None) => {
            let comma = if indent.is_some() { "," } else { ", " };
            (Text::plain(comma), Text::plain(": "))
        }
        Some(separators) => json::separators(budget, &separators)?,
    };
    let style = json::Style {
        ensures_ascii: is_true(ensure_ascii),
        indent,
        separators,
        sorts_keys: is_true(sort_keys),
    };
    json::dumps(budget, value, &style).map(Value::Str)
}
