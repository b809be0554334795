//! The progress of a download: one line that is rewritten on a terminal, a line every tenth in a pipe.

use lilims_ipc::{Download, DownloadState};

use super::words;
use crate::messages;
use crate::output::{self, Line};

/// A line is printed into a pipe each time this many more percent are here.
const STEP_PERCENT: u64 = 10;

/// Shows the progress of a download.
#[derive(Default)]
pub(super) struct Progress {
    line: Line,
    shown_percent: Option<u64>,
    shown_error: Option<lilims_ipc::Error>,
}

impl Progress {
    /// Shows the download, if there is something new.
    pub(super) fn show(&mut self, download: &Download) {
        if matches!(download.state, DownloadState::Done { .. }) {
            return;
        }
        if output::stderr_is_terminal() {
            self.line.rewrite(&text(download));
            return;
        }
        let error = match &download.state {
            DownloadState::Retrying { error, .. } => Some(error.clone()),
            _ => None,
        };
        let is_new_error = error.is_some() && error != self.shown_error;
        let step = percent(download).map(|percent| percent / STEP_PERCENT * STEP_PERCENT);
        if is_new_error || step > self.shown_percent {
            output::note(&text(download));
            self.shown_percent = step.max(self.shown_percent);
        }
        self.shown_error = error;
    }

    /// Removes the line.
    pub(super) fn end(mut self) {
        self.line.clear();
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
