//! A loaded model with the session of a conversation: a question in, an answer out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::conversation::{self, Update};
use lilims_engine::{self as engine, Conversation, LoadOptions, Model};
use lilims_ipc::{
    ContextView, ConversationId, DraftRefusal, Error, Finish, Message, MessageId, ModelInfo,
    Outcome, Overflow, Phase, PromptNote, Role, Settings, Stats,
};
use lilims_models::{LoadAttempt, data_dir};

use crate::answer_stream::{AnswerStream, Ending};
use crate::conversations::{Question, bound_saved_sessions};
use crate::library::fit;
use crate::library::in_use::InUse;
use crate::model_host::ChatBackend;
use crate::problem;
use crate::settings::{self, Applied};
use crate::title;
use crate::token_count::CountTokens;

/// A model and its session, which outlasts a turn, so that a turn reads only its new tokens.
pub struct Chat {
    model: Arc<Model>,
    session: Option<Session>,
    /// Whether the saved session is older than the session.
    is_unsaved: bool,
    /// Called with the number of cached tokens when the model idles.
    on_idle: Box<dyn Fn(usize)>,
    /// What drafts tokens of answers.
    draft: Option<Draft>,
    /// Why the draft model is not used.
    draft_refusal: Option<DraftRefusal>,
    /// The load, until the first question.
    first_answer: Option<LoadAttempt>,
}

/// A model that drafts tokens.
struct Draft {
    model: Arc<Model>,
    /// Keeps its file from being removed.
    _in_use: Option<InUse>,
}

impl Draft {
    /// Loads the model at `path` beside the one that is loaded, if memory is left for it.
    fn load(path: &Path, options: &LoadOptions) -> Result<Self, crate::error::Error> {
        let in_use = InUse::new(path)?;
        Ok(Self { model: fit::load_beside(path, options)?, _in_use: in_use })
    }
}

/// What the model has read of one conversation.
struct Session {
    of: ConversationId,
    /// Where it is saved.
    path: PathBuf,
    conversation: Conversation,
}

impl Session {
    /// The saved session, or an empty one if there is none, or it is damaged or of another model.
    fn open(model: &Arc<Model>, of: &ConversationId, path: &Path) -> Result<Self, engine::Error> {
        let saved = path.exists().then(|| Conversation::load(model, path).ok()).flatten();
        let conversation = saved.map_or_else(|| Conversation::new(model), Ok)?;
        Ok(Self { of: of.clone(), path: path.to_owned(), conversation })
    }
}

impl Chat {
    /// Loads the model at `path`, and the saved session of the conversation `last` with its path.
    /// `on_idle` is called with the number of cached tokens when the model idles.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    pub fn load(
        path: &Path,
        options: &LoadOptions,
        last: Option<(ConversationId, PathBuf)>,
        on_idle: impl Fn(usize) + 'static,
    ) -> Result<Self, Error> {
        let model = Model::load(path, options).map_err(|error| problem::not_loaded(&error))?;
        // If it cannot be opened now, the first question reports why.
        let session = last.and_then(|(of, path)| Session::open(&model, &of, &path).ok());
        let on_idle = Box::new(on_idle);
        Ok(Self {
            model,
            session,
            is_unsaved: false,
            on_idle,
            draft: None,
            draft_refusal: None,
            first_answer: None,
        })
    }

    /// Notes `attempt` again until the first word of the first answer: memory for it is first written
    /// then, and a process that ends meanwhile must not do so at each start.
    pub(crate) fn guard_first_answer(&mut self, attempt: LoadAttempt) {
        self.first_answer = Some(attempt);
    }

    /// Loads the model at `path` to draft for this one; `None` where it is missing. If that fails,
    /// answers are written without it, and their notes say so.
    pub fn load_draft(&mut self, path: Option<&Path>) {
        let context = Some(self.model.context());
        let options = LoadOptions { context, ..LoadOptions::default() };
        match path.map(|path| Draft::load(path, &options)) {
            Some(Ok(draft)) => self.draft = Some(draft),
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot load the draft model");
                self.draft_refusal = Some(DraftRefusal::NotLoaded);
            }
            None => self.draft_refusal = Some(DraftRefusal::Missing),
        }
        self.use_draft();
    }

    /// Lets the draft model draft in the session.
    fn use_draft(&mut self) {
        let (Some(draft), Some(session)) = (&self.draft, &mut self.session) else { return };
        if let Err(error) = session.conversation.set_draft(Some(&draft.model)) {
            tracing::warn!(%error, "cannot use the draft model");
            self.draft_refusal = Some(draft_refusal(&error));
            self.draft = None;
        }
    }

    /// The facts that doors show of the model.
    pub fn info(&self) -> ModelInfo {
        let model = &self.model;
        ModelInfo {
            name: model.name().to_owned(),
            family: model.spec().family.clone(),
            quantisation: model.quantisation().to_owned(),
            size_bytes: model.size_bytes(),
            context_tokens: count(model.context()),
            backend: model.backend(),
            cache_bytes: model.cache_bytes(),
            can_slide: model.can_slide(),
        }
    }

    /// The session of `question`; another conversation's is saved first.
    fn session(&mut self, question: &Question) -> Result<&mut Session, engine::Error> {
        let is_other = self.session.as_ref().is_none_or(|it| it.of != question.conversation);
        if is_other {
            self.save();
            self.session = None;
            self.session =
                Some(Session::open(&self.model, &question.conversation, &question.session)?);
            self.use_draft();
        }
        Ok(self.session.as_mut().expect("it was opened if there was none"))
    }

    fn generate(
        &mut self,
        question: &Question,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<engine::Answer, engine::Error> {
        let messages: Vec<_> = question.messages.iter().map(message).collect();
        let mut applied = Applied::new(self.recommended(), &question.settings);
        let options = applied.options();
        stream.set_settings(&applied.0);
        // If the note cannot be written, the answer goes on without it.
        let write = |attempt: LoadAttempt| attempt.write_marker(&data_dir().ok()?).ok();
        let mut marker = self.first_answer.take().and_then(write);
        let conversation = &mut self.session(question)?.conversation;
        conversation.set_overflow(overflow(applied.overflow()));
        conversation.answer(&messages, &options, cancel, &mut |update| match update {
            Update::Reading { phase: of, done, total } => stream.reading(phase(of), done, total),
            Update::Reasoning(text, progress) => {
                marker = None;
                stream.push_reasoning(text, progress);
            }
            Update::Text(text, progress) => {
                marker = None;
                stream.push(text, progress);
            }
        })
    }
}

impl ChatBackend for Chat {
    fn recommended(&self) -> Settings {
        settings::of_model(&self.model.recommended_sampling())
    }

    fn model(&self) -> Option<Arc<Model>> {
        Some(Arc::clone(&self.model))
    }

    fn answer(
        &mut self,
        question: &Question,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        let answer = self.generate(question, cancel, stream);
        self.is_unsaved = true;
        let answer = answer.map_err(|error| problem::not_answered(&error))?;
        let mut view = self.session.as_ref().map(|session| view(&session.conversation, question));
        if let (Some(view), Some(why)) = (&mut view, self.draft_refusal) {
            view.notes.push(PromptNote::DraftNotUsed { why });
        }
        let outcome = Outcome { finish: finish(answer.finish), stats: stats(&answer.progress) };
        Ok(Ending { outcome, view: view.unwrap_or_default() })
    }

    fn title(&mut self, question: &str, answer: &str, cancel: &AtomicBool) -> Option<String> {
        title::propose(&self.model, question, answer, cancel)
    }

    fn count_tokens(&self) -> Option<CountTokens> {
        // Nothing that counts keeps an unloaded model in memory.
        let model = Arc::downgrade(&self.model);
        Some(Arc::new(move |text| {
            let model = model.upgrade()?;
            model.tokenizer().encode(text, false).ok().map(|tokens| tokens.len())
        }))
    }

    fn discard(&mut self) {
        self.session = None;
        self.is_unsaved = false;
    }

    fn forget(&mut self, conversation: &ConversationId) {
        if self.session.as_ref().is_some_and(|session| session.of == *conversation) {
            self.discard();
        }
    }

    fn save(&mut self) {
        if !std::mem::take(&mut self.is_unsaved) {
            return;
        }
        let Some(Session { path, conversation, .. }) = &self.session else { return };
        // A peak with a second model says little about this one.
        if self.draft.is_none() {
            (self.on_idle)(conversation.view().context.used());
        }
        let saved = match path.parent() {
            Some(folder) => std::fs::create_dir_all(folder).map_err(engine::Error::SavedIo),
            None => Ok(()),
        };
        match saved.and_then(|()| conversation.save(path)) {
            Ok(()) => bound_saved_sessions(path),
            Err(error) => tracing::warn!(%error, "cannot save the session"),
        }
    }
}

/// How models are loaded: with this context, or with the one that `LILIMS_CONTEXT` sets.
pub fn load_options(context_tokens: Option<u32>) -> LoadOptions {
    let from_env = || std::env::var("LILIMS_CONTEXT").ok()?.parse().ok();
    let context = context_tokens.and_then(|context| context.try_into().ok()).or_else(from_env);
    LoadOptions { context, ..LoadOptions::default() }
}

pub(crate) fn message(message: &Message) -> conversation::Message {
    let role = match message.role {
        Role::System => conversation::Role::System,
        Role::User => conversation::Role::User,
        Role::Assistant => conversation::Role::Assistant,
    };
    let reasoning = message.reasoning.as_ref().map(|reasoning| reasoning.text.clone());
    conversation::Message { role, content: message.content.clone(), reasoning }
}

fn overflow(overflow: Overflow) -> engine::Overflow {
    match overflow {
        Overflow::Slide => engine::Overflow::Slide,
        Overflow::Stop => engine::Overflow::Stop,
        Overflow::Summarise => engine::Overflow::Summarise,
    }
}

fn phase(phase: conversation::Phase) -> Phase {
    match phase {
        conversation::Phase::Prompt => Phase::Prompt,
        conversation::Phase::Summary => Phase::Summary,
        conversation::Phase::Reread => Phase::Again,
    }
}

/// What the model sees after the answer to `question`.
fn view(conversation: &Conversation, question: &Question) -> ContextView {
    let (view, notes) = (conversation.view(), conversation.notes());
    let context = &view.context;
    ContextView {
        context_tokens: count(context.context),
        used_tokens: count(context.used()),
        pinned_tokens: count(context.sinks),
        left_tokens: count(context.left()),
        window_start: window_start(view.first_message, question),
        summary: view.summary.clone(),
        notes: notes.iter().map(|&it| note(it)).collect(),
    }
}

/// The message at `index` of the question's messages and its answer, which comes last.
fn window_start(index: usize, question: &Question) -> Option<MessageId> {
    let message = question.messages.get(index).map_or(&question.answer, |message| &message.id);
    (index > 0).then(|| message.clone())
}

pub(crate) fn note(note: engine::prompt::Note) -> PromptNote {
    use engine::prompt::Note;
    match note {
        Note::NoTemplate => PromptNote::NoTemplate,
        Note::InstructionsInQuestion => PromptNote::InstructionsInQuestion,
        Note::InstructionsLeftOut => PromptNote::InstructionsLeftOut,
        Note::RolesJoined => PromptNote::RolesJoined,
        Note::ReasoningKept => PromptNote::ReasoningKept,
        Note::ReasoningLeftOut => PromptNote::ReasoningLeftOut,
        Note::MessagesLeftOut { count } => PromptNote::MessagesLeftOut { count: count as u64 },
        Note::NoGenerationPrompt => PromptNote::NoGenerationPrompt,
        Note::TextLeftOut { bytes } => PromptNote::TextLeftOut { size_bytes: bytes as u64 },
    }
}

fn draft_refusal(error: &engine::Error) -> DraftRefusal {
    match error {
        engine::Error::Draft { why: engine::DraftRefusal::OtherVocabulary, .. } => {
            DraftRefusal::OtherVocabulary
        }
        engine::Error::Draft { why: engine::DraftRefusal::InexactBackend, .. } => {
            DraftRefusal::Backend
        }
        _ => DraftRefusal::NotLoaded,
    }
}

fn finish(finish: engine::Finish) -> Finish {
    match finish {
        engine::Finish::EndOfTurn | engine::Finish::StopText => Finish::EndOfTurn,
        engine::Finish::MaxTokens => Finish::MaxTokens,
        engine::Finish::ContextFull => Finish::ContextFull,
        engine::Finish::Cancelled => Finish::Stopped,
    }
}

fn stats(progress: &engine::Progress) -> Stats {
    Stats {
        prompt_tokens: count(progress.prompt_tokens),
        prefilled_tokens: count(progress.prefilled_tokens),
        tokens: count(progress.tokens),
        first_token_ms: progress.first_token.as_secs_f32() * 1000.0,
        tokens_per_second: progress.decode_tps() as f32,
    }
}

fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_draft_model_has_its_code() {
        let refused = |why| engine::Error::Draft { draft: "d".into(), model: "m".into(), why };
        for (error, expected) in [
            (refused(engine::DraftRefusal::OtherVocabulary), DraftRefusal::OtherVocabulary),
            (refused(engine::DraftRefusal::InexactBackend), DraftRefusal::Backend),
            (engine::Error::OutOfMemory { bytes: 1 }, DraftRefusal::NotLoaded),
        ] {
            assert_eq!(draft_refusal(&error), expected, "{error}");
        }
    }
}
