//! Dictionaries that keep insertion order, like Python's.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::LazyLock;

use crate::Error;
use crate::limits::{Budget, Charge};
use crate::text::Text;

use super::equality::equals;
use super::{Value, depth_over};

/// Dictionaries with at most this many keys are searched linearly.
const MAX_UNINDEXED: usize = 8;

/// Randomly keyed, so that templates cannot provoke hash collisions.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// An immutable, shared dictionary.
pub(crate) struct Dict {
    entries: Vec<(Value, Value)>,
    /// The entries with each hash.
    index: HashMap<u64, Vec<u32>>,
    depth: u32,
    _charge: Charge,
}

impl Dict {
    pub(crate) fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn get_str(&self, name: &str) -> Option<&Value> {
        if self.index.is_empty() {
            return self
                .entries
                .iter()
                .find(|(key, _)| key.as_str() == Some(name))
                .map(|(_, value)| value);
        }
        let found = self.index.get(&hash_str(name))?;
        found
            .iter()
            .map(|idx| &self.entries[*idx as usize])
            .find(|(key, _)| key.as_str() == Some(name))
            .map(|(_, value)| value)
    }

    /// The value of `key`. Unhashable keys are an error, as in Python.
    pub(crate) fn get(&self, budget: &Budget<'_>, key: &Value) -> Result<Option<&Value>, Error> {
        if let Some(name) = key.as_str() {
            return Ok(self.get_str(name));
        }
        let found = find(budget, &self.entries, &self.index, key)?;
        Ok(found.map(|idx| &self.entries[idx].1))
    }
}

fn find(
    budget: &Budget<'_>,
    entries: &[(Value, Value)],
    index: &HashMap<u64, Vec<u32>>,
    key: &Value,
) -> Result<Option<usize>, Error> {
    let key_hash = hash(budget, key)?;
    if index.is_empty() {
        for (idx, (other, _)) in entries.iter().enumerate() {
            if equals(budget, other, key)? {
                return Ok(Some(idx));
            }
        }
        return Ok(None);
    }
    for idx in index.get(&key_hash).into_iter().flatten() {
        if equals(budget, &entries[*idx as usize].0, key)? {
            return Ok(Some(*idx as usize));
        }
    }
    Ok(None)
}

/// Builds a [`Dict`].
pub(crate) struct DictBuilder<'b> {
    budget: &'b Budget<'b>,
    entries: Vec<(Value, Value)>,
    index: HashMap<u64, Vec<u32>>,
    charge: Charge,
}

impl<'b> DictBuilder<'b> {
    pub(crate) fn new(budget: &'b Budget<'b>) -> Self {
        let charge = Charge::new(0);
        Self { budget, entries: Vec::new(), index: HashMap::new(), charge }
    }

    /// Starts with the entries of `dict`.
    pub(crate) fn from(budget: &'b Budget<'b>, dict: &Dict) -> Result<Self, Error> {
        let mut builder = Self::new(budget);
        budget.check_value(bytes(dict.len()))?;
        builder.entries = dict.entries.clone();
        builder.index = dict.index.clone();
        builder.charge.resize(bytes(dict.len()));
        budget.tick(dict.len())?;
        Ok(builder)
    }

    /// Sets the value of `key`. An existing key keeps its position and its original form.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> Result<(), Error> {
        self.budget.tick(1)?;
        if let Some(idx) = find(self.budget, &self.entries, &self.index, &key)? {
            self.entries[idx].1 = value;
            return Ok(());
        }
        let idx = self.entries.len();
        if idx >= MAX_UNINDEXED {
            if self.index.is_empty() {
                for (idx, (key, _)) in self.entries.iter().enumerate() {
                    let hash = hash(self.budget, key)?;
                    self.index.entry(hash).or_default().push(idx as u32);
                }
            }
            self.index.entry(hash(self.budget, &key)?).or_default().push(idx as u32);
        }
        if self.entries.len() == self.entries.capacity() {
            let grown = bytes(2 * idx.max(2));
            self.budget.check_value(grown)?;
            self.charge.resize(grown);
        }
        self.entries.push((key, value));
        Ok(())
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn finish(self) -> Result<Rc<Dict>, Error> {
        let depth = depth_over(self.entries.iter().flat_map(|(key, value)| [key, value]))?;
        let Self { entries, index, charge, .. } = self;
        Ok(Rc::new(Dict { entries, index, depth, _charge: charge }))
    }
}

/// The memory of `n` entries, index included.
fn bytes(n: usize) -> usize {
    64 + n.saturating_mul(2 * size_of::<Value>() + 96)
}

fn hash_str(text: &str) -> u64 {
    HASHER.hash_one(text)
}

/// Python's `hash`: equal values have equal hashes.
pub(crate) fn hash(budget: &Budget<'_>, value: &Value) -> Result<u64, Error> {
    Ok(match value {
        Value::Str(text) => {
            budget.tick(text.len() / 64)?;
            hash_str(text.as_str())
        }
        Value::None => 1,
        Value::Bool(truth) => HASHER.hash_one(i128::from(*truth)),
        Value::Int(number) => HASHER.hash_one(number),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e38 => {
            HASHER.hash_one(*number as i128)
        }
        Value::Float(number) => HASHER.hash_one(number.to_bits()),
        Value::Tuple(seq) => {
            let mut hashes = Vec::with_capacity(seq.items.len());
            for item in &seq.items {
                budget.tick(1)?;
                hashes.push(hash(budget, item)?);
            }
            HASHER.hash_one(hashes)
        }
        Value::List(_) | Value::Dict(_) => {
            let what = format!("unhashable type: '{}'", value.type_name());
            return Err(Error::type_error(what));
        }
        Value::Undefined(_) => 2,
        Value::Range(range) => HASHER.hash_one(range.len()),
        _ => 3,
    })
}

/// A dictionary key as a keyword name.
pub(crate) fn text_key(key: &Value) -> Result<&Text, Error> {
    match key {
        Value::Str(text) => Ok(text),
        _ => Err(Error::type_error("keywords must be strings")),
    }
}
