//! The files of a checkpoint that say how text becomes tokens, and what they say of tokens that are
//! special: `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`,
//! `generation_config.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use crate::Error;
use crate::config::{optional_json, token_ids};
use crate::field_tables::{ADDED_TOKEN, GENERATION, TOKENIZER, TOKENIZER_CONFIG, TOKENIZER_MODEL};
use crate::fields::{Fields, Notes, quoted, shown};

/// Fields that name one special token each.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];
/// Fields that name several.
const LISTS: [&str; 3] =
    ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"];

/// The files' contents.
pub(crate) struct Files<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) tokenizer: Option<Json>,
    pub(crate) config: Json,
    special_map: Json,
    added: Json,
    pub(crate) generation: Json,
    /// What is left out.
    pub(crate) notes: Notes,
}

/// A token on top of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) text: String,
    pub(crate) is_special: bool,
    /// Whether white space after it is dropped.
    pub(crate) strips_right: bool,
    /// Whether it is looked for in the text as it is written, not as the normalizers leave it.
    pub(crate) is_raw: bool,
}

impl<'a> Files<'a> {
    /// *Errors*: what is damaged, and fields that are not known or would be computed differently.
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
        let mut check = |table, json: &Json, file: &str| Fields::of(table).check(json, file, notes);
        check(GENERATION, &self.generation, "generation_config.json")?;
        check(TOKENIZER_CONFIG, &self.config, "tokenizer_config.json")?;
        let Some(tokenizer) = &self.tokenizer else { return Ok(()) };
        check(TOKENIZER, tokenizer, "tokenizer.json")?;
        if let Some(model) = tokenizer.get("model") {
            let is_known = |kind: &str| kind == "BPE";
            let kind = model.get("type").and_then(Json::as_str);
            if let Some(kind) = kind.filter(|kind| !is_known(kind)) {
                let what = format!("a tokenizer of the kind `{}` (BPE is)", quoted(kind));
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

    /// Special tokens by the names of their fields; of several files the first that names one counts.
    pub(crate) fn named_tokens(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        for json in [&self.config, &self.special_map] {
            for name in NAMES {
                let is_new = found.iter().all(|(known, _)| known != name);
                if let Some(text) = json.get(name).and_then(text_of).filter(|_| is_new) {
                    found.push((name.to_owned(), text.to_owned()));
                }
            }
            for list in LISTS {
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

    /// The ids that `generation_config.json` gives for a key.
    pub(crate) fn generation_ids(&self, key: &str) -> Result<Vec<u32>, Error> {
        let ids = token_ids(key, self.generation.get(key));
        ids.map_err(|what| self.damaged("generation_config.json", what))
    }

    /// Tokens on top of the vocabulary, by their ids.
    ///
    /// *Errors*: [`Error::Damaged`] for what is no id, and where files contradict each other.
    pub(crate) fn added_tokens(&self) -> Result<BTreeMap<u32, Added>, Error> {
        let special: BTreeSet<String> =
            self.named_tokens().into_iter().map(|(_, text)| text).collect();
        let mut found = BTreeMap::new();
        let mut put = |file: &str, id: Option<u32>, shown_id: String, token: Added| {
            let id = id.ok_or_else(|| {
                let text = quoted(&token.text);
                self.damaged(file, format!("gives the token `{text}` the id {shown_id}"))
            })?;
            match found.insert(id, token.clone()) {
                Some(Added { text, .. }) if text != token.text => {
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
                Added { text: text.clone(), is_special, strips_right: false, is_raw: false };
            put("added_tokens.json", number(id), shown(id), token)?;
        }
        let decoder = self.config.get("added_tokens_decoder").and_then(Json::as_object);
        for (id, token) in decoder.into_iter().flatten() {
            let token = added(token, &special)
                .ok_or_else(|| self.damaged("tokenizer_config.json", nameless(id)))?;
            put("tokenizer_config.json", id.parse().ok(), quoted(id), token)?;
        }
        let listed = self.tokenizer.as_ref().and_then(|json| json.get("added_tokens"));
        for token in listed.and_then(Json::as_array).into_iter().flatten() {
            let id = token.get("id").unwrap_or(&Json::Null);
            let token = added(token, &special)
                .ok_or_else(|| self.damaged("tokenizer.json", nameless(&shown(id))))?;
            put("tokenizer.json", number(id), shown(id), token)?;
        }
        Ok(found)
    }

    /// Tokens on top of the vocabulary, and those of the vocabulary that are named as special tokens:
    /// transformers adds them.
    pub(crate) fn all_added_tokens(&self) -> Result<BTreeMap<u32, Added>, Error> {
        let mut found = self.added_tokens()?;
        let vocab = self.tokenizer.as_ref().and_then(|json| json.pointer("/model/vocab"));
        for (_, text) in self.named_tokens() {
            let id = vocab.and_then(|vocab| vocab.get(&text)).and_then(number);
            if let Some(id) = id {
                let token = Added { text, is_special: true, strips_right: false, is_raw: true };
                found.entry(id).or_insert(token);
            }
        }
        Ok(found)
    }
}

fn nameless(id: &str) -> String {
    format!("has the added token {} without a text", quoted(id))
}

fn number(id: &Json) -> Option<u32> {
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// A token that is written as a text, or as an object with one.
fn text_of(token: &Json) -> Option<&str> {
    token.as_str().or_else(|| token.get("content").and_then(Json::as_str))
}

fn added(token: &Json, special: &BTreeSet<String>) -> Option<Added> {
    let text = token.get("content").and_then(Json::as_str)?;
    let flag = |key: &str| token.get(key).and_then(Json::as_bool).unwrap_or(false);
    Some(Added {
        text: text.to_owned(),
        is_special: flag("special") || special.contains(text),
        strips_right: flag("rstrip"),
        is_raw: token.get("normalized").and_then(Json::as_bool) == Some(false),
    })
}
