//! Chat templates: jinja2's language, as transformers sets it up, for templates that no person has
//! checked.
//!
//! The templates come with models of strangers. So everything that they take is bounded (source,
//! nesting, steps, time, memory, stack), and a flag ends a rendering. And strings know which of
//! their bytes come from messages, through every operation; so the text around them, and no text
//! of people, can become control tokens.
//!
//! *Source*: jinja2 3.1's `ImmutableSandboxedEnvironment` with `trim_blocks`, `lstrip_blocks` and
//! `loopcontrols`; `raise_exception`, `strftime_now`, `tojson` and `{% generation %}` of
//! transformers' `chat_template_utils`; Python 3.11 for types and methods. Whole numbers have 128
//! bits; `include`, `import` and `extends` find nothing to load.

mod args;
mod ast;
mod attribute;
mod dict;
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
mod scope;
mod text;
mod time;
mod unicode;
mod value;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use chrono::NaiveDateTime;

pub use error::Error;
pub use limits::{Bound, MAX_SOURCE};

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    parsed: parser::Parsed,
}

/// What a template is rendered with.
pub struct Input<'a> {
    /// The variable `messages`: a list of objects.
    pub messages: &'a serde_json::Value,
    /// All other variables.
    pub variables: &'a [(&'a str, serde_json::Value)],
    /// The clock that `strftime_now` tells.
    pub now: &'a dyn Fn() -> NaiveDateTime,
    /// Ends the rendering when it is set.
    pub cancel: &'a AtomicBool,
}

/// What a template made of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The prompt.
    pub text: String,
    /// The bytes of `text` that come from the contents of messages, with each message's index; in
    /// order, not overlapping.
    pub contents: Vec<(Range<usize>, usize)>,
}

impl Template {
    /// Parses `source`.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`]; [`Error::Limit`] where it is too long or nested too deeply.
    pub fn parse(source: &str) -> Result<Self, Error> {
        Ok(Self { parsed: parser::parse(source)? })
    }

    /// Renders the template.
    ///
    /// # Errors
    ///
    /// [`Error::Raised`] with the template's own sentence where it refuses the messages,
    /// [`Error::Runtime`] where jinja2 would fail, [`Error::Limit`], [`Error::Cancelled`].
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
