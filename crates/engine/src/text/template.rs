//! Chat templates: messages to the prompt that a model was trained on.
//!
//! Templates are Jinja as transformers runs it (trimmed blocks, Python's string methods, its own
//! few functions). They come with the model, so that their work is bounded: instructions,
//! recursion and output are limited, and there is nothing outside for them to reach.

mod python;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{Local, NaiveDateTime};
use lilims_gguf::File;
use minijinja::{AutoEscape, Environment, ErrorKind, context};

use super::Tokenizer;
use crate::Error;

/// Instructions that any template may run, and those that it may run more for each message.
/// Published templates take a few hundred and some fifty.
const BASE_FUEL: u64 = 500_000;
const FUEL_PER_MESSAGE: u64 = 5_000;
/// Bytes of output beyond [`MAX_GROWTH`] times the messages.
const BASE_OUTPUT: usize = 1 << 20;
/// How many times longer than its messages a prompt may be.
const MAX_GROWTH: usize = 8;
/// Nested macro calls.
const MAX_RECURSION: usize = 64;

/// What a chat template made of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The prompt.
    pub text: String,
    /// The bytes of `text` that come from the contents of messages, in order, not overlapping.
    pub contents: Vec<ContentSpan>,
}

/// Bytes of a [`Rendering`] that come from one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSpan {
    /// Where they stand in the rendering.
    pub range: Range<usize>,
    /// The message's index.
    pub message: usize,
}

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The chat template of a file, if it has one.
    ///
    /// *Errors*: [`Error::Template`].
    pub fn from_gguf(file: &File, tokenizer: &Tokenizer) -> Result<Option<Self>, Error> {
        let source = file.metadata().get("tokenizer.chat_template");
        let Some(source) = source.and_then(|source| source.as_str()) else { return Ok(None) };
        let text = |id: Option<u32>| id.map_or("", |id| tokenizer.token_text(id));
        Self::new(source, text(tokenizer.bos()), text(tokenizer.eos())).map(Some)
    }

    /// Compiles a Jinja `source` as transformers does: sandboxed, blocks trimmed, with
    /// `raise_exception`, `strftime_now` and Python's string methods. `bos` and `eos` are the
    /// texts of those tokens.
    ///
    /// *Errors*: [`Error::Template`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        Self::with_clock(source, bos, eos, || Local::now().naive_local())
    }

    /// `new` with a clock for `strftime_now`, which otherwise tells the local time.
    ///
    /// *Errors*: [`Error::Template`].
    pub fn with_clock(
        source: &str,
        bos: &str,
        eos: &str,
        now: impl Fn() -> NaiveDateTime + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_debug(false);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        python::install(&mut environment, now);
        let source = plain_generation_blocks(source);
        environment.template_from_str(&source).map_err(error)?;
        Ok(Self { environment, source, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Renders `messages` (each an object with at least `role` and `content`).
    ///
    /// *Errors*: [`Error::Template`], also where the template itself refuses the messages; then
    /// the error carries the template's sentence.
    pub fn render(
        &self,
        messages: &serde_json::Value,
        add_generation_prompt: bool,
    ) -> Result<String, Error> {
        let cancel = AtomicBool::new(false);
        Ok(self.render_marked(messages, add_generation_prompt, &cancel)?.text)
    }

    /// Renders `messages` and says which bytes come from them: every text inside a message except
    /// its `role`, however the template cut, joined or changed it. Setting `cancel` ends the
    /// rendering.
    ///
    /// *Errors*: as [`Self::render`], and [`Error::Cancelled`].
    pub fn render_marked(
        &self,
        messages: &serde_json::Value,
        add_generation_prompt: bool,
        cancel: &AtomicBool,
    ) -> Result<Rendering, Error> {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let n_messages = messages.as_array().map_or(0, Vec::len) as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(BASE_FUEL + FUEL_PER_MESSAGE * n_messages));
        let context = context! {
            messages,
            add_generation_prompt,
            bos_token => &self.bos,
            eos_token => &self.eos,
            tools => (),
            documents => (),
        };
        let limit = BASE_OUTPUT.saturating_add(messages.to_string().len() * MAX_GROWTH);
        let mut output = Limited { bytes: Vec::new(), limit };
        let template = environment.template_from_str(&self.source).map_err(error)?;
        template.render_captured_to(context, &mut output).map(drop).map_err(error)?;
        let text = String::from_utf8(output.bytes)
            .map_err(|_| Error::Template { what: "it wrote half a character".to_owned() })?;
        Ok(Rendering { text, contents: Vec::new() })
    }
}

/// The error that users see: the template's own sentence where it has one.
fn error(error: minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(python::Refusal(sentence)) = current.downcast_ref() {
            return Error::Template { what: sentence.clone() };
        }
        cause = current.source();
    }
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "it runs too long".to_owned(),
        ErrorKind::WriteFailure => "its prompt is too long".to_owned(),
        _ => error.to_string(),
    };
    Error::Template { what }
}

/// Turns `{% generation %}` blocks, which only mark what is trained on, into `{% if true %}`.
fn plain_generation_blocks(source: &str) -> String {
    let mut parts = source.split("{%");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("{%");
        let (tag, rest) = part.split_once("%}").unwrap_or((part, ""));
        let word = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replacement = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => {
                plain.push_str(part);
                continue;
            }
        };
        plain.push_str(&tag.replace(word, replacement));
        plain.push_str("%}");
        plain.push_str(rest);
    }
    plain
}

/// A buffer that refuses to grow beyond its limit.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::Error::other("the prompt is too long"));
        }
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn render(source: &str, messages: Value) -> Result<String, Error> {
        let now = || NaiveDateTime::parse_from_str("2026-11-23T12:34:56", "%FT%T").unwrap();
        ChatTemplate::with_clock(source, "<s>", "</s>", now)?.render(&messages, true)
    }

    #[track_caller]
    fn assert_renders(source: &str, expected: &str) {
        assert_eq!(render(source, json!([])).unwrap(), expected, "{source}");
    }

    #[test]
    fn blocks_are_trimmed_as_in_transformers() {
        assert_renders("{% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb");
        assert_renders("{{ bos_token }}\n\n", "<s>\n");
        assert_renders("{% generation %}\na{%- endgeneration -%} b", "ab");
    }

    #[test]
    fn python_is_what_templates_expect() {
        assert_renders("{{ ' a '.strip() }}|{{ 'a,b'.split(',')[-1] }}", "a|b");
        assert_renders("{{ 'abc'[1:] }}{{ 'A'.lower() }}{{ [1, 2][::-1][0] }}", "bca2");
        assert_renders("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1");
        assert_renders("{{ true }} {{ none }} {{ false }}{{ undefined }}", "True None False");
        assert_renders(
            "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "01",
        );
        assert_renders("{{ tools is none }} {{ x is defined }}", "True False");
    }

    #[test]
    fn json_is_pythons() {
        assert_renders(
            r#"{{ {"ä<": [1, 1.5, none, true, "\"\n"], "b": {}} | tojson }}"#,
            r#"{"ä<": [1, 1.5, null, true, "\"\n"], "b": {}}"#,
        );
        assert_renders(
            r#"{{ {"a": [1, {"b": 2}], "c": [], "d": {}} | tojson(indent=2) }}"#,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": [],\n  \"d\": {}\n}",
        );
        assert_renders(r#"{{ "é🦙" | tojson(ensure_ascii=true) }}"#, r#""\u00e9\ud83e\udd99""#);
        assert_renders(r#"{{ {"b": 1, "a": 2} | tojson(sort_keys=true) }}"#, r#"{"a": 2, "b": 1}"#);
    }

    #[test]
    fn the_clock_is_the_given_one() {
        assert_renders("{{ strftime_now('%d %b %Y, %H:%M') }}", "23 Nov 2026, 12:34");
        assert!(render("{{ strftime_now('%!') }}", json!([])).is_err());
    }

    #[test]
    fn a_refusal_carries_the_templates_sentence() {
        let source = "{% macro m() %}{{ raise_exception('No such role') }}{% endmacro %}{{ m() }}";
        let error = render(source, json!([])).unwrap_err();
        assert_eq!(error.to_string(), "chat template: No such role");
    }

    #[test]
    fn hostile_templates_end_with_an_error() {
        let nested = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
        for source in [
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
            "{{ 'a' * 90000000 }}",
            "{{ 'a' * 9000000000 }}",
            "{{ range(999999999999) }}",
            "{% for i in range(9999) %}{{ 'aaaaaaaaaaaaaaaaaaaa' * 999 }}{% endfor %}",
            "{% if %}",
            "{% generation",
            "{{ x.y.z }}",
            &format!("{{{{ {nested} }}}}"),
        ] {
            let result = render(source, json!([]));
            assert!(matches!(result, Err(Error::Template { .. })), "{result:?}");
        }
    }
}
