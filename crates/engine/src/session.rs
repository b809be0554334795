//! A conversation's state: the tokens that were read, and the keys and values that are kept of them.
//!
//! While a conversation fits, all are kept. Beyond that the window slides: a session never ends
//! unless [`Overflow::Stop`] asks for it. Models with learned positions cannot slide: they read the
//! recent half again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backend::{Chunk, Runner, Want};
use crate::observe::InputSquares;
use crate::window::Window;
use crate::{Error, Model, sampler};

/// The most tokens that are read at once.
pub(crate) const MAX_CHUNK: usize = 256;
/// The first tokens that always stay, where nobody says how many: what StreamingLLM found enough.
pub const DEFAULT_SINKS: usize = 4;
/// Room for so many tokens is there from the start, so that generating allocates nothing.
const MAX_RESERVED: usize = 1 << 17;
/// The most logits that one chunk may leave: 64 MiB of f32.
const MAX_CHUNK_LOGITS: usize = 1 << 24;
/// What those have who cannot cancel.
static NEVER: AtomicBool = AtomicBool::new(false);

/// The most tokens of a chunk whose logits can all be had.
pub(crate) fn max_logit_rows(n_vocab: usize) -> usize {
    (MAX_CHUNK_LOGITS / n_vocab).clamp(1, MAX_CHUNK)
}

/// What happens when a conversation outgrows the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest tokens after the sinks leave the window.
    #[default]
    Slide,
    /// Nothing more is read.
    Stop,
    /// A [`Conversation`](crate::Conversation) has the model write a summary of the messages that leave,
    /// and pins it; a session by itself slides.
    Summarise,
}

/// What a session did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens that went through the model, however they came.
    pub read: u64,
    /// Tokens among them that had been read before, and left the cache since.
    pub reread: u64,
    /// Tokens that were guessed and read ahead, and how many of them were right.
    pub guessed: u64,
    /// Guesses that were right.
    pub confirmed: u64,
}

/// What a session's next token sees, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextUse {
    /// What can be seen at most.
    pub context: usize,
    /// The first tokens, which stay.
    pub sinks: usize,
    /// Where in the conversation the window begins: tokens before it, sinks aside, have left.
    pub window_start: usize,
    /// Tokens of the conversation.
    pub tokens: usize,
}

impl ContextUse {
    /// Tokens that are seen.
    pub fn used(&self) -> usize {
        self.sinks + self.tokens - self.window_start
    }

    /// Tokens that have left.
    pub fn left(&self) -> usize {
        self.window_start - self.sinks
    }
}

/// A conversation's cache and position.
pub struct Session {
    pub(crate) model: Arc<Model>,
    pub(crate) runner: Box<dyn Runner>,
    /// All tokens of the conversation, also those that have left the cache.
    pub(crate) tokens: Vec<u32>,
    /// The token that stands at position 0: another than the first where positions are learned.
    pub(crate) base: usize,
    pub(crate) window: Window,
    pub(crate) counters: Counters,
    overflow: Overflow,
    /// The logits after the last token read, where they were wanted.
    pub(crate) logits: Vec<f32>,
    /// The logits after the first `.0` tokens, the last prompt: writing its answer anew reads nothing.
    pub(crate) after_prompt: (usize, Vec<f32>),
}

impl Session {
    pub(crate) fn new(model: Arc<Model>, runner: Box<dyn Runner>) -> Self {
        let context = model.context();
        let tokens = Vec::with_capacity(context.min(MAX_RESERVED));
        let window = Window::new(context, most_sinks(&model).min(DEFAULT_SINKS));
        Self {
            model,
            runner,
            tokens,
            base: 0,
            window,
            counters: Counters::default(),
            overflow: Overflow::default(),
            logits: Vec::new(),
            after_prompt: (0, Vec::new()),
        }
    }

    /// The model that it runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The tokens that were read, also those that have left the window.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What it did since it began.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the next token sees.
    pub fn context_use(&self) -> ContextUse {
        let Window { context, n_sinks, .. } = self.window;
        let tokens = self.tokens.len();
        let sinks = n_sinks.min(tokens - self.base);
        // The next token takes a place itself; so long as it has one, nothing has left.
        let fits = tokens - self.base <= context && self.window.start <= n_sinks;
        let window_start = if fits {
            self.base + sinks
        } else {
            self.base + self.window.first_kept(tokens - self.base)
        };
        ContextUse { context, sinks, window_start, tokens }
    }

    /// Says what happens when the context is full.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
    }

    /// What happens when the context is full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Keeps the first `n_sinks` tokens when the window slides, at most half of the context. Where it has
    /// slid with others already, the session forgets everything.
    pub fn set_sinks(&mut self, n_sinks: usize) {
        let n_sinks = n_sinks.min(most_sinks(&self.model));
        if n_sinks == self.window.n_sinks {
            return;
        }
        let Window { context, start, written, .. } = self.window;
        // As long as no slot was used twice, positions stand where they stand for any sinks.
        if start > self.window.n_sinks || written > context {
            self.reset();
        }
        self.window = Window { n_sinks, start: n_sinks, ..self.window };
    }

    /// Forgets everything but its settings.
    pub fn reset(&mut self) {
        self.tokens.clear();
        self.base = 0;
        self.window = Window::new(self.window.context, self.window.n_sinks);
        self.after_prompt.0 = 0;
    }

    /// Forgets all but the first `len` tokens and returns how many are kept: all of them, or none where
    /// too much of what they need has left the cache.
    pub fn truncate(&mut self, len: usize) -> usize {
        if len >= self.tokens.len() {
            return self.tokens.len();
        }
        let position = len.checked_sub(self.base).filter(|&position| position > 0);
        let Some(position) = position.filter(|&position| self.can_resume(position)) else {
            self.reset();
            return 0;
        };
        self.tokens.truncate(len);
        if position <= self.window.n_sinks {
            let window = Window::new(self.window.context, self.window.n_sinks);
            self.window = Window { written: position, ..window };
        }
        if self.after_prompt.0 > len {
            self.after_prompt.0 = 0;
        }
        len
    }

    /// Whether the cache can go on after the first `position` positions.
    pub(crate) fn can_resume(&self, position: usize) -> bool {
        let mut layouts = self.model.spec().layouts(self.window.context);
        layouts.all(|layout| layout.can_resume(&self.window, position))
    }

    /// A session that goes on from here by itself: what either reads, the other does not see.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Threads`], [`Error::Candle`].
    pub fn fork(&self) -> Result<Self, Error> {
        let runner = self.runner.fork(&self.window, self.tokens.len() - self.base)?;
        let fork = Self::new(Arc::clone(&self.model), runner);
        Ok(Self {
            tokens: self.tokens.clone(),
            base: self.base,
            window: self.window,
            overflow: self.overflow,
            after_prompt: self.after_prompt.clone(),
            ..fork
        })
    }

    /// Reads `ids` after the tokens already held.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn append(&mut self, ids: &[u32]) -> Result<(), Error> {
        let mut no_logits = Vec::new();
        for chunk in ids.chunks(self.chunk_len(Want::Nothing)) {
            self.read(chunk, Want::Nothing, &NEVER, &mut no_logits)?;
        }
        Ok(())
    }

    /// Reads `ids` after the tokens already held and returns the logits of each, in nats.
    ///
    /// *Shapes*: `[ids.len(), n_vocab]`, row by row.
    ///
    /// # Errors
    /// [`Error::ContextFull`] where nothing more is to be read, [`Error::UnknownToken`],
    /// [`Error::NotFinite`], [`Error::OutOfMemory`], [`Error::Candle`].
    pub fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let mut logits = self.room_for_logits(ids.len())?;
        for chunk in ids.chunks(self.chunk_len(Want::All)) {
            let start = logits.len();
            self.read(chunk, Want::All, &NEVER, &mut logits)?;
            self.check(&logits[start..])?;
        }
        Ok(logits)
    }

    /// As [`Session::logits`], of at most [`Session::max_exact`] tokens, with the bits that reading them
    /// one by one would give.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn exact_logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let mut logits = self.room_for_logits(ids.len())?;
        self.read_chunk(ids, Want::All, true, &NEVER, &mut logits)?;
        self.check(&logits)?;
        Ok(logits)
    }

    /// Room for the logits of `n_tokens`, which a caller may ask for of any number.
    fn room_for_logits(&self, n_tokens: usize) -> Result<Vec<f32>, Error> {
        let n_logits = n_tokens.saturating_mul(self.model.spec().n_vocab);
        let mut logits = Vec::new();
        logits.try_reserve_exact(n_logits).map_err(|_| Error::OutOfMemory {
            bytes: (n_logits as u64).saturating_mul(size_of::<f32>() as u64),
        })?;
        Ok(logits)
    }

    /// Checks `rows`, the logits of the last tokens read.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    fn check(&self, rows: &[f32]) -> Result<(), Error> {
        let n_vocab = self.model.spec().n_vocab;
        let first = self.tokens.len().saturating_sub(rows.len() / n_vocab);
        let mut rows = rows.chunks_exact(n_vocab).enumerate();
        rows.try_for_each(|(idx, row)| self.check_row(row, first + idx + 1))
    }

    /// Checks the logits after the first `position` tokens.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub(crate) fn check_row(&self, row: &[f32], position: usize) -> Result<(), Error> {
        match sampler::is_usable(row) {
            true => Ok(()),
            false => Err(Error::NotFinite { model: self.model.name().to_owned(), position }),
        }
    }

    /// Whether a key or value was larger than this type of cache holds, and was cut to the largest: 65,504
    /// for f16. The `candle` backend cannot tell.
    pub fn has_cut_keys_or_values(&self) -> bool {
        self.runner.has_cut()
    }

    /// How many tokens can be read at once as if one by one.
    pub fn max_exact(&self) -> usize {
        self.runner.max_exact()
    }

    /// Reads `ids` after the tokens already held and returns the logits of the last, in nats.
    ///
    /// *Shapes*: `[n_vocab]`; nothing where there are no ids.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn read_last(&mut self, ids: &[u32]) -> Result<&[f32], Error> {
        self.logits.clear();
        let Some(last) = ids.chunks(self.chunk_len(Want::Last)).next_back() else { return Ok(&[]) };
        self.append(&ids[..ids.len() - last.len()])?;
        let mut logits = std::mem::take(&mut self.logits);
        let read = self.read(last, Want::Last, &NEVER, &mut logits);
        self.logits = logits;
        read?;
        self.check(&self.logits)?;
        Ok(&self.logits)
    }

    /// Reads `ids` after the tokens already held and adds what each matrix was multiplied with to
    /// `squares`.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn observe(&mut self, ids: &[u32], squares: &mut InputSquares) -> Result<(), Error> {
        for chunk in ids.chunks(self.chunk_len(Want::Nothing)) {
            self.pass(chunk, Want::Nothing, false, &NEVER, |runner, chunk| {
                runner.observe(chunk, squares)
            })?;
            if !squares.are_finite() {
                let model = self.model.name().to_owned();
                return Err(Error::NotFinite { model, position: self.tokens.len() });
            }
        }
        Ok(())
    }

    /// Reads one chunk and appends the logits that are wanted.
    pub(crate) fn read(
        &mut self,
        ids: &[u32],
        want: Want,
        cancel: &AtomicBool,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.read_chunk(ids, want, false, cancel, logits)
    }

    pub(crate) fn read_chunk(
        &mut self,
        ids: &[u32],
        want: Want,
        is_exact: bool,
        cancel: &AtomicBool,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.pass(ids, want, is_exact, cancel, |runner, chunk| runner.run(chunk, logits))
    }

    /// Runs one chunk after the tokens already held.
    ///
    /// # Errors
    /// Those of `run`; [`Error::Panicked`]; [`Error::Gguf`] when the model's file was changed
    /// meanwhile. After the last two the session is empty.
    fn pass(
        &mut self,
        ids: &[u32],
        want: Want,
        is_exact: bool,
        cancel: &AtomicBool,
        run: impl FnOnce(&mut dyn Runner, &Chunk<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let n_vocab = self.model.spec().n_vocab;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(Error::UnknownToken { id, n_vocab });
        }
        self.make_room(ids.len(), cancel)?;
        let position = self.tokens.len() - self.base;
        let written = self.window.written.max(position + ids.len());
        // Also a cancelled pass has written.
        self.window.written = written;
        let window = self.window;
        let chunk = Chunk { tokens: ids, position, window, want, is_exact, cancel };
        let runner = &mut *self.runner;
        // A worker that panics releases the others and ends the pass, and with it this runner's use.
        let ran = catch_unwind(AssertUnwindSafe(|| run(runner, &chunk)));
        if let Err(changed) = self.model.check_unchanged() {
            // Keys and values of a file that is half gone; its logits go no further.
            self.reset();
            return Err(changed);
        }
        match ran {
            Ok(ran) => ran?,
            Err(_) => {
                self.reset();
                return Err(Error::Panicked);
            }
        }
        self.tokens.extend_from_slice(ids);
        self.counters.read += ids.len() as u64;
        Ok(())
    }

    /// Makes sure that `n_tokens` more can be read.
    fn make_room(&mut self, n_tokens: usize, cancel: &AtomicBool) -> Result<(), Error> {
        let context = self.window.context;
        let needed = self.tokens.len() - self.base + n_tokens;
        if needed <= context || (self.overflow != Overflow::Stop && self.model.can_slide()) {
            return Ok(());
        }
        if self.overflow == Overflow::Stop || n_tokens > context / 2 {
            return Err(Error::ContextFull { needed, context });
        }
        let mut tokens = std::mem::take(&mut self.tokens);
        let base = tokens.len() - tokens.len().min(context / 2);
        let recent = tokens.split_off(base);
        self.reset();
        (self.tokens, self.base) = (tokens, base);
        let read = recent.chunks(self.chunk_len(Want::Nothing)).try_for_each(|chunk| {
            self.read_chunk(chunk, Want::Nothing, false, cancel, &mut Vec::new())
        });
        if read.is_err() {
            // Half of a reading is no state to go on from.
            self.reset();
        }
        self.counters.reread += recent.len() as u64;
        read
    }

    /// Tokens that are read at once: fewer where all logits are wanted of a large vocabulary, and where
    /// the recent half has to leave room for them.
    pub(crate) fn chunk_len(&self, want: Want) -> usize {
        let most = match want {
            Want::All => max_logit_rows(self.model.spec().n_vocab),
            _ => MAX_CHUNK,
        };
        if self.model.can_slide() { most } else { most.min(self.window.context / 2).max(1) }
    }
}

/// Half of the context, which is the most that may be pinned; nothing where the window cannot slide.
fn most_sinks(model: &Model) -> usize {
    if model.can_slide() { model.context() / 2 } else { 0 }
}
