//! Numbers as the page shows them.

mod conversions;
mod models;
mod times;

pub(crate) use conversions::{
    bits_per_weight, change, conversion_line, conversion_title, quality, stage, stage_line,
    stage_share,
};
pub(crate) use models::{
    bytes, download_progress, large_count, parameters, rate, time_left, typed_gigabytes, verdict,
};
pub(crate) use times::{Clock, last_used};

use lilims_ipc::{Finish, ModelInfo, Stats};

/// A file size in the unit that leaves one to three digits before the point: `98 MB`, `1.2 GB`.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    let (value, unit) = match bytes {
        ..1e6 => (bytes / 1e3, "KB"),
        ..1e9 => (bytes / 1e6, "MB"),
        _ => (bytes / 1e9, "GB"),
    };
    if value < 10.0 && unit == "GB" {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A number with its thousands set apart: `1,204`.
pub(crate) fn count(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of tokens: `1,204 tokens`.
pub(crate) fn tokens(tokens: u32) -> String {
    format!("{} {}", count(tokens), if tokens == 1 { "token" } else { "tokens" })
}

/// How much of a context is used: `1,204 of 8,192 tokens`.
pub(crate) fn tokens_of(used: u32, of: u32) -> String {
    format!("{} of {}", count(used), tokens(of))
}

/// The whole per cent that `part` is of `whole`, rounded down: 100 is all of it.
pub(crate) fn percent(part: u32, whole: u32) -> u32 {
    let percent = u64::from(part) * 100 / u64::from(whole.max(1));
    u32::try_from(percent.min(100)).unwrap_or(100)
}

/// A decoding speed: `41.3 tokens/s`.
pub(crate) fn speed(tokens_per_second: f32) -> String {
    format!("{tokens_per_second:.1} tokens/s")
}

/// What is worth knowing of a loaded model: `Q4_1 · 98 MB`.
pub(crate) fn model_line(model: &ModelInfo) -> String {
    format!("{} · {}", model.quantisation, size(model.size_bytes))
}

/// What an answer took: `132 tokens · 41.3 tokens/s · first after 210 ms`.
pub(crate) fn stats(stats: &Stats) -> String {
    let speed = speed(stats.tokens_per_second);
    format!("{} · {speed} · first after {}", tokens(stats.tokens), duration(stats.first_token_ms))
}

/// Why an answer ended, where the user should know.
pub(crate) fn finish(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::EndOfTurn => None,
        Finish::MaxTokens => Some("Cut off at the answer length set in Settings."),
        Finish::ContextFull => Some(
            "The context is full. To go on, choose Slide or Summarise in the context panel, \
             or start a new conversation.",
        ),
        Finish::Stopped => Some("Stopped."),
    }
}

fn duration(ms: f32) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(98_362_432), "98 MB");
        assert_eq!(size(1_234_000_000), "1.2 GB");
        assert_eq!(size(12_340_000_000), "12 GB");
        assert_eq!(size(4_000), "4 KB");
    }

    #[test]
    fn counts() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(131_072), "131,072");
        assert_eq!(count(1_048_576), "1,048,576");
        assert_eq!(tokens(1), "1 token");
        assert_eq!(tokens_of(1204, 8192), "1,204 of 8,192 tokens");
    }

    #[test]
    fn shares() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(8191, 8192), 99);
        assert_eq!(percent(u32::MAX, u32::MAX), 100);
        assert_eq!(percent(5, 4), 100);
    }

    #[test]
    fn a_full_context_says_how_to_go_on() {
        let text = finish(Finish::ContextFull).unwrap();
        assert!(["Slide", "Summarise", "context panel"].iter().all(|word| text.contains(word)));
    }

    #[test]
    fn what_an_answer_took() {
        let mut taken = Stats {
            prompt_tokens: 9,
            prefilled_tokens: 9,
            tokens: 132,
            first_token_ms: 210.4,
            tokens_per_second: 41.26,
        };
        assert_eq!(stats(&taken), "132 tokens · 41.3 tokens/s · first after 210 ms");
        taken.tokens = 1;
        taken.first_token_ms = 1234.0;
        assert_eq!(stats(&taken), "1 token · 41.3 tokens/s · first after 1.2 s");
    }
}
