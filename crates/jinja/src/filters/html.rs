//! Filters for HTML and URLs.

use std::fmt::Write;

use crate::Error;
use crate::args::CallArgs;
use crate::context::Context;
use crate::iterate;
use crate::json::quoted;
use crate::limits::Budget;
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::unicode::is_space;
use crate::value::{Value, View};

pub(super) fn call(
    context: &Context<'_>,
    name: &str,
    value: &Value,
    args: CallArgs,
) -> Result<Value, Error> {
    let budget = context.budget;
    match name {
        "e" | "escape" => {
            args.expect_none(name)?;
            ops::escape(budget, &repr::text(budget, value)?).map(Value::Str)
        }
        "forceescape" => {
            args.expect_none(name)?;
            let text = repr::text(budget, value)?.with_markup(false);
            ops::escape(budget, &text).map(Value::Str)
        }
        "safe" => {
            args.expect_none(name)?;
            Ok(Value::Str(repr::text(budget, value)?.with_markup(true)))
        }
        "striptags" => {
            args.expect_none(name)?;
            strip_tags(budget, &repr::text(budget, value)?).map(Value::Str)
        }
        "urlencode" => {
            args.expect_none(name)?;
            url_encode(budget, value).map(Value::Str)
        }
        "urlize" => {
            let names = ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"];
            let [limit, nofollow, target, rel, _] = args.bind(name, names, 0)?;
            let limit = match limit {
                None | Some(Value::None) => usize::MAX,
                Some(limit) => ops::size(&limit)?,
            };
            let mut rels: Vec<String> = vec!["noopener".to_owned()];
            if let Some(Value::Str(rel)) = rel {
                rels.extend(rel.as_str().split_whitespace().map(str::to_owned));
            }
            if nofollow.is_some_and(|nofollow| nofollow.is_true()) {
                rels.push("nofollow".to_owned());
            }
            rels.sort();
            rels.dedup();
            let mut attributes = format!(" rel=\"{}\"", rels.join(" "));
            if let Some(Value::Str(target)) = target {
                let _ =
                    write!(attributes, " target=\"{}\"", ops::escape(budget, &target)?.as_str());
            }
            let text = repr::text(budget, value)?;
            urlize(budget, &text, limit, &attributes).map(Value::Str)
        }
        _ => {
            let [autospace] = args.bind(name, ["autospace"], 0)?;
            let spaces = autospace.is_none_or(|autospace| autospace.is_true());
            xml_attributes(context, value, spaces).map(Value::Str)
        }
    }
}

fn xml_attributes(context: &Context<'_>, value: &Value, spaces: bool) -> Result<Text, Error> {
    let budget = context.budget;
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    let Value::Dict(dict) = value else {
        let what = format!("'{}' object has no attribute 'items'", value.type_name());
        return Err(Error::runtime("AttributeError", what));
    };
    let mut out = TextBuf::new(budget);
    for (key, value) in dict.entries() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Value::Str(name) = key else {
            return Err(Error::type_error("expected string or bytes-like object"));
        };
        let is_bad = |c: char| c.is_ascii_whitespace() || matches!(c, '\x0b' | '/' | '>' | '=');
        if name.as_str().contains(is_bad) {
            let what = format!("Invalid character in attribute name: {}", quoted(budget, key)?);
            return Err(Error::value_error(what));
        }
        if spaces || out.len() > 0 {
            out.push_str(" ", None)?;
        }
        out.push(&ops::escape(budget, name)?)?;
        out.push_str("=\"", None)?;
        out.push(&ops::escape(budget, &repr::text(budget, value)?)?)?;
        out.push_str("\"", None)?;
    }
    Ok(out.finish_markup(context.escapes()))
}

fn url_encode(budget: &Budget<'_>, value: &Value) -> Result<Text, Error> {
    let pairs = match value {
        Value::Str(_) => None,
        Value::Dict(dict) => Some(iterate::items(budget, &Value::View(View::Items, dict.clone()))?),
        _ if iterate::is_iterable(value) => Some(iterate::items(budget, value)?),
        _ => None,
    };
    let mut out = TextBuf::new(budget);
    let Some(pairs) = pairs else {
        quote(&mut out, &repr::text(budget, value)?, false)?;
        return Ok(out.finish());
    };
    for (idx, pair) in pairs.items.iter().enumerate() {
        if idx > 0 {
            out.push_str("&", None)?;
        }
        let pair = iterate::items(budget, pair)?;
        let [key, value] = pair.items.as_slice() else {
            return Err(Error::value_error("not enough values to unpack (expected 2)"));
        };
        quote(&mut out, &repr::text(budget, key)?, true)?;
        out.push_str("=", None)?;
        quote(&mut out, &repr::text(budget, value)?, true)?;
    }
    Ok(out.finish())
}

fn quote(out: &mut TextBuf<'_>, text: &Text, in_query: bool) -> Result<(), Error> {
    for (part, mark) in text.segments() {
        for byte in part.bytes() {
            let c = char::from(byte);
            match c {
                '/' if !in_query => out.push_char(c, mark)?,
                ' ' if in_query => out.push_char('+', mark)?,
                _ if c.is_ascii_alphanumeric() || "_.-~".contains(c) => out.push_char(c, mark)?,
                _ => out.push_str(&format!("%{byte:02X}"), mark)?,
            }
        }
    }
    Ok(())
}

/// Removes comments and tags, collapses white space, and decodes entities.
fn strip_tags(budget: &Budget<'_>, text: &Text) -> Result<Text, Error> {
    budget.check_value(text.len().saturating_mul(3))?;
    let mut plain = text.as_str().to_owned();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut kept = String::with_capacity(plain.len());
        let mut rest = plain.as_str();
        while let Some(start) = rest.find(open) {
            budget.tick(1)?;
            let Some(len) = rest[start..].find(close) else { break };
            kept.push_str(&rest[..start]);
            rest = &rest[start + len + close.len()..];
        }
        kept.push_str(rest);
        plain = kept;
    }
    let words: Vec<&str> = plain.split(is_space).filter(|word| !word.is_empty()).collect();
    Ok(Text::mixed(unescape(&words.join(" ")), &[text]))
}

/// Decodes the most common HTML entities and numeric ones.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(idx) = rest.find('&') {
        plain.push_str(&rest[..idx]);
        rest = &rest[idx..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let resolved = end.and_then(|end| {
            let name = &rest[1..end];
            let c = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "nbsp" => '\u{a0}',
                "copy" => '©',
                "hellip" => '…',
                "mdash" => '—',
                "ndash" => '–',
                _ => {
                    let number = name.strip_prefix('#')?;
                    let code = match number.strip_prefix(['x', 'X']) {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    char::from_u32(code.ok()?)?
                }
            };
            Some((c, end + 1))
        });
        let (c, len) = resolved.unwrap_or(('&', 1));
        plain.push(c);
        rest = &rest[len..];
    }
    plain.push_str(rest);
    plain
}

/// Turns URLs and mail addresses into links. All of the result gets the first mark of the text.
fn urlize(budget: &Budget<'_>, text: &Text, limit: usize, attributes: &str) -> Result<Text, Error> {
    let escaped = ops::escape(budget, text)?;
    let mut out = TextBuf::new(budget);
    let mark = text.first_mark();
    let mut rest = escaped.as_str();
    while !rest.is_empty() {
        budget.tick(1)?;
        let spaces = rest.len() - rest.trim_start_matches(is_space).len();
        out.push_str(&rest[..spaces], mark)?;
        rest = &rest[spaces..];
        let word = &rest[..rest.find(is_space).unwrap_or(rest.len())];
        rest = &rest[word.len()..];
        let (head, middle, tail) = around(word);
        out.push_str(head, mark)?;
        let shown = match middle.char_indices().nth(limit) {
            Some((idx, _)) => format!("{}...", &middle[..idx]),
            None => middle.to_owned(),
        };
        if is_url(middle) {
            let scheme = if middle.starts_with("http") { "" } else { "https://" };
            let link = format!("<a href=\"{scheme}{middle}\"{attributes}>{shown}</a>");
            out.push_str(&link, mark)?;
        } else if let Some(mail) = middle.strip_prefix("mailto:").filter(|mail| is_mail(mail)) {
            out.push_str(&format!("<a href=\"{middle}\">{mail}</a>"), mark)?;
        } else if is_mail(middle) && !middle.starts_with("www.") && !middle.contains(':') {
            out.push_str(&format!("<a href=\"mailto:{middle}\">{middle}</a>"), mark)?;
        } else {
            out.push_str(middle, mark)?;
        }
        out.push_str(tail, mark)?;
    }
    Ok(out.finish())
}

/// Splits leading brackets and trailing punctuation off a word.
fn around(word: &str) -> (&str, &str, &str) {
    let mut start = 0;
    while let Some(len) =
        ["(", "<", "&lt;"].iter().find(|open| word[start..].starts_with(**open)).map(|o| o.len())
    {
        start += len;
    }
    let mut end = word.len();
    while let Some(len) = [")", ">", ".", ",", "&gt;"]
        .iter()
        .find(|close| word[start..end].ends_with(**close))
        .map(|close| close.len())
    {
        // A closing bracket that is balanced inside the word belongs to it.
        let inside = &word[start..end - len];
        if &word[end - len..end] == ")" && inside.matches('(').count() > inside.matches(')').count()
        {
            break;
        }
        end -= len;
    }
    (&word[..start], &word[start..end], &word[end..])
}

fn is_url(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let (host, has_scheme) =
        match lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")) {
            Some(rest) => (rest, true),
            None => (lower.as_str(), false),
        };
    let host = &host[..host.find([':', '/', '?', '#']).unwrap_or(host.len())];
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || "_%-".contains(c))
    };
    if !labels.iter().all(is_label) {
        return false;
    }
    let last = labels.last().copied().unwrap_or_default();
    let is_top = (2..=63).contains(&last.len()) && last.bytes().all(|b| b.is_ascii_lowercase());
    if has_scheme {
        let is_ip = labels.len() == 4 && labels.iter().all(|l| l.parse::<u8>().is_ok());
        return is_top || is_ip;
    }
    if let Some(rest) = host.strip_prefix("www.") {
        return !rest.is_empty() && is_top;
    }
    labels.len() > 1
        && matches!(last, "com" | "net" | "int" | "edu" | "gov" | "org" | "info" | "mil")
        && labels[..labels.len() - 1].iter().all(|label| label.len() >= 2)
}

fn is_mail(word: &str) -> bool {
    let Some((user, host)) = word.rsplit_once('@') else { return false };
    let Some((name, top)) = host.rsplit_once('.') else { return false };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    !user.is_empty()
        && name.starts_with(is_word)
        && name.chars().all(|c| is_word(c) || c == '.' || c == '-')
        && !top.is_empty()
        && top.chars().all(is_word)
}
