//! What the conversion does with each field of a checkpoint's JSON files.
//!
//! A field is kept, has no effect on what a model computes, or has values that Lilims can compute,
//! others being rejected. A field that no table lists is rejected by name, because its effect is
//! unknown. The tables are in `field_tables.rs`.

use serde_json::Value as Json;

use crate::Error;
use crate::notes::Notes;
use crate::quote::{quoted, quoted_json};

/// A known field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// The value that transformers uses when the file does not give one, as JSON; empty where the
    /// file must give one.
    pub(crate) default: &'static str,
    pub(crate) rule: Rule,
}

/// How a field is handled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// The result keeps it, as a key or in its tensors.
    Kept,
    /// It has no effect on what Lilims computes. A value other than the default is noted.
    NoEffect,
    /// It has no effect, and no value of it is worth a note.
    Ignored,
    /// Lilims computes these values, written as JSON; others are rejected.
    OneOf(&'static [&'static str]),
}

pub(crate) const fn kept(name: &'static str, default: &'static str) -> Field {
    Field { name, default, rule: Rule::Kept }
}

/// A field that the file must have.
pub(crate) const fn required(name: &'static str) -> Field {
    Field { name, default: "", rule: Rule::Kept }
}

pub(crate) const fn no_effect(name: &'static str, default: &'static str) -> Field {
    Field { name, default, rule: Rule::NoEffect }
}

pub(crate) const fn ignored(name: &'static str) -> Field {
    Field { name, default: "null", rule: Rule::Ignored }
}

/// A field with these accepted values; the first is the default.
pub(crate) const fn one_of(name: &'static str, values: &'static [&'static str]) -> Field {
    Field { name, default: values[0], rule: Rule::OneOf(values) }
}

/// The known fields of one file. Where two tables list the same name, the first counts.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    tables: Vec<&'static [Field]>,
}

impl Fields {
    pub(crate) fn new(tables: Vec<&'static [Field]>) -> Self {
        Self { tables }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Field> {
        let mut all = self.tables.iter().flat_map(|table| table.iter());
        all.find(|field| field.name == name).copied()
    }

    /// The value that transformers uses when the file does not give one; `None` for null.
    pub(crate) fn default(&self, name: &str) -> Option<Json> {
        let default = serde_json::from_str(self.get(name)?.default).ok();
        default.filter(|value: &Json| !value.is_null())
    }

    /// Checks each field of `json`, which is (a part of) the file `file`, and notes fields that are
    /// left out.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], naming the field.
    pub(crate) fn check(&self, json: &Json, file: &str, notes: &mut Notes) -> Result<(), Error> {
        let Some(object) = json.as_object() else { return Ok(()) };
        for (name, value) in object {
            let Some(field) = self.get(name) else {
                if value.is_null() {
                    continue;
                }
                let what = format!(
                    "unknown field `{}` in {file} ({}): remove it if it does not change what the \
                     model computes",
                    quoted(name),
                    quoted_json(value)
                );
                return Err(Error::Unsupported { what });
            };
            let is = |known: &str| is_value(value, known);
            match field.rule {
                Rule::Kept | Rule::Ignored => {}
                Rule::NoEffect if value.is_null() || is(field.default) => {}
                Rule::NoEffect => notes.add_ignored_field(file, name, value),
                // To transformers' configuration classes, null means the default, as absence does.
                Rule::OneOf(_) if value.is_null() => {}
                Rule::OneOf(values) if values.iter().any(|known| is(known)) => {}
                Rule::OneOf(values) => {
                    let known = values.iter().filter(|value| **value != "null");
                    let known = known.copied().collect::<Vec<_>>().join(", ");
                    let value = quoted_json(value);
                    let what = format!("`{name}` {value} in {file} (accepted: {known})");
                    return Err(Error::Unsupported { what });
                }
            }
        }
        Ok(())
    }
}

/// Whether a value equals `known`, which is JSON; 1 and 1.0 are equal.
fn is_value(value: &Json, known: &str) -> bool {
    let Ok(known) = serde_json::from_str::<Json>(known) else { return false };
    match (value.as_f64(), known.as_f64()) {
        (Some(value), Some(known)) => value == known,
        _ => *value == known,
    }
}
