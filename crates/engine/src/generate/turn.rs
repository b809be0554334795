//! The loop that writes an answer: draws a token, passes its text on, reads it.
//!
//! Tokens that are likely or certain to follow are read together with a token. They stay if the
//! tokens that are drawn turn out to be the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{AnswerWriter, Finish, GenerateOptions, OnText, Progress};
use crate::backend::WantedLogits;
use crate::constraint::Constraint;
use crate::sampler::Sampler;
use crate::session::{Overflow, Session};
use crate::{Error, prompt_lookup};

/// The generation of one answer.
pub(super) struct Turn<'a, 'b> {
    pub(super) session: &'a mut Session,
    pub(super) options: &'a GenerateOptions,
    pub(super) constraint: Option<Constraint>,
    pub(super) cancel: &'a AtomicBool,
    pub(super) start: Instant,
    pub(super) on_text: &'a mut OnText<'b>,
    /// Buffer for the tokens that are read at once.
    pub(super) ahead: Vec<u32>,
}

impl Turn<'_, '_> {
    /// Samples and reads tokens until the answer ends.
    pub(super) fn write(
        &mut self,
        writer: &mut AnswerWriter<'_>,
        progress: &mut Progress,
    ) -> Result<Finish, Error> {
        let n_vocab = self.session.model.spec().n_vocab;
        let mut sampler = Sampler::new(&self.options.sampling);
        // Logits after the last tokens of the session, a row each.
        let mut logits = std::mem::take(&mut self.session.logits);
        // Tokens of the session that are part of the conversation: what follows is read ahead.
        let mut len = self.session.tokens.len();
        // The number of tokens before the first row of logits.
        let mut rows_from = len;
        let finish = loop {
            if let Some(finish) = self.must_stop(writer) {
                break finish;
            }
            let forced = self.constraint.as_mut().and_then(Constraint::take_forced);
            let id = match forced {
                Some(id) => id,
                None => {
                    let row = &mut logits[(len - rows_from) * n_vocab..][..n_vocab];
                    self.session.check_row(row, len)?;
                    self.draw(&mut sampler, row, len)?
                }
            };
            self.record_token(progress);
            if self.ends_turn(id) {
                break Finish::EndOfTurn;
            }
            if writer.push(id, progress, self.on_text) {
                break Finish::StopText;
            }
            if let Some(finish) = self.has_all(writer) {
                break finish;
            }
            if self.session.tokens.get(len) == Some(&id) {
                len += 1;
                self.session.counters.accepted += u64::from(forced.is_none());
                continue;
            }
            self.session.tokens.truncate(len);
            if self.is_full() {
                break Finish::ContextFull;
            }
            logits.clear();
            match self.read_ahead(id, &mut logits) {
                Err(Error::Cancelled) => break Finish::Cancelled,
                read => read?,
            }
            len += 1;
            rows_from = self.session.tokens.len() + 1 - logits.len() / n_vocab;
        };
        self.session.tokens.truncate(len);
        if let Some(drafter) = &mut self.session.drafter {
            drafter.end_answer();
        }
        progress.decode = self.start.elapsed().saturating_sub(progress.first_token);
        self.session.logits = logits;
        Ok(finish)
    }

    /// Returns why generation must stop now, if it must.
    fn must_stop(&self, writer: &AnswerWriter<'_>) -> Option<Finish> {
        let is_cancelled = || self.cancel.load(Ordering::Relaxed).then_some(Finish::Cancelled);
        self.has_all(writer).or_else(is_cancelled)
    }

    /// Returns why no more tokens may follow, if none may.
    fn has_all(&self, writer: &AnswerWriter<'_>) -> Option<Finish> {
        if self.constraint.as_ref().is_some_and(Constraint::is_complete) {
            return Some(Finish::EndOfTurn);
        }
        (writer.tokens.len() >= self.options.max_tokens).then_some(Finish::MaxTokens)
    }

    /// Whether the answer ends with `id`. Under a constraint it always does: nothing may follow.
    fn ends_turn(&self, id: u32) -> bool {
        let ignores = self.options.ignore_eos && self.constraint.is_none();
        !ignores && self.session.model.tokenizer().ends_turn(id)
    }

    fn is_full(&self) -> bool {
        let Session { tokens, base, window, .. } = &*self.session;
        self.session.overflow() == Overflow::Stop && tokens.len() - base >= window.context
    }

    /// Draws the token after the first `len` from its logits.
    fn draw(
        &mut self,
        sampler: &mut Sampler,
        logits: &mut [f32],
        len: usize,
    ) -> Result<u32, Error> {
        let recent = &self.session.tokens[..len];
        let Some(constraint) = &mut self.constraint else {
            return Ok(sampler.sample(logits, recent));
        };
        constraint.mask(logits)?;
        loop {
            let id = sampler.sample(logits, recent);
            if constraint.accept(id)? {
                return Ok(id);
            }
            logits[id as usize] = f32::NEG_INFINITY;
        }
    }

    /// Records that a token was sampled.
    fn record_token(&self, progress: &mut Progress) {
        if progress.tokens == 0 {
            progress.first_token = self.start.elapsed();
        }
        progress.tokens += 1;
        progress.decode = self.start.elapsed() - progress.first_token;
    }

    /// Reads `id` and the tokens that must or may come after it.
    fn read_ahead(&mut self, id: u32, logits: &mut Vec<f32>) -> Result<(), Error> {
        let mut ids = std::mem::take(&mut self.ahead);
        ids.clear();
        ids.push(id);
        let (n_before, start) = (self.session.tokens.len(), Instant::now());
        if let Some(drafter) = &mut self.session.drafter {
            drafter.begin_pass(n_before);
        }
        let read = self.read_with(&mut ids, logits);
        if let Some(drafter) = &mut self.session.drafter {
            drafter.end_pass(n_before, ids.len() - 1, start.elapsed());
        }
        self.ahead = ids;
        read
    }

    /// Reads `ids`, to which it appends what must or may come after them.
    fn read_with(&mut self, ids: &mut Vec<u32>, logits: &mut Vec<f32>) -> Result<(), Error> {
        let max = self.max_ahead();
        if let Some(constraint) = &self.constraint {
            ids.extend(constraint.forced().take(max));
        }
        if ids.len() > 1 {
            // Nothing is drawn before the last of them.
            return self.session.read_chunk(ids, WantedLogits::Last, true, self.cancel, logits);
        }
        self.add_draft(ids, max)?;
        if ids.len() == 1 {
            return self.session.read(ids, WantedLogits::Last, self.cancel, logits);
        }
        self.session.counters.drafted += ids.len() as u64 - 1;
        self.session.read_chunk(ids, WantedLogits::All, true, self.cancel, logits)
    }

    /// Appends at most `max` tokens to `ids` that may follow them.
    fn add_draft(&mut self, ids: &mut Vec<u32>, max: usize) -> Result<(), Error> {
        let n_read = self.session.tokens.len();
        self.session.tokens.extend_from_slice(ids);
        let max_lookup = max.min(self.options.lookup);
        ids.extend_from_slice(prompt_lookup::draft(&self.session.tokens, max_lookup));
        let drafted = if ids.len() == 1 { self.ask_drafter(ids, max) } else { Ok(()) };
        self.session.tokens.truncate(n_read);
        drafted?;
        if let Some(constraint) = &mut self.constraint {
            ids.truncate(1 + constraint.n_allowed(&ids[1..])?);
        }
        Ok(())
    }

    /// Appends at most `max` tokens that the draft model expects. One that fails is not used again:
    /// answers do not need it.
    fn ask_drafter(&mut self, ids: &mut Vec<u32>, max: usize) -> Result<(), Error> {
        let Session { drafter, tokens, .. } = &mut *self.session;
        let Some(asked) = drafter else { return Ok(()) };
        match asked.draft(tokens, max, self.cancel) {
            Ok(draft) => ids.extend_from_slice(draft),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(_) => *drafter = None,
        }
        Ok(())
    }

    /// The most tokens to read after a token: those that can be read bit-exactly, without passing
    /// the point at which the window begins to slide.
    fn max_ahead(&self) -> usize {
        let Session { tokens, base, window, runner, .. } = &*self.session;
        let max = runner.max_exact().saturating_sub(1);
        match window.context.checked_sub(tokens.len() - base + 1) {
            Some(room) => max.min(room),
            None => max,
        }
    }
}
