//! Sizes, counts and times as people write and read them.

use chrono::{DateTime, Datelike, Local, NaiveDateTime};

/// Prefixes of units, each a thousand times the one before.
const PREFIXES: [&str; 5] = ["", "K", "M", "G", "T"];

/// Parses a size with its unit, such as `20GB` or `1.5 GiB`. Bytes.
pub fn size(text: &str) -> Result<u64, String> {
    with_unit(text, |unit| match unit.strip_suffix("IB") {
        Some(prefix) => Some((prefix, 1024)),
        None => Some((unit.strip_suffix('B').unwrap_or(unit), 1000)),
    })
    .ok_or_else(|| "it must be a size with a unit, such as 20GB".to_owned())
}

/// Parses bytes per second, such as `5MB` or `5MB/s`; never 0.
pub fn rate(text: &str) -> Result<u64, String> {
    let bytes = size(text.trim().strip_suffix("/s").unwrap_or(text))?;
    if bytes > 0 { Ok(bytes) } else { Err("it must be more than 0".to_owned()) }
}

/// Parses a number of parameters, such as `4B` or `500M`.
pub fn parameters(text: &str) -> Result<u64, String> {
    with_unit(text, |unit| match unit {
        "B" => Some(("G", 1000)),
        "K" | "M" | "T" => Some((unit, 1000)),
        _ => None,
    })
    .ok_or_else(|| "it must be a number such as 4B or 500M".to_owned())
}

/// A number with a unit, of which `parse` returns the prefix and its base.
fn with_unit(text: &str, parse: impl FnOnce(&str) -> Option<(&str, u32)>) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let (prefix, base) = parse(unit.trim_start())?;
    let power = PREFIXES.iter().position(|it| *it == prefix)?;
    let value = number.parse::<f64>().ok()? * f64::from(base).powi(power.try_into().ok()?);
    (value < u64::MAX as f64).then_some(value as u64)
}

/// `7.2B`, `135M`, `950`.
pub fn count(n: u64) -> String {
    const UNITS: [&str; 4] = ["", "K", "M", "B"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$}{}", UNITS[unit])
}

/// When something was, as `today` or `in March`; milliseconds since 1970.
pub fn when(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(DateTime::from_timestamp_millis);
    let Some(at) = at else { return "at an unknown time".to_owned() };
    relative(at.with_timezone(&Local).naive_local(), Local::now().naive_local())
}

fn relative(at: NaiveDateTime, now: NaiveDateTime) -> String {
    let days = now.date().signed_duration_since(at.date()).num_days();
    let months = (now.year() - at.year()) * 12 + now.month() as i32 - at.month() as i32;
    match days {
        // A clock that was set back makes times of the future.
        ..=0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        2..=20 => format!("{days} days ago"),
        _ if months < 12 => at.format("in %B").to_string(),
        _ => at.format("in %B %Y").to_string(),
    }
}

/// A time to wait, as `2 min 5 s`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        for (text, bytes) in [
            ("20GB", 20_000_000_000),
            ("20GiB", 20 << 30),
            ("1.5 gb", 1_500_000_000),
            ("5M", 5_000_000),
            ("0B", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "20", "50%", "GB", "-1GB", "1..2GB", "1GBB", "99999999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(rate("5MB/s"), Ok(5_000_000));
        assert!(rate("0MB").is_err());
        assert_eq!(parameters("1.5b"), Ok(1_500_000_000));
        assert!(parameters("4GB").is_err());
    }

    #[test]
    fn counts_have_two_digits_or_three() {
        let counts = [950, 134_515_008, 7_241_732_096, 999_700, 12_300].map(count);
        assert_eq!(counts, ["950", "135M", "7.2B", "1.0M", "12K"]);
    }

    #[test]
    fn times_are_told_as_people_do() {
        let at = |year, month, day| {
            NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(23, 0, 0).unwrap()
        };
        let now = at(2026, 11, 24);
        for (then, expected) in [
            (at(2027, 1, 1), "today"),
            (at(2026, 11, 24), "today"),
            (at(2026, 11, 23), "yesterday"),
            (at(2026, 11, 4), "20 days ago"),
            (at(2026, 3, 9), "in March"),
            (at(2025, 12, 9), "in December"),
            (at(2025, 11, 9), "in November 2025"),
        ] {
            assert_eq!(relative(then, now), expected);
        }
        assert_eq!([5, 125, 7300].map(duration), ["5 s", "2 min 5 s", "2 h 1 min"]);
    }

    #[test]
    fn lists_read_as_people_write_them() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(list(&names), "a, b and c");
        assert_eq!(list(&names[..2]), "a and b");
    }
}
