//! From messages to a prompt, for the app, every command and the benchmarks.
//!
//! [`ChatFormat`] is the chat template of a model file, or the reason why it cannot be used. It
//! renders messages and records which bytes of the text come from which message and which from the
//! template. So positions of messages are never searched for, and control tokens are never matched
//! in message text. What a template cannot express is rewritten (`fold.rs`), and [`Prompt::notes`]
//! says how. The tokens of a prompt depend on its rendering alone.

mod fold;
mod note;
mod probe;
mod rendered;
pub(crate) mod text_limit;

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use lilims_gguf::File;
use serde_json::Value;

pub use self::note::Note;
pub use self::probe::TemplateCapabilities;
#[cfg(test)]
pub(crate) use self::rendered::MessageSpan;
pub(crate) use self::rendered::Rendered;
use self::rendered::{plain, role_name};
use self::text_limit::TextLimit;
use crate::reasoning::ReasoningTags;
use crate::{ChatTemplate, Error, Message, Model, Tokenizer};

/// The chat format of a model file.
pub struct ChatFormat {
    template: Option<ChatTemplate>,
    /// Why the template cannot be used.
    defect: Option<String>,
    /// The source of the template.
    source: Option<String>,
    capabilities: OnceLock<TemplateCapabilities>,
    reasoning_tags: OnceLock<Option<&'static ReasoningTags>>,
}

impl ChatFormat {
    /// The chat format of `file`. If its template does not compile, rendering a prompt fails.
    pub fn from_gguf(file: &File, tokenizer: &Tokenizer) -> Self {
        let source = file.metadata().get("tokenizer.chat_template");
        match source.map(|source| source.as_str()) {
            None => Self::of(None, None, None),
            Some(None) => Self::of(None, Some("not valid UTF-8".to_owned()), None),
            Some(Some(source)) => Self::compile(source, tokenizer),
        }
    }

    /// The chat format of a template source, in place of the file's own.
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
        let (capabilities, reasoning_tags) = (OnceLock::new(), OnceLock::new());
        Self { template, defect, source, capabilities, reasoning_tags }
    }

    /// The chat template, if there is one.
    ///
    /// # Errors
    /// [`Error::Template`] if it does not compile.
    pub fn template(&self) -> Result<Option<&ChatTemplate>, Error> {
        match &self.defect {
            Some(what) => Err(Error::Template { what: what.clone() }),
            None => Ok(self.template.as_ref()),
        }
    }

    /// The capabilities of the template, found by rendering probe messages once. Without a template
    /// the plain format supports everything.
    ///
    /// # Errors
    /// [`Error::Template`] if the template does not compile, [`Error::Cancelled`].
    pub fn capabilities(&self, cancel: &AtomicBool) -> Result<TemplateCapabilities, Error> {
        if let Some(&capabilities) = self.capabilities.get() {
            return Ok(capabilities);
        }
        let capabilities = match self.template()? {
            Some(template) => probe::probe(template, cancel)?,
            None => TemplateCapabilities::all(),
        };
        Ok(*self.capabilities.get_or_init(|| capabilities))
    }

    /// The tags around reasoning in the answers of the model, if it has any.
    pub fn reasoning_tags(&self, tokenizer: &Tokenizer) -> Option<&'static ReasoningTags> {
        *self.reasoning_tags.get_or_init(|| ReasoningTags::of(self.source.as_deref(), tokenizer))
    }

    /// Renders `messages` (objects with `role`, `content` and further fields of the template), with
    /// the start of an answer if `add_generation_prompt`.
    ///
    /// # Errors
    /// [`Error::Template`] if the template does not compile or cannot express the messages even
    /// when rewritten; [`Error::Cancelled`].
    pub(crate) fn render(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
        cancel: &AtomicBool,
    ) -> Result<Rendered, Error> {
        match self.template()? {
            Some(template) => {
                let capabilities = self.capabilities(cancel)?;
                fold::render(template, capabilities, messages, add_generation_prompt, cancel)
            }
            None => Ok(plain(messages, add_generation_prompt)),
        }
    }
}

/// A message as the value that a chat template gets.
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

/// A prompt: rendered messages and their tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The rendered text.
    pub text: String,
    /// Its tokens, including BOS if the vocabulary requires it.
    pub ids: Vec<u32>,
    /// How the prompt differs from the messages.
    pub notes: Vec<Note>,
    /// The end of each rendered message, in order; messages that the template omits have none.
    pub message_ends: Vec<MessageEnd>,
    /// The number of tokens before the first question: instructions and the beginning of the
    /// template.
    pub n_before_question: usize,
}

/// The end of a message in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEnd {
    /// Index of the message.
    pub message: usize,
    /// Number of tokens before its content.
    pub first_id: usize,
    /// Byte offset of its end.
    pub text: usize,
    /// Number of tokens up to its end.
    pub ids: usize,
}

impl Prompt {
    /// Builds the prompt that a new conversation with `model` has for `messages`. If texts are longer than
    /// its context, their middle is left out, and a note says so.
    ///
    /// # Errors
    /// As for [`Prompt::new`].
    pub fn of_messages(
        model: &Model,
        messages: &[Message],
        cancel: &AtomicBool,
    ) -> Result<Self, Error> {
        let limit = TextLimit::for_messages(model.tokenizer(), model.context(), messages);
        let (messages, n_omitted) = limit.messages(messages);
        let values: Vec<_> = messages.iter().map(value).collect();
        let mut prompt = Self::new(model.chat_format(), model.tokenizer(), &values, true, cancel)?;
        if n_omitted > 0 {
            prompt.notes.push(Note::TextLeftOut { bytes: n_omitted });
        }
        Ok(prompt)
    }

    /// Builds the prompt for `messages`, each an object with at least `role` and `content`; other
    /// fields, such as `reasoning_content` and `tool_calls`, are passed to the template unchanged.
    ///
    /// # Errors
    /// [`Error::Template`] if the template does not compile or cannot express the messages,
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
        let message_ends = rendered.spans.iter().map(|span| {
            let text = span.range.end;
            let first_id = tokens_before(span.range.start);
            MessageEnd { message: span.message, first_id, text, ids: tokens_before(text) }
        });
        let (message_ends, n_before_question) =
            (message_ends.collect(), tokens_before(rendered.question_start));
        let ids = bos.into_iter().chain(encoded.ids).collect();
        Ok(Self {
            text: rendered.text,
            ids,
            notes: rendered.notes,
            message_ends,
            n_before_question,
        })
    }
}
