//! The capabilities of a chat template, found by rendering probe messages.
//!
//! Renderings are not searched for the probe texts: they record which bytes come from which
//! message, so a template that silently omits a message is detected.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::text::Rendering;
use crate::{ChatTemplate, Error};

/// All probes together take a few milliseconds; a template that takes this long would delay each
/// prompt.
const MAX_TIME: Duration = Duration::from_millis(1500);

/// The capabilities of a chat template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateCapabilities {
    /// It renders instructions: a first message with the role `system`.
    pub supports_system_role: bool,
    /// It renders consecutive messages of one role.
    pub supports_repeated_roles: bool,
    /// It starts the answer.
    pub adds_generation_prompt: bool,
    /// It renders the reasoning of an answer that is still in progress, before tool results.
    pub renders_reasoning: bool,
}

impl TemplateCapabilities {
    /// All capabilities but reasoning: those of the plain format, and the assumption for a template
    /// that renders nothing.
    pub(super) fn all() -> Self {
        Self {
            supports_system_role: true,
            supports_repeated_roles: true,
            adds_generation_prompt: true,
            renders_reasoning: false,
        }
    }
}

/// Probes `template`.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Template`] if it takes too long. A template that fails on a probe
/// lacks the capability.
pub(super) fn probe(
    template: &ChatTemplate,
    cancel: &AtomicBool,
) -> Result<TemplateCapabilities, Error> {
    let start = Instant::now();
    let render = |messages: Value, adds: bool| -> Result<Option<Rendering>, Error> {
        match template.render_marked(&messages, adds, cancel) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            // The real messages may take as long again.
            _ if start.elapsed() > MAX_TIME => {
                Err(Error::Template { what: "probing takes too long".to_owned() })
            }
            rendering => Ok(rendering.ok()),
        }
    };
    let user = json!({ "role": "user", "content": "probe question" });
    let assistant = json!({ "role": "assistant", "content": "probe answer" });
    let Some(question) = render(json!([user]), true)? else {
        // It may require other roles or be broken: rendering the real messages will report that.
        return Ok(TemplateCapabilities::all());
    };
    let renders = |rendering: &Option<Rendering>, n_messages: usize| {
        rendering
            .as_ref()
            .is_some_and(|rendering| (0..n_messages).all(|message| is_rendered(rendering, message)))
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
    // Some templates always start the answer: then an answer continues where the question ends.
    let always_starts_answer = plain.as_ref().is_some_and(|answered| {
        let answer = answered.contents.iter().find(|span| span.message == 1);
        answer.is_some_and(|span| {
            answered.text[..span.range.start].trim_end() == question.text.trim_end()
        })
    });
    let differs = without_prompt.is_none_or(|other| other.text != question.text);
    Ok(TemplateCapabilities {
        supports_system_role: renders(&instructions, 2),
        supports_repeated_roles: renders(&users, 2) && renders(&assistants, 4),
        adds_generation_prompt: differs || always_starts_answer,
        renders_reasoning: match (plain, reasoned) {
            (Some(plain), Some(reasoned)) => plain.text != reasoned.text,
            _ => false,
        },
    })
}

/// Whether any text of the message is in the rendering.
pub(super) fn is_rendered(rendering: &Rendering, message: usize) -> bool {
    rendering.contents.iter().any(|span| span.message == message && !span.range.is_empty())
}
