//! Format specifications: the part after the colon in `{:>8.3f}`.

use crate::limits::Budget;
use crate::number::float_repr;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::Value;
use crate::{Error, Limit};

use super::{digits, float};

/// A parsed specification.
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    negative_zero: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn invalid() -> Error {
    Error::value_error("Invalid format specifier")
}

impl Spec {
    fn parse(text: &str) -> Result<Self, Error> {
        let is_align = |c: char| matches!(c, '<' | '>' | '=' | '^');
        let mut spec = Self {
            fill: None,
            align: None,
            sign: None,
            negative_zero: false,
            alternate: false,
            zero: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        };
        let mut rest = text;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(fill), Some(align)) if is_align(align) => {
                spec.fill = Some(fill);
                spec.align = Some(align);
                rest = chars.as_str();
            }
            (Some(align), _) if is_align(align) => {
                spec.align = Some(align);
                rest = &text[1..];
            }
            _ => {}
        }
        spec.sign = skip(&mut rest, &['+', '-', ' ']);
        spec.negative_zero = skip(&mut rest, &['z']).is_some();
        spec.alternate = skip(&mut rest, &['#']).is_some();
        if spec.fill.is_none() && skip(&mut rest, &['0']).is_some() {
            spec.fill = Some('0');
            // Numbers are then padded after their sign.
            spec.zero = spec.align.is_none();
        }
        spec.width = count(&mut rest)?.unwrap_or(0);
        spec.grouping = skip(&mut rest, &[',', '_']);
        if skip(&mut rest, &['.']).is_some() {
            spec.precision = Some(
                count(&mut rest)?
                    .ok_or_else(|| Error::value_error("Format specifier missing precision"))?,
            );
        }
        let mut chars = rest.chars();
        spec.kind = chars.next();
        if chars.next().is_some() {
            return Err(invalid());
        }
        Ok(spec)
    }
}

/// Consumes the next character if it is one of `wanted`.
fn skip(rest: &mut &str, wanted: &[char]) -> Option<char> {
    let found = rest.chars().next().filter(|c| wanted.contains(c))?;
    *rest = &rest[found.len_utf8()..];
    Some(found)
}

fn count(rest: &mut &str) -> Result<Option<usize>, Error> {
    let len = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if len == 0 {
        return Ok(None);
    }
    let number = rest[..len].parse().map_err(|_| Error::LimitExceeded { limit: Limit::Memory })?;
    *rest = &rest[len..];
    Ok(Some(number))
}

/// Appends Python's `format(value, spec)`.
pub(super) fn write(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    value: &Value,
    spec: &str,
) -> Result<(), Error> {
    if spec.is_empty() {
        return repr::write_str(out, budget, value);
    }
    let unsupported = || {
        let name = value.type_name();
        Error::type_error(format!("unsupported format string passed to {name}.__format__"))
    };
    let parsed = match value {
        Value::Str(_) | Value::Int(_) | Value::Bool(_) | Value::Float(_) => Spec::parse(spec)?,
        _ => return Err(unsupported()),
    };
    budget.check_value(parsed.width.max(parsed.precision.unwrap_or(0)))?;
    let unknown = |kind: char| {
        let name = value.type_name();
        let what = format!("Unknown format code '{kind}' for object of type '{name}'");
        Err(Error::value_error(what))
    };
    match value {
        Value::Str(text) => {
            if let Some(kind) = parsed.kind.filter(|kind| *kind != 's') {
                return unknown(kind);
            }
            if parsed.align == Some('=')
                || parsed.sign.is_some()
                || parsed.negative_zero
                || parsed.grouping.is_some()
                || parsed.alternate
            {
                return Err(Error::value_error("not allowed in string format specifier"));
            }
            let shown = parsed.precision.map_or(text.len(), |n| text.byte_of_char(n));
            pad(out, &parsed, '<', &text.slice(0..shown))
        }
        Value::Float(number) => write_float(out, &parsed, *number),
        _ => {
            let number = value.as_index().unwrap_or_default();
            match parsed.kind {
                None | Some('d' | 'n' | 'b' | 'o' | 'x' | 'X') => {
                    if parsed.precision.is_some() || parsed.negative_zero {
                        let what = "Precision not allowed in integer format specifier";
                        return Err(Error::value_error(what));
                    }
                    let kind = parsed.kind.unwrap_or('d');
                    let prefix = match kind {
                        'b' | 'o' | 'x' | 'X' if parsed.alternate => format!("0{kind}"),
                        _ => String::new(),
                    };
                    let group = if matches!(kind, 'd' | 'n') { 3 } else { 4 };
                    let text = digits(number.unsigned_abs(), kind);
                    write_number(out, &parsed, number < 0, &prefix, &text, "", group)
                }
                Some('c') => {
                    let c = u32::try_from(number).ok().and_then(char::from_u32);
                    let c = c.ok_or_else(|| Error::overflow("%c arg not in range(0x110000)"))?;
                    pad(out, &parsed, '<', &Text::plain(c.to_string()))
                }
                Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
                    write_float(out, &parsed, number as f64)
                }
                Some(kind) => unknown(kind),
            }
        }
    }
}

fn write_float(out: &mut TextBuf<'_>, spec: &Spec, number: f64) -> Result<(), Error> {
    let is_negative = number.is_sign_negative() && !number.is_nan();
    let text = match (spec.kind, spec.precision) {
        (None, None) => float_repr(number.abs()),
        (None, Some(precision)) => {
            let text = float(number, 'g', precision, spec.alternate);
            // Without a type letter, at least one fractional digit is shown.
            if text.contains(['.', 'e', 'n', 'i']) { text } else { text + ".0" }
        }
        (Some('n'), precision) => float(number, 'g', precision.unwrap_or(6), spec.alternate),
        (Some('%'), precision) => float(number * 100.0, 'f', precision.unwrap_or(6), false) + "%",
        (Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G')), precision) => {
            float(number, kind, precision.unwrap_or(6), spec.alternate)
        }
        (Some(kind), _) => {
            let what = format!("Unknown format code '{kind}' for object of type 'float'");
            return Err(Error::value_error(what));
        }
    };
    let whole = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    write_number(out, spec, is_negative, "", &text[..whole], &text[whole..], 3)
}

/// Writes a number from its parts: the integer digits, which may be grouped, and the rest.
fn write_number(
    out: &mut TextBuf<'_>,
    spec: &Spec,
    is_negative: bool,
    prefix: &str,
    whole: &str,
    rest: &str,
    group: usize,
) -> Result<(), Error> {
    let sign = match (is_negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        (false, _) => "",
    };
    let fill = spec.fill.unwrap_or(' ');
    let is_inner = spec.align == Some('=') || spec.zero;
    let head = format!("{sign}{prefix}");
    let mut digits = whole.to_owned();
    if let Some(separator) = spec.grouping {
        let room = spec.width.saturating_sub(head.len() + rest.len());
        let zeros = if is_inner && fill == '0' { room } else { 0 };
        digits = grouped(whole, separator, group, zeros);
    }
    let text = format!("{digits}{rest}");
    if is_inner {
        let missing = spec.width.saturating_sub(head.len() + text.len());
        out.push_str(&head, None)?;
        out.push_repeated(fill.encode_utf8(&mut [0; 4]), missing)?;
        return out.push_str(&text, None);
    }
    pad(out, spec, '>', &Text::plain(head + &text))
}

/// Inserts separators into digits and pads with zeros to `width`.
fn grouped(digits: &str, separator: char, group: usize, width: usize) -> String {
    let mut reversed = String::new();
    let mut n = 0;
    let mut source = digits.chars().rev();
    loop {
        let next = source.next();
        let with_separator = reversed.len() + usize::from(n > 0 && n % group == 0);
        if next.is_none() && with_separator >= width {
            break;
        }
        if n > 0 && n % group == 0 {
            reversed.push(separator);
        }
        reversed.push(next.unwrap_or('0'));
        n += 1;
    }
    reversed.chars().rev().collect()
}

fn pad(out: &mut TextBuf<'_>, spec: &Spec, default_align: char, text: &Text) -> Result<(), Error> {
    let missing = spec.width.saturating_sub(text.n_chars());
    let before = match spec.align.unwrap_or(default_align) {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    let mut buffer = [0; 4];
    let fill = spec.fill.unwrap_or(' ').encode_utf8(&mut buffer);
    out.push_repeated(fill, before)?;
    out.push(text)?;
    out.push_repeated(fill, missing - before)
}
