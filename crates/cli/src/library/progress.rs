//! How far a download is: one line that is rewritten on a terminal, a line every tenth in a pipe.

use lilims_hub::{DownloadRow, DownloadState};

use super::words;
use crate::messages;
use crate::output::{self, Line};

/// A line of a pipe comes each time this many more percent are here.
const STEP_PERCENT: u64 = 10;

/// Tells how far a download is.
pub(super) struct Progress {
    line: Line,
    is_terminal: bool,
    told_percent: Option<u64>,
    told_trouble: Option<String>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            line: Line::default(),
            is_terminal: output::stderr_is_terminal(),
            told_percent: None,
            told_trouble: None,
        }
    }

    /// Tells of the download, if there is something new.
    pub(super) fn tell(&mut self, row: &DownloadRow) {
        if row.state == DownloadState::Done {
            return;
        }
        if self.is_terminal {
            self.line.rewrite(&text(row));
        } else {
            self.tell_pipe(row);
        }
    }

    fn tell_pipe(&mut self, row: &DownloadRow) {
        let trouble = row.progress.retrying.as_ref().map(|(error, _)| messages::problem(error));
        let is_new = trouble.is_some() && trouble != self.told_trouble;
        let percent = percent(row);
        let step = percent.map(|percent| percent / STEP_PERCENT * STEP_PERCENT);
        if is_new || step > self.told_percent {
            output::note(&text(row));
            self.told_percent = step.max(self.told_percent);
        }
        self.told_trouble = trouble;
    }

    /// Takes the line away.
    pub(super) fn end(mut self) {
        self.line.clear();
    }
}

/// How much is here, `None` until the size is known.
fn percent(row: &DownloadRow) -> Option<u64> {
    let total = row.progress.total_bytes;
    (total > 0).then(|| row.progress.done_bytes.saturating_mul(100) / total)
}

fn text(row: &DownloadRow) -> String {
    let journal = &row.progress;
    if let Some((error, seconds)) = &journal.retrying {
        let why = messages::problem(error);
        return format!("{why}; trying again in {}", words::duration(*seconds));
    }
    let Some(percent) = percent(row) else { return "waiting".to_owned() };
    let (done, total) = (journal.done_bytes, journal.total_bytes);
    let here =
        format!("{percent:>3}%  {} of {}", output::disk_size(done), output::disk_size(total));
    if journal.is_checking {
        return format!("{here}  checking");
    }
    match journal.bytes_per_second.filter(|rate| *rate >= 1.0) {
        Some(rate) => {
            let left = total.saturating_sub(done) as f64 / rate;
            let rate = output::disk_size(rate as u64);
            format!("{here}  {rate}/s  {} left", words::duration(left.ceil() as u64))
        }
        None => here,
    }
}
