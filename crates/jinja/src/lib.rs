//! Renders chat templates: jinja2's language, configured as in transformers, for untrusted
//! templates.
//!
//! Templates come with downloaded models. Therefore all resources are limited (source, nesting,
//! steps, time, memory, stack), and a flag cancels a rendering. Strings track through every
//! operation which of their bytes come from messages, so that only the text around them, and never
//! message content, can become control tokens. Tokenising is not done here.
//!
//! *Source*: jinja2 3.1's `ImmutableSandboxedEnvironment` with `trim_blocks`, `lstrip_blocks` and
//! `loopcontrols`; `raise_exception`, `strftime_now`, `tojson` and `{% generation %}` of
//! transformers' `chat_template_utils`; Python 3.11 for types and methods. Deviations: integers
//! have 128 bits; `include`, `import` and `extends` always fail.

mod args;
mod ast;
mod attribute;
mod context;
mod error;
mod escape;
mod eval;
mod filters;
mod format;
mod input;
mod iterate;
mod json;
mod lexer;
mod limits;
mod methods;
mod number;
mod ops;
mod parser;
mod predicates;
mod repr;
mod slice;
mod text;
mod time;
mod unicode;
mod value;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use chrono::NaiveDateTime;

pub use error::{Error, Limit};
pub use limits::MAX_SOURCE_BYTES;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    parsed: parser::Parsed,
}

/// The inputs of a rendering.
pub struct Input<'a> {
    /// The variable `messages`: a list of objects.
    pub messages: &'a serde_json::Value,
    /// All other variables.
    pub variables: &'a [(&'a str, serde_json::Value)],
    /// The current local time, for `strftime_now`.
    pub now: &'a dyn Fn() -> NaiveDateTime,
    /// Cancels the rendering when set.
    pub cancel: &'a AtomicBool,
}

/// The result of rendering a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The rendered prompt.
    pub text: String,
    /// The byte ranges of `text` that come from message contents, with each message's index; sorted
    /// and not overlapping.
    pub contents: Vec<(Range<usize>, usize)>,
}

impl Template {
    /// Parses `source`.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`]; [`Error::LimitExceeded`] if it is too long or nested too deeply.
    pub fn parse(source: &str) -> Result<Self, Error> {
        Ok(Self { parsed: parser::parse(source)? })
    }

    /// Renders the template.
    ///
    /// # Errors
    ///
    /// [`Error::Raised`] with the template's own message if it rejects the messages,
    /// [`Error::Runtime`] where jinja2 would fail, [`Error::LimitExceeded`], [`Error::Cancelled`].
    pub fn render(&self, input: &Input<'_>) -> Result<Rendering, Error> {
        let budget = limits::Budget::new(input::size_bytes(input.messages), input.cancel);
        let parsed = &self.parsed;
        let interpreter =
            eval::Interpreter::new(&budget, &parsed.names, &parsed.strings, input.now);
        interpreter.define("messages", input::messages(&budget, input.messages)?);
        for (name, value) in input.variables {
            interpreter.define(name, input::value(&budget, value, None)?);
        }
        let (text, spans) = interpreter.run(&parsed.body)?.into_parts();
        let contents = spans
            .into_iter()
            .map(|span| (span.start as usize..span.end as usize, span.mark as usize))
            .collect();
        Ok(Rendering { text, contents })
    }
}
