//! Rendered messages: their text, and the position of each message in it.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::note::Note;
use crate::reasoning::ReasoningTags;
use crate::text::Encoding;
use crate::{Error, Message, Role, Tokenizer};

/// Messages rendered to text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Byte ranges that come from messages, in order, none empty.
    pub(crate) contents: Vec<Range<usize>>,
    /// The span of each rendered message, in the order of the messages.
    pub(crate) spans: Vec<MessageSpan>,
    /// Byte offset of the first question.
    pub(crate) question_start: usize,
    pub(crate) notes: Vec<Note>,
}

/// The span of a message in a rendering, from its first byte to past its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageSpan {
    pub(crate) message: usize,
    pub(crate) range: Range<usize>,
}

impl Rendered {
    /// The text after the last message: the start of an answer.
    pub(crate) fn tail(&self) -> &str {
        &self.text[self.contents.last().map_or(0, |part| part.end)..]
    }

    /// Appends the beginning of the answer, message number `message`, which the model continues. Where the
    /// template has opened reasoning, that of the answer is closed first.
    pub(crate) fn begin_answer(
        &mut self,
        message: usize,
        answer: &Message,
        tags: Option<&ReasoningTags>,
    ) {
        if let Some(tags) = tags.filter(|tags| tags.is_open(self.tail())) {
            self.text.push_str(tags.close);
            self.text.push_str("\n\n");
        }
        let start = self.text.len();
        self.text.push_str(&answer.content);
        let range = start..self.text.len();
        if !range.is_empty() {
            self.contents.push(range.clone());
            self.spans.push(MessageSpan { message, range });
        }
    }

    /// The tokens from byte `from` on, and BOS if `from` is 0, the vocabulary requires it and the
    /// template has not written it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        from: usize,
        cancel: &AtomicBool,
    ) -> Result<(Encoding, Option<u32>), Error> {
        let encoded = tokenizer.encode_marked(&self.text, from, &self.contents, cancel)?;
        let first_content = self.contents.first().map_or(self.text.len(), |part| part.start);
        let n_before = tokenizer.tokens_before(&encoded, first_content);
        let bos = tokenizer.bos().filter(|bos| {
            from == 0 && tokenizer.adds_bos() && !encoded.ids[..n_before].contains(bos)
        });
        Ok((encoded, bos))
    }
}

/// The plain format for models without a chat template: each message on its own lines after its
/// role, then the role of the answer. Base models continue it as a dialogue, though they were not
/// trained to end their turn.
pub(super) fn plain(messages: &[Value], add_generation_prompt: bool) -> Rendered {
    let mut rendered = Rendered { notes: vec![Note::NoTemplate], ..Rendered::default() };
    let mut question = None;
    for (message, value) in messages.iter().enumerate() {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (role, content) = (text("role"), text("content").trim());
        rendered.text.push_str(role);
        rendered.text.push_str(": ");
        let start = rendered.text.len();
        rendered.text.push_str(content);
        let range = start..rendered.text.len();
        rendered.text.push('\n');
        if role == role_name(Role::User) {
            question.get_or_insert(start);
        }
        if !content.is_empty() {
            rendered.contents.push(range.clone());
            rendered.spans.push(MessageSpan { message, range });
        }
    }
    if add_generation_prompt {
        rendered.text.push_str(role_name(Role::Assistant));
        rendered.text.push(':');
    }
    rendered.question_start = question.unwrap_or(0);
    rendered
}

/// The name of a role in templates.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_format_writes_roles_before_messages() {
        let messages = [
            json!({ "role": "system", "content": "Be brief. " }),
            json!({ "role": "user", "content": "Where is Paris?" }),
        ];
        let rendered = plain(&messages, true);
        assert_eq!(rendered.text, "system: Be brief.\nuser: Where is Paris?\nassistant:");
        assert_eq!(rendered.contents, [8..17, 24..39]);
        assert_eq!((rendered.question_start, rendered.tail()), (24, "\nassistant:"));
        assert_eq!(plain(&messages[1..], false).text, "user: Where is Paris?\n");
    }
}
