//! Filters that sort, group and select items.

use crate::Error;
use crate::args::CallArgs;
use crate::attribute;
use crate::context::Context;
use crate::iterate;
use crate::limits::Budget;
use crate::methods;
use crate::ops;
use crate::predicates;
use crate::value::dict::DictBuilder;
use crate::value::{Iter, Seq, Value, check_values};

/// Looks up a dotted attribute such as `a.0.b` on items.
pub(super) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
}

impl Getter {
    pub(super) fn new(attribute: Option<&Value>, default: Option<Value>) -> Result<Self, Error> {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(name)) => parts(name.as_str()),
            Some(other) => vec![other.clone()],
        };
        Ok(Self { parts, default: default.filter(|default| !matches!(default, Value::None)) })
    }

    pub(super) fn get(&self, budget: &Budget<'_>, item: &Value) -> Result<Value, Error> {
        let mut value = item.clone();
        for part in &self.parts {
            value = attribute::item(budget, &value, part)?;
            if value.is_undefined()
                && let Some(default) = &self.default
            {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

fn parts(name: &str) -> Vec<Value> {
    name.split('.')
        .map(|part| match part.parse::<i128>() {
            Ok(number) if part.bytes().all(|b| b.is_ascii_digit()) => Value::Int(number),
            _ => Value::str(part),
        })
        .collect()
}

/// The value in lower case, if it is a string and not `case_sensitive`.
fn folded(budget: &Budget<'_>, value: Value, case_sensitive: bool) -> Result<Value, Error> {
    match &value {
        Value::Str(text) if !case_sensitive => {
            methods::change_case(budget, text, "lower").map(Value::Str)
        }
        _ => Ok(value),
    }
}

fn is_true(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.is_true())
}

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "dictsort" => dict_sort(budget, value, args),
        "sort" => sort(budget, value, args),
        "groupby" => group(budget, value, args),
        "unique" => unique(budget, value, args),
        "min" | "max" => {
            let [case_sensitive, attribute] =
                args.bind(name, ["case_sensitive", "attribute"], 0)?;
            let case_sensitive = is_true(case_sensitive);
            let getter = Getter::new(attribute.as_ref(), None)?;
            let mut best: Option<(Value, Value)> = None;
            for item in &iterate::items(budget, value)?.items {
                let key = folded(budget, getter.get(budget, item)?, case_sensitive)?;
                let is_better = match &best {
                    None => true,
                    Some((best, _)) if name == "min" => ops::is_less(budget, &key, best)?,
                    Some((best, _)) => ops::is_less(budget, best, &key)?,
                };
                if is_better {
                    best = Some((key, item.clone()));
                }
            }
            Ok(match best {
                Some((_, item)) => item,
                None => Value::hint("No aggregated item, sequence was empty."),
            })
        }
        "map" => map(context, value, args),
        _ => select(context, name, value, args),
    }
}

fn dict_sort(budget: &Budget<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] =
        args.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let case_sensitive = is_true(case_sensitive);
    let by_value = match by.as_ref().map(|by| by.as_str()) {
        None | Some(Some("key")) => false,
        Some(Some("value")) => true,
        _ => {
            let what = "You can only sort by either \"key\" or \"value\"";
            return Err(Error::runtime("FilterArgumentError", what));
        }
    };
    let dict = match value {
        Value::Dict(dict) => dict,
        Value::Undefined(undefined) => return Err(undefined.error()),
        _ => {
            let what = format!("'{}' object has no attribute 'items'", value.type_name());
            return Err(Error::runtime("AttributeError", what));
        }
    };
    check_values(budget, 2 * dict.len())?;
    let mut keys = Vec::with_capacity(dict.len());
    for (key, value) in dict.entries() {
        let key = if by_value { value } else { key };
        keys.push(folded(budget, key.clone(), case_sensitive)?);
    }
    let mut sorted = Vec::with_capacity(dict.len());
    for idx in ops::sort_order(budget, &keys, is_true(reverse))? {
        let (key, value) = &dict.entries()[idx];
        sorted.push(iterate::pair(budget, key.clone(), value.clone())?);
    }
    Ok(Value::List(Seq::new(budget, sorted)?))
}

fn sort(budget: &Budget<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] =
        args.bind("sort", ["reverse", "case_sensitive", "attribute"], 0)?;
    let case_sensitive = is_true(case_sensitive);
    let getters = match &attribute {
        Some(Value::Str(names)) => names
            .as_str()
            .split(',')
            .map(|name| Getter { parts: parts(name), default: None })
            .collect(),
        attribute => vec![Getter::new(attribute.as_ref(), None)?],
    };
    let items = iterate::items(budget, value)?;
    check_values(budget, 2 * items.items.len())?;
    let mut keys = Vec::with_capacity(items.items.len());
    for item in &items.items {
        let mut key = Vec::with_capacity(getters.len());
        for getter in &getters {
            key.push(folded(budget, getter.get(budget, item)?, case_sensitive)?);
        }
        keys.push(Value::List(Seq::new(budget, key)?));
    }
    let order = ops::sort_order(budget, &keys, is_true(reverse))?;
    let sorted = order.into_iter().map(|idx| items.items[idx].clone()).collect();
    Ok(Value::List(Seq::new(budget, sorted)?))
}

fn group(budget: &Budget<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] =
        args.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let case_sensitive = is_true(case_sensitive);
    let getter = Getter::new(attribute.as_ref(), default)?;
    let items = iterate::items(budget, value)?;
    check_values(budget, 2 * items.items.len())?;
    let mut keys = Vec::with_capacity(items.items.len());
    for item in &items.items {
        keys.push(folded(budget, getter.get(budget, item)?, case_sensitive)?);
    }
    let mut groups: Vec<(usize, Vec<Value>)> = Vec::new();
    for idx in ops::sort_order(budget, &keys, false)? {
        let item = items.items[idx].clone();
        match groups.last_mut() {
            Some((first, group)) if ops::equals(budget, &keys[*first], &keys[idx])? => {
                group.push(item);
            }
            _ => groups.push((idx, vec![item])),
        }
    }
    let mut result = Vec::with_capacity(groups.len());
    for (first, group) in groups {
        let key = getter.get(budget, &items.items[first])?;
        let group = vec![key, Value::List(Seq::new(budget, group)?)];
        result.push(Value::Tuple(Seq::group(budget, group)?));
    }
    Ok(Value::List(Seq::new(budget, result)?))
}

fn unique(budget: &Budget<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"], 0)?;
    let case_sensitive = is_true(case_sensitive);
    let getter = Getter::new(attribute.as_ref(), None)?;
    let mut seen = DictBuilder::new(budget);
    let mut n_seen = 0;
    let source = iterate::items(budget, value)?;
    generate(budget, &source.items, |item| {
        let key = folded(budget, getter.get(budget, item)?, case_sensitive)?;
        seen.insert(key, Value::None)?;
        let is_new = seen.len() > n_seen;
        n_seen = seen.len();
        Ok(is_new.then(|| item.clone()))
    })
}

/// Emulates a Python generator: yields items up to the first error, which is raised only when it is
/// reached.
fn generate(
    budget: &Budget<'_>,
    items: &[Value],
    mut next: impl FnMut(&Value) -> Result<Option<Value>, Error>,
) -> Result<Value, Error> {
    let mut results = Vec::new();
    for item in items {
        if results.len() == results.capacity() {
            check_values(budget, results.len() * 2)?;
        }
        match next(item) {
            Ok(Some(result)) => results.push(result),
            Ok(None) => {}
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                return Ok(Iter::value(Seq::new(budget, results)?, Some(error), "generator"));
            }
        }
    }
    Ok(Iter::value(Seq::new(budget, results)?, None, "generator"))
}

/// The items of `value`; none if it is falsy, as in `map` and `select`.
fn items_if_true(budget: &Budget<'_>, value: &Value) -> Result<std::rc::Rc<Seq>, Error> {
    if value.is_true() { iterate::items(budget, value) } else { Seq::new(budget, Vec::new()) }
}

fn map(context: &Context<'_>, value: &Value, args: CallArgs) -> Result<Value, Error> {
    let budget = context.budget;
    let items = items_if_true(budget, value)?;
    let has_attribute = args.named.iter().any(|(name, _)| &**name == "attribute");
    if args.positional.is_empty() && has_attribute {
        let [attribute, default] = args.bind("map", ["attribute", "default"], 1)?;
        let getter = Getter::new(attribute.as_ref(), default)?;
        return generate(budget, &items.items, |item| getter.get(budget, item).map(Some));
    }
    let (name, args) = split_name(args, "map requires a filter argument")?;
    generate(budget, &items.items, |item| {
        super::call(context, name_of(&name)?, item, args.clone()).map(Some)
    })
}

/// Splits off the first argument, which names a filter, a test or an attribute.
fn split_name(mut args: CallArgs, missing: &str) -> Result<(Value, CallArgs), Error> {
    if args.positional.is_empty() {
        return Err(Error::runtime("FilterArgumentError", missing));
    }
    let name = args.positional.remove(0);
    Ok((name, args))
}

fn name_of(value: &Value) -> Result<&str, Error> {
    value.as_str().ok_or_else(|| {
        let what = format!("No filter or test named by a {}.", value.type_name());
        Error::runtime("TemplateRuntimeError", what)
    })
}

fn select(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    let items = items_if_true(budget, value)?;
    let wanted = name.starts_with("select");
    let (getter, args) = if name.ends_with("attr") {
        let (attribute, args) = match split_name(args, "Missing parameter for attribute name") {
            Ok(split) => split,
            Err(_) if items.items.is_empty() => {
                return Ok(Iter::value(items, None, "generator"));
            }
            Err(error) => {
                let none = Seq::new(budget, Vec::new())?;
                return Ok(Iter::value(none, Some(error), "generator"));
            }
        };
        (Getter::new(Some(&attribute), None)?, args)
    } else {
        (Getter::new(None, None)?, args)
    };
    let test: Option<(Value, CallArgs)> = match args.positional.is_empty() {
        true => None,
        false => Some(split_name(args, "")?),
    };
    generate(budget, &items.items, |item| {
        let tested = getter.get(budget, item)?;
        let result = match &test {
            None => tested.is_true(),
            Some((name, args)) => predicates::call(context, name_of(name)?, &tested, args.clone())?,
        };
        Ok((result == wanted).then(|| item.clone()))
    })
}
