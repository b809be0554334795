//! Times in words: `3 days ago`, `in March`. Owns the calendar arithmetic; the clock itself is the
//! browser's.

use crate::text::text;

const MS_PER_MINUTE: i64 = 60_000;
const MINUTES_PER_DAY: i64 = 24 * 60;

/// The current time and time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// How far local time is ahead of UTC, in minutes.
    pub(crate) ahead_minutes: i64,
}

impl Clock {
    /// The local day of a time, counted from 1970.
    fn day(self, ms: i64) -> i64 {
        (ms.div_euclid(MS_PER_MINUTE) + self.ahead_minutes).div_euclid(MINUTES_PER_DAY)
    }
}

/// When a model was last used: `last used 3 days ago`, `never used`.
pub(crate) fn last_used(ms: Option<u64>, clock: Clock) -> String {
    match ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)) {
        None => text!(time.never_used).into(),
        Some(ms) => text!(time.last_used, when = ago(ms, clock)),
    }
}

fn ago(ms: i64, clock: Clock) -> String {
    let today = clock.day(clock.now_ms);
    let day = clock.day(ms);
    match today - day {
        // After a clock was set back, a time may lie in the future: treat it as now.
        ..=0 if clock.now_ms - ms < 5 * MS_PER_MINUTE => text!(time.just_now).into(),
        ..=0 => text!(time.today).into(),
        1 => text!(time.yesterday).into(),
        days @ 2..14 => text!(time.days_ago, count = days),
        days @ 14..35 => text!(time.weeks_ago, count = days / 7),
        _ => {
            let ((year, month), (this_year, this_month)) = (month_of(day), month_of(today));
            let months = (this_year - year) * 12 + this_month - month;
            let month = month_name(month);
            if months < 12 {
                text!(time.in_month, month)
            } else {
                text!(time.in_month_of_year, month, year)
            }
        }
    }
}

/// A date with its time of day, as the browser writes it in the page's language.
pub(crate) fn date_time(ms: u64) -> String {
    #[cfg(target_arch = "wasm32")]
    return crate::bridge::date_time(ms as f64, crate::text::chosen());
    #[cfg(not(target_arch = "wasm32"))]
    ms.to_string()
}

/// The group of a time in a list of conversations: `Today`, `Previous 7 days`, `October`.
pub(crate) fn period(ms: u64, clock: Clock) -> String {
    let today = clock.day(clock.now_ms);
    let day = clock.day(i64::try_from(ms).unwrap_or(i64::MAX));
    match today - day {
        ..=0 => text!(sidebar.today).into(),
        1 => text!(sidebar.yesterday).into(),
        2..=7 => text!(sidebar.previous_7_days).into(),
        _ => match (month_of(day), month_of(today)) {
            ((year, month), (this_year, _)) if year == this_year => month_name(month).into(),
            ((year, month), _) => text!(sidebar.month_of_year, month = month_name(month), year),
        },
    }
}

/// The name of a month, 0 being January.
fn month_name(month: i64) -> &'static str {
    match month {
        0 => text!(month.january),
        1 => text!(month.february),
        2 => text!(month.march),
        3 => text!(month.april),
        4 => text!(month.may),
        5 => text!(month.june),
        6 => text!(month.july),
        7 => text!(month.august),
        8 => text!(month.september),
        9 => text!(month.october),
        10 => text!(month.november),
        _ => text!(month.december),
    }
}

/// Year and month (0 is January) of a day counted from 1970. Source: the proleptic Gregorian
/// calendar, in eras of 400 years that begin in March, so that leap days come last.
fn month_of(day: i64) -> (i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_TO_1970: i64 = 719_468;
    let day = day + DAYS_TO_1970;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day = day.rem_euclid(DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let is_next_year = from_march >= 10;
    let month = if is_next_year { from_march - 10 } else { from_march + 2 };
    (era * 400 + year + i64::from(is_next_year), month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 12:00 UTC.
    const NOON: Clock = Clock { now_ms: 1_795_521_600_000, ahead_minutes: 0 };
    const DAY: i64 = MINUTES_PER_DAY * MS_PER_MINUTE;

    #[test]
    fn computes_year_and_month_of_a_day() {
        assert_eq!(month_of(0), (1970, 0));
        assert_eq!(month_of(-1), (1969, 11));
        assert_eq!(month_of(11_016), (2000, 1), "29 February 2000");
        assert_eq!(month_of(11_017), (2000, 2));
        assert_eq!(month_of(20_781), (2026, 10));
    }

    #[test]
    fn formats_times_relative_to_now() {
        let ago = |days: i64| ago(NOON.now_ms - days * DAY, NOON);
        assert_eq!(ago(0), "just now");
        assert_eq!(ago(1), "yesterday");
        assert_eq!(ago(3), "3 days ago");
        assert_eq!(ago(14), "2 weeks ago");
        assert_eq!(ago(40), "in October");
        assert_eq!(ago(250), "in March");
        assert_eq!(ago(400), "in October 2025");
        assert_eq!(ago(-3), "just now");
        let used = |ms| last_used(ms, NOON);
        assert_eq!(used(None), "never used");
        assert_eq!(used(Some(1_795_521_600_000 - 3_600_000)), "last used today");
    }

    #[test]
    fn days_end_at_local_midnight() {
        let east = Clock { ahead_minutes: 13 * 60, ..NOON };
        assert_eq!(ago(NOON.now_ms - 2 * 3_600_000, NOON), "today");
        assert_eq!(ago(NOON.now_ms - 2 * 3_600_000, east), "yesterday");
    }
}
