//! The exact prompt of an answer, made again from what is stored of it.

use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Local};
use lilims_engine::prompt::Prompt;
use lilims_engine::{DecodeStream, Model, Tokenizer};
use lilims_ipc::{
    self as ipc, Error, ExactPrompt, Outcome, Problem, PromptPart, PromptSource, PromptToken, Role,
};
use lilims_store::{MessageId, Role as StoredRole};

use super::{Conversations, parse, prompt, with_instructions};
use crate::chat;
use crate::database::from_store;
use crate::problem;
use crate::settings;

impl Conversations {
    /// What the model read before it wrote the answer `id`, as `model` reads it; `name` is its name.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be read or the template fails.
    pub(crate) fn exact_prompt(
        &self,
        id: &ipc::MessageId,
        model: &Model,
        name: &str,
    ) -> Result<ExactPrompt, Error> {
        let store = self.store()?;
        let id = MessageId::from(&*id.0);
        let answer = store.message(&id).map_err(from_store)?.ok_or(Problem::ConversationGone)?;
        let question = answer.parent.as_ref().filter(|_| answer.role == StoredRole::Assistant);
        let question = question.ok_or(Problem::NoQuestion)?;
        let applied = answer.settings.as_ref().map(settings::from_json).unwrap_or_default();
        let asked_at =
            DateTime::from_timestamp_millis(answer.created_ms as i64).unwrap_or_default();
        let branch = prompt(store.branch(question).map_err(from_store)?);
        let messages = with_instructions(branch, &applied, asked_at.with_timezone(&Local));
        let texts: Vec<_> = messages.iter().map(chat::message).collect();
        let prompt = Prompt::of_messages(model, &texts, &AtomicBool::new(false))
            .map_err(|error| problem::not_answered(&error))?;
        let outcome: Option<Outcome> = answer.stats.and_then(parse);
        let other_model = answer.model.filter(|it| it != name);
        let stats = outcome.filter(|_| other_model.is_none()).map(|it| it.stats);
        let cached_tokens =
            stats.as_ref().map(|it| it.prompt_tokens.saturating_sub(it.prefilled_tokens));
        let read_tokens = stats.map(|it| it.prompt_tokens);
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        Ok(ExactPrompt {
            parts: parts(&prompt, &roles, model.tokenizer()),
            cached_tokens,
            read_tokens: read_tokens.filter(|&it| it as usize != prompt.ids.len()),
            notes: prompt.notes.iter().map(|&it| chat::note(it)).collect(),
            other_model,
        })
    }
}

/// The parts of a prompt: what the template wrote, and the contents of the messages.
fn parts(prompt: &Prompt, roles: &[Role], tokenizer: &Tokenizer) -> Vec<PromptPart> {
    let mut tokens = tokens(&prompt.ids, tokenizer).into_iter();
    let mut parts = Vec::new();
    let mut push = |source, n_tokens: usize| {
        let tokens: Vec<PromptToken> = tokens.by_ref().take(n_tokens).collect();
        if !tokens.is_empty() {
            parts.push(PromptPart { source, tokens });
        }
    };
    let mut at = 0;
    for end in &prompt.message_ends {
        let source = match roles.get(end.message) {
            Some(Role::System) => PromptSource::Instructions,
            Some(Role::Assistant) => PromptSource::Answer,
            _ => PromptSource::Question,
        };
        push(PromptSource::Template, end.first_id.saturating_sub(at));
        push(source, end.ids.saturating_sub(end.first_id.max(at)));
        at = end.ids.max(at);
    }
    push(PromptSource::Template, prompt.ids.len());
    parts
}

/// The tokens with their texts. Bytes of a character that is spread over several stand with the last.
fn tokens(ids: &[u32], tokenizer: &Tokenizer) -> Vec<PromptToken> {
    let mut stream = DecodeStream::new(tokenizer);
    let mut tokens: Vec<PromptToken> = Vec::with_capacity(ids.len());
    for &id in ids {
        let mut text = stream.push(id);
        if text.is_empty() && !stream.holds_back() {
            // A control token.
            text.push_str(tokenizer.token_text(id));
        }
        tokens.push(PromptToken { id, text });
    }
    if let Some(last) = tokens.last_mut() {
        last.text.push_str(&stream.finish());
    }
    tokens
}
