//! Numbers, sizes and states as the page shows them, in words of the catalogue.

mod conversions;
mod models;
pub(crate) mod number;
mod times;
mod untrusted;

pub(crate) use conversions::{
    bits_per_weight, change, conversion_line, conversion_title, quality, stage, stage_line,
    stage_share,
};
pub(crate) use models::{
    bytes, download_progress, large_count, parameters, rate, time_left, typed_gigabytes, verdict,
};
pub(crate) use times::{Clock, date_time, last_used, period};
pub(crate) use untrusted::{visible_name, visible_text};

use lilims_ipc::{Finish, ModelInfo, Stats};

use crate::text::text;

/// What stands between facts on one line.
const SEPARATOR: &str = " · ";

/// Facts on one line: `Q4_1 · 98 MB`. Empty ones are left out.
pub(crate) fn facts(facts: impl IntoIterator<Item = String>) -> String {
    let facts = facts.into_iter().filter(|fact| !fact.is_empty());
    facts.collect::<Vec<_>>().join(SEPARATOR)
}

/// A file size in the unit that leaves one to three digits before the point: `98 MB`, `1.2 GB`.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e3 => text!(unit.bytes, value = decimal(bytes, 0)),
        ..1e6 => text!(unit.kilobytes, value = decimal(bytes / 1e3, 0)),
        ..1e9 => text!(unit.megabytes, value = decimal(bytes / 1e6, 0)),
        ..1e10 => text!(unit.gigabytes, value = decimal(bytes / 1e9, 1)),
        _ => text!(unit.gigabytes, value = decimal(bytes / 1e9, 0)),
    }
}

/// A number with this many digits after the decimal point, as the language writes it.
pub(crate) fn decimal(value: f64, digits: usize) -> String {
    number::fixed(value, digits).replace('.', text!(number.decimal_point))
}

/// A number with thousands separators: `1,204`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push_str(text!(number.group_separator));
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of tokens: `1,204 tokens`.
pub(crate) fn tokens(tokens: impl Into<u64>) -> String {
    let tokens = tokens.into();
    text!(unit.tokens, count = tokens, number = count(tokens))
}

/// How much of a context is used: `1,204 of 8,192 tokens`.
pub(crate) fn tokens_of(used: u32, total: u32) -> String {
    text!(unit.tokens_of, count = total, number = count(total.into()), used = count(used.into()))
}

/// The percentage that `part` is of `whole`, rounded down: 100 only when complete.
pub(crate) fn percent(part: u64, whole: u64) -> u32 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u32::try_from(percent.min(100)).unwrap_or(100)
}

/// A percentage as text: `14%`.
pub(crate) fn percent_text(percent: u32) -> String {
    text!(unit.percent, value = percent)
}

/// A decoding speed: `41.3 tokens/s`.
pub(crate) fn speed(tokens_per_second: f32) -> String {
    text!(unit.tokens_per_second, value = decimal(tokens_per_second.into(), 1))
}

/// The quantisation and size of a loaded model: `Q4_1 · 98 MB`.
pub(crate) fn model_line(model: &ModelInfo) -> String {
    facts([model.quantisation.clone(), size(model.size_bytes)])
}

/// The length and speed of an answer: `132 tokens · 41.3 tokens/s · first after 210 ms`.
pub(crate) fn stats(stats: &Stats) -> String {
    text!(
        conversation.stats,
        tokens = tokens(stats.tokens),
        speed = speed(stats.tokens_per_second),
        first = duration(stats.first_token_ms)
    )
}

/// The line above a model's reasoning: `Reasoned for 3 s`.
pub(crate) fn reasoning(is_running: bool, elapsed_ms: Option<u32>) -> String {
    let seconds = elapsed_ms.map(|elapsed_ms| elapsed_ms / 1000);
    match (is_running, seconds) {
        (true, None | Some(0)) | (false, None) => text!(conversation.reasoning).to_owned(),
        (true, Some(seconds)) => text!(conversation.reasoning_for, seconds),
        (false, Some(0)) => text!(conversation.reasoned_briefly).to_owned(),
        (false, Some(seconds)) => text!(conversation.reasoned_for, seconds),
    }
}

/// Why an answer ended, where the user should know.
pub(crate) fn finish(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::EndOfTurn => None,
        Finish::MaxTokens => Some(text!(conversation.cut_off)),
        Finish::ContextFull => Some(text!(conversation.context_full)),
        Finish::Stopped => Some(text!(conversation.stopped)),
    }
}

fn duration(ms: f32) -> String {
    if ms < 1000.0 {
        text!(unit.milliseconds, value = decimal(ms.into(), 0))
    } else {
        text!(unit.seconds, value = decimal(f64::from(ms) / 1000.0, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_unit_of_a_size() {
        assert_eq!(size(98_362_432), "98 MB");
        assert_eq!(size(1_234_000_000), "1.2 GB");
        assert_eq!(size(12_340_000_000), "12 GB");
        assert_eq!(size(4_000), "4 KB");
        assert_eq!(size(5), "5 bytes");
    }

    #[test]
    fn groups_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(131_072), "131,072");
        assert_eq!(count(1_048_576), "1,048,576");
        assert_eq!(tokens(1_u32), "1 token");
        assert_eq!(tokens_of(1204, 8192), "1,204 of 8,192 tokens");
    }

    #[test]
    fn rounds_percentages_down() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(8191, 8192), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent_text(14), "14%");
        assert_eq!(percent(5, 4), 100);
    }

    #[test]
    fn full_context_names_the_ways_on() {
        let text = finish(Finish::ContextFull).unwrap();
        assert!(["Slide", "Summarise", "context panel"].iter().all(|word| text.contains(word)));
    }

    #[test]
    fn formats_answer_statistics() {
        let mut answer = Stats {
            prompt_tokens: 9,
            prefilled_tokens: 9,
            tokens: 132,
            first_token_ms: 210.4,
            tokens_per_second: 41.26,
        };
        assert_eq!(stats(&answer), "132 tokens · 41.3 tokens/s · first after 210 ms");
        answer.tokens = 1;
        answer.first_token_ms = 1234.0;
        assert_eq!(stats(&answer), "1 token · 41.3 tokens/s · first after 1.2 s");
    }
}
