//! Turns a conversation into the tokens that the model reads.

use lilims_engine::{ChatTemplate, Error, Model};
use lilims_ipc::{Message, Role};

/// The tokens of `messages`, ready for the model to answer.
///
/// *Errors*: [`Error::Template`], [`Error::Tokenizer`].
pub(crate) fn tokens(model: &Model, messages: &[Message]) -> Result<Vec<u32>, Error> {
    let text = match model.chat_template() {
        Some(template) => render(template, messages)?,
        None => plain(messages),
    };
    model.tokenizer().encode_prompt(&text, true)
}

fn render(template: &ChatTemplate, messages: &[Message]) -> Result<String, Error> {
    let messages = serde_json::to_value(messages)
        .map_err(|error| Error::Template { what: error.to_string() })?;
    template.render(&messages, true)
}

/// The form for models whose file has no chat template: each message on lines of its own after
/// its role, and the role of the answer last. Base models continue it as a dialogue, though they
/// were never taught to end their turn.
fn plain(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        text.push_str(role_name(message.role));
        text.push_str(": ");
        text.push_str(&message.content);
        text.push('\n');
    }
    text.push_str(role_name(Role::Assistant));
    text.push(':');
    text
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_template_roles_stand_before_the_messages() {
        let message = |role, content: &str| Message { role, content: content.to_owned() };
        let messages = [message(Role::System, "Be brief."), message(Role::User, "Where is Paris?")];
        assert_eq!(plain(&messages), "system: Be brief.\nuser: Where is Paris?\nassistant:");
    }
}
