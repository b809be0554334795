//! What the conversion does with each field of `config.json` and `generation_config.json`: the table that
//! `docs/convert.md` shows.
//!
//! A field is written, or does nothing to what a model computes, or has values that Lilims computes and
//! others that are refused. What is in none of the tables is refused by name, since it is unknown what it
//! would change. Names and defaults are those of transformers' configuration classes, versions 4 and 5
//! (<https://github.com/huggingface/transformers/tree/main/src/transformers/models>).

use serde_json::Value as Json;

use crate::Error;
use crate::field_tables::{COMMON, GENERATION, MODELS, ROTARY};

/// A field that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// What transformers takes where the file does not say, as JSON; empty where it must say.
    pub(crate) default: &'static str,
    pub(crate) rule: Rule,
}

/// What is done with a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// The result says it, by a key or by its tensors.
    Written,
    /// It does nothing to what Lilims computes. Another value than the default is said.
    Nothing,
    /// It does nothing, and has no default that would be worth a word.
    Unsaid,
    /// Values, as JSON, that Lilims computes; others are refused.
    Only(&'static [&'static str]),
}

pub(crate) const fn written(name: &'static str, default: &'static str) -> Field {
    Field { name, default, rule: Rule::Written }
}

/// A field that must be there.
pub(crate) const fn needed(name: &'static str) -> Field {
    Field { name, default: "", rule: Rule::Written }
}

pub(crate) const fn nothing(name: &'static str, default: &'static str) -> Field {
    Field { name, default, rule: Rule::Nothing }
}

pub(crate) const fn unsaid(name: &'static str) -> Field {
    Field { name, default: "null", rule: Rule::Unsaid }
}

/// The first value is the default.
pub(crate) const fn only(name: &'static str, values: &'static [&'static str]) -> Field {
    Field { name, default: values[0], rule: Rule::Only(values) }
}

/// Fields of one file; where two have one name, the first counts.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    tables: Vec<&'static [Field]>,
}

impl Fields {
    /// Those of `config.json` for a `model_type`.
    pub(crate) fn of_config(model_type: &str) -> Self {
        let own = MODELS.iter().find(|(name, _)| *name == model_type);
        let own = own.map_or(&[][..], |(_, table)| *table);
        let rotary: &[Field] = if model_type == "gpt2" { &[] } else { ROTARY };
        // Old files say there how to generate.
        Self { tables: vec![own, rotary, COMMON, GENERATION] }
    }

    /// Those of a file with one table.
    pub(crate) fn of(table: &'static [Field]) -> Self {
        Self { tables: vec![table] }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Field> {
        let mut all = self.tables.iter().flat_map(|table| table.iter());
        all.find(|field| field.name == name).copied()
    }

    /// What transformers takes where the file does not say; `None` for nothing.
    pub(crate) fn default(&self, name: &str) -> Option<Json> {
        let default = serde_json::from_str(self.get(name)?.default).ok();
        default.filter(|value: &Json| !value.is_null())
    }

    /// Looks at each field of `json`, which is part of the file `file`, and notes what is not kept.
    ///
    /// *Errors*: [`Error::Unsupported`], naming the field.
    pub(crate) fn check(&self, json: &Json, file: &str, notes: &mut Notes) -> Result<(), Error> {
        let Some(object) = json.as_object() else { return Ok(()) };
        for (name, value) in object {
            let Some(field) = self.get(name) else {
                if value.is_null() {
                    continue;
                }
                let what = format!(
                    "the field `{}` of {file}, which is not known ({}): remove it if it does not \
                     change what the model computes",
                    quoted(name),
                    shown(value)
                );
                return Err(Error::Unsupported { what });
            };
            let is = |known: &str| is_value(value, known);
            match field.rule {
                Rule::Written | Rule::Unsaid => {}
                Rule::Nothing if value.is_null() || is(field.default) => {}
                Rule::Nothing => notes.dropped(file, name, value),
                // Absent and null are the same for a class that fills in its default.
                Rule::Only(_) if value.is_null() => {}
                Rule::Only(values) if values.iter().any(|known| is(known)) => {}
                Rule::Only(values) => {
                    let known = values.iter().filter(|value| **value != "null");
                    let known = known.copied().collect::<Vec<_>>().join(", ");
                    let what = format!("`{name}` {} in {file} (computed: {known})", shown(value));
                    return Err(Error::Unsupported { what });
                }
            }
        }
        Ok(())
    }
}

/// Whether a value is the one that `known` writes in JSON; 1 and 1.0 are the same.
fn is_value(value: &Json, known: &str) -> bool {
    let Ok(known) = serde_json::from_str::<Json>(known) else { return false };
    match (value.as_f64(), known.as_f64()) {
        (Some(value), Some(known)) => value == known,
        _ => *value == known,
    }
}

/// What a conversion leaves out, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    dropped: Vec<String>,
    others: Vec<String>,
}

/// The most fields that one note lists.
const MAX_DROPPED: usize = 40;

impl Notes {
    /// A field that does nothing is not written.
    fn dropped(&mut self, file: &str, name: &str, value: &Json) {
        self.dropped.push(format!("`{}` {} ({file})", quoted(name), shown(value)));
    }

    /// Adds a sentence without its full stop.
    pub(crate) fn add(&mut self, note: String) {
        self.others.push(note);
    }

    /// One sentence each.
    pub(crate) fn into_sentences(self) -> Vec<String> {
        let mut sentences = self.others;
        let n_more = self.dropped.len().saturating_sub(MAX_DROPPED);
        if !self.dropped.is_empty() {
            let listed: Vec<_> = self.dropped.into_iter().take(MAX_DROPPED).collect();
            let more = if n_more == 0 { String::new() } else { format!(", and {n_more} more") };
            sentences.push(format!(
                "not kept, since it does nothing to what the model computes: {}{more}",
                listed.join(", ")
            ));
        }
        sentences
    }
}

/// The most characters of foreign text in a sentence.
const MAX_QUOTED: usize = 200;

/// A value in few characters.
pub(crate) fn shown(value: &Json) -> String {
    quoted(&value.to_string())
}

/// Foreign text, cut, and with what does not print escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    for c in characters.by_ref().take(MAX_QUOTED) {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// The tables of fields in Markdown, as `docs/convert.md` has them.
#[must_use]
pub fn field_tables() -> String {
    let mut out = String::from(
        "| fields of | written | does nothing | refused but for |\n| --- | --- | --- | --- |\n",
    );
    let mut row = |name: &str, table: &[Field]| {
        let of = |wanted: fn(&Rule) -> bool| {
            let names = table.iter().filter(|field| wanted(&field.rule));
            names.map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
        };
        let only = table.iter().filter_map(|field| match field.rule {
            Rule::Only(values) => Some(format!("`{}`: {}", field.name, values.join(", "))),
            _ => None,
        });
        let only = only.collect::<Vec<_>>().join("; ");
        let written = of(|rule| matches!(rule, Rule::Written));
        let nothing = of(|rule| matches!(rule, Rule::Nothing | Rule::Unsaid));
        out.push_str(&format!("| {name} | {written} | {nothing} | {only} |\n"));
    };
    row("`config.json`, every family", COMMON);
    row("all but GPT-2", ROTARY);
    for (model_type, table) in MODELS {
        if *model_type != "gemma3_text" && *model_type != "qwen2_5" {
            row(&format!("`{model_type}`"), table);
        }
    }
    row("`generation_config.json`, or old `config.json`", GENERATION);
    row("`tokenizer_config.json`", crate::field_tables::TOKENIZER_CONFIG);
    row("`tokenizer.json`", crate::field_tables::TOKENIZER);
    row("its `model`", crate::field_tables::TOKENIZER_MODEL);
    row("its `added_tokens`", crate::field_tables::ADDED_TOKEN);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_default_is_json_and_among_the_values() {
        let tables = MODELS.iter().map(|(_, table)| *table);
        for field in tables.chain([COMMON, ROTARY, GENERATION]).flatten() {
            if !field.default.is_empty() {
                serde_json::from_str::<Json>(field.default).expect(field.name);
            }
            if let Rule::Only(values) = field.rule {
                values.iter().for_each(|value| drop(serde_json::from_str::<Json>(value).unwrap()));
            }
        }
    }

    #[test]
    fn the_documentation_has_the_tables() {
        let page = include_str!("../../../docs/convert.md");
        assert!(page.contains(&field_tables()), "docs/convert.md should have:\n{}", field_tables());
    }

    #[test]
    fn c4_fields_are_known_or_refused_by_name() {
        let check = |json: Json| {
            let mut notes = Notes::default();
            Fields::of_config("llama").check(&json, "config.json", &mut notes)?;
            Ok::<_, Error>(notes.into_sentences())
        };
        assert!(check(json!({ "hidden_act": "silu", "vocab_size": 3 })).unwrap().is_empty());
        assert!(check(json!({ "something": null, "pretraining_tp": 1.0 })).unwrap().is_empty());
        let noted = check(json!({ "attention_dropout": 0.1, "use_cache": true })).unwrap();
        assert!(noted.len() == 1 && noted[0].contains("`attention_dropout` 0.1"), "{noted:?}");
        for (json, part) in [
            (json!({ "hidden_act": "gelu" }), "`hidden_act` \"gelu\""),
            (json!({ "residual_multiplier": 0.2 }), "`residual_multiplier`"),
            (json!({ "pretraining_tp": 2 }), "`pretraining_tp` 2"),
        ] {
            let error = check(json).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("config.json"), "{error}");
        }
        let long = "x".repeat(70_000);
        let error = check(json!({ &*long: long })).unwrap_err().to_string();
        assert!(error.len() < 1000, "{} bytes", error.len());
        let foreign = check(json!({ "\u{1b}[2J\u{202e}": 1 })).unwrap_err().to_string();
        assert!(!foreign.contains('\u{1b}') && !foreign.contains('\u{202e}'), "{foreign:?}");
    }
}
