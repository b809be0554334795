//! The progress of reading the prompt, before the model writes.

use lilims_ipc::Phase;

use crate::format;
use crate::text::text;

/// The number of tokens from which reading takes long enough to show its progress.
const LONG_TOKENS: u32 = 512;

/// What the model reads, and how far it is.
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
    /// What the model is doing, in words.
    pub(crate) fn label(&self) -> &'static str {
        match self.phase {
            Phase::Prompt => text!(conversation.reading),
            Phase::Summary => text!(conversation.summarising),
            Phase::Again => text!(conversation.reading_again),
        }
    }

    /// The percentage read; `None` for short prompts.
    pub(crate) fn percent(&self) -> Option<u32> {
        let is_long = self.total_tokens >= LONG_TOKENS;
        is_long.then(|| format::percent(self.read_tokens.into(), self.total_tokens.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(read_tokens: u32, total_tokens: u32) -> Reading {
        Reading { phase: Phase::Prompt, read_tokens, total_tokens }
    }

    #[test]
    fn only_long_prompts_show_progress() {
        assert_eq!(reading(0, 0).percent(), None);
        assert_eq!(reading(256, 511).percent(), None);
        assert_eq!(reading(0, 512).percent(), Some(0));
        assert_eq!(reading(256, 512).percent(), Some(50));
        assert_eq!(reading(4095, 4096).percent(), Some(99), "100% only when complete");
        assert_eq!(reading(4096, 4096).percent(), Some(100));
        assert_eq!(reading(5000, 4096).percent(), Some(100));
    }

    #[test]
    fn labels_each_phase() {
        let label = |phase| Reading { phase, read_tokens: 0, total_tokens: 1 }.label();
        assert_eq!(label(Phase::Prompt), "Reading");
        assert_eq!(label(Phase::Summary), "Summarising what leaves the window");
        assert_eq!(label(Phase::Again), "Reading again");
    }
}
