//! A model that one command loads, runs and drops, without the window's conversation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lilims_engine::conversation::Update;
use lilims_engine::prompt::Note;
use lilims_engine::{
    Answer, BackendKind, Conversation, Counters, GenerateOptions, LoadOptions, Message, Model,
    Overflow, Role, Session,
};

use crate::error::Error;
use crate::library::in_use::InUse;

/// A loaded model. While it lives, no process removes it from the library.
pub struct LocalModel {
    pub(crate) model: Arc<Model>,
    pub(crate) path: PathBuf,
    pub(crate) options: LoadOptions,
    in_use: Option<InUse>,
    load_time: Duration,
    draft: Option<Box<LocalModel>>,
}

/// How answers are generated.
#[derive(Clone, Debug)]
pub struct AnswerOptions {
    /// How tokens are picked, and when an answer ends.
    pub generate: GenerateOptions,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// Tokens that stay when the window slides; `None` is the engine's default.
    pub sinks: Option<usize>,
}

/// One prompt.
#[derive(Clone, Debug)]
pub struct PromptRequest {
    /// The text.
    pub prompt: String,
    /// Instructions before it.
    pub system: Option<String>,
    /// Whether to continue the text as it is, without the chat template. Models without a template
    /// always do.
    pub is_raw: bool,
}

/// An answer to one prompt.
#[derive(Debug)]
pub struct OneAnswer {
    /// The answer with its figures.
    pub answer: Answer,
    /// How the prompt differs from the question.
    pub notes: Vec<Note>,
    /// Whether keys or values were clamped to what the cache's type can hold.
    pub has_clamped_kv: bool,
    /// Tokens that were read, drafted, and drafted rightly.
    pub counters: Counters,
}

impl LocalModel {
    /// Loads the model at `path`, and records that it is used.
    ///
    /// # Errors
    /// [`Error::Load`]; the library's while the model is being removed.
    pub fn load(path: PathBuf, options: LoadOptions) -> Result<Self, Error> {
        let start = Instant::now();
        let in_use = InUse::new(&path)?;
        match Model::load(&path, &options) {
            Ok(model) => {
                let load_time = start.elapsed();
                Ok(Self { model, path, options, in_use, load_time, draft: None })
            }
            Err(source) => Err(Error::Load { path, is_tokenizer: false, source: source.into() }),
        }
    }

    /// Loads the model at `path` to draft the tokens of this one's answers, which changes their speed
    /// alone. Whether it can is known when something is answered.
    ///
    /// # Errors
    /// As for [`LocalModel::load`].
    pub fn load_draft(&mut self, path: PathBuf) -> Result<(), Error> {
        let options = LoadOptions { context: Some(self.context()), ..self.options.clone() };
        self.draft = Some(Box::new(Self::load(path, options)?));
        Ok(())
    }

    /// The draft model, if one was loaded.
    pub(crate) fn draft(&self) -> Option<&Arc<Model>> {
        self.draft.as_ref().map(|draft| &draft.model)
    }

    /// The name in its file.
    pub fn name(&self) -> &str {
        self.model.name()
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What runs it, such as `cpu (8 threads, avx2)`.
    pub fn backend(&self) -> String {
        self.model.backend()
    }

    /// The tokens of its context.
    pub fn context(&self) -> usize {
        self.model.context()
    }

    /// The largest size of its cache.
    pub fn cache_bytes(&self) -> u64 {
        self.model.cache_bytes()
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// Answers one question. `on_update` gets the answer as it grows.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`] where there are instructions and the model has no template;
    /// [`Error::Engine`], also where it was cancelled before the prompt was read, or where the draft
    /// model cannot draft for this one.
    pub fn answer(
        &self,
        question: &PromptRequest,
        options: &AnswerOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<OneAnswer, Error> {
        // The template's error does not matter where the template is not used.
        if !question.is_raw && self.model.chat_format().template()?.is_some() {
            return self.answer_chat(question, options, cancel, on_update);
        }
        if question.system.is_some() {
            return Err(Error::NoChatTemplate(self.name().to_owned()));
        }
        let mut session = self.model.session()?;
        session.set_draft(self.draft())?;
        session.set_overflow(options.overflow);
        if let Some(sinks) = options.sinks {
            session.set_sinks(sinks);
        }
        let (prompt, note) = self.model.truncate_middle(&question.prompt);
        // Control tokens in the text are what they name.
        let ids = self.model.tokenizer().encode_prompt_cancellable(&prompt, true, cancel)?;
        let answer = session.generate(&ids, &options.generate, cancel, &mut |text, progress| {
            on_update(Update::Text(text, progress));
        })?;
        Ok(self.one_answer(answer, note.into_iter().collect(), &session))
    }

    fn answer_chat(
        &self,
        question: &PromptRequest,
        options: &AnswerOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<OneAnswer, Error> {
        let mut conversation = Conversation::new(&self.model)?;
        conversation.set_draft(self.draft())?;
        options.configure(&mut conversation);
        let system = question.system.iter().map(|text| Message::new(Role::System, text));
        let messages: Vec<_> = system.chain([Message::new(Role::User, &question.prompt)]).collect();
        let answer = conversation.answer(&messages, &options.generate, cancel, on_update)?;
        Ok(self.one_answer(answer, conversation.notes().to_vec(), conversation.session()))
    }

    fn one_answer(&self, answer: Answer, notes: Vec<Note>, session: &Session) -> OneAnswer {
        self.note_peak(session.tokens().len());
        let (has_clamped_kv, counters) = (session.has_clamped_kv(), session.counters());
        OneAnswer { answer, notes, has_clamped_kv, counters }
    }

    /// Records the peak memory of this process with `n_tokens` in the cache, where the model is one of
    /// the library's, for later estimates.
    pub(crate) fn note_peak(&self, n_tokens: usize) {
        // Estimates are of one model, and of the processor's backend.
        if let Some(in_use) = &self.in_use
            && self.draft.is_none()
            && self.options.backend == BackendKind::Cpu
        {
            in_use.note_peak(&self.options, n_tokens);
        }
    }
}

impl AnswerOptions {
    pub(crate) fn configure(&self, conversation: &mut Conversation) {
        conversation.set_overflow(self.overflow);
        if let Some(sinks) = self.sinks {
            conversation.set_sinks(sinks);
        }
    }
}
