//! Python's string formatting: `%`, `str.format`, and number formatting for both.

mod brace;
mod percent;
mod spec;

pub(crate) use brace::brace;
pub(crate) use percent::percent;

/// Fractional digits of a float beyond this many are zeros.
const MAX_FRACTION: usize = 1074;
/// Significant digits of a float beyond this many are zeros.
const MAX_SIGNIFICANT: usize = 766;

/// Formats like `%.Nf`, without the sign of `number`.
fn fixed(number: f64, precision: usize) -> String {
    let shown = precision.min(MAX_FRACTION);
    let mut text = format!("{:.shown$}", number.abs());
    text.extend(std::iter::repeat_n('0', precision - shown));
    text
}

/// Formats like `%.Ne`, without the sign of `number`.
fn exponential(number: f64, precision: usize) -> String {
    let shown = precision.min(MAX_SIGNIFICANT);
    let text = format!("{:.shown$e}", number.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = "0".repeat(precision - shown);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{zeros}e{sign}{:02}", exponent.abs())
}

/// Formats like `%.Ng`, without the sign of `number`; `keeps_zeros` is the flag `#`.
fn general(number: f64, precision: usize, keeps_zeros: bool) -> String {
    let precision = precision.max(1);
    let scientific = exponential(number, precision.min(MAX_SIGNIFICANT) - 1);
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse::<i64>().ok());
    let exponent = exponent.unwrap_or(0);
    let n = i64::try_from(precision).unwrap_or(i64::MAX);
    let text = if (-4..n).contains(&exponent) {
        fixed(number, usize::try_from(n - 1 - exponent).unwrap_or(0).min(MAX_FRACTION))
    } else {
        scientific
    };
    if keeps_zeros {
        return text;
    }
    let (digits, rest) = match text.find('e') {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    if digits.contains('.') {
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        format!("{digits}{rest}")
    } else {
        text
    }
}

/// Formats a float with the conversion `kind` (one of `eEfFgG`), without its sign.
fn float(number: f64, kind: char, precision: usize, keeps_zeros: bool) -> String {
    let text = if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        "inf".to_owned()
    } else {
        match kind.to_ascii_lowercase() {
            'e' => exponential(number, precision),
            'f' => fixed(number, precision),
            _ => general(number, precision, keeps_zeros),
        }
    };
    if kind.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

/// The digits of an integer in the base of `kind`.
fn digits(number: u128, kind: char) -> String {
    match kind {
        'x' => format!("{number:x}"),
        'X' => format!("{number:X}"),
        'o' => format!("{number:o}"),
        'b' => format!("{number:b}"),
        _ => number.to_string(),
    }
}
