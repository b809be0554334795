//! Numbers as the page shows them.

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
    let unit = if stats.tokens == 1 { "token" } else { "tokens" };
    let speed = speed(stats.tokens_per_second);
    format!("{} {unit} · {speed} · first after {}", stats.tokens, duration(stats.first_token_ms))
}

/// Why an answer ended, where the user should know.
pub(crate) fn finish(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::EndOfTurn => None,
        Finish::MaxTokens => Some("Cut off at the answer length set in Settings."),
        Finish::ContextFull => Some("This conversation is full. Start a new one to go on."),
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
