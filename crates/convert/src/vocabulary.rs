//! Builds the `tokenizer.*` keys of GGUF from a checkpoint's tokenizer and chat templates.
//!
//! A byte-level `tokenizer.json` becomes the tokenizer model `gpt2`; SentencePiece pieces with byte
//! fallback, from `tokenizer.model` or `tokenizer.json`, become `llama`. `tokenizer_check.rs`
//! checks the result.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use lilims_gguf::{Value, Writer};
use serde_json::Value as Json;

use crate::config::Config;
use crate::input_file::optional_json;
use crate::notes::Notes;
use crate::pre::{Normalizers, SpacePrefix};
use crate::quote::quoted;
use crate::special_tokens::{AddedTokens, added_tokens, eos_ids, special_ids};
use crate::token::{Token, kind};
use crate::tokenizer_files::{AddedToken, TokenizerFiles};
use crate::{Error, input_file, pre, sentencepiece};

/// The largest vocabulary that is accepted. Tokens are stored in a list up to the largest id.
const MAX_TOKENS: u64 = 1 << 20;
/// The score of added tokens, as llama.cpp's converter writes it.
const ADDED_SCORE: f32 = -1000.0;
/// The score of placeholder tokens for rows of the embedding without a token.
const PADDING_SCORE: f32 = -10_000.0;

/// A tokenizer as GGUF stores it.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokens: Vec<Token>,
    model: Model,
    /// Normalisation steps, in order, for `lilims.tokenizer.normalizers`.
    normalizers: Vec<&'static str>,
    /// GGUF keys and ids of special tokens.
    special_ids: Vec<(&'static str, u32)>,
    /// All tokens that end a turn; the first is EOS.
    eos_ids: Vec<u32>,
    /// Tokens after which white space is removed.
    rstrip_ids: Vec<u32>,
    /// Normal tokens at which texts are split where they contain them.
    split_ids: Vec<u32>,
    adds_bos: Option<bool>,
    adds_eos: Option<bool>,
    /// Chat templates with their names.
    templates: Vec<(String, String)>,
    /// What is left out.
    pub(crate) notes: Notes,
}

#[derive(Debug)]
enum Model {
    ByteLevel { pre: &'static str, merges: Vec<String> },
    Pieces { space: SpacePrefix, removes_spaces: bool },
}

impl Vocabulary {
    /// Builds a vocabulary of `config.n_vocab` tokens.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFile`] without a tokenizer, [`Error::Damaged`], [`Error::Unsupported`] for
    /// an unknown type of tokenizer.
    pub(crate) fn read(files: &TokenizerFiles<'_>, config: &Config) -> Result<Self, Error> {
        let sentencepiece = input_file::find(files.folder, "tokenizer.model")?;
        let is_byte_level = files.tokenizer.as_ref().is_some_and(pre::is_byte_level);
        let Normalizers { names, space } = match &files.tokenizer {
            Some(json) => pre::normalizers(json, is_byte_level)?,
            None => Normalizers::default(),
        };
        let mut notes = files.notes.clone();
        let (mut tokens, model) = match (&files.tokenizer, sentencepiece) {
            (Some(json), _) if is_byte_level => byte_level(files, json)?,
            (json, Some(path)) => {
                let found = sentencepiece::read(&path)?;
                let space = match json {
                    Some(_) => space,
                    None => space_without_json(files, config, found.adds_space),
                };
                if json.is_none() {
                    notes.add(
                        "the tokenizer was not verified: there is no tokenizer.json".to_owned(),
                    );
                }
                let removes_spaces = found.removes_spaces;
                let tokens = found.tokens.into_iter().map(Some).collect();
                (tokens, Model::Pieces { space, removes_spaces })
            }
            (Some(json), None) => {
                let tokens = pieces_of_json(files.folder, json)?;
                (tokens, Model::Pieces { space, removes_spaces: false })
            }
            (None, None) => {
                let what = "tokenizer.json or tokenizer.model".to_owned();
                return Err(Error::MissingFile { folder: files.folder.to_owned(), what });
            }
        };
        let AddedTokens { embedded, left_out } = added_tokens(files, config, &mut notes)?;
        let n_listed = tokens.iter().rposition(|token| {
            // A token that is left out may be listed in the vocabulary as well.
            let is_left_out =
                |token: &Token| left_out.values().any(|added| added.text == token.text);
            token.as_ref().is_some_and(|token| !is_left_out(token))
        });
        let n_listed = n_listed.map_or(0, |last| last + 1);
        if n_listed > config.n_vocab {
            let what = format!("lists {n_listed} tokens, the embedding has {}", config.n_vocab);
            return Err(Error::damaged(&files.folder.join("tokenizer.json"), what));
        }
        tokens.resize(config.n_vocab, None);
        let split_ids: Vec<u32> = embedded
            .iter()
            .filter(|(id, token)| is_merged_piece(&tokens, **id, token))
            .map(|(&id, _)| id)
            .collect();
        for (&id, token) in &embedded {
            if split_ids.binary_search(&id).is_ok() {
                set_normal(&mut tokens, id as usize, token);
            } else {
                set_added(&mut tokens, id as usize, token);
            }
        }
        let named: HashSet<String> =
            files.named_tokens().into_iter().map(|(_, text)| text).collect();
        for token in tokens.iter_mut().flatten() {
            if token.kind == kind::NORMAL && named.contains(&token.text) {
                token.kind = kind::CONTROL;
            }
        }
        let padded = tokens.into_iter().enumerate().map(|(id, token)| {
            let (text, kind) = (format!("[PAD{id}]"), kind::UNUSED);
            token.unwrap_or(Token { text, kind, score: PADDING_SCORE })
        });
        let tokens: Vec<Token> = padded.collect();
        let found = special_ids(files, config, &tokens, &left_out, &mut notes)?;
        let mut vocabulary = Self {
            rstrip_ids: embedded
                .iter()
                .filter(|(_, t)| t.strips_right)
                .map(|(&id, _)| id)
                .collect(),
            split_ids,
            eos_ids: eos_ids(files, config, &found)?,
            special_ids: found,
            tokens,
            model,
            normalizers: names,
            adds_bos: None,
            adds_eos: None,
            templates: templates(files)?,
            notes,
        };
        vocabulary.read_ends(files)?;
        let more = "additional_chat_templates";
        if input_file::find(files.folder, more)?.is_some() {
            vocabulary.notes.add(format!("the chat templates in {more} are left out"));
        }
        Ok(vocabulary)
    }

    /// Writes the `tokenizer.*` keys.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let text = |text: &'_ str| text.as_bytes().to_vec();
        let texts: Vec<_> = self.tokens.iter().map(|token| text(&token.text)).collect();
        let kinds = self.tokens.iter().map(|token| Value::I32(token.kind));
        let (name, pre) = match &self.model {
            Model::ByteLevel { pre, .. } => ("gpt2", *pre),
            Model::Pieces { .. } => ("llama", "default"),
        };
        writer
            .str("tokenizer.ggml.model", name)
            .str("tokenizer.ggml.pre", pre)
            .array("tokenizer.ggml.tokens", texts.iter().map(|text| Value::String(text)));
        if let Model::Pieces { .. } = self.model {
            let scores = self.tokens.iter().map(|token| Value::F32(token.score));
            writer.array("tokenizer.ggml.scores", scores);
        }
        writer.array("tokenizer.ggml.token_type", kinds);
        match &self.model {
            Model::ByteLevel { merges, .. } => {
                let merges = merges.iter().map(|merge| Value::String(merge.as_bytes()));
                writer.array("tokenizer.ggml.merges", merges);
            }
            Model::Pieces { space, removes_spaces } => {
                writer.value("tokenizer.ggml.add_space_prefix", Value::Bool(space.adds));
                for (key, is_so) in [
                    ("lilims.tokenizer.space_prefix_first_only", space.first_only),
                    ("lilims.tokenizer.space_prefix_unless_space", space.unless_space),
                    ("tokenizer.ggml.remove_extra_whitespaces", *removes_spaces),
                ] {
                    if is_so {
                        writer.value(key, Value::Bool(true));
                    }
                }
            }
        }
        if !self.normalizers.is_empty() {
            let names = self.normalizers.iter().map(|name| Value::String(name.as_bytes()));
            writer.array("lilims.tokenizer.normalizers", names);
        }
        for (key, id) in &self.special_ids {
            writer.value(key, Value::U32(*id));
        }
        // Two further tokens that end a turn have standard keys.
        let keys = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
        for (key, id) in keys.iter().zip(self.eos_ids.iter().skip(1)) {
            writer.value(key, Value::U32(*id));
        }
        let ids = |ids: &[u32]| ids.iter().map(|&id| Value::U32(id)).collect::<Vec<_>>();
        if self.eos_ids.len() > 1 + keys.len() {
            writer.array("lilims.tokenizer.eos_token_ids", ids(&self.eos_ids));
        }
        // Written even if empty: without the list, the engine treats models named Phi-3 as
        // llama.cpp does, which strips white space after all their special tokens.
        writer.array("lilims.tokenizer.rstrip_token_ids", ids(&self.rstrip_ids));
        if !self.split_ids.is_empty() {
            writer.array("lilims.tokenizer.splits_text_token_ids", ids(&self.split_ids));
        }
        writer.value("lilims.tokenizer.has_exact_types", Value::Bool(true));
        for (key, adds) in [("bos", self.adds_bos), ("eos", self.adds_eos)] {
            if let Some(adds) = adds {
                writer.value(&format!("tokenizer.ggml.add_{key}_token"), Value::Bool(adds));
            }
        }
        self.write_templates(writer);
    }

    /// Writes the default template, and others under their names.
    fn write_templates(&self, writer: &mut Writer) {
        let (default, others): (Vec<_>, Vec<_>) =
            self.templates.iter().partition(|(name, _)| name == "default");
        for (_, template) in default.into_iter().take(1) {
            writer.str("tokenizer.chat_template", template);
        }
        if !others.is_empty() {
            let names = others.iter().map(|(name, _)| Value::String(name.as_bytes()));
            writer.array("tokenizer.chat_templates", names);
        }
        for (name, template) in others {
            writer.str(&format!("tokenizer.chat_template.{name}"), template);
        }
    }
}

/// Tokens by their ids; `None` for ids without a token.
type Tokens = Vec<Option<Token>>;

fn set(tokens: &mut Tokens, id: usize, token: Token) {
    if id >= tokens.len() {
        tokens.resize(id + 1, None);
    }
    tokens[id] = Some(token);
}

/// Stores an added token.
fn set_added(tokens: &mut Tokens, id: usize, added: &AddedToken) {
    let text = &*added.text;
    let is_unknown = tokens.get(id).and_then(Option::as_ref);
    let is_unknown = is_unknown.is_some_and(|token| token.kind == kind::UNKNOWN);
    let token = if added.is_special || looks_special(text) {
        let kind = if is_unknown { kind::UNKNOWN } else { kind::CONTROL };
        Token { text: text.to_owned(), kind, score: ADDED_SCORE }
    } else {
        // User-defined tokens are matched in the original text, before spaces become `▁`.
        Token { text: text.replace('▁', " "), kind: kind::USER_DEFINED, score: ADDED_SCORE }
    };
    set(tokens, id, token);
}

/// Whether an added token is also a piece that merges produce: Gemma's runs of `▁`. In the original
/// text they match `▁` itself; runs of spaces become them by merging only.
fn is_merged_piece(tokens: &Tokens, id: u32, added: &AddedToken) -> bool {
    let piece = tokens.get(id as usize).and_then(Option::as_ref);
    let is_same = |piece: &Token| match piece.kind {
        kind::NORMAL => piece.text == added.text,
        // As tokenizer.model writes it.
        kind::USER_DEFINED => piece.text == added.text.replace('▁', " "),
        _ => false,
    };
    added.is_raw && !added.is_special && added.text.contains('▁') && piece.is_some_and(is_same)
}

/// Turns the token of that id into a normal one with the added token's text.
fn set_normal(tokens: &mut Tokens, id: usize, added: &AddedToken) {
    if let Some(Some(piece)) = tokens.get_mut(id) {
        *piece = Token { text: added.text.clone(), kind: kind::NORMAL, score: piece.score };
    }
}

/// Whether an added token is a control token by its text, although the checkpoint does not say so.
fn looks_special(text: &str) -> bool {
    let is_between = |start: &str, end: &str| text.starts_with(start) && text.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || is_between("<|", "|>")
        || is_between("<｜", "｜>")
        || is_between("<unused", ">")
}

/// Reads the vocabulary of `tokenizer.json`: texts and ids.
fn listed_tokens(folder: &Path, json: &Json) -> Result<Vec<(String, usize)>, Error> {
    let path = folder.join("tokenizer.json");
    let model = json.get("model");
    let is_bpe = model.and_then(|model| model.get("type")).is_none_or(|kind| kind == "BPE");
    let vocab = model.and_then(|model| model.get("vocab")).and_then(Json::as_object);
    let Some(vocab) = vocab.filter(|_| is_bpe) else {
        let what = "a tokenizer that is not a byte-pair vocabulary (BPE)".to_owned();
        return Err(Error::Unsupported { what });
    };
    let id = |id: &Json| id.as_u64().filter(|id| *id < MAX_TOKENS).map(|id| id as usize);
    vocab
        .iter()
        .map(|(text, value)| {
            let fault =
                || Error::damaged(&path, format!("gives the token `{text}` the id {value}"));
            Ok((text.clone(), id(value).ok_or_else(fault)?))
        })
        .collect()
}

/// Reads the merges of `tokenizer.json`, each as its two parts.
fn merges(folder: &Path, json: &Json) -> Result<Vec<(String, String)>, Error> {
    let path = folder.join("tokenizer.json");
    let merges = json.get("model").and_then(|model| model.get("merges")).and_then(Json::as_array);
    let merges = merges.ok_or_else(|| Error::damaged(&path, "has no merges"))?;
    let pair = |merge: &Json| {
        let parts: Vec<&str> = match merge {
            Json::String(text) => text.splitn(2, ' ').collect(),
            Json::Array(parts) => parts.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        match parts[..] {
            [left, right] => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::damaged(&path, format!("has the merge {merge}"))),
        }
    };
    merges.iter().map(pair).collect()
}

fn byte_level(files: &TokenizerFiles<'_>, json: &Json) -> Result<(Tokens, Model), Error> {
    let folder = files.folder;
    if files.config.get("add_prefix_space").and_then(Json::as_bool) == Some(true) {
        let what = "`add_prefix_space` true in tokenizer_config.json, with a byte-level vocabulary";
        return Err(Error::Unsupported { what: what.to_owned() });
    }
    let pre = pre::name(json)?;
    let mut tokens = Vec::new();
    for (text, id) in listed_tokens(folder, json)? {
        set(&mut tokens, id, Token { text, kind: kind::NORMAL, score: 0.0 });
    }
    // GGUF separates the two parts with a space, so spaces within them are replaced.
    let visible = |part: String| part.replace(' ', "Ġ");
    let merges = merges(folder, json)?
        .into_iter()
        .map(|(left, right)| format!("{} {}", visible(left), visible(right)))
        .collect();
    Ok((tokens, Model::ByteLevel { pre, merges }))
}

/// Decides whether a space is put in front of texts, for a checkpoint without `tokenizer.json`.
fn space_without_json(
    files: &TokenizerFiles<'_>,
    config: &Config,
    adds_space: bool,
) -> SpacePrefix {
    let flag = |key: &str| files.config.get(key).and_then(Json::as_bool);
    let may_add = !config.family.layout.omits_space_prefix;
    let adds = may_add && flag("add_prefix_space").unwrap_or(adds_space);
    let first_only = adds && flag("legacy") == Some(false);
    SpacePrefix { adds, first_only, unless_space: false }
}

/// Reads pieces with byte fallback whose merges `tokenizer.json` lists. A piece's score is the
/// negated rank of its first merge, so that merging by scores follows the order of the list.
fn pieces_of_json(folder: &Path, json: &Json) -> Result<Tokens, Error> {
    let model = json.get("model").unwrap_or(&Json::Null);
    if model.get("byte_fallback").and_then(Json::as_bool) != Some(true) {
        let what = "a tokenizer.json that is neither byte-level nor has byte fallback".to_owned();
        return Err(Error::Unsupported { what });
    }
    let merges = merges(folder, json)?;
    let mut ranks = HashMap::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let unknown = model.get("unk_token").and_then(Json::as_str);
    let mut tokens = Vec::new();
    for (text, id) in listed_tokens(folder, json)? {
        let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        let kind = match () {
            () if Some(&*text) == unknown => kind::UNKNOWN,
            () if is_byte => kind::BYTE,
            () => kind::NORMAL,
        };
        let score = -(ranks.get(&text).copied().unwrap_or(merges.len()) as f32);
        set(&mut tokens, id, Token { text, kind, score });
    }
    Ok(tokens)
}

impl Vocabulary {
    /// Decides whether BOS is put in front of each text and EOS behind it; `None` where no file
    /// says so.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a post-processor that adds other tokens.
    fn read_ends(&mut self, files: &TokenizerFiles<'_>) -> Result<(), Error> {
        let flag = |key: &str| files.config.get(key).and_then(Json::as_bool);
        let (config_bos, config_eos) = (flag("add_bos_token"), flag("add_eos_token"));
        let is_byte_level = matches!(self.model, Model::ByteLevel { .. });
        let template = files.tokenizer.as_ref().map(pre::template).transpose()?.flatten();
        let Some((before, after)) = template else {
            // Without a template a byte-level tokenizer adds nothing.
            let default = is_byte_level.then_some(false);
            (self.adds_bos, self.adds_eos) = (config_bos.or(default), config_eos);
            return Ok(());
        };
        self.check_end(before, "tokenizer.ggml.bos_token_id", "in front of")?;
        self.check_end(after, "tokenizer.ggml.eos_token_id", "behind")?;
        let (has_bos, has_eos) = (before.is_some(), after.is_some());
        // These tokenizer classes of transformers rebuild the template from
        // `tokenizer_config.json`.
        let class = files.config.get("tokenizer_class").and_then(Json::as_str).unwrap_or_default();
        let rebuilds = ["Llama", "CodeLlama", "Gemma"].iter().any(|name| class.starts_with(name));
        let decide = |has: bool, configured: Option<bool>| match configured {
            Some(configured) if rebuilds => configured,
            _ => has,
        };
        if config_bos.is_some_and(|configured| configured != has_bos) {
            let which = if rebuilds { "tokenizer_config.json" } else { "tokenizer.json" };
            self.notes.add(format!(
                "tokenizer.json and `add_bos_token` contradict each other: {which} was used"
            ));
        }
        self.adds_bos = Some(decide(has_bos, config_bos));
        self.adds_eos = Some(decide(has_eos, config_eos));
        Ok(())
    }

    /// Checks that the token that is added to a text is the one under `key`, or sets that key where
    /// it is not set yet. `position` is for the error.
    fn check_end(
        &mut self,
        text: Option<&str>,
        key: &'static str,
        position: &str,
    ) -> Result<(), Error> {
        let Some(text) = text else { return Ok(()) };
        let id = self.tokens.iter().position(|token| token.text == text).map(|id| id as u32);
        let known = self.special_ids.iter().find(|(known, _)| *known == key).map(|(_, id)| *id);
        match (id, known) {
            (Some(id), Some(known)) if id == known => Ok(()),
            (Some(id), None) => {
                self.special_ids.push((key, id));
                Ok(())
            }
            _ => {
                let what =
                    format!("a post-processor that adds `{}` {position} texts", quoted(text));
                Err(Error::Unsupported { what })
            }
        }
    }
}

/// Reads the chat templates with their names.
fn templates(files: &TokenizerFiles<'_>) -> Result<Vec<(String, String)>, Error> {
    const FILE: &str = "chat_template.jinja";
    if let Some(bytes) = input_file::read_optional(files.folder, FILE)? {
        let not_text = |_| Error::damaged(&files.folder.join(FILE), "is not UTF-8 text");
        let template = String::from_utf8(bytes).map_err(not_text)?;
        return Ok(vec![("default".to_owned(), template)]);
    }
    let file = optional_json(files.folder, "chat_template.json")?.unwrap_or(Json::Null);
    let found = [&files.config, &file].into_iter().find_map(|json| json.get("chat_template"));
    Ok(match found {
        Some(Json::String(template)) => vec![("default".to_owned(), template.clone())],
        Some(Json::Array(list)) => list
            .iter()
            .filter_map(|entry| {
                let text = |key: &str| Some(entry.get(key)?.as_str()?.to_owned());
                Some((text("name")?, text("template")?))
            })
            .collect(),
        _ => Vec::new(),
    })
}
