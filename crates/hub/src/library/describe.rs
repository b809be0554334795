//! Reads the description of a model from its file.

use std::collections::HashMap;
use std::path::Path;

use lilims_gguf::{File, Value};
use lilims_models::quantisation_of;

use crate::Error;

/// Texts from files are cut after this many characters.
const MAX_TEXT_CHARS: usize = 120;

/// The metadata of a model's file that the library stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) title: Option<String>,
    pub(crate) family: String,
    pub(crate) quantisation: String,
    pub(crate) context_tokens: Option<u32>,
    pub(crate) licence: Option<String>,
}

/// Reads the header of the file at `path`, whose final name is `name`.
pub(crate) fn describe(path: &Path, name: &str) -> Result<Description, Error> {
    let not_a_model = |source| Error::NotAModel { path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| match error {
        lilims_gguf::Error::Io { source, .. } => Error::io(path)(source),
        error => not_a_model(error),
    })?;
    if let Some(why) = lilims_models::unsuitable(name, Some(&file)) {
        return Err(Error::Unsuitable { path: path.to_owned(), why });
    }
    let metadata = file.metadata();
    let text = |key: &str| metadata.get(key).and_then(|value| short_text(&value));
    let family = text("general.architecture").unwrap_or_default();
    let context = metadata.get(&format!("{family}.context_length"));
    Ok(Description {
        title: text("general.name"),
        quantisation: quantisation_of(name).unwrap_or_else(|| most_frequent_type(&file)),
        context_tokens: context.and_then(|value| value.as_u64()?.try_into().ok()),
        licence: text("general.license"),
        family,
    })
}

fn short_text(value: &Value<'_>) -> Option<String> {
    let Value::String(bytes) = value else { return None };
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The tensor type with the most bytes.
fn most_frequent_type(file: &File) -> String {
    let mut bytes: HashMap<String, u64> = HashMap::new();
    for tensor in file.tensors() {
        *bytes.entry(tensor.tensor_type.to_string()).or_default() += tensor.size_bytes;
    }
    let most = bytes.into_iter().max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)));
    most.map_or_else(String::new, |(name, _)| name)
}
