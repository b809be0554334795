//! A loaded model with its conversation: options and messages in, an answer out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::conversation::{self, Update};
use lilims_engine::{self as engine, Conversation, GenerateOptions, LoadOptions, Model, Sampling};
use lilims_ipc::{
    ContextView, Error, Finish, Message, ModelInfo, Options, Overflow, Phase, PromptNote, Request,
    Role, Stats,
};

use crate::answer_stream::{AnswerStream, Ending};
use crate::model_host::ChatBackend;
use crate::problem;
use crate::saved_conversation::{SavedConversation, bound_saved_sessions};

/// A model and its session, which outlasts a turn, so that a turn reads only its new tokens.
pub struct Chat {
    model: Arc<Model>,
    conversation: Option<Conversation>,
    /// Whether the saved session is older than the conversation.
    is_unsaved: bool,
    /// Called with the number of cached tokens when the model idles.
    on_idle: Box<dyn Fn(usize)>,
}

impl Chat {
    /// Loads the model at `path`, and the saved session of the conversation. `on_idle` is called with
    /// the number of cached tokens when the model idles.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    pub fn load(
        path: &Path,
        options: &LoadOptions,
        saved: &SavedConversation,
        on_idle: impl Fn(usize) + 'static,
    ) -> Result<Self, Error> {
        let model = Model::load(path, options).map_err(|error| problem::not_loaded(&error))?;
        // If the session is of another model or damaged, everything is read again.
        let session = saved.session_path().filter(|path| path.exists());
        let conversation = session.and_then(|path| Conversation::load(&model, &path).ok());
        Ok(Self { model, conversation, is_unsaved: false, on_idle: Box::new(on_idle) })
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

    fn generate(
        &mut self,
        request: &Request,
        saved: &mut SavedConversation,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<engine::Answer, engine::Error> {
        let messages: Vec<_> = request.messages.iter().map(message).collect();
        let options = generate_options(&request.options);
        if self.conversation.is_none() {
            self.conversation = Some(Conversation::new(&self.model)?);
        }
        let conversation = self.conversation.as_mut().expect("it was created above");
        conversation.set_overflow(overflow(request.overflow));
        conversation.answer(&messages, &options, cancel, &mut |update| match update {
            Update::Reading { phase: of, done, total } => stream.reading(phase(of), done, total),
            Update::Reasoning(text, progress) => {
                let elapsed_ms = stream.push_reasoning(text, progress);
                saved.grow_reasoning(text, elapsed_ms);
            }
            Update::Text(text, progress) => {
                saved.grow(text);
                stream.push(text, progress);
            }
        })
    }
}

impl ChatBackend for Chat {
    fn answer(
        &mut self,
        request: &Request,
        saved: &mut SavedConversation,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        self.is_unsaved = true;
        let answer = self.generate(request, saved, cancel, stream);
        let view = self.conversation.as_ref().map(view);
        saved.end(view.clone().filter(|_| answer.is_ok()));
        let answer = answer.map_err(|error| problem::not_answered(&error))?;
        let stats = stats(&answer.progress);
        Ok(Ending { finish: finish(answer.finish), stats, view: view.unwrap_or_default() })
    }

    fn discard(&mut self) {
        self.conversation = None;
        self.is_unsaved = false;
    }

    fn reset(&mut self) {
        if let Some(conversation) = &mut self.conversation {
            conversation.reset();
        }
        self.is_unsaved = false;
    }

    fn save(&mut self, saved: &SavedConversation) {
        if !std::mem::take(&mut self.is_unsaved) {
            return;
        }
        if let Some(conversation) = &self.conversation {
            (self.on_idle)(conversation.view().context.used());
        }
        if let (Some(conversation), Some(path)) = (&self.conversation, saved.session_path()) {
            match conversation.save(&path) {
                Ok(()) => bound_saved_sessions(&path),
                Err(error) => tracing::warn!(%error, "cannot save the session"),
            }
        }
    }
}

/// How models are loaded: with this context, or with the one that `LILIMS_CONTEXT` sets.
pub fn load_options(context_tokens: Option<u32>) -> LoadOptions {
    let from_env = || std::env::var("LILIMS_CONTEXT").ok()?.parse().ok();
    let context = context_tokens.and_then(|context| context.try_into().ok()).or_else(from_env);
    LoadOptions { context, ..LoadOptions::default() }
}

fn message(message: &Message) -> conversation::Message {
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

fn view(conversation: &Conversation) -> ContextView {
    let (view, notes) = (conversation.view(), conversation.notes());
    let context = &view.context;
    ContextView {
        context_tokens: count(context.context),
        used_tokens: count(context.used()),
        pinned_tokens: count(context.sinks),
        left_tokens: count(context.left()),
        first_message: count(view.first_message),
        summary: view.summary.clone(),
        notes: notes.iter().map(|&it| note(it)).collect(),
    }
}

fn note(note: engine::prompt::Note) -> PromptNote {
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

fn generate_options(options: &Options) -> GenerateOptions {
    let sampling = Sampling {
        temperature: options.temperature.clamp(0.0, 2.0),
        top_p: options.top_p.clamp(0.0, 1.0),
        seed: options.seed.unwrap_or_else(engine::sampler::random_seed),
        ..Sampling::CHAT
    };
    let max_tokens = usize::try_from(options.max_tokens).unwrap_or(usize::MAX);
    GenerateOptions { sampling, max_tokens, ..GenerateOptions::default() }
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
    fn defaults_are_those_of_every_door() {
        let sampling = generate_options(&Options { seed: Some(0), ..Options::default() }).sampling;
        assert_eq!(sampling, Sampling::CHAT);
    }

    #[test]
    fn options_become_sampling_within_bounds() {
        let options = Options { temperature: 9.0, top_p: -1.0, max_tokens: 7, seed: Some(3) };
        let generate = generate_options(&options);
        assert_eq!(generate.sampling.temperature, 2.0);
        assert_eq!(generate.sampling.top_p, 0.0);
        assert_eq!(generate.sampling.seed, 3);
        assert_eq!(generate.max_tokens, 7);
    }
}
