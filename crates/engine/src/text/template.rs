//! Chat templates: render messages to the prompt format that a model was trained on.
//!
//! Templates are Jinja as transformers runs it, rendered by `lilims-jinja`, which bounds their
//! resources and records which bytes come from messages.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use chrono::{Local, NaiveDateTime};
use lilims_gguf::File;
use lilims_jinja::{Input, Template};
use serde_json::Value;

use super::Tokenizer;
use crate::Error;

/// A rendered chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The prompt.
    pub text: String,
    /// The bytes of `text` that come from message contents, in order, not overlapping.
    pub contents: Vec<ContentSpan>,
}

/// Bytes of a [`Rendering`] that come from one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSpan {
    /// Byte range in the rendering.
    pub range: Range<usize>,
    /// Index of the message.
    pub message: usize,
}

/// A parsed chat template.
pub struct ChatTemplate {
    template: Template,
    bos: String,
    eos: String,
    now: Box<dyn Fn() -> NaiveDateTime + Send + Sync>,
}

impl ChatTemplate {
    /// The chat template of a file, if it has one.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn from_gguf(file: &File, tokenizer: &Tokenizer) -> Result<Option<Self>, Error> {
        let source = file.metadata().get("tokenizer.chat_template");
        let Some(source) = source.and_then(|source| source.as_str()) else { return Ok(None) };
        let text = |id: Option<u32>| id.map_or("", |id| tokenizer.token_text(id));
        Self::new(source, text(tokenizer.bos()), text(tokenizer.eos())).map(Some)
    }

    /// Parses a Jinja `source` like transformers: sandboxed, blocks trimmed, with
    /// `raise_exception`, `strftime_now` and Python's methods. `bos` and `eos` are the texts of
    /// those tokens.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        Self::with_clock(source, bos, eos, || Local::now().naive_local())
    }

    /// Like [`Self::new`], with a clock for `strftime_now` instead of the local time.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn with_clock(
        source: &str,
        bos: &str,
        eos: &str,
        now: impl Fn() -> NaiveDateTime + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let template = Template::parse(source).map_err(error)?;
        Ok(Self { template, bos: bos.to_owned(), eos: eos.to_owned(), now: Box::new(now) })
    }

    /// Renders `messages` (each an object with at least `role` and `content`).
    ///
    /// # Errors
    /// [`Error::Template`], also if the template itself rejects the messages; then the error
    /// carries the message of the template.
    pub fn render(&self, messages: &Value, add_generation_prompt: bool) -> Result<String, Error> {
        let cancel = AtomicBool::new(false);
        Ok(self.render_marked(messages, add_generation_prompt, &cancel)?.text)
    }

    /// Renders `messages` and records which bytes come from them: every string inside a message
    /// except its `role`, however the template slices, joins or changes it. Setting `cancel` ends
    /// the rendering.
    ///
    /// # Errors
    /// As for [`Self::render`], and [`Error::Cancelled`].
    pub fn render_marked(
        &self,
        messages: &Value,
        add_generation_prompt: bool,
        cancel: &AtomicBool,
    ) -> Result<Rendering, Error> {
        let variables = [
            ("add_generation_prompt", Value::Bool(add_generation_prompt)),
            ("bos_token", Value::from(self.bos.as_str())),
            ("eos_token", Value::from(self.eos.as_str())),
            ("tools", Value::Null),
            ("documents", Value::Null),
        ];
        let input = Input { messages, variables: &variables, now: &*self.now, cancel };
        let rendering = self.template.render(&input).map_err(error)?;
        let contents = rendering.contents.into_iter();
        let contents = contents.map(|(range, message)| ContentSpan { range, message }).collect();
        Ok(Rendering { text: rendering.text, contents })
    }
}

/// Converts an error of the template engine; keeps the message of the template where it raised one.
fn error(error: lilims_jinja::Error) -> Error {
    match error {
        lilims_jinja::Error::Cancelled => Error::Cancelled,
        error => Error::Template { what: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn supports_python_methods() {
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
    fn json_matches_python() {
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
    fn uses_the_given_clock() {
        assert_renders("{{ strftime_now('%d %b %Y, %H:%M') }}", "23 Nov 2026, 12:34");
        assert_renders("{{ strftime_now('%!') }}", "%!");
    }

    #[test]
    fn raise_exception_keeps_its_message() {
        let source = "{% macro m() %}{{ raise_exception('No such role') }}{% endmacro %}{{ m() }}";
        let error = render(source, json!([])).unwrap_err();
        assert_eq!(error.to_string(), "chat template: No such role");
    }

    #[test]
    fn hostile_templates_fail() {
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

    #[test]
    fn t6_normalizes_line_ends() {
        assert_renders("a\r\nb\rc{{ 'd\r\ne' }}\r\n", "a\nb\ncd\ne");
        assert_renders("{% if true %}\r\n  a\r\n{% endif %}\r\nb", "  a\nb");
    }

    #[test]
    fn records_spans_of_message_contents() {
        let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim | upper }}!\n\
                      {% endfor %}";
        let template = ChatTemplate::new(source, "", "").unwrap();
        let messages = json!([
            {"role": "user", "content": " grüße "},
            {"role": "assistant", "content": "ja"},
        ]);
        let cancel = AtomicBool::new(false);
        let rendering = template.render_marked(&messages, false, &cancel).unwrap();
        assert_eq!(rendering.text, "<user>GRÜSSE!\n<assistant>JA!\n");
        let parts: Vec<_> = rendering
            .contents
            .iter()
            .map(|span| (&rendering.text[span.range.clone()], span.message))
            .collect();
        assert_eq!(parts, [("GRÜSSE", 0), ("JA", 1)]);
    }

    #[test]
    fn rendering_can_be_cancelled() {
        let template = ChatTemplate::new("{{ messages }}", "", "").unwrap();
        let result = template.render_marked(&json!([]), false, &AtomicBool::new(true));
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    }
}
