//! Finds a checkpoint's special tokens: added tokens, tokens with a role such as BOS, and tokens
//! that end a turn. Reading the files is left to `tokenizer_files.rs`.

use std::collections::{BTreeMap, HashMap};

use crate::Error;
use crate::config::{Config, SPECIAL_TOKENS};
use crate::notes::Notes;
use crate::quote::quoted;
use crate::token::Token;
use crate::tokenizer_files::{AddedToken, TokenizerFiles};

/// Added tokens by their ids.
pub(crate) struct AddedTokens {
    /// Tokens with a row in the embedding.
    pub(crate) embedded: BTreeMap<u32, AddedToken>,
    /// Tokens without one, such as Gemma 3's image token in its text-only models. They are left
    /// out.
    pub(crate) left_out: BTreeMap<u32, AddedToken>,
}

/// Reads the added tokens and notes those that have no row in the embedding.
pub(crate) fn added_tokens(
    files: &TokenizerFiles<'_>,
    config: &Config,
    notes: &mut Notes,
) -> Result<AddedTokens, Error> {
    let mut embedded = files.added_tokens()?;
    let left_out = match u32::try_from(config.n_vocab) {
        Ok(n_vocab) => embedded.split_off(&n_vocab),
        Err(_) => BTreeMap::new(),
    };
    if let Some((id, token)) = left_out.first_key_value() {
        let text = quoted(&token.text);
        let more = match left_out.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        notes.add(format!(
            "the added token `{text}` ({id}){more} is left out: the embedding has {} rows",
            config.n_vocab
        ));
    }
    Ok(AddedTokens { embedded, left_out })
}

/// Finds the ids of special tokens, by their keys in GGUF: from `tokenizer_config.json` and
/// `special_tokens_map.json`, else from `config.json`, else from `generation_config.json`.
///
/// # Errors
///
/// [`Error::Damaged`] for a token that the vocabulary does not have.
pub(crate) fn special_ids(
    files: &TokenizerFiles<'_>,
    config: &Config,
    tokens: &[Token],
    left_out: &BTreeMap<u32, AddedToken>,
    notes: &mut Notes,
) -> Result<Vec<(&'static str, u32)>, Error> {
    let mut by_text: HashMap<&str, u32> = HashMap::new();
    for (id, token) in tokens.iter().enumerate() {
        by_text.entry(&token.text).or_insert(id as u32);
    }
    let mut named = HashMap::new();
    for (field, text) in files.named_tokens() {
        let spaced = text.replace('▁', " ");
        let found = by_text.get(&*text).or_else(|| by_text.get(&*spaced));
        let is_left_out = left_out.values().any(|added| added.text == text);
        let is_required = ["bos_token", "eos_token", "unk_token"].contains(&&*field);
        match found {
            Some(&id) => drop(named.entry(format!("{field}_id")).or_insert(id)),
            None if is_left_out && !is_required => {}
            None => {
                let what = format!(
                    "names `{}` as `{field}`, which the vocabulary does not have",
                    quoted(&text)
                );
                return Err(Error::damaged(&files.folder.join("tokenizer_config.json"), what));
            }
        }
    }
    let mut found = Vec::new();
    for (key, gguf_key) in SPECIAL_TOKENS {
        let configured = config.special_ids.iter().find(|(name, _)| *name == key);
        let generated = files.generation_ids(key)?.first().copied();
        let id = named.get(key).copied().or(configured.map(|(_, id)| *id)).or(generated);
        match id {
            Some(id) if (id as usize) < tokens.len() => found.push((gguf_key, id)),
            Some(id) if key == "pad_token_id" => {
                notes.add(format!("`{key}` {id} is left out: the vocabulary has no such token"));
            }
            Some(id) => return Err(no_such_token(files, key, id, tokens.len())),
            None => {}
        }
    }
    Ok(found)
}

fn no_such_token(files: &TokenizerFiles<'_>, key: &str, id: u32, n_vocab: usize) -> Error {
    let what = format!("has `{key}` {id}, the vocabulary has {n_vocab} tokens");
    Error::damaged(&files.folder.join("config.json"), what)
}

/// Lists all tokens that end a turn: EOS first, then those in `eos_token_id` of `config.json` and
/// `generation_config.json`.
pub(crate) fn eos_ids(
    files: &TokenizerFiles<'_>,
    config: &Config,
    special_ids: &[(&'static str, u32)],
) -> Result<Vec<u32>, Error> {
    const KEY: &str = "eos_token_id";
    let eos = special_ids.iter().find(|(key, _)| *key == "tokenizer.ggml.eos_token_id");
    let mut ids: Vec<u32> = eos.map(|(_, id)| *id).into_iter().collect();
    for id in config.eos_ids.iter().copied().chain(files.generation_ids(KEY)?) {
        if id as usize >= config.n_vocab {
            return Err(no_such_token(files, KEY, id, config.n_vocab));
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}
