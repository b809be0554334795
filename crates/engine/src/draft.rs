//! Drafts the next tokens of an answer with a second, smaller model of the same vocabulary.
//!
//! Speculative decoding (Leviathan et al. 2023, <https://arxiv.org/abs/2211.17192>), with greedy
//! drafts: the model reads several drafted tokens at once, and a token stays if it is the one that
//! is drawn from the model's own logits. So a draft never changes the answer, at any temperature.
//! The draft model follows the conversation in a session of its own, which drops what was rejected
//! and reads what it has missed. While it does not pay, it pauses.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::backend::WantedLogits;
use crate::generate::Progress;
use crate::session::Session;
use crate::{Error, Model};

/// The most tokens of a draft.
const MAX_LEN: usize = 7;
/// The number of tokens of the first drafts.
const FIRST_LEN: usize = 3;
/// A draft ends before a token that the draft model gives less than this probability.
const MIN_PROBABILITY: f32 = 0.5;
/// Passes that are measured before drafting is judged.
const TRIAL: usize = 2;
/// Passes without a draft that are measured first: the fastest counts, since the first ones may wait
/// for the disk.
const WARM_UP: usize = 4;
/// After so many passes with a draft, two without one are measured again.
const RECHECK: usize = 32;
/// Drafts must be this much faster.
const MIN_GAIN: f64 = 1.05;
/// The weight of earlier passes in the measured speeds.
const DECAY: f64 = 0.8;
/// The shortest and the longest pause, in tokens; each that follows a trial in vain is twice as long.
const PAUSES: [usize; 2] = [64, 1024];

/// Why a model cannot draft for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftRefusal {
    /// Its tokens are not those of the model.
    #[error("it has another vocabulary")]
    OtherVocabulary,
    /// The backend of the model cannot read several tokens with the bits of reading them alone.
    #[error("the model's backend cannot check drafts exactly")]
    InexactBackend,
}

/// A draft model with its session.
pub(crate) struct Drafter {
    session: Session,
    /// The number of tokens that the model knows which is drafted for.
    n_vocab: usize,
    pace: Pace,
    guesses: Vec<u32>,
    /// What the last pass was, until it is known how many tokens it gave.
    pass: Option<Pass>,
    /// Whether the draft model was asked in this pass.
    was_asked: bool,
    /// Time that the draft model needed in this pass to read what it had missed.
    catch_up: Duration,
}

/// One pass of the model, with or without a draft.
struct Pass {
    /// Tokens before it.
    n_before: usize,
    /// Tokens that were drafted.
    n_drafted: usize,
    /// Whether the draft model was asked for them.
    was_asked: bool,
    elapsed: Duration,
}

impl Drafter {
    /// Lets `draft` draft for `model`.
    ///
    /// # Errors
    /// [`Error::Draft`] if it cannot, and those of [`Model::session`].
    pub(crate) fn new(model: &Model, max_exact: usize, draft: &Arc<Model>) -> Result<Self, Error> {
        let refused = |why| {
            let (draft, model) = (draft.name().to_owned(), model.name().to_owned());
            Err(Error::Draft { draft, model, why })
        };
        if max_exact < 2 {
            return refused(DraftRefusal::InexactBackend);
        }
        if !draft.tokenizer().has_same_tokens(model.tokenizer()) {
            return refused(DraftRefusal::OtherVocabulary);
        }
        Ok(Self {
            session: draft.session()?,
            n_vocab: model.spec().n_vocab,
            pace: Pace::new(),
            guesses: Vec::with_capacity(MAX_LEN),
            pass: None,
            was_asked: false,
            catch_up: Duration::ZERO,
        })
    }

    /// Begins a pass that follows `n_tokens`: what the last one gave is known now.
    pub(crate) fn begin_pass(&mut self, n_tokens: usize) {
        self.catch_up = Duration::ZERO;
        self.was_asked = false;
        let Some(Pass { n_before, n_drafted, was_asked, elapsed }) = self.pass.take() else {
            return;
        };
        let n_new = n_tokens.saturating_sub(n_before);
        match n_drafted {
            _ if n_new == 0 => {}
            _ if was_asked => self.pace.note_drafted(n_drafted, n_new, elapsed.as_secs_f64()),
            0 => self.pace.note_plain(elapsed.as_secs_f64()),
            // Prompt lookup drafted, or a constraint forced tokens.
            _ => {}
        }
    }

    /// Ends a pass that followed `n_before` tokens, with `n_drafted` more, and took `elapsed`.
    pub(crate) fn end_pass(&mut self, n_before: usize, n_drafted: usize, elapsed: Duration) {
        let elapsed = elapsed.saturating_sub(self.catch_up);
        let was_asked = self.was_asked;
        self.pass = Some(Pass { n_before, n_drafted, was_asked, elapsed });
    }

    /// Forgets the last pass: the answer has ended.
    pub(crate) fn end_answer(&mut self) {
        self.pass = None;
    }

    /// At most `max` tokens that may follow `tokens`; none while drafting does not pay.
    ///
    /// # Errors
    /// Those of reading; [`Error::Cancelled`].
    pub(crate) fn draft(
        &mut self,
        tokens: &[u32],
        max: usize,
        cancel: &AtomicBool,
    ) -> Result<&[u32], Error> {
        self.guesses.clear();
        let max = self.pace.draft_len().min(max);
        if max == 0 {
            return Ok(&[]);
        }
        self.was_asked = true;
        let start = Instant::now();
        let n_missing = self.catch_up(tokens, cancel)?;
        if n_missing > 2 * MAX_LEN {
            self.catch_up = start.elapsed();
        }
        loop {
            let (id, probability) = likeliest(&self.session.logits);
            let ends = self.session.model.tokenizer().ends_turn(id);
            if probability < MIN_PROBABILITY || id as usize >= self.n_vocab || ends {
                break;
            }
            self.guesses.push(id);
            if self.guesses.len() == max {
                break;
            }
            let mut logits = std::mem::take(&mut self.session.logits);
            logits.clear();
            let read = self.session.read(&[id], WantedLogits::Last, cancel, &mut logits);
            self.session.logits = logits;
            read?;
        }
        Ok(&self.guesses)
    }

    /// Reads what is missing of `tokens`, and leaves the logits after them. Returns how many tokens
    /// were missing.
    fn catch_up(&mut self, tokens: &[u32], cancel: &AtomicBool) -> Result<usize, Error> {
        let mut progress = Progress::default();
        self.session.prefill(tokens, cancel, &mut progress, &mut |_, _| {})?;
        self.session.check_row(&self.session.logits, tokens.len())?;
        Ok(progress.prefilled_tokens)
    }
}

/// The likeliest token and its probability.
fn likeliest(logits: &[f32]) -> (u32, f32) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let id = logits.iter().position(|&logit| logit == max).unwrap_or(0);
    let total: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
    (id as u32, 1.0 / total)
}

/// Decides how many tokens to draft, from what drafts have brought.
struct Pace {
    /// Seconds of a pass without a draft, smoothed.
    plain_s: f64,
    /// How many of them were measured.
    n_plain: usize,
    /// Tokens and seconds of passes with a draft, smoothed.
    drafted: (f64, f64),
    /// The number of passes since the trial began.
    n_passes: usize,
    /// How many tokens to draft.
    len: usize,
    /// Passes without a draft that are left.
    pause: usize,
    /// The length of the next pause.
    next_pause: usize,
}

impl Pace {
    fn new() -> Self {
        let (len, next_pause) = (FIRST_LEN, PAUSES[0]);
        let (plain_s, drafted) = (f64::INFINITY, (0.0, 0.0));
        Self { plain_s, n_plain: 0, drafted, n_passes: 0, len, pause: 0, next_pause }
    }

    /// How many tokens to draft in this pass.
    fn draft_len(&self) -> usize {
        if self.n_plain < WARM_UP || self.pause > 0 { 0 } else { self.len }
    }

    fn note_plain(&mut self, seconds: f64) {
        self.plain_s = match self.n_plain {
            0..WARM_UP => self.plain_s.min(seconds),
            _ => self.plain_s * DECAY + seconds * (1.0 - DECAY),
        };
        self.n_plain += 1;
        self.pause = self.pause.saturating_sub(1);
    }

    /// Notes that a pass with `n_drafted` drafted tokens gave `n_new`.
    fn note_drafted(&mut self, n_drafted: usize, n_new: usize, seconds: f64) {
        if n_drafted > 0 && n_new > n_drafted {
            self.len = (self.len + 1).min(MAX_LEN);
        } else if 2 * (n_new - 1) < n_drafted {
            self.len = (self.len - 1).max(1);
        }
        let (tokens, time) = self.drafted;
        self.drafted = (tokens * DECAY + n_new as f64, time * DECAY + seconds);
        self.n_passes += 1;
        if self.n_passes < TRIAL {
            return;
        }
        let (tokens, time) = self.drafted;
        if time * MIN_GAIN > tokens * self.plain_s {
            let Self { plain_s, n_plain, next_pause: pause, .. } = *self;
            let next_pause = (2 * pause).min(PAUSES[1]);
            *self = Self { plain_s, n_plain, pause, next_pause, ..Self::new() };
        } else if self.n_passes.is_multiple_of(RECHECK) {
            self.pause = 2;
            self.next_pause = PAUSES[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace that has measured passes without a draft, the first of which waited for the disk.
    fn warm() -> Pace {
        let mut pace = Pace::new();
        for seconds in [0.5, 0.1, 0.1, 0.1] {
            assert_eq!(pace.draft_len(), 0);
            pace.note_plain(seconds);
        }
        assert_eq!(pace.plain_s, 0.1);
        pace
    }

    #[test]
    fn drafts_begin_after_passes_without_one_and_grow_while_they_are_right() {
        let mut pace = warm();
        for len in FIRST_LEN..=MAX_LEN + 2 {
            let len = len.min(MAX_LEN);
            assert_eq!(pace.draft_len(), len);
            pace.note_drafted(len, len + 1, 0.15);
        }
        pace.note_drafted(MAX_LEN, 2, 0.15);
        assert_eq!(pace.draft_len(), MAX_LEN - 1);
    }

    #[test]
    fn drafts_that_do_not_pay_pause_longer_and_longer() {
        let mut pace = warm();
        for pause in [64, 128, 256, 512, 1024, 1024] {
            for _ in 0..TRIAL {
                assert!(pace.draft_len() > 0);
                pace.note_drafted(2, 1, 0.15);
            }
            for _ in 0..pause {
                assert_eq!(pace.draft_len(), 0);
                pace.note_plain(0.1);
            }
        }
        for _ in 0..RECHECK {
            assert!(pace.draft_len() > 0);
            pace.note_drafted(3, 4, 0.15);
        }
        assert_eq!((pace.draft_len(), pace.next_pause), (0, PAUSES[0]));
    }

    #[test]
    fn the_likeliest_token_has_its_probability() {
        let (id, probability) = likeliest(&[0.0, 3.0f32.ln(), f32::NEG_INFINITY]);
        assert_eq!(id, 1);
        assert!((probability - 0.75).abs() < 1e-6);
    }
}
