//! What the model reads before it writes, and how far it is.

use lilims_ipc::Phase;

use crate::format;

/// From this many tokens on, reading takes long enough for its progress to be worth showing.
const LONG_TOKENS: u32 = 512;

/// How far the model has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What it reads.
    pub(crate) phase: Phase,
    /// Tokens read so far.
    pub(crate) read_tokens: u32,
    /// Tokens to be read.
    pub(crate) total_tokens: u32,
}

impl Reading {
    /// What the model does, in words.
    pub(crate) fn label(&self) -> &'static str {
        match self.phase {
            Phase::Prompt => "Reading",
            Phase::Summary => "Summarising what leaves the window",
            Phase::Again => "Reading again",
        }
    }

    /// The share read, in per cent, where there is enough to read for it to matter.
    pub(crate) fn percent(&self) -> Option<u32> {
        let is_long = self.total_tokens >= LONG_TOKENS;
        is_long.then(|| format::percent(self.read_tokens, self.total_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(read_tokens: u32, total_tokens: u32) -> Reading {
        Reading { phase: Phase::Prompt, read_tokens, total_tokens }
    }

    #[test]
    fn only_long_readings_show_how_far_they_are() {
        assert_eq!(reading(0, 0).percent(), None);
        assert_eq!(reading(256, 511).percent(), None);
        assert_eq!(reading(0, 512).percent(), Some(0));
        assert_eq!(reading(256, 512).percent(), Some(50));
        assert_eq!(reading(4095, 4096).percent(), Some(99), "100 % is whole");
        assert_eq!(reading(4096, 4096).percent(), Some(100));
        assert_eq!(reading(5000, 4096).percent(), Some(100));
    }

    #[test]
    fn each_phase_has_its_words() {
        let label = |phase| Reading { phase, read_tokens: 0, total_tokens: 1 }.label();
        assert_eq!(label(Phase::Prompt), "Reading");
        assert_eq!(label(Phase::Summary), "Summarising what leaves the window");
        assert_eq!(label(Phase::Again), "Reading again");
    }
}
