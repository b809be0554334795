//! From messages to a prompt: the one way that the app, every command and benchmarks take.
//!
//! [`ChatFormat`] is what a model's file says of conversations: its chat template, or why that cannot
//! be used. It renders messages with marks, so that each byte is known to come from a message or from
//! the template. Places of messages are therefore never searched for, and no control token is matched
//! in text of people. What a template cannot express is written differently (`fold.rs`), and
//! [`Prompt::notes`] says how. The tokens of a prompt are a function of its rendering alone.

pub(crate) mod fit;
mod fold;
mod probe;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use lilims_gguf::File;
use serde_json::Value;

pub use self::probe::Abilities;
use crate::reasoning::ReasoningMarks;
use crate::text::Encoded;
use crate::{ChatTemplate, Error, Message, Role, Tokenizer};

/// How a prompt differs from what the messages ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The file has no chat template: each message stands on lines of its own after its role.
    NoTemplate,
    /// The template has no place for instructions: they stand before the next question.
    InstructionsInQuestion,
    /// The template leaves instructions out.
    InstructionsLeftOut,
    /// The template wants roles to alternate: messages of one role in a row are one message.
    RolesJoined,
    /// The template sends reasoning back to the model.
    ReasoningKept,
    /// The template leaves out some or all reasoning.
    ReasoningLeftOut,
    /// The template leaves out other messages.
    MessagesLeftOut {
        /// How many.
        count: usize,
    },
    /// The template does not begin the answer.
    NoGenerationPrompt,
    /// Texts are longer than the context can hold: their middle was not looked at.
    TextLeftOut {
        /// How much.
        bytes: usize,
    },
}

impl Note {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoTemplate => "no-template",
            Self::InstructionsInQuestion => "instructions-in-question",
            Self::InstructionsLeftOut => "instructions-left-out",
            Self::RolesJoined => "roles-joined",
            Self::ReasoningKept => "reasoning-kept",
            Self::ReasoningLeftOut => "reasoning-left-out",
            Self::MessagesLeftOut { .. } => "messages-left-out",
            Self::NoGenerationPrompt => "no-generation-prompt",
            Self::TextLeftOut { .. } => "text-left-out",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTemplate => "the model has no chat template: messages stand after their roles",
            Self::InstructionsInQuestion => {
                "the chat template takes no instructions: they are folded into the question that \
                 follows them"
            }
            Self::InstructionsLeftOut => "the chat template leaves instructions out",
            Self::RolesJoined => {
                "the chat template wants roles to alternate: messages of one role in a row are joined"
            }
            Self::ReasoningKept => "the chat template sends reasoning back to the model",
            Self::ReasoningLeftOut => "the chat template leaves reasoning out",
            Self::MessagesLeftOut { count: 1 } => "the chat template leaves 1 message out",
            Self::MessagesLeftOut { count } => {
                return write!(f, "the chat template leaves {count} messages out");
            }
            Self::NoGenerationPrompt => "the chat template does not begin the answer",
            Self::TextLeftOut { bytes } => {
                return write!(
                    f,
                    "a text is longer than the context can hold: {bytes} bytes of its middle were not \
                     looked at"
                );
            }
        })
    }
}

/// What a file says of conversations.
pub struct ChatFormat {
    template: Option<ChatTemplate>,
    /// Why the file's template cannot be used.
    defect: Option<String>,
    /// The template's text.
    source: Option<String>,
    abilities: OnceLock<Abilities>,
    reasoning_marks: OnceLock<Option<&'static ReasoningMarks>>,
}

impl ChatFormat {
    /// What `file` says. A template that does not compile is an error where a prompt is made.
    pub fn from_gguf(file: &File, tokenizer: &Tokenizer) -> Self {
        let source = file.metadata().get("tokenizer.chat_template");
        match source.map(|source| source.as_str()) {
            None => Self::of(None, None, None),
            Some(None) => Self::of(None, Some("it is not a text in UTF-8".to_owned()), None),
            Some(Some(source)) => Self::compile(source, tokenizer),
        }
    }

    /// What a template's text says, in place of the file's own.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn from_source(source: &str, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let format = Self::compile(source, tokenizer);
        format.template().map(drop)?;
        Ok(format)
    }

    fn compile(source: &str, tokenizer: &Tokenizer) -> Self {
        let text = |id: Option<u32>| id.map_or("", |id| tokenizer.token_text(id));
        let compiled = ChatTemplate::new(source, text(tokenizer.bos()), text(tokenizer.eos()));
        let (template, defect) = match compiled {
            Ok(template) => (Some(template), None),
            Err(Error::Template { what }) => (None, Some(what)),
            Err(error) => (None, Some(error.to_string())),
        };
        Self::of(template, defect, Some(source.to_owned()))
    }

    fn of(template: Option<ChatTemplate>, defect: Option<String>, source: Option<String>) -> Self {
        let (abilities, reasoning_marks) = (OnceLock::new(), OnceLock::new());
        Self { template, defect, source, abilities, reasoning_marks }
    }

    /// The chat template, if there is one.
    ///
    /// # Errors
    /// [`Error::Template`] when the file's does not compile.
    pub fn template(&self) -> Result<Option<&ChatTemplate>, Error> {
        match &self.defect {
            Some(what) => Err(Error::Template { what: what.clone() }),
            None => Ok(self.template.as_ref()),
        }
    }

    /// What the template can express, by trying it once. A file without a template can express
    /// everything in a plain form.
    ///
    /// # Errors
    /// [`Error::Template`] when the template does not compile, [`Error::Cancelled`].
    pub fn abilities(&self, cancel: &AtomicBool) -> Result<Abilities, Error> {
        if let Some(&abilities) = self.abilities.get() {
            return Ok(abilities);
        }
        let abilities = match self.template()? {
            Some(template) => probe::probe(template, cancel)?,
            None => Abilities::all(),
        };
        Ok(*self.abilities.get_or_init(|| abilities))
    }

    /// What stands around reasoning in the model's answers, if it reasons.
    pub fn reasoning_marks(&self, tokenizer: &Tokenizer) -> Option<&'static ReasoningMarks> {
        *self.reasoning_marks.get_or_init(|| ReasoningMarks::of(self.source.as_deref(), tokenizer))
    }

    /// Renders `messages` (objects with `role`, `content` and what else the template knows), with the
    /// beginning of an answer where `add_generation_prompt`.
    ///
    /// # Errors
    /// [`Error::Template`] when the template does not compile or cannot express the messages,
    /// however they are folded; [`Error::Cancelled`].
    pub(crate) fn render(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
        cancel: &AtomicBool,
    ) -> Result<Rendered, Error> {
        match self.template()? {
            Some(template) => {
                let abilities = self.abilities(cancel)?;
                fold::render(template, abilities, messages, add_generation_prompt, cancel)
            }
            None => Ok(plain(messages, add_generation_prompt)),
        }
    }
}

/// A message as a chat template gets it.
pub(crate) fn value(message: &Message) -> Value {
    let mut value = serde_json::json!({
        "role": role_name(message.role),
        "content": message.content,
    });
    if let Some(reasoning) = &message.reasoning {
        value["reasoning_content"] = Value::from(reasoning.as_str());
    }
    value
}

/// The name of a role in templates.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Messages as text, with the places of their contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// The parts that come from messages, in order, none empty.
    pub(crate) contents: Vec<Range<usize>>,
    /// Where each message that can be seen stands, in order of the messages.
    pub(crate) places: Vec<Place>,
    /// Where the first question begins.
    pub(crate) question: usize,
    pub(crate) notes: Vec<Note>,
}

/// Where a message stands in a rendering: from its first byte to behind its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) message: usize,
    pub(crate) range: Range<usize>,
}

impl Rendered {
    /// What follows the last message: the beginning of an answer.
    pub(crate) fn tail(&self) -> &str {
        &self.text[self.contents.last().map_or(0, |part| part.end)..]
    }

    /// The tokens from the byte `from` on; with BOS where the vocabulary asks for it and the template
    /// has not put it, if that is the beginning.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        from: usize,
        cancel: &AtomicBool,
    ) -> Result<(Encoded, Option<u32>), Error> {
        let encoded = tokenizer.encode_marked(&self.text, from, &self.contents, cancel)?;
        let first_content = self.contents.first().map_or(self.text.len(), |part| part.start);
        let n_before = tokenizer.tokens_before(&encoded, first_content);
        let bos = tokenizer.bos().filter(|bos| {
            from == 0 && tokenizer.adds_bos() && !encoded.ids[..n_before].contains(bos)
        });
        Ok((encoded, bos))
    }
}

/// A prompt: what a model reads of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The rendering.
    pub text: String,
    /// Its tokens, BOS included where the vocabulary asks for it.
    pub ids: Vec<u32>,
    /// How it differs from what the messages ask for.
    pub notes: Vec<Note>,
    /// Where each message ends, in order; messages that the template leaves out have no mark.
    pub marks: Vec<MessageMark>,
    /// Tokens before the first question: instructions and what the template puts in front.
    pub n_before_question: usize,
}

/// The end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMark {
    /// Its place in the list.
    pub message: usize,
    /// Bytes of text up to its end.
    pub text: usize,
    /// Tokens that end by then.
    pub ids: usize,
}

impl Prompt {
    /// The prompt for `messages`, each an object with at least `role` and `content`; other fields, such
    /// as `reasoning_content` and `tool_calls`, go to the template as they are.
    ///
    /// # Errors
    /// [`Error::Template`] when the template does not compile or cannot express the messages,
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn new(
        format: &ChatFormat,
        tokenizer: &Tokenizer,
        messages: &[Value],
        add_generation_prompt: bool,
        cancel: &AtomicBool,
    ) -> Result<Self, Error> {
        let rendered = format.render(messages, add_generation_prompt, cancel)?;
        let (encoded, bos) = rendered.encode(tokenizer, 0, cancel)?;
        let n_bos = usize::from(bos.is_some());
        let tokens_before = |at| n_bos + tokenizer.tokens_before(&encoded, at);
        let marks = rendered.places.iter().map(|place| {
            let text = place.range.end;
            MessageMark { message: place.message, text, ids: tokens_before(text) }
        });
        let (marks, n_before_question) = (marks.collect(), tokens_before(rendered.question));
        let ids = bos.into_iter().chain(encoded.ids).collect();
        Ok(Self { text: rendered.text, ids, notes: rendered.notes, marks, n_before_question })
    }
}

/// The form for models whose file has no chat template: each message on lines of its own after
/// its role, and the role of the answer last. Base models continue it as a dialogue, though they
/// were never taught to end their turn.
fn plain(messages: &[Value], add_generation_prompt: bool) -> Rendered {
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
            rendered.places.push(Place { message, range });
        }
    }
    if add_generation_prompt {
        rendered.text.push_str(role_name(Role::Assistant));
        rendered.text.push(':');
    }
    rendered.question = question.unwrap_or(0);
    rendered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_a_template_roles_stand_before_the_messages() {
        let messages = [
            json!({ "role": "system", "content": "Be brief. " }),
            json!({ "role": "user", "content": "Where is Paris?" }),
        ];
        let rendered = plain(&messages, true);
        assert_eq!(rendered.text, "system: Be brief.\nuser: Where is Paris?\nassistant:");
        assert_eq!(rendered.contents, [8..17, 24..39]);
        assert_eq!((rendered.question, rendered.tail()), (24, "\nassistant:"));
        assert_eq!(plain(&messages[1..], false).text, "user: Where is Paris?\n");
    }
}
