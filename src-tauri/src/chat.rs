//! The loaded model in conversation: options and messages in, an answer out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{self as engine, GenerateOptions, LoadOptions, Model, Sampling, Session};
use lilims_ipc::{Error, Finish, ModelInfo, Options, Request, Stats};

use crate::answer_stream::{AnswerStream, Ending};
use crate::model_thread::Talk;
use crate::{errors, prompt};

/// A model and its session. The session is kept between turns, so that a turn reads only the
/// tokens which are new.
pub(crate) struct Chat {
    model: Arc<Model>,
    session: Option<Session>,
}

impl Chat {
    /// Loads the model at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let model = Model::load(path, &LoadOptions::default())
            .map_err(|error| errors::not_loaded(&error))?;
        Ok(Self { model, session: None })
    }

    /// What the page shows of the model.
    pub(crate) fn info(&self) -> ModelInfo {
        let model = &self.model;
        ModelInfo {
            name: model.name().to_owned(),
            family: model.spec().family.clone(),
            quantisation: model.quantisation().to_owned(),
            size_bytes: model.size_bytes(),
            context_tokens: count(model.context()),
            backend: model.backend(),
        }
    }

    fn session(&mut self) -> Result<&mut Session, engine::Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.model.session()?,
        };
        Ok(self.session.insert(session))
    }

    fn generate(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<engine::Answer, engine::Error> {
        let prompt = prompt::tokens(&self.model, &request.messages)?;
        let options = generate_options(&request.options);
        self.session()?
            .generate(&prompt, &options, cancel, &mut |text, progress| stream.push(text, progress))
    }
}

impl Talk for Chat {
    fn answer(
        &mut self,
        request: &Request,
        cancel: &AtomicBool,
        stream: &mut AnswerStream,
    ) -> Result<Ending, Error> {
        let answer =
            self.generate(request, cancel, stream).map_err(|error| errors::not_answered(&error))?;
        Ok(Ending { finish: finish(answer.finish), stats: stats(&answer.progress) })
    }

    fn forget(&mut self) {
        self.session = None;
    }
}

fn generate_options(options: &Options) -> GenerateOptions {
    let sampling = Sampling {
        temperature: options.temperature.clamp(0.0, 2.0),
        top_p: options.top_p.clamp(0.0, 1.0),
        seed: options.seed.unwrap_or_else(engine::sampler::random_seed),
        ..Sampling::default()
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
    fn options_become_sampling_within_bounds() {
        let options = Options { temperature: 9.0, top_p: -1.0, max_tokens: 7, seed: Some(3) };
        let generate = generate_options(&options);
        assert_eq!(generate.sampling.temperature, 2.0);
        assert_eq!(generate.sampling.top_p, 0.0);
        assert_eq!(generate.sampling.seed, 3);
        assert_eq!(generate.max_tokens, 7);
    }
}
