//! What a chat template can express, found by rendering a few messages with it.
//!
//! Nothing is searched for in the renderings: marks say which bytes come from which message, so that
//! a template that silently leaves a message out is found out.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::text::Rendering;
use crate::{ChatTemplate, Error};

/// All tries together take a few milliseconds; a template that takes this long would make a person
/// wait for each prompt.
const MAX_TIME: Duration = Duration::from_millis(1500);

/// What a chat template can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// It shows instructions: a first message with the role `system`.
    pub takes_instructions: bool,
    /// It shows messages of one role in a row.
    pub takes_equal_roles: bool,
    /// It begins the answer.
    pub adds_generation_prompt: bool,
    /// It shows the reasoning of the answer that is being written, before results of tools.
    pub takes_reasoning: bool,
}

impl Abilities {
    /// What the plain form can express, and what is assumed of a template that renders nothing.
    pub(super) fn all() -> Self {
        Self {
            takes_instructions: true,
            takes_equal_roles: true,
            adds_generation_prompt: true,
            takes_reasoning: false,
        }
    }
}

/// Tries `template`.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Template`] when it takes too long; a template that fails
/// lacks the ability.
pub(super) fn probe(template: &ChatTemplate, cancel: &AtomicBool) -> Result<Abilities, Error> {
    let start = Instant::now();
    let render = |messages: Value, adds: bool| -> Result<Option<Rendering>, Error> {
        match template.render_marked(&messages, adds, cancel) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            // A template may take as long again for the messages themselves.
            _ if start.elapsed() > MAX_TIME => {
                Err(Error::Template { what: "it runs too long".to_owned() })
            }
            rendering => Ok(rendering.ok()),
        }
    };
    let user = json!({ "role": "user", "content": "probe question" });
    let assistant = json!({ "role": "assistant", "content": "probe answer" });
    let Some(question) = render(json!([user]), true)? else {
        // It may want other roles, or is broken: then rendering the real messages says so.
        return Ok(Abilities::all());
    };
    let shows = |rendering: &Option<Rendering>, n_messages: usize| {
        rendering
            .as_ref()
            .is_some_and(|rendering| (0..n_messages).all(|message| is_shown(rendering, message)))
    };
    let system = json!({ "role": "system", "content": "probe instructions" });
    let instructions = render(json!([system, user]), true)?;
    let users = render(json!([user, user]), true)?;
    let assistants = render(json!([user, assistant, assistant, user]), true)?;
    let without_prompt = render(json!([user]), false)?;
    let mut reasoned = assistant.clone();
    reasoned["reasoning_content"] = Value::from("probe reasoning");
    let (plain, reasoned) =
        (render(json!([user, assistant]), false)?, render(json!([user, reasoned]), false)?);
    // Some begin the answer whatever is asked of them: then an answer goes on where the question ends.
    let begins_always = plain.as_ref().is_some_and(|answered| {
        let answer = answered.contents.iter().find(|span| span.message == 1);
        answer.is_some_and(|span| {
            answered.text[..span.range.start].trim_end() == question.text.trim_end()
        })
    });
    let differs = without_prompt.is_none_or(|other| other.text != question.text);
    Ok(Abilities {
        takes_instructions: shows(&instructions, 2),
        takes_equal_roles: shows(&users, 2) && shows(&assistants, 4),
        adds_generation_prompt: differs || begins_always,
        takes_reasoning: match (plain, reasoned) {
            (Some(plain), Some(reasoned)) => plain.text != reasoned.text,
            _ => false,
        },
    })
}

/// Whether anything of the message is in the rendering.
pub(super) fn is_shown(rendering: &Rendering, message: usize) -> bool {
    rendering.contents.iter().any(|span| span.message == message && !span.range.is_empty())
}
