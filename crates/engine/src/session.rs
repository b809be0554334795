//! The state of a conversation: the tokens read so far, and the keys and values kept of them.
//!
//! As long as the conversation fits into the context, everything is kept. Beyond that the window
//! slides, unless [`Overflow::Stop`] is set. Models with learned positions cannot slide: they read
//! the recent half again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backend::{Chunk, Runner, WantedLogits};
use crate::draft::Drafter;
use crate::importance::ImportanceMatrix;
use crate::window::{MAX_CHUNK, Window};
use crate::{Error, Model, sampler};

/// The default number of attention sinks, which StreamingLLM found sufficient.
pub const DEFAULT_SINKS: usize = 4;
/// Capacity for this many tokens is reserved from the start, so that generating does not allocate.
const MAX_RESERVED: usize = 1 << 17;
/// The most logits of one chunk: 64 MiB of f32.
const MAX_CHUNK_LOGITS: usize = 1 << 24;
/// Cancel flag for callers that never cancel.
static NEVER: AtomicBool = AtomicBool::new(false);

/// The most tokens in a chunk whose logits are all computed.
pub(crate) fn max_logit_rows(n_vocab: usize) -> usize {
    (MAX_CHUNK_LOGITS / n_vocab).clamp(1, MAX_CHUNK)
}

/// What happens when a conversation outgrows the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest tokens after the sinks leave the window.
    #[default]
    Slide,
    /// Reading more tokens is an error.
    Stop,
    /// A [`Conversation`](crate::Conversation) lets the model summarise the messages that leave,
    /// and pins the summary; a session without a conversation slides.
    Summarise,
}

/// Counters of a session since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens that went through the model.
    pub read: u64,
    /// Tokens among them that were read again after they had left the cache.
    pub reread: u64,
    /// Tokens that were drafted, by prompt lookup or a draft model, and read ahead.
    pub drafted: u64,
    /// Drafted tokens that were accepted.
    pub accepted: u64,
}

/// What the next token of a session attends to, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextUse {
    /// Context length.
    pub context: usize,
    /// Number of sinks: the first tokens, which stay.
    pub sinks: usize,
    /// Start of the window in the conversation: tokens before it, except sinks, have left.
    pub window_start: usize,
    /// Length of the conversation.
    pub tokens: usize,
}

impl ContextUse {
    /// Tokens that the next token attends to.
    pub fn used(&self) -> usize {
        self.sinks + self.tokens - self.window_start
    }

    /// Tokens that have left the window.
    pub fn left(&self) -> usize {
        self.window_start - self.sinks
    }
}

/// The cache and position of a conversation.
pub struct Session {
    pub(crate) model: Arc<Model>,
    pub(crate) runner: Box<dyn Runner>,
    /// All tokens of the conversation, including those that have left the cache.
    pub(crate) tokens: Vec<u32>,
    /// Index of the token at position 0; not 0 after a model with learned positions read its recent
    /// half again.
    pub(crate) base: usize,
    pub(crate) window: Window,
    pub(crate) counters: Counters,
    overflow: Overflow,
    /// Logits after the last token read, if they were requested.
    pub(crate) logits: Vec<f32>,
    /// Length of the last prompt and the logits after it: regenerating its answer reads nothing.
    pub(crate) after_prompt: (usize, Vec<f32>),
    /// What drafts tokens of answers.
    pub(crate) drafter: Option<Box<Drafter>>,
}

impl Model {
    /// An empty session.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::OutOfMemory`] when there is not enough memory,
    /// [`Error::Candle`], [`Error::Threads`] when no worker threads start.
    pub fn session(self: &Arc<Self>) -> Result<Session, Error> {
        Ok(Session::new(Arc::clone(self), self.runner()?))
    }
}

impl Session {
    fn new(model: Arc<Model>, runner: Box<dyn Runner>) -> Self {
        let context = model.context();
        let tokens = Vec::with_capacity(context.min(MAX_RESERVED));
        let window = Window::new(context, max_sinks(&model).min(DEFAULT_SINKS));
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
            drafter: None,
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// All tokens read, including those that have left the window.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The counters since the session was created.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the next token attends to.
    pub fn context_use(&self) -> ContextUse {
        let Window { context, n_sinks, .. } = self.window;
        let tokens = self.tokens.len();
        let sinks = n_sinks.min(tokens - self.base);
        // The next token needs a slot itself; as long as it has one, nothing has left.
        let fits = tokens - self.base <= context && self.window.start <= n_sinks;
        let window_start = if fits {
            self.base + sinks
        } else {
            self.base + self.window.first_kept(tokens - self.base)
        };
        ContextUse { context, sinks, window_start, tokens }
    }

    /// Sets what happens when the context is full.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
    }

    /// What happens when the context is full.
    pub fn overflow(&self) -> Overflow {
        self.overflow
    }

    /// Pins the first `n_sinks` tokens when the window slides, at most half of the context. If it
    /// has already slid with a different number, the session is reset.
    pub fn set_sinks(&mut self, n_sinks: usize) {
        let n_sinks = n_sinks.min(max_sinks(&self.model));
        if n_sinks == self.window.n_sinks {
            return;
        }
        let Window { context, start, written, .. } = self.window;
        // As long as no slot was reused, positions are stored in the same slots for any number of
        // sinks.
        if start > self.window.n_sinks || written > context {
            self.reset();
        }
        self.window = Window { n_sinks, start: n_sinks, ..self.window };
    }

    /// Lets `draft`, a smaller model of the same vocabulary, draft the tokens of answers, which
    /// changes their speed alone. Prompt lookup goes first where it finds something.
    ///
    /// # Errors
    /// [`Error::Draft`] if it cannot draft for this model, and those of [`Model::session`].
    pub fn set_draft(&mut self, draft: Option<&Arc<Model>>) -> Result<(), Error> {
        let max_exact = self.runner.max_exact();
        let drafter = |draft| Drafter::new(&self.model, max_exact, draft).map(Box::new);
        self.drafter = draft.map(drafter).transpose()?;
        Ok(())
    }

    /// Whether a draft model is in use: one that fails is not used any more.
    pub fn has_draft(&self) -> bool {
        self.drafter.is_some()
    }

    /// Clears everything but the settings.
    pub fn reset(&mut self) {
        self.tokens.clear();
        self.base = 0;
        self.window = Window::new(self.window.context, self.window.n_sinks);
        self.after_prompt.0 = 0;
    }

    /// Drops all tokens after the first `len`, and returns how many are kept: `len`, or 0 if too
    /// much of their window has left the cache.
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

    /// Whether the cache can continue after the first `position` positions.
    pub(crate) fn can_resume(&self, position: usize) -> bool {
        let mut layouts = self.model.spec().layouts(self.window.context);
        layouts.all(|layout| layout.can_resume(&self.window, position))
    }

    /// An independent copy of the session.
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

    /// Reads `ids` after the tokens read so far.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn append(&mut self, ids: &[u32]) -> Result<(), Error> {
        let mut no_logits = Vec::new();
        for chunk in ids.chunks(self.chunk_len(WantedLogits::None)) {
            self.read(chunk, WantedLogits::None, &NEVER, &mut no_logits)?;
        }
        Ok(())
    }

    /// Reads `ids` after the tokens read so far and returns the logits of each, in nats.
    ///
    /// *Shapes*: `[ids.len(), n_vocab]`, row by row.
    ///
    /// # Errors
    /// [`Error::ContextFull`] under [`Overflow::Stop`], [`Error::UnknownToken`],
    /// [`Error::NotFinite`], [`Error::OutOfMemory`], [`Error::Candle`].
    pub fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let mut logits = self.allocate_logits(ids.len())?;
        for chunk in ids.chunks(self.chunk_len(WantedLogits::All)) {
            let start = logits.len();
            self.read(chunk, WantedLogits::All, &NEVER, &mut logits)?;
            self.check_logits(&logits[start..])?;
        }
        Ok(logits)
    }

    /// Like [`Session::logits`] for at most [`Session::max_exact`] tokens, bit-identical to reading
    /// them one by one.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn exact_logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Error> {
        let mut logits = self.allocate_logits(ids.len())?;
        self.read_chunk(ids, WantedLogits::All, true, &NEVER, &mut logits)?;
        self.check_logits(&logits)?;
        Ok(logits)
    }

    /// A vector with capacity for the logits of `n_tokens`, a number that callers choose freely.
    fn allocate_logits(&self, n_tokens: usize) -> Result<Vec<f32>, Error> {
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
    fn check_logits(&self, rows: &[f32]) -> Result<(), Error> {
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

    /// Whether a key or value exceeded the range of the cache type (65,504 for f16) and was
    /// clamped. Always false with the `candle` backend.
    pub fn has_clamped_kv(&self) -> bool {
        self.runner.has_clamped()
    }

    /// The most tokens for [`Session::exact_logits`].
    pub fn max_exact(&self) -> usize {
        self.runner.max_exact()
    }

    /// Reads `ids` after the tokens read so far and returns the logits of the last, in nats.
    ///
    /// *Shapes*: `[n_vocab]`; empty if there are no ids.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn read_last(&mut self, ids: &[u32]) -> Result<&[f32], Error> {
        self.logits.clear();
        let Some(last) = ids.chunks(self.chunk_len(WantedLogits::Last)).next_back() else {
            return Ok(&[]);
        };
        self.append(&ids[..ids.len() - last.len()])?;
        let mut logits = std::mem::take(&mut self.logits);
        let read = self.read(last, WantedLogits::Last, &NEVER, &mut logits);
        self.logits = logits;
        read?;
        self.check_logits(&self.logits)?;
        Ok(&self.logits)
    }

    /// Reads `ids` after the tokens read so far and adds the squared inputs of each matrix to
    /// `importance`.
    ///
    /// # Errors
    /// As for [`Session::logits`].
    pub fn observe(&mut self, ids: &[u32], importance: &mut ImportanceMatrix) -> Result<(), Error> {
        for chunk in ids.chunks(self.chunk_len(WantedLogits::None)) {
            self.pass(chunk, WantedLogits::None, false, &NEVER, |runner, chunk| {
                runner.observe(chunk, importance)
            })?;
            if !importance.are_finite() {
                let model = self.model.name().to_owned();
                return Err(Error::NotFinite { model, position: self.tokens.len() });
            }
        }
        Ok(())
    }

    /// Reads one chunk and appends the requested logits.
    pub(crate) fn read(
        &mut self,
        ids: &[u32],
        want: WantedLogits,
        cancel: &AtomicBool,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.read_chunk(ids, want, false, cancel, logits)
    }

    pub(crate) fn read_chunk(
        &mut self,
        ids: &[u32],
        want: WantedLogits,
        is_exact: bool,
        cancel: &AtomicBool,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.pass(ids, want, is_exact, cancel, |runner, chunk| runner.run(chunk, logits))
    }

    /// Runs one chunk after the tokens read so far.
    ///
    /// # Errors
    /// Those of `run`; [`Error::Panicked`]; [`Error::Gguf`] if the file of the model was changed
    /// meanwhile. After the last two the session is empty.
    fn pass(
        &mut self,
        ids: &[u32],
        want: WantedLogits,
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
        // A cancelled pass has written, too.
        self.window.written = written;
        let window = self.window;
        let chunk = Chunk { tokens: ids, position, window, want, is_exact, cancel };
        let runner = &mut *self.runner;
        // A panic in a worker releases the others and ends the pass; the runner is unusable
        // afterwards.
        let ran = catch_unwind(AssertUnwindSafe(|| run(runner, &chunk)));
        if let Err(changed) = self.model.check_unchanged() {
            // The file changed during the pass: discard its keys, values and logits.
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

    /// Makes room for `n_tokens` more.
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
        let read = recent.chunks(self.chunk_len(WantedLogits::None)).try_for_each(|chunk| {
            self.read_chunk(chunk, WantedLogits::None, false, cancel, &mut Vec::new())
        });
        if read.is_err() {
            // A partial prefill is unusable: reset the cache.
            self.reset();
        }
        self.counters.reread += recent.len() as u64;
        read
    }

    /// The number of tokens per chunk: fewer if all logits of a large vocabulary are requested, or
    /// if the recent half must leave room for them.
    pub(crate) fn chunk_len(&self, want: WantedLogits) -> usize {
        let max = match want {
            WantedLogits::All => max_logit_rows(self.model.spec().n_vocab),
            _ => MAX_CHUNK,
        };
        if self.model.can_slide() { max } else { max.min(self.window.context / 2).max(1) }
    }
}

/// The most sinks: half of the context, or none if the window cannot slide.
fn max_sinks(model: &Model) -> usize {
    if model.can_slide() { model.context() / 2 } else { 0 }
}
