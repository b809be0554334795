//! Reads a checkpoint's tokenizer files and the special tokens that they list: `tokenizer.json`,
//! `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`,
//! `generation_config.json`.
//!
//! `vocabulary.rs` builds GGUF's vocabulary from them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use crate::Error;
use crate::config_reader::token_ids;
use crate::field_tables::{ADDED_TOKEN, GENERATION, TOKENIZER, TOKENIZER_CONFIG, TOKENIZER_MODEL};
use crate::fields::{Field, Fields};
use crate::input_file::optional_json;
use crate::notes::Notes;
use crate::quote::{quoted, quoted_json};

/// Fields that name one special token each.
const SINGLE_TOKEN_FIELDS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];
/// Fields that list several special tokens.
const TOKEN_LIST_FIELDS: [&str; 3] =
    ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"];

/// The files' contents; null for optional files that the checkpoint does not have.
pub(crate) struct TokenizerFiles<'a> {
    pub(crate) folder: &'a Path,
    /// `tokenizer.json`.
    pub(crate) tokenizer: Option<Json>,
    /// `tokenizer_config.json`.
    pub(crate) config: Json,
    /// `special_tokens_map.json`.
    special_map: Json,
    /// `added_tokens.json`.
    added: Json,
    /// `generation_config.json`.
    pub(crate) generation: Json,
    /// What is left out.
    pub(crate) notes: Notes,
}

/// A token that is added to the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) text: String,
    pub(crate) is_special: bool,
    /// Whether white space after it is removed (`rstrip`).
    pub(crate) strips_right: bool,
    /// Whether it is matched before the text is normalised (`normalized` is false).
    pub(crate) is_raw: bool,
}

impl<'a> TokenizerFiles<'a> {
    /// Reads the files in `folder` and checks their fields.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Damaged`], [`Error::Unsupported`] for unknown fields and for values
    /// that would tokenize differently.
    pub(crate) fn read(folder: &'a Path) -> Result<Self, Error> {
        let optional = |name| Ok::<_, Error>(optional_json(folder, name)?.unwrap_or(Json::Null));
        let files = Self {
            folder,
            tokenizer: optional_json(folder, "tokenizer.json")?,
            config: optional("tokenizer_config.json")?,
            special_map: optional("special_tokens_map.json")?,
            added: optional("added_tokens.json")?,
            generation: optional("generation_config.json")?,
            notes: Notes::default(),
        };
        let mut notes = Notes::default();
        files.check(&mut notes)?;
        Ok(Self { notes, ..files })
    }

    fn check(&self, notes: &mut Notes) -> Result<(), Error> {
        let mut check = |table: &'static [Field], json: &Json, file: &str| {
            Fields::new(vec![table]).check(json, file, notes)
        };
        check(GENERATION, &self.generation, "generation_config.json")?;
        check(TOKENIZER_CONFIG, &self.config, "tokenizer_config.json")?;
        let Some(tokenizer) = &self.tokenizer else { return Ok(()) };
        check(TOKENIZER, tokenizer, "tokenizer.json")?;
        if let Some(model) = tokenizer.get("model") {
            let kind = model.get("type").and_then(Json::as_str);
            if let Some(kind) = kind.filter(|kind| *kind != "BPE") {
                let what = format!("a tokenizer of the type `{}` (supported: BPE)", quoted(kind));
                return Err(Error::Unsupported { what });
            }
            check(TOKENIZER_MODEL, model, "tokenizer.json")?;
        }
        for token in tokenizer.get("added_tokens").and_then(Json::as_array).into_iter().flatten() {
            check(ADDED_TOKEN, token, "tokenizer.json")?;
        }
        let listed = self.config.get("added_tokens_decoder").and_then(Json::as_object);
        for token in listed.into_iter().flatten().map(|(_, token)| token) {
            check(ADDED_TOKEN, token, "tokenizer_config.json")?;
        }
        Ok(())
    }

    fn damaged(&self, file: &str, what: String) -> Error {
        Error::damaged(&self.folder.join(file), what)
    }

    /// Lists special tokens as pairs of field and text. Where several files have the same field,
    /// the first counts.
    pub(crate) fn named_tokens(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for json in [&self.config, &self.special_map] {
            for name in SINGLE_TOKEN_FIELDS {
                let is_new = found.iter().all(|(known, _)| known != name);
                if let Some(text) = json.get(name).and_then(text_of).filter(|_| is_new) {
                    found.push((name.to_owned(), text.to_owned()));
                }
            }
            for list in TOKEN_LIST_FIELDS {
                let tokens: Vec<&Json> = match json.get(list) {
                    Some(Json::Array(tokens)) => tokens.iter().collect(),
                    Some(Json::Object(tokens)) => tokens.values().collect(),
                    _ => Vec::new(),
                };
                let texts = tokens.into_iter().filter_map(text_of);
                found.extend(texts.map(|text| (list.to_owned(), text.to_owned())));
            }
        }
        found
    }

    /// Returns the ids under a key of `generation_config.json`.
    pub(crate) fn generation_ids(&self, key: &str) -> Result<Vec<u32>, Error> {
        let ids = token_ids(key, self.generation.get(key));
        ids.map_err(|what| self.damaged("generation_config.json", what))
    }

    /// Returns the added tokens of all files by their ids.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] for invalid ids and where files contradict each other.
    pub(crate) fn added_tokens(&self) -> Result<BTreeMap<u32, AddedToken>, Error> {
        let special: BTreeSet<String> =
            self.named_tokens().into_iter().map(|(_, text)| text).collect();
        let mut found = BTreeMap::new();
        let mut put = |file: &str, id: Option<u32>, quoted_id: String, token: AddedToken| {
            let id = id.ok_or_else(|| {
                let text = quoted(&token.text);
                self.damaged(file, format!("gives the token `{text}` the id {quoted_id}"))
            })?;
            match found.insert(id, token.clone()) {
                Some(AddedToken { text, .. }) if text != token.text => {
                    let (text, other) = (quoted(&token.text), quoted(&text));
                    let what = format!("says that the token {id} is `{text}`, not `{other}`");
                    Err(self.damaged(file, what))
                }
                _ => Ok(()),
            }
        };
        for (text, id) in self.added.as_object().into_iter().flatten() {
            let is_special = special.contains(text);
            let token =
                AddedToken { text: text.clone(), is_special, strips_right: false, is_raw: false };
            put("added_tokens.json", number(id), quoted_json(id), token)?;
        }
        let decoder = self.config.get("added_tokens_decoder").and_then(Json::as_object);
        for (id, token) in decoder.into_iter().flatten() {
            let token = added_token(token, &special)
                .ok_or_else(|| self.damaged("tokenizer_config.json", no_text(id)))?;
            put("tokenizer_config.json", id.parse().ok(), quoted(id), token)?;
        }
        let listed = self.tokenizer.as_ref().and_then(|json| json.get("added_tokens"));
        for token in listed.and_then(Json::as_array).into_iter().flatten() {
            let id = token.get("id").unwrap_or(&Json::Null);
            let token = added_token(token, &special)
                .ok_or_else(|| self.damaged("tokenizer.json", no_text(&quoted_json(id))))?;
            put("tokenizer.json", number(id), quoted_json(id), token)?;
        }
        Ok(found)
    }

    /// Returns the added tokens, and tokens of the vocabulary that a field names as special:
    /// transformers adds these as well.
    pub(crate) fn all_added_tokens(&self) -> Result<BTreeMap<u32, AddedToken>, Error> {
        let mut found = self.added_tokens()?;
        let vocab = self.tokenizer.as_ref().and_then(|json| json.pointer("/model/vocab"));
        for (_, text) in self.named_tokens() {
            let id = vocab.and_then(|vocab| vocab.get(&text)).and_then(number);
            if let Some(id) = id {
                let token =
                    AddedToken { text, is_special: true, strips_right: false, is_raw: true };
                found.entry(id).or_insert(token);
            }
        }
        Ok(found)
    }
}

fn no_text(id: &str) -> String {
    format!("has the added token {} without a text", quoted(id))
}

fn number(id: &Json) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// Returns the text of a token, which is a string or an object with `content`.
fn text_of(token: &Json) -> Option<&str> {
    token.as_str().or_else(|| token.get("content").and_then(Json::as_str))
}

/// Reads an added token; `None` without a text.
fn added_token(token: &Json, special: &BTreeSet<String>) -> Option<AddedToken> {
    let text = token.get("content").and_then(Json::as_str)?;
    let flag = |key: &str| token.get(key).and_then(Json::as_bool).unwrap_or(false);
    Some(AddedToken {
        text: text.to_owned(),
        is_special: flag("special") || special.contains(text),
        strips_right: flag("rstrip"),
        is_raw: token.get("normalized").and_then(Json::as_bool) == Some(false),
    })
}
