//! The progress of a download.

use lilims_ipc::{Download, DownloadState};
use lilims_terminal::{Progress, output, words};

use crate::messages;

/// Shows the progress of a download, if there is something new.
pub(super) fn show(progress: &mut Progress, download: &Download) {
    let error = match &download.state {
        DownloadState::Done { .. } => return,
        DownloadState::Retrying { error, .. } => messages::problem(error),
        _ => String::new(),
    };
    let percent = percent(download);
    if percent.is_some() || !error.is_empty() || output::stderr_is_terminal() {
        progress.show(&error, percent, &text(download));
    }
}

/// The part that is here, `None` until the size is known.
fn percent(download: &Download) -> Option<u64> {
    let (done, total) = (download.done_bytes, download.total_bytes);
    (total > 0).then(|| done.saturating_mul(100) / total)
}

fn text(download: &Download) -> String {
    if let DownloadState::Retrying { error, in_seconds } = &download.state {
        let why = messages::problem(error);
        return format!("{why}; trying again in {}", words::duration(*in_seconds));
    }
    let Some(percent) = percent(download) else { return "waiting".to_owned() };
    let [done, total] = [download.done_bytes, download.total_bytes].map(output::disk_size);
    let here = format!("{percent:>3}%  {done} of {total}");
    if download.state == DownloadState::Checking {
        return format!("{here}  checking");
    }
    match (download.bytes_per_second, download.seconds_left) {
        (Some(rate), Some(seconds)) if rate >= 1.0 => {
            let rate = output::disk_size(rate as u64);
            format!("{here}  {rate}/s  {} left", words::duration(seconds))
        }
        _ => here,
    }
}
