//! How far something is: one line that is rewritten on a terminal, a line every tenth in a pipe.

use crate::output::{self, Line};

/// A line is printed into a pipe each time this many more percent are done.
const STEP_PERCENT: u64 = 10;

/// Shows how far something is.
#[derive(Default)]
pub struct Progress {
    line: Line,
    /// In a pipe: the stage and the step that were shown last.
    shown: Option<(String, Option<u64>)>,
}

impl Progress {
    /// Shows `text`. In a pipe only if `stage` is another than before, or the next step is reached.
    pub fn show(&mut self, stage: &str, percent: Option<u64>, text: &str) {
        if output::stderr_is_terminal() {
            self.line.rewrite(text);
            return;
        }
        let step = percent.map(|percent| percent / STEP_PERCENT);
        let is_known = self.shown.as_ref().is_some_and(|(old, at)| old == stage && *at >= step);
        if !is_known {
            output::note(text);
            self.shown = Some((stage.to_owned(), step));
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        self.line.clear();
    }
}
