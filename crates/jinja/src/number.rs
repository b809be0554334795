//! Formats, parses and rounds numbers like Python.

use crate::unicode::{decimal, is_space};

/// `repr` of a float.
pub(crate) fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Rust and Python both use the shortest digits that round-trip; only the layout differs.
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Python's `int(text, base)`; `None` if the text is not a number or does not fit.
pub(crate) fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(is_space);
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let prefixed = match lower.as_deref() {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
        _ => None,
    };
    let (base, digits) = match (base, prefixed) {
        (0, Some(base)) => (base, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        (0, None) => (10, digits),
        (base, Some(prefix)) if base == prefix => {
            (base, digits[2..].strip_prefix('_').unwrap_or(&digits[2..]))
        }
        (base, _) => (base, digits),
    };
    if !(2..=36).contains(&base) || !has_lone_underscores(digits) {
        return None;
    }
    let mut number: i128 = 0;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = decimal(c).or_else(|| c.to_digit(base)).filter(|digit| *digit < base)?;
        number = number.checked_mul(base.into())?.checked_sub(digit.into())?;
    }
    if is_negative { Some(number) } else { number.checked_neg() }
}

/// Python's `float(text)`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let digits: String = text
        .chars()
        .map(|c| decimal(c).and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c))
        .collect();
    let bare = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        // Rust and Python accept the same words: inf, infinity, nan.
        return digits.parse().ok();
    }
    if digits.contains('_') {
        let ok = digits.char_indices().all(|(at, c)| {
            c != '_'
                || (digits[..at].ends_with(|c: char| c.is_ascii_digit())
                    && digits[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
        });
        return ok.then(|| digits.replace('_', "").parse().ok()).flatten();
    }
    digits.parse().ok()
}

fn has_lone_underscores(digits: &str) -> bool {
    !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
}

/// Converts a float to an integer, rounding towards zero; `None` if it does not fit.
pub(crate) fn truncate(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1.7e38).then_some(number.trunc() as i128)
}

/// Python's `round(number, n_digits)`.
pub(crate) fn round(number: f64, n_digits: i32) -> f64 {
    if !number.is_finite() || n_digits > 322 {
        return number;
    }
    if let Ok(places) = usize::try_from(n_digits) {
        // Formatting rounds the exact decimal value half to even, like Python.
        return format!("{number:.places$}").parse().unwrap_or(number);
    }
    if n_digits < -308 {
        return 0.0_f64.copysign(number);
    }
    let factor = 10_f64.powi(-n_digits);
    (number / factor).round_ties_even() * factor
}

/// Python's `round` of integers to tens, hundreds and so on.
pub(crate) fn round_int(number: i128, n_digits: i32) -> i128 {
    if n_digits >= 0 {
        return number;
    }
    let Some(factor) = 10_i128.checked_pow(n_digits.unsigned_abs()) else { return 0 };
    let rest = number.rem_euclid(factor);
    let floor = number - rest;
    let half = factor / 2;
    let up = rest > half || (rest == half && (floor / factor) % 2 != 0);
    if up { floor.saturating_add(factor) } else { floor }
}
