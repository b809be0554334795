//! Sizes, rates, remaining times and counts of models and downloads.

use lilims_ipc::{Download, Verdict};

use super::{decimal, number};
use crate::text::text;

/// A size to one decimal: `98.4 MB`, `4.1 GB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e3 => text!(unit.bytes, value = decimal(bytes, 0)),
        ..1e6 => text!(unit.kilobytes, value = decimal(bytes / 1e3, 0)),
        // What would round to 1,000.0 MB is 1.0 GB.
        ..9.9995e8 => text!(unit.megabytes, value = decimal(bytes / 1e6, 1)),
        _ => text!(unit.gigabytes, value = decimal(bytes / 1e9, 1)),
    }
}

/// A rate: `12.4 MB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    text!(unit.per_second, size = bytes(bytes_per_second.max(0.0) as u64))
}

/// The remaining time: `3 min left`.
pub(crate) fn time_left(seconds: u64) -> String {
    match seconds {
        0..5 => text!(time.a_few_seconds_left).into(),
        5..60 => text!(time.seconds_left, seconds),
        60..3600 => text!(time.minutes_left, minutes = seconds.div_ceil(60)),
        _ => {
            let minutes = seconds.div_ceil(60);
            text!(time.hours_left, hours = minutes / 60, minutes = minutes % 60)
        }
    }
}

/// How much of a download is complete: `1.2 GB of 4.1 GB`.
pub(crate) fn download_progress(download: &Download) -> String {
    match download.total_bytes {
        0 => bytes(download.done_bytes),
        total => text!(unit.size_of, done = bytes(download.done_bytes), total = bytes(total)),
    }
}

/// The number of parameters of a model: `1.7B`, `135M`.
pub(crate) fn parameters(count: u64) -> String {
    let count = count as f64;
    match count {
        ..9.995e8 => text!(unit.million_parameters, value = decimal(count / 1e6, 0)),
        ..9.95e9 => text!(unit.billion_parameters, value = decimal(count / 1e9, 1)),
        _ => text!(unit.billion_parameters, value = decimal(count / 1e9, 0)),
    }
}

/// A large number, rounded: `34 k`, `1.2 M`.
pub(crate) fn large_count(count: u64) -> String {
    let value = count as f64;
    match value {
        ..1e3 => count.to_string(),
        ..9.995e5 => text!(number.thousands, value = decimal(value / 1e3, 0)),
        _ => text!(number.millions, value = decimal(value / 1e6, 1)),
    }
}

/// Whether a model fits in memory, in a word or two.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => text!(fit.fits),
        Verdict::Tight => text!(fit.tight),
        Verdict::TooLarge => text!(fit.too_large),
    }
}

/// Parses a typed number of gigabytes into bytes; `None` if it is not a size.
pub(crate) fn typed_gigabytes(text: &str) -> Option<u64> {
    let gigabytes = number::parse(&text.replace(',', "."))?;
    (0.1..=1e6).contains(&gigabytes).then_some((gigabytes * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use lilims_ipc::DownloadState;

    use super::*;

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(4_000), "4 KB");
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(999_960_000), "1.0 GB");
        assert_eq!(bytes(4_080_000_000), "4.1 GB");
        assert_eq!(bytes(12_340_000_000), "12.3 GB");
        assert_eq!(rate(12_400_000.0), "12.4 MB/s");
    }

    #[test]
    fn formats_remaining_time() {
        assert_eq!(time_left(2), "a few seconds left");
        assert_eq!(time_left(40), "40 s left");
        assert_eq!(time_left(61), "2 min left");
        assert_eq!(time_left(3600), "1 h 0 min left");
        assert_eq!(time_left(4801), "1 h 21 min left");
    }

    #[test]
    fn progress_without_a_total_shows_the_bytes_done() {
        let mut download = Download {
            id: 1,
            repository: "a/b".into(),
            file: "c".into(),
            state: DownloadState::Running,
            done_bytes: 1_200_000_000,
            total_bytes: 0,
            bytes_per_second: None,
            seconds_left: None,
        };
        assert_eq!(download_progress(&download), "1.2 GB");
        download.total_bytes = 4_100_000_000;
        assert_eq!(download_progress(&download), "1.2 GB of 4.1 GB");
    }

    #[test]
    fn counts_are_rounded() {
        assert_eq!(parameters(134_515_008), "135M");
        assert_eq!(parameters(1_711_376_384), "1.7B");
        assert_eq!(parameters(13_000_000_000), "13B");
        assert_eq!(large_count(999), "999");
        assert_eq!(large_count(34_210), "34 k");
        assert_eq!(large_count(1_234_567), "1.2 M");
    }

    #[test]
    fn rejects_text_that_is_not_a_size() {
        assert_eq!(typed_gigabytes("20"), Some(20_000_000_000));
        assert_eq!(typed_gigabytes(" 2,5 "), Some(2_500_000_000));
        for text in ["", "x", "0", "-3", "NaN", "inf", "1e9"] {
            assert_eq!(typed_gigabytes(text), None, "{text}");
        }
    }
}
