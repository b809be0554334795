//! Titles of conversations, which the model writes while it is idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lilims_engine::{Conversation, Finish, GenerateOptions, Message, Model, Role};

use crate::conversations::Conversations;
use crate::model_host::ChatBackend;

/// Only conversations of the last day get a title: an import may have thousands without one.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most titles that are written each time the model idles.
const MAX_TITLES: u32 = 4;
/// The most that is read of a question or an answer, in characters.
const MAX_READ_CHARS: usize = 1200;
/// The longest title in characters, and in tokens.
const MAX_TITLE_CHARS: usize = 60;
const MAX_TITLE_TOKENS: usize = 24;
/// Models with smaller files rarely follow the request.
const MIN_MODEL_BYTES: u64 = 250_000_000;

const REQUEST: &str = "Write a title for the conversation below, in its language, of two to six words. \
    Write only the title.";

/// Has the model write titles for the newest conversations that have none but the beginning of their
/// question, until `cancel` is set. `tried` has those that got none, which are not tried again.
pub(crate) fn write_titles(
    conversations: &Conversations,
    tried: &mut Vec<String>,
    backend: &mut dyn ChatBackend,
    cancel: &AtomicBool,
) {
    let untitled = match conversations.untitled(MAX_TITLES) {
        Ok(untitled) => untitled,
        Err(error) => return tracing::warn!(?error, "cannot read conversations without a title"),
    };
    for (id, question, answer) in untitled {
        if tried.contains(&id) || cancel.load(Ordering::Relaxed) {
            continue;
        }
        let title = backend.title(&question, &answer, cancel);
        if cancel.load(Ordering::Relaxed) {
            // It broke off: the next time may succeed.
            return;
        }
        tried.push(id.clone());
        if let Some(title) = title
            && let Err(error) = conversations.propose_title(&id, &title)
        {
            tracing::warn!(?error, "cannot store a title");
        }
    }
}

/// The title that `model` proposes; `None` if it has no good one.
pub(crate) fn propose(
    model: &Arc<Model>,
    question: &str,
    answer: &str,
    cancel: &AtomicBool,
) -> Option<String> {
    if model.size_bytes() < MIN_MODEL_BYTES {
        return None;
    }
    let beginning = |text: &str| text.chars().take(MAX_READ_CHARS).collect::<String>();
    let (question, answer) = (beginning(question), beginning(answer));
    let text = format!("{REQUEST}\n\nQuestion: {question}\n\nAnswer: {answer}\n\nTitle:");
    // Of its own, so that the conversation that was read last stays in its session.
    let mut conversation = Conversation::new(model).ok()?;
    let options = GenerateOptions {
        max_tokens: MAX_TITLE_TOKENS,
        stop: vec!["\n".to_owned()],
        ..GenerateOptions::default()
    };
    let message = Message::new(Role::User, &text);
    let answer = conversation.answer(&[message], &options, cancel, &mut |_| {}).ok()?;
    match answer.finish {
        Finish::EndOfTurn | Finish::StopText => cleaned(&answer.text),
        // A sentence that does not end is no title.
        _ => None,
    }
}

/// A title without what models put around it; `None` if it is none.
fn cleaned(text: &str) -> Option<String> {
    const AROUND: [char; 12] = ['"', '\'', '`', '*', '#', '.', ':', '“', '”', '«', '»', ' '];
    let trimmed = text.trim().trim_matches(AROUND);
    let title = trimmed.strip_prefix("Title").unwrap_or(trimmed).trim_matches(AROUND);
    let is_good = title.chars().any(char::is_alphabetic)
        && title.chars().count() <= MAX_TITLE_CHARS
        && !title.contains(['\n', '<', '>'])
        && !title.chars().any(char::is_control);
    is_good.then(|| title.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_lose_what_is_around_them() {
        for (text, expected) in [
            (" \"Rivers of Asia\" ", Some("Rivers of Asia")),
            ("**Title: Rivers of Asia**", Some("Rivers of Asia")),
            ("Flüsse Asiens.", Some("Flüsse Asiens")),
            ("亚洲的河流", Some("亚洲的河流")),
            ("", None),
            ("...", None),
            ("<think>", None),
            ("I would be happy to help you with that question about the many rivers of Asia", None),
        ] {
            assert_eq!(cleaned(text).as_deref(), expected, "{text:?}");
        }
    }
}
