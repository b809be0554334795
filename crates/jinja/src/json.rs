//! transformers' `tojson`: Python's `json.dumps`, without HTML escaping.

use crate::Error;
use crate::limits::Budget;
use crate::number::float_repr;
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::{Seq, Value};

/// The parameters of `json.dumps` that transformers exposes.
pub(crate) struct Style {
    pub(crate) ensures_ascii: bool,
    /// The indentation per level; `None` for a single line.
    pub(crate) indent: Option<Text>,
    pub(crate) separators: (Text, Text),
    pub(crate) sorts_keys: bool,
}

/// Serialises `value`.
pub(crate) fn dumps(budget: &Budget<'_>, value: &Value, style: &Style) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    style.write(&mut out, budget, value, 0)?;
    Ok(out.finish())
}

impl Style {
    fn write(
        &self,
        out: &mut TextBuf<'_>,
        budget: &Budget<'_>,
        value: &Value,
        depth: usize,
    ) -> Result<(), Error> {
        budget.tick(1)?;
        budget.check_stack()?;
        match value {
            Value::None => out.push_str("null", None),
            Value::Bool(true) => out.push_str("true", None),
            Value::Bool(false) => out.push_str("false", None),
            Value::Int(number) => out.push_str(&number.to_string(), None),
            Value::Float(number) => out.push_str(&float(*number), None),
            Value::Str(text) => self.write_text(out, text),
            Value::List(seq) | Value::Tuple(seq) => {
                self.write_all(out, ["[", "]"], depth, &seq.items, |style, out, item| {
                    style.write(out, budget, item, depth + 1)
                })
            }
            Value::Dict(dict) => {
                let entries = dict.entries();
                let mut order: Vec<usize> = (0..entries.len()).collect();
                if self.sorts_keys {
                    let mut keys = Vec::with_capacity(entries.len());
                    for (key, _) in entries {
                        keys.push(key.clone());
                    }
                    let keys = Seq::new(budget, keys)?;
                    order = ops::sort_order(budget, &keys.items, false)?;
                }
                self.write_all(out, ["{", "}"], depth, &order, |style, out, at| {
                    let (key, value) = &entries[*at];
                    style.write_key(out, budget, key)?;
                    out.push(&style.separators.1)?;
                    style.write(out, budget, value, depth + 1)
                })
            }
            _ => Err(Error::type_error(format!(
                "Object of type {} is not JSON serializable",
                value.type_name()
            ))),
        }
    }

    fn write_key(
        &self,
        out: &mut TextBuf<'_>,
        budget: &Budget<'_>,
        key: &Value,
    ) -> Result<(), Error> {
        let text = match key {
            Value::Str(text) => return self.write_text(out, text),
            Value::None => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => float(*number),
            _ => {
                return Err(Error::type_error(format!(
                    "keys must be str, int, float, bool or None, not {}",
                    key.type_name()
                )));
            }
        };
        budget.tick(1)?;
        self.write_text(out, &Text::plain(text))
    }

    fn write_all<T>(
        &self,
        out: &mut TextBuf<'_>,
        [open, close]: [&str; 2],
        depth: usize,
        items: &[T],
        mut write: impl FnMut(&Self, &mut TextBuf<'_>, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push_str(open, None)?;
        for (idx, item) in items.iter().enumerate() {
            if idx > 0 {
                out.push(&self.separators.0)?;
            }
            self.break_line(out, depth + 1)?;
            write(self, out, item)?;
        }
        if !items.is_empty() {
            self.break_line(out, depth)?;
        }
        out.push_str(close, None)
    }

    fn break_line(&self, out: &mut TextBuf<'_>, depth: usize) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            out.push_str("\n", None)?;
            for _ in 0..depth {
                out.push(indent)?;
            }
        }
        Ok(())
    }

    fn write_text(&self, out: &mut TextBuf<'_>, text: &Text) -> Result<(), Error> {
        out.push_str("\"", None)?;
        for (part, mark) in text.segments() {
            let mut plain = 0;
            for (at, c) in part.char_indices() {
                let is_plain = match c {
                    '"' | '\\' | '\0'..='\x1f' => false,
                    '\x7f'.. => !self.ensures_ascii,
                    _ => true,
                };
                if is_plain {
                    continue;
                }
                out.push_str(&part[plain..at], mark)?;
                plain = at + c.len_utf8();
                match c {
                    '"' => out.push_str("\\\"", mark)?,
                    '\\' => out.push_str("\\\\", mark)?,
                    '\n' => out.push_str("\\n", mark)?,
                    '\r' => out.push_str("\\r", mark)?,
                    '\t' => out.push_str("\\t", mark)?,
                    '\x08' => out.push_str("\\b", mark)?,
                    '\x0c' => out.push_str("\\f", mark)?,
                    _ => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            out.push_str(&format!("\\u{unit:04x}"), mark)?;
                        }
                    }
                }
            }
            out.push_str(&part[plain..], mark)?;
        }
        out.push_str("\"", None)
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(number)
    }
}

/// Converts the `indent` argument.
pub(crate) fn indentation(budget: &Budget<'_>, value: &Value) -> Result<Option<Text>, Error> {
    Ok(match value {
        Value::None => None,
        Value::Str(text) => Some(text.clone()),
        _ => {
            let n = ops::size(value)?;
            budget.check_value(n)?;
            Some(Text::plain(" ".repeat(n)))
        }
    })
}

/// Converts the `separators` argument.
pub(crate) fn separators(budget: &Budget<'_>, value: &Value) -> Result<(Text, Text), Error> {
    let items = crate::iterate::items(budget, value)?;
    match items.items.as_slice() {
        [Value::Str(item), Value::Str(key)] => Ok((item.clone(), key.clone())),
        [_, _] => Err(Error::type_error("separators must be strings")),
        _ => Err(Error::value_error("separators must be two strings")),
    }
}

/// A value as a quoted string, for Python's error messages.
pub(crate) fn quoted(budget: &Budget<'_>, value: &Value) -> Result<String, Error> {
    Ok(repr::repr(budget, value)?.as_str().to_owned())
}
