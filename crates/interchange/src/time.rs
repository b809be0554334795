//! Times as programs write them: seconds with a fraction, milliseconds, finer units, ISO 8601.

use chrono::{DateTime, NaiveDateTime};

use crate::json::Json;

/// Numbers from here on are milliseconds: as seconds they would be after the year 5138.
const MIN_MILLISECONDS: f64 = 1e11;
/// Numbers from here on are microseconds, and a thousandfold from there nanoseconds.
const MIN_MICROSECONDS: f64 = 1e14;
const MIN_NANOSECONDS: f64 = 1e17;
/// The last time that is taken: the end of the year 9999.
const MAX_MS: f64 = 253_402_300_799_999.0;

/// The time that `value` states, in milliseconds since 1970; `None` if it states none.
pub(crate) fn time_ms(value: &Json) -> Option<u64> {
    match value {
        Json::Number(number) => from_number(number.as_f64()?),
        Json::Text(text) => from_text(text.trim()),
        _ => None,
    }
}

fn from_number(number: f64) -> Option<u64> {
    let ms = match number {
        n if n >= MIN_NANOSECONDS => n / 1e6,
        n if n >= MIN_MICROSECONDS => n / 1e3,
        n if n >= MIN_MILLISECONDS => n,
        n => n * 1e3,
    };
    // Times before 1970 and not-a-number are no times of a chat.
    (1.0..=MAX_MS).contains(&ms).then_some(ms.round() as u64)
}

fn from_text(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse::<f64>() {
        return from_number(number);
    }
    let ms = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.timestamp_millis(),
        Err(_) => {
            // Without a zone: the programs mean UTC.
            let text = text.replacen(' ', "T", 1);
            let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
            time.and_utc().timestamp_millis()
        }
    };
    from_number(ms as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn time(value: serde_json::Value) -> Option<u64> {
        time_ms(&Json::from(value))
    }

    #[test]
    fn every_unit_and_iso_8601_are_the_same_moment() {
        let expected = Some(1_700_000_000_123);
        for value in [
            json!(1_700_000_000.123),
            json!(1_700_000_000_123_u64),
            json!(1_700_000_000_123_000_u64),
            json!("2023-11-14T22:13:20.123Z"),
            json!("2023-11-14T23:13:20.123+01:00"),
            json!("2023-11-14T22:13:20.123"),
            json!("2023-11-14 22:13:20.123"),
            json!("1700000000.123"),
        ] {
            assert_eq!(time(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [json!(null), json!(-5), json!(0), json!("soon"), json!(1e300), json!([1])] {
            assert_eq!(time(value.clone()), None, "{value}");
        }
    }
}
