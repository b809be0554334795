//! The methods of `str`.

use crate::Error;
use crate::args::CallArgs;
use crate::format;
use crate::iterate;
use crate::limits::Budget;
use crate::ops;
use crate::text::{Text, TextBuf};
use crate::unicode::{decimal, is_alpha, is_digit, is_numeric, is_printable, is_space};
use crate::value::{Seq, Value};

use super::arguments::{limit, string};
use super::{case, search, split};

/// The names of the methods, sorted.
pub(super) const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Methods that accept keyword arguments; Python 3.13 added `replace`.
const WITH_KEYWORDS: &[&str] =
    &["expandtabs", "format", "replace", "rsplit", "split", "splitlines"];

pub(super) fn call(
    budget: &Budget<'_>,
    text: &Text,
    name: &str,
    args: CallArgs,
) -> Result<Value, Error> {
    budget.tick(1 + text.len() / 64)?;
    if !args.named.is_empty() && !WITH_KEYWORDS.contains(&name) {
        return Err(Error::type_error(format!("str.{name}() takes no keyword arguments")));
    }
    match name {
        "lower" | "upper" | "title" | "capitalize" | "swapcase" | "casefold" => {
            args.expect_none(name)?;
            case::change(budget, text, name).map(Value::Str)
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"], 0)?;
            strip(text, chars, name != "rstrip", name != "lstrip").map(Value::Str)
        }
        "split" | "rsplit" => {
            let [sep, max] = args.bind(name, ["sep", "maxsplit"], 0)?;
            let parts = split::split(budget, text, sep, max, name == "rsplit")?;
            Ok(Value::List(Seq::new(budget, parts)?))
        }
        "splitlines" => {
            let [keeps_ends] = args.bind(name, ["keepends"], 0)?;
            let lines = split::lines(budget, text, keeps_ends.is_some_and(|k| k.is_true()))?;
            Ok(Value::List(Seq::new(budget, lines.into_iter().map(Value::Str).collect())?))
        }
        "partition" | "rpartition" => {
            let [sep] = args.bind(name, ["sep"], 1)?;
            let parts = split::partition(text, &string(sep, name)?, name == "rpartition")?;
            Ok(Value::Tuple(Seq::new(budget, parts)?))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search::search(budget, text, name, args),
        "startswith" | "endswith" => search::has_affix(budget, text, name, args),
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["prefix"], 1)?;
            let affix = string(affix, name)?;
            let (start, end) = match name {
                "removeprefix" if text.as_str().starts_with(affix.as_str()) => {
                    (affix.len(), text.len())
                }
                "removesuffix" if text.as_str().ends_with(affix.as_str()) => {
                    (0, text.len() - affix.len())
                }
                _ => (0, text.len()),
            };
            Ok(Value::Str(text.slice(start..end)))
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"], 2)?;
            let (old, new) = (string(old, name)?, string(new, name)?);
            replace(budget, text, &old, &new, limit(count)?).map(Value::Str)
        }
        "join" => {
            let [items] = args.bind(name, ["iterable"], 1)?;
            let items = iterate::items(budget, &items.unwrap_or(Value::None))?;
            join(budget, text, &items.items).map(Value::Str)
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"], 1)?;
            let fill = match fill {
                Some(fill) => string(Some(fill), name)?,
                None => Text::plain(" "),
            };
            if fill.n_chars() != 1 {
                let what = "The fill character must be exactly one character long";
                return Err(Error::type_error(what));
            }
            justify(budget, text, name, &width.unwrap_or(Value::None), &fill).map(Value::Str)
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"], 1)?;
            let width = ops::size(&width.unwrap_or(Value::None))?;
            let sign = usize::from(text.as_str().starts_with(['+', '-']));
            let mut out = TextBuf::new(budget);
            out.push_slice(text, 0..sign)?;
            out.push_repeated("0", width.saturating_sub(text.n_chars()))?;
            out.push_slice(text, sign..text.len())?;
            Ok(Value::Str(out.finish()))
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"], 0)?;
            let size = size.map_or(Ok(8), |size| ops::size(&size))?;
            expand_tabs(budget, text, size).map(Value::Str)
        }
        "format" => format::brace(budget, text, &args).map(Value::Str),
        "format_map" => {
            let [mapping] = args.bind(name, ["mapping"], 1)?;
            let Some(Value::Dict(dict)) = mapping else {
                return Err(Error::type_error("format_map() argument must be a mapping"));
            };
            let mut named = CallArgs::default();
            for (key, value) in dict.entries() {
                budget.tick(1)?;
                if let Value::Str(key) = key {
                    named.named.push((key.as_str().into(), value.clone()));
                }
            }
            format::brace(budget, text, &named).map(Value::Str)
        }
        "translate" => {
            let [table] = args.bind(name, ["table"], 1)?;
            translate(budget, text, &table.unwrap_or(Value::None)).map(Value::Str)
        }
        "encode" | "maketrans" => {
            Err(Error::type_error(format!("str.{name} is not available in chat templates")))
        }
        _ => {
            args.expect_none(name)?;
            Ok(Value::Bool(is_of(text.as_str(), name)))
        }
    }
}

/// Implements `str.strip`, for either or both sides.
pub(crate) fn strip(
    text: &Text,
    chars: Option<Value>,
    from_start: bool,
    from_end: bool,
) -> Result<Text, Error> {
    let chars = match chars {
        None | Some(Value::None) => None,
        Some(chars) => Some(string(Some(chars), "strip")?),
    };
    let is_stripped = |c: char| match &chars {
        Some(chars) => chars.as_str().contains(c),
        None => is_space(c),
    };
    let all = text.as_str();
    let kept = if from_start { all.trim_start_matches(is_stripped) } else { all };
    let start = all.len() - kept.len();
    let kept = if from_end { kept.trim_end_matches(is_stripped) } else { kept };
    Ok(text.slice(start..start + kept.len()))
}

/// Implements `str.replace`.
pub(crate) fn replace(
    budget: &Budget<'_>,
    text: &Text,
    old: &Text,
    new: &Text,
    count: usize,
) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    let new = if text.is_markup() { ops::escape(budget, new)? } else { new.clone() };
    let all = text.as_str();
    let mut from = 0;
    let mut n = 0;
    if old.is_empty() {
        for (idx, c) in all.char_indices() {
            if n < count {
                out.push(&new)?;
                n += 1;
            }
            out.push_slice(text, idx..idx + c.len_utf8())?;
        }
        if n < count {
            out.push(&new)?;
        }
        return Ok(out.finish_markup(text.is_markup()));
    }
    while n < count
        && let Some(found) = all[from..].find(old.as_str())
    {
        out.push_slice(text, from..from + found)?;
        out.push(&new)?;
        from += found + old.len();
        n += 1;
    }
    if n == 0 {
        return Ok(text.clone());
    }
    out.push_slice(text, from..text.len())?;
    Ok(out.finish_markup(text.is_markup()))
}

fn join(budget: &Budget<'_>, separator: &Text, items: &[Value]) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    for (idx, item) in items.iter().enumerate() {
        let Value::Str(item) = item else {
            return Err(Error::type_error(format!(
                "sequence item {idx}: expected str instance, {} found",
                item.type_name()
            )));
        };
        if idx > 0 {
            out.push(separator)?;
        }
        if separator.is_markup() {
            out.push(&ops::escape(budget, item)?)?;
        } else {
            out.push(item)?;
        }
    }
    Ok(out.finish_markup(separator.is_markup()))
}

/// Implements `str.center`, `ljust` and `rjust`.
pub(crate) fn justify(
    budget: &Budget<'_>,
    text: &Text,
    name: &str,
    width: &Value,
    fill: &Text,
) -> Result<Text, Error> {
    let width = ops::size(width)?;
    let missing = width.saturating_sub(text.n_chars());
    budget.check_value(missing)?;
    let before = match name {
        "ljust" => 0,
        "rjust" => missing,
        // If the padding is odd, Python puts the extra character on the left if the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let mut out = TextBuf::new(budget);
    let repeat = |out: &mut TextBuf<'_>, n: usize| {
        if fill.spans().is_empty() {
            return out.push_repeated(fill.as_str(), n);
        }
        (0..n).try_for_each(|_| out.push(fill))
    };
    repeat(&mut out, before)?;
    out.push(text)?;
    repeat(&mut out, missing - before)?;
    Ok(out.finish_markup(text.is_markup()))
}

fn expand_tabs(budget: &Budget<'_>, text: &Text, size: usize) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    let mut column = 0;
    for (c, mark) in text.chars() {
        match c {
            '\t' => {
                if size > 0 {
                    let n = size - column % size;
                    out.push_repeated(" ", n)?;
                    column = 0;
                }
            }
            '\n' | '\r' => {
                out.push_char(c, mark)?;
                column = 0;
            }
            _ => {
                out.push_char(c, mark)?;
                column += 1;
            }
        }
    }
    Ok(out.finish_markup(text.is_markup()))
}

fn translate(budget: &Budget<'_>, text: &Text, table: &Value) -> Result<Text, Error> {
    let Value::Dict(table) = table else {
        return Err(Error::type_error("translate() wants a dictionary"));
    };
    let mut out = TextBuf::new(budget);
    for (c, mark) in text.chars() {
        match table.get(budget, &Value::Int(u32::from(c).into()))? {
            None => out.push_char(c, mark)?,
            Some(Value::None) => {}
            Some(Value::Str(new)) => out.push(new)?,
            Some(other) => {
                let code = other.as_index().and_then(|code| u32::try_from(code).ok());
                let c = code.and_then(char::from_u32).ok_or_else(|| {
                    Error::type_error("character mapping must return integer, None or str")
                })?;
                out.push_char(c, mark)?;
            }
        }
    }
    Ok(out.finish())
}

/// Implements `str.islower` and similar methods.
pub(crate) fn is_of(text: &str, name: &str) -> bool {
    let all = |test: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    match name {
        "isalnum" => all(&|c| is_alpha(c) || is_numeric(c)),
        "isalpha" => all(&is_alpha),
        "isascii" => text.is_ascii(),
        "isdecimal" => all(&|c| decimal(c).is_some()),
        "isdigit" => all(&is_digit),
        "isnumeric" => all(&is_numeric),
        "isprintable" => text.chars().all(is_printable),
        "isspace" => all(&is_space),
        "isidentifier" => {
            let is_start = |c: char| c == '_' || is_alpha(c);
            text.starts_with(is_start) && text.chars().all(|c| is_start(c) || c.is_alphanumeric())
        }
        "islower" => text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase),
        "isupper" => text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
        _ => {
            let mut after_cased = false;
            let mut any = false;
            for c in text.chars() {
                if c.is_uppercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ') {
                    if after_cased {
                        return false;
                    }
                    (after_cased, any) = (true, true);
                } else if c.is_lowercase() {
                    if !after_cased {
                        return false;
                    }
                    any = true;
                } else {
                    after_cased = false;
                }
            }
            any
        }
    }
}
