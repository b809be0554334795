//! glibc's `strftime` in the C locale.

use std::fmt::Write;

use chrono::{Datelike, NaiveDateTime, Timelike};

/// Maximum width of a field.
const MAX_WIDTH: usize = 256;

/// Formats `time`. Text that is not a directive is kept.
pub(crate) fn strftime(format: &str, time: &NaiveDateTime) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = directive(&mut text, rest, time).unwrap_or_else(|| {
            text.push('%');
            1
        });
        rest = &rest[len..];
    }
    text.push_str(rest);
    text
}

/// Writes the directive at the start of `rest` and returns its length.
fn directive(text: &mut String, rest: &str, time: &NaiveDateTime) -> Option<usize> {
    let after = &rest[1..];
    let flags = after.trim_start_matches(['-', '_', '0', '^', '#']);
    let flag = after[..after.len() - flags.len()].chars().next_back();
    let digits = flags.trim_start_matches(|c: char| c.is_ascii_digit());
    let width = flags[..flags.len() - digits.len()].parse::<usize>().ok();
    let kind = digits.trim_start_matches(['E', 'O', ':']).chars().next()?;
    let (value, pad) = field(kind, time)?;
    let value = match flag {
        Some('^') => value.to_uppercase(),
        Some('#') if kind == 'p' => value.to_lowercase(),
        Some('#') => value.to_uppercase(),
        _ => value,
    };
    let (fill, natural) = match (flag, pad) {
        (Some('-'), _) => ('0', 0),
        (Some('_'), Some((_, natural))) => (' ', natural),
        (Some('0'), Some((_, natural))) => ('0', natural),
        (_, Some(pad)) => pad,
        (Some('0'), None) => ('0', 0),
        (_, None) => (' ', 0),
    };
    let width = width.unwrap_or(natural).min(MAX_WIDTH);
    let missing = width.saturating_sub(value.chars().count());
    text.extend(std::iter::repeat_n(fill, missing));
    text.push_str(&value);
    let skipped = digits.len() - digits.trim_start_matches(['E', 'O', ':']).len();
    Some(rest.len() - digits.len() + skipped + kind.len_utf8())
}

/// The value of a directive, with its default padding character and width.
fn field(kind: char, time: &NaiveDateTime) -> Option<(String, Option<(char, usize)>)> {
    let number = |value: i64, width: usize| Some((value.to_string(), Some(('0', width))));
    let spaced = |value: i64, width: usize| Some((value.to_string(), Some((' ', width))));
    let plain = |value: String| Some((value, None));
    let formatted = |format: &str| {
        let mut text = String::new();
        // Only directives that chrono supports reach this.
        write!(text, "{}", time.format(format)).ok()?;
        Some((text, None))
    };
    let hour = i64::from(time.hour());
    let hour12 = i64::from(time.hour12().1);
    let year = i64::from(time.year());
    let week = time.iso_week();
    let yday = i64::from(time.ordinal0());
    let from_sunday = i64::from(time.weekday().num_days_from_sunday());
    let from_monday = i64::from(time.weekday().num_days_from_monday());
    match kind {
        'a' => formatted("%a"),
        'A' => formatted("%A"),
        'b' | 'h' => formatted("%b"),
        'B' => formatted("%B"),
        'c' => formatted("%a %b %e %H:%M:%S %Y"),
        'C' => number(year.div_euclid(100), 2),
        'd' => number(time.day().into(), 2),
        'D' | 'x' => formatted("%m/%d/%y"),
        'e' => spaced(time.day().into(), 2),
        'f' => number((time.nanosecond() / 1000).into(), 6),
        'F' => formatted("%Y-%m-%d"),
        'g' => number(i64::from(week.year()).rem_euclid(100), 2),
        'G' => number(week.year().into(), 1),
        'H' => number(hour, 2),
        'I' => number(hour12, 2),
        'j' => number(yday + 1, 3),
        'k' => spaced(hour, 2),
        'l' => spaced(hour12, 2),
        'm' => number(time.month().into(), 2),
        'M' => number(time.minute().into(), 2),
        'n' => plain("\n".to_owned()),
        'p' => plain(if hour < 12 { "AM" } else { "PM" }.to_owned()),
        'P' => plain(if hour < 12 { "am" } else { "pm" }.to_owned()),
        'r' => formatted("%I:%M:%S %p"),
        'R' => formatted("%H:%M"),
        's' => number(time.and_utc().timestamp(), 1),
        'S' => number(time.second().into(), 2),
        't' => plain("\t".to_owned()),
        'T' | 'X' => formatted("%H:%M:%S"),
        'u' => number(from_monday + 1, 1),
        'U' => number((yday + 7 - from_sunday) / 7, 2),
        'V' => number(week.week().into(), 2),
        'w' => number(from_sunday, 1),
        'W' => number((yday + 7 - from_monday) / 7, 2),
        'y' => number(year.rem_euclid(100), 2),
        'Y' => number(year, 1),
        // The time has no time zone.
        'z' | 'Z' => plain(String::new()),
        '%' => plain("%".to_owned()),
        _ => None,
    }
}
