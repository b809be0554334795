//! JSON values of which a budget bounds the number and the size.
//!
//! `serde_json::Value` takes 72 bytes for each value here, and as many values as the file has. This type
//! takes at most 32, and what exceeds the [`Budget`] is read over without being kept.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::limits::{Limits, MAX_DEPTH};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    /// In the order of the file; of equal keys, the last one counts.
    Object(Vec<(String, Json)>),
}

static NULL: Json = Json::Null;

impl Json {
    /// The value of a key; null where there is none.
    pub(crate) fn get(&self, key: &str) -> &Json {
        self.entries().iter().rev().find(|(name, _)| name == key).map_or(&NULL, |(_, value)| value)
    }

    /// The first of the keys whose value is not null.
    pub(crate) fn first_of(&self, keys: &[&str]) -> &Json {
        keys.iter().map(|key| self.get(key)).find(|value| !value.is_null()).unwrap_or(&NULL)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        !self.get(key).is_null()
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// Whether it says nothing: null, or an empty text, list or object.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(entries) => entries.is_empty(),
            Self::Bool(_) | Self::Number(_) => false,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, or what a number or a truth value is as one.
    pub(crate) fn to_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// A truth value, also as a number or a word.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Number(number) => number.as_f64().is_some_and(|value| value != 0.0),
            Self::Text(text) => text == "true",
            _ => false,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => {
                number.as_u64().or_else(|| number.as_f64().map(|value| value as u64))
            }
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The elements of a list; none of another value.
    pub(crate) fn items(&self) -> &[Json] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of an object; none of another value.
    pub(crate) fn entries(&self) -> &[(String, Json)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key, without the rest.
    pub(crate) fn into_entry(self, key: &str) -> Json {
        match self {
            Self::Object(entries) => {
                let found = entries.into_iter().rev().find(|(name, _)| name == key);
                found.map_or(Self::Null, |(_, value)| value)
            }
            _ => Self::Null,
        }
    }

    /// The value for the caller's own JSON; `None` for null.
    pub(crate) fn to_value(&self) -> Option<Value> {
        (!self.is_null()).then(|| self.value())
    }

    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => items.iter().map(Self::value).collect(),
            Self::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.value())).collect()
            }
        }
    }
}

/// Its JSON text.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        let text = value.to_string();
        let budget = Budget::new(&Limits::default());
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        Seed::new(&budget).deserialize(&mut deserializer).unwrap()
    }
}

/// How much more of a conversation is kept in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
    is_exceeded: Cell<bool>,
    n_too_deep: Cell<u64>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            values: Cell::new(limits.max_values),
            text_bytes: Cell::new(limits.max_text_bytes),
            is_exceeded: Cell::new(false),
            n_too_deep: Cell::new(0),
        }
    }

    /// Whether something was not kept, because it was too much.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    /// Values that were replaced by null, because they were nested too deeply.
    pub(crate) fn n_too_deep(&self) -> u64 {
        self.n_too_deep.get()
    }

    /// The values and the bytes of texts that were taken from a budget of `limits`.
    pub(crate) fn used(&self, limits: &Limits) -> (usize, usize) {
        let (values, bytes) = (self.values.get(), self.text_bytes.get());
        (limits.max_values - values, limits.max_text_bytes - bytes)
    }

    /// Takes from the budget. Returns whether it lasts.
    fn take(&self, n_values: usize, text_bytes: usize) -> bool {
        let left = (
            self.values.get().checked_sub(n_values),
            self.text_bytes.get().checked_sub(text_bytes),
        );
        let (Some(values), Some(bytes)) = left else {
            self.is_exceeded.set(true);
            return false;
        };
        self.values.set(values);
        self.text_bytes.set(bytes);
        true
    }
}

/// Reads one value within a budget.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    budget: &'a Budget,
    depth: usize,
}

impl<'a> Seed<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { budget, depth: 0 }
    }

    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let is_too_deep = self.depth > MAX_DEPTH;
        if is_too_deep {
            self.budget.n_too_deep.set(self.budget.n_too_deep.get() + 1);
        }
        if is_too_deep || self.budget.is_exceeded() || !self.budget.take(1, 0) {
            // Reading over a value takes no memory and no recursion.
            IgnoredAny::deserialize(deserializer)?;
            return Ok(Json::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        match self.budget.take(0, text.len()) {
            true => Ok(Json::Text(text.to_owned())),
            false => Ok(Json::Null),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.deeper())? {
            // What was read over is not kept either: millions of nulls take memory.
            if !self.budget.is_exceeded() {
                items.push(item);
            }
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(Key(self.budget))? {
            let value = access.next_value_seed(self.deeper())?;
            if !self.budget.is_exceeded() {
                entries.push((key, value));
            }
        }
        Ok(Json::Object(entries))
    }
}

/// Reads the key of an object; an empty one once the budget is exceeded.
pub(crate) struct Key<'a>(pub(crate) &'a Budget);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<String, E> {
        let is_kept = self.0.take(0, key.len());
        Ok(if is_kept { key.to_owned() } else { String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, limits: Limits) -> (Json, Budget) {
        let budget = Budget::new(&limits);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let json = Seed::new(&budget).deserialize(&mut deserializer).unwrap();
        deserializer.end().unwrap();
        (json, budget)
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let (json, _) = read(r#"{"a": 1, "a": "x"}"#, Limits::default());
        assert_eq!(json.get("a").as_text(), Some("x"));
        assert!(json.get("b").is_null());
    }

    #[test]
    fn what_exceeds_the_budget_is_read_over() {
        let limits = Limits { max_values: 3, ..Limits::default() };
        let (json, budget) = read("[1, 2, [3, 4], 5]", limits);
        assert!(budget.is_exceeded());
        assert!(json.items().len() <= 3);
        let limits = Limits { max_text_bytes: 4, ..Limits::default() };
        let (_, budget) = read(r#"["abc", "def"]"#, limits);
        assert!(budget.is_exceeded());
    }

    #[test]
    fn what_is_too_deep_is_null_and_the_rest_is_read() {
        let text = format!("[{}{}, 7]", "[".repeat(500), "]".repeat(500));
        let (json, budget) = read(&text, Limits::default());
        assert_eq!(budget.n_too_deep(), 1);
        assert_eq!(json.items().get(1).and_then(Json::as_u64), Some(7));
    }

    #[test]
    fn a_value_takes_little_memory() {
        assert!(size_of::<Json>() <= 32, "{}", size_of::<Json>());
    }
}
