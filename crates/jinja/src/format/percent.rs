//! printf-style formatting: `'%s' % value`.

use crate::limits::Budget;
use crate::number;
use crate::ops::{self, Number};
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::Value;
use crate::{Error, Limit};

use super::{digits, float};

/// Formats `template` with `args`: a tuple's items, a dictionary's values, or one value.
pub(crate) fn percent(budget: &Budget<'_>, template: &Text, args: &Value) -> Result<Text, Error> {
    let mut format = Percent { budget, out: TextBuf::new(budget), args, next: 0, used_name: false };
    let text = template.as_str();
    let mut at = 0;
    while let Some(found) = text[at..].find('%') {
        format.out.push_slice(template, at..at + found)?;
        at = format.conversion(template, at + found + 1)?;
    }
    format.out.push_slice(template, at..text.len())?;
    let n_args = match args {
        Value::Tuple(seq) => seq.items.len(),
        Value::List(_) | Value::Dict(_) | Value::Range(_) => format.next,
        _ => 1,
    };
    if format.next < n_args && !format.used_name {
        return Err(Error::type_error("not all arguments converted during string formatting"));
    }
    Ok(format.out.finish_markup(template.is_markup()))
}

struct Percent<'b> {
    budget: &'b Budget<'b>,
    out: TextBuf<'b>,
    args: &'b Value,
    next: usize,
    used_name: bool,
}

/// The part of a conversion between `%` and the letter.
#[derive(Default)]
struct Conversion {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl Percent<'_> {
    fn next_arg(&mut self) -> Result<Value, Error> {
        let at = self.next;
        self.next += 1;
        let arg = match self.args {
            Value::Tuple(seq) => seq.items.get(at).cloned(),
            _ if self.used_name => None,
            value if at == 0 => Some(value.clone()),
            _ => None,
        };
        arg.ok_or_else(|| Error::type_error("not enough arguments for format string"))
    }

    /// Writes the conversion whose `%` precedes `at`, and returns its end.
    fn conversion(&mut self, template: &Text, at: usize) -> Result<usize, Error> {
        let incomplete = || Error::value_error("incomplete format");
        let text = template.as_str();
        let mut rest = &text[at..];
        let mut named = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let mut depth = 1;
            let end = inside.char_indices().find(|(_, c)| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let (end, _) = end.ok_or_else(|| Error::value_error("incomplete format key"))?;
            let Value::Dict(dict) = self.args else {
                return Err(Error::type_error("format requires a mapping"));
            };
            let key = &inside[..end];
            let value = dict.get_str(key);
            named =
                Some(value.cloned().ok_or_else(|| Error::runtime("KeyError", format!("'{key}'")))?);
            self.used_name = true;
            rest = &inside[end + 1..];
        }
        let mut conversion = Conversion::default();
        while let Some(c) = rest.chars().next() {
            match c {
                '-' => conversion.left = true,
                '+' => conversion.plus = true,
                ' ' => conversion.space = true,
                '#' => conversion.alternate = true,
                '0' => conversion.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        if let Some(width) = self.count(&mut rest)? {
            conversion.left |= width < 0;
            conversion.width = bounded(width.unsigned_abs())?;
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            let precision = self.count(&mut rest)?.unwrap_or(0).max(0);
            conversion.precision = Some(bounded(precision.unsigned_abs())?);
        }
        self.budget.check_value(conversion.width.max(conversion.precision.unwrap_or(0)))?;
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let kind = rest.chars().next().ok_or_else(incomplete)?;
        if kind == '%' {
            self.out.push_str("%", None)?;
        } else {
            let value = match named {
                Some(value) => value,
                None => self.next_arg()?,
            };
            self.write(&conversion, kind, &value, template.is_markup())?;
        }
        Ok(text.len() - rest.len() + kind.len_utf8())
    }

    /// Parses a width or precision: a number, or `*` for an argument.
    fn count(&mut self, rest: &mut &str) -> Result<Option<i128>, Error> {
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            let count = self.next_arg()?.as_index();
            return count.map(Some).ok_or_else(|| Error::type_error("* wants int"));
        }
        let len = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if len == 0 {
            return Ok(None);
        }
        let count = rest[..len].parse().map_err(|_| Error::value_error("width too big"))?;
        *rest = &rest[len..];
        Ok(Some(count))
    }

    fn write(
        &mut self,
        conversion: &Conversion,
        kind: char,
        value: &Value,
        is_markup: bool,
    ) -> Result<(), Error> {
        match kind {
            's' | 'r' | 'a' => {
                let mut text = match kind {
                    's' => repr::text(self.budget, value)?,
                    _ => repr::repr(self.budget, value)?,
                };
                if is_markup {
                    text = ops::escape(self.budget, &text)?;
                }
                if let Some(precision) = conversion.precision {
                    text = text.slice(0..text.byte_of_char(precision));
                }
                self.pad(conversion, &text)
            }
            'c' => {
                let c = match value {
                    Value::Str(text) if text.n_chars() == 1 => text.clone(),
                    _ => {
                        let code = value.as_index().and_then(|code| u32::try_from(code).ok());
                        let c = code.and_then(char::from_u32);
                        let c = c.ok_or_else(|| Error::type_error("%c requires int or char"))?;
                        Text::plain(c.to_string())
                    }
                };
                self.pad(conversion, &c)
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
                let number = match Number::of(value) {
                    Some(Number::Int(number)) => number,
                    Some(Number::Float(number)) if matches!(kind, 'd' | 'i' | 'u') => {
                        number::truncate(number)
                            .ok_or_else(|| Error::overflow("the number is too large"))?
                    }
                    _ => return Err(not_a_number(kind, value)),
                };
                let mut text = digits(number.unsigned_abs(), kind);
                if let Some(precision) = conversion.precision {
                    let missing = precision.saturating_sub(text.len());
                    text.insert_str(0, &"0".repeat(missing));
                }
                let prefix = match kind {
                    'x' if conversion.alternate => "0x",
                    'X' if conversion.alternate => "0X",
                    'o' if conversion.alternate => "0o",
                    _ => "",
                };
                self.number(conversion, number < 0, prefix, &text)
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = Number::of(value).ok_or_else(|| match value {
                    Value::Undefined(undefined) => undefined.error(),
                    _ => {
                        Error::type_error(format!("must be real number, not {}", value.type_name()))
                    }
                })?;
                let number = number.to_float();
                let precision = conversion.precision.unwrap_or(6);
                let text = float(number, kind, precision, conversion.alternate);
                self.number(conversion, number.is_sign_negative(), "", &text)
            }
            _ => Err(Error::value_error(format!("unsupported format character '{kind}'"))),
        }
    }

    fn number(
        &mut self,
        conversion: &Conversion,
        is_negative: bool,
        prefix: &str,
        digits: &str,
    ) -> Result<(), Error> {
        let sign = match is_negative {
            true => "-",
            false if conversion.plus => "+",
            false if conversion.space => " ",
            false => "",
        };
        let mut text = format!("{sign}{prefix}");
        if conversion.zero && !conversion.left {
            let missing = conversion.width.saturating_sub(text.len() + digits.len());
            text.push_str(&"0".repeat(missing));
        }
        text.push_str(digits);
        self.pad(conversion, &Text::plain(text))
    }

    fn pad(&mut self, conversion: &Conversion, text: &Text) -> Result<(), Error> {
        let missing = conversion.width.saturating_sub(text.n_chars());
        if !conversion.left {
            self.out.push_repeated(" ", missing)?;
        }
        self.out.push(text)?;
        if conversion.left {
            self.out.push_repeated(" ", missing)?;
        }
        Ok(())
    }
}

fn bounded(count: u128) -> Result<usize, Error> {
    usize::try_from(count).map_err(|_| Error::LimitExceeded { limit: Limit::Memory })
}

fn not_a_number(kind: char, value: &Value) -> Error {
    match value {
        Value::Undefined(undefined) => undefined.error(),
        _ => Error::type_error(format!(
            "%{kind} format: a real number is required, not {}",
            value.type_name()
        )),
    }
}
