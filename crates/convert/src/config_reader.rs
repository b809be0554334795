//! Reads single fields of `config.json`, with transformers' defaults for absent ones.
//!
//! What the fields mean is decided in `config.rs` and `rotation.rs`.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::Error;
use crate::fields::Fields;
use crate::quote::quoted_json;

/// The largest size that is accepted.
pub(crate) const MAX_DIMENSION: u64 = 1 << 24;

/// The fields of `config.json`. Where the model has other parts than text, fields of `text_config`
/// take precedence.
pub(crate) struct ConfigReader<'a> {
    json: &'a Json,
    text: Option<&'a Json>,
    known: Fields,
    path: PathBuf,
}

impl<'a> ConfigReader<'a> {
    /// `path` is for errors; `known` has the defaults.
    pub(crate) fn new(json: &'a Json, known: Fields, path: PathBuf) -> Self {
        let text = json.get("text_config").filter(|text| text.is_object());
        Self { json, text, known, path }
    }

    /// The part that describes the text model, where it is not the whole file.
    pub(crate) fn text(&self) -> Option<&'a Json> {
        self.text
    }

    /// Returns the field's value, or transformers' default where the file does not have the field.
    pub(crate) fn get(&self, key: &str) -> Option<Json> {
        let parts = [self.text, Some(self.json)].into_iter().flatten();
        let values: Vec<&Json> = parts.filter_map(|part| part.get(key)).collect();
        let is_present = !values.is_empty();
        let found = values.into_iter().find(|value| !value.is_null()).cloned();
        if found.is_some() || is_present { found } else { self.known.default(key) }
    }

    /// Whether the file has the field, even if its value is null.
    pub(crate) fn has(&self, key: &str) -> bool {
        let parts = [self.text, Some(self.json)];
        parts.into_iter().flatten().any(|part| part.get(key).is_some())
    }

    pub(crate) fn damaged(&self, what: String) -> Error {
        Error::damaged(&self.path, what)
    }

    /// Returns the value of the first of `keys` that the file has, else the first default.
    fn first(&self, keys: &[&str]) -> Option<Json> {
        let present = keys.iter().filter(|key| self.has(key)).find_map(|key| self.get(key));
        present.or_else(|| keys.iter().find_map(|key| self.get(key)))
    }

    /// Reads a size under the first of `keys` that has one.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] for 0, for more than [`MAX_DIMENSION`] and for anything but an integer.
    pub(crate) fn size(&self, keys: &[&str]) -> Result<Option<usize>, Error> {
        let Some(value) = self.first(keys) else { return Ok(None) };
        let size = value.as_u64().filter(|size| (1..=MAX_DIMENSION).contains(size));
        let size =
            size.ok_or_else(|| self.damaged(format!("`{}` is {}", keys[0], quoted_json(&value))))?;
        Ok(Some(size as usize))
    }

    /// Reads a size that must be there.
    pub(crate) fn required_size(&self, keys: &[&str]) -> Result<usize, Error> {
        let missing = || self.damaged(format!("`{}` is missing", keys[0]));
        self.size(keys)?.ok_or_else(missing)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || self.damaged(format!("`{key}` is {}", quoted_json(&value)));
        value.as_f64().map(Some).ok_or_else(wrong)
    }

    /// Reads a flag; false where neither the file nor a default gives one.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Error> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.damaged(format!("`{key}` is {}", quoted_json(&value))))
    }

    pub(crate) fn list(&self, key: &str) -> Result<Option<Vec<Json>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Array(list)) => Ok(Some(list)),
            Some(value) => Err(self.damaged(format!("`{key}` is {}", quoted_json(&value)))),
        }
    }

    /// Reads token ids: one, or a list.
    pub(crate) fn ids(&self, key: &str) -> Result<Vec<u32>, Error> {
        token_ids(key, self.get(key).as_ref()).map_err(|what| self.damaged(what))
    }
}

/// Reads token ids from a field's value: one, or a list.
///
/// # Errors
///
/// A sentence that quotes a value that is not an id.
pub(crate) fn token_ids(key: &str, value: Option<&Json>) -> Result<Vec<u32>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let id = |id: &Json| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
    ids.ok_or_else(|| format!("`{key}` is {}", quoted_json(value)))
}
