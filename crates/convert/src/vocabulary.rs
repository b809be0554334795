//! The tokenizer and the chat template of a checkpoint, as GGUF's `tokenizer.*` keys.
//!
//! A byte-level `tokenizer.json` becomes the model `gpt2`; pieces with byte fall-back, from
//! `tokenizer.model` or `tokenizer.json`, become `llama`.

use std::collections::HashMap;
use std::path::Path;

use lilims_gguf::{Value, Writer};
use serde_json::Value as Json;

use crate::config::{Config, SPECIAL_TOKENS, optional_json};
use crate::family::Family;
use crate::{Error, input_file, pre, sentencepiece};

/// What a token stands for: the numbers of `tokenizer.ggml.token_type`.
pub(crate) mod kind {
    pub(crate) const NORMAL: i32 = 1;
    pub(crate) const UNKNOWN: i32 = 2;
    pub(crate) const CONTROL: i32 = 3;
    pub(crate) const USER_DEFINED: i32 = 4;
    pub(crate) const UNUSED: i32 = 5;
    pub(crate) const BYTE: i32 = 6;
}

/// An id takes a place in a list: none may be larger than any vocabulary.
const MAX_TOKENS: u64 = 1 << 20;
/// The score of tokens that were added to a vocabulary of pieces, as llama.cpp writes it.
const ADDED_SCORE: f32 = -1000.0;
/// The score of rows of the embedding that no token has.
const PADDING_SCORE: f32 = -10_000.0;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) kind: i32,
    pub(crate) score: f32,
}

/// A tokenizer as GGUF has it.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokens: Vec<Token>,
    model: Model,
    /// Keys and ids of special tokens.
    special_ids: Vec<(&'static str, u32)>,
    adds_bos: Option<bool>,
    adds_eos: Option<bool>,
    templates: Vec<(String, String)>,
}

#[derive(Debug)]
enum Model {
    ByteLevel { pre: &'static str, merges: Vec<String> },
    Pieces { adds_space: bool },
}

/// The files of a checkpoint that say how text becomes tokens.
pub(crate) struct Files<'a> {
    pub(crate) folder: &'a Path,
    tokenizer: Option<Json>,
    config: Json,
    pub(crate) generation: Json,
}

impl<'a> Files<'a> {
    pub(crate) fn read(folder: &'a Path) -> Result<Self, Error> {
        Ok(Self {
            folder,
            tokenizer: optional_json(folder, "tokenizer.json")?,
            config: optional_json(folder, "tokenizer_config.json")?.unwrap_or(Json::Null),
            generation: optional_json(folder, "generation_config.json")?.unwrap_or(Json::Null),
        })
    }
}

impl Vocabulary {
    /// Builds the vocabulary of `config.n_vocab` tokens.
    ///
    /// *Errors*: [`Error::MissingFile`] without a tokenizer, [`Error::Damaged`],
    /// [`Error::Unsupported`] for a kind of tokenizer that Lilims does not know.
    pub(crate) fn read(files: &Files<'_>, config: &Config) -> Result<Self, Error> {
        let pieces = input_file::find(files.folder, "tokenizer.model")?;
        let (mut tokens, model) = match (&files.tokenizer, pieces) {
            (Some(json), _) if pre::is_byte_level(json) => byte_level(files.folder, json)?,
            (_, Some(pieces)) => {
                let (tokens, adds_space) = sentencepiece::read(&pieces)?;
                (tokens.into_iter().map(Some).collect(), Model::Pieces { adds_space })
            }
            (Some(json), None) => pieces_of_json(files.folder, json)?,
            (None, None) => {
                let what = "tokenizer.json or tokenizer.model".to_owned();
                return Err(Error::MissingFile { folder: files.folder.to_owned(), what });
            }
        };
        let model = match model {
            Model::Pieces { adds_space } => {
                let asked = files.config.get("add_prefix_space").and_then(Json::as_bool);
                let is_gemma =
                    matches!(config.family, Family::Gemma | Family::Gemma2 | Family::Gemma3);
                Model::Pieces { adds_space: !is_gemma && asked.unwrap_or(adds_space) }
            }
            byte_level => byte_level,
        };
        for (id, text, is_special) in added_tokens(files) {
            add(&mut tokens, id, &text, is_special);
        }
        let n_listed = tokens.len();
        if n_listed > config.n_vocab {
            let what = format!("lists {n_listed} tokens, the embedding has {}", config.n_vocab);
            return Err(Error::damaged(&files.folder.join("tokenizer.json"), what));
        }
        tokens.resize(config.n_vocab, None);
        let padded = tokens.into_iter().enumerate().map(|(id, token)| {
            let (text, kind) = (format!("[PAD{id}]"), kind::UNUSED);
            token.unwrap_or(Token { text, kind, score: PADDING_SCORE })
        });
        let tokens: Vec<Token> = padded.collect();
        let (adds_bos, adds_eos) = added_ends(files, &model);
        Ok(Self {
            special_ids: special_ids(files, config, &tokens),
            tokens,
            model,
            adds_bos,
            adds_eos,
            templates: templates(files)?,
        })
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
            Model::Pieces { adds_space } => {
                writer.value("tokenizer.ggml.add_space_prefix", Value::Bool(*adds_space));
            }
        }
        for (key, id) in &self.special_ids {
            writer.value(key, Value::U32(*id));
        }
        for (key, adds) in [("bos", self.adds_bos), ("eos", self.adds_eos)] {
            if let Some(adds) = adds {
                writer.value(&format!("tokenizer.ggml.add_{key}_token"), Value::Bool(adds));
            }
        }
        self.write_templates(writer);
    }

    /// The default template, and others under their names.
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

/// Tokens by their ids; those that nobody names are `None`.
type Tokens = Vec<Option<Token>>;

fn put(tokens: &mut Tokens, id: usize, token: Token) {
    if id >= tokens.len() {
        tokens.resize(id + 1, None);
    }
    tokens[id] = Some(token);
}

/// Puts a token that was added to the vocabulary into its place.
fn add(tokens: &mut Tokens, id: usize, text: &str, is_special: bool) {
    let is_unknown = tokens.get(id).and_then(Option::as_ref);
    let is_unknown = is_unknown.is_some_and(|token| token.kind == kind::UNKNOWN);
    let token = if is_special || looks_special(text) {
        let kind = if is_unknown { kind::UNKNOWN } else { kind::CONTROL };
        Token { text: text.to_owned(), kind, score: ADDED_SCORE }
    } else {
        // Such tokens are looked for in the text as it is written, before spaces are replaced.
        Token { text: text.replace('▁', " "), kind: kind::USER_DEFINED, score: ADDED_SCORE }
    };
    put(tokens, id, token);
}

/// Whether a token steers, although its checkpoint does not say so.
fn looks_special(text: &str) -> bool {
    let is_between = |start: &str, end: &str| text.starts_with(start) && text.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || is_between("<|", "|>")
        || is_between("<｜", "｜>")
        || is_between("<unused", ">")
}

/// The vocabulary of `tokenizer.json`: texts with their ids.
fn listed(folder: &Path, json: &Json) -> Result<Vec<(String, usize)>, Error> {
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

/// Merges, each as its two parts.
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

fn byte_level(folder: &Path, json: &Json) -> Result<(Tokens, Model), Error> {
    let pre = pre::name(json)?;
    let mut tokens = Vec::new();
    for (text, id) in listed(folder, json)? {
        put(&mut tokens, id, Token { text, kind: kind::NORMAL, score: 0.0 });
    }
    // A blank within a part would be taken for the one between the parts.
    let visible = |part: String| part.replace(' ', "Ġ");
    let merges = merges(folder, json)?
        .into_iter()
        .map(|(left, right)| format!("{} {}", visible(left), visible(right)))
        .collect();
    Ok((tokens, Model::ByteLevel { pre, merges }))
}

/// Pieces with byte fall-back whose merges `tokenizer.json` lists: a piece's score is the place of its
/// first merge, so that merging by scores is merging in the order of the list.
fn pieces_of_json(folder: &Path, json: &Json) -> Result<(Tokens, Model), Error> {
    let model = json.get("model").unwrap_or(&Json::Null);
    if model.get("byte_fallback").and_then(Json::as_bool) != Some(true) {
        let what = "a tokenizer.json that is neither byte-level nor has byte fall-back".to_owned();
        return Err(Error::Unsupported { what });
    }
    let merges = merges(folder, json)?;
    let mut ranks = HashMap::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    let unknown = model.get("unk_token").and_then(Json::as_str);
    let mut tokens = Vec::new();
    for (text, id) in listed(folder, json)? {
        let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        let kind = match () {
            () if Some(&*text) == unknown => kind::UNKNOWN,
            () if is_byte => kind::BYTE,
            () => kind::NORMAL,
        };
        let score = -(ranks.get(&text).copied().unwrap_or(merges.len()) as f32);
        put(&mut tokens, id, Token { text, kind, score });
    }
    Ok((tokens, Model::Pieces { adds_space: pre::adds_space(json) }))
}

/// Ids, texts and whether they are special: tokens on top of the vocabulary.
fn added_tokens(files: &Files<'_>) -> Vec<(usize, String, bool)> {
    let entry = |id: Option<u64>, token: &Json| {
        let text = token.get("content").and_then(Json::as_str)?;
        let is_special = token.get("special").and_then(Json::as_bool).unwrap_or(false);
        Some((id.filter(|id| *id < MAX_TOKENS)? as usize, text.to_owned(), is_special))
    };
    let of_config = files.config.get("added_tokens_decoder").and_then(Json::as_object);
    let of_config = of_config.into_iter().flatten();
    let of_config = of_config.filter_map(|(id, token)| entry(id.parse().ok(), token));
    let of_json = files.tokenizer.as_ref().and_then(|json| json.get("added_tokens"));
    let of_json = of_json.and_then(Json::as_array).into_iter().flatten();
    let of_json = of_json.filter_map(|token| entry(token.get("id").and_then(Json::as_u64), token));
    of_config.chain(of_json).collect()
}

/// Special tokens by what `tokenizer_config.json` calls them, else by the ids of `config.json` and
/// `generation_config.json`.
fn special_ids(files: &Files<'_>, config: &Config, tokens: &[Token]) -> Vec<(&'static str, u32)> {
    let named = |key: &str| {
        let value = files.config.get(key.strip_suffix("_id")?)?;
        let text = value.as_str().or_else(|| value.get("content").and_then(Json::as_str))?;
        let id = tokens.iter().position(|token| token.text == text)?;
        u32::try_from(id).ok()
    };
    let configured = |key: &str| {
        let found = config.special_ids.iter().find(|(name, _)| *name == key);
        found.map(|(_, id)| *id)
    };
    let generated = |key: &str| {
        let value = files.generation.get(key)?;
        let value = value.as_array().map_or(Some(value), |ids| ids.first())?;
        value.as_u64().and_then(|id| u32::try_from(id).ok())
    };
    SPECIAL_TOKENS
        .iter()
        .filter_map(|(key, gguf_key)| {
            let id = named(key).or_else(|| configured(key)).or_else(|| generated(key))?;
            Some((*gguf_key, id)).filter(|_| (id as usize) < tokens.len())
        })
        .collect()
}

/// Whether BOS goes in front of each text and EOS behind it; `None` where nothing says so.
fn added_ends(files: &Files<'_>, model: &Model) -> (Option<bool>, Option<bool>) {
    let asked = |key: &str| files.config.get(key).and_then(Json::as_bool);
    let processor = files.tokenizer.as_ref().and_then(|json| json.get("post_processor"));
    let template = processor.and_then(|processor| {
        let list = processor.get("processors").and_then(Json::as_array);
        let mut all = list.map_or(std::slice::from_ref(processor), Vec::as_slice).iter();
        let template = all.find(|one| one.get("type").is_some_and(|ty| ty == "TemplateProcessing"));
        template?.get("single")?.as_array()
    });
    match (template.map(Vec::as_slice), model) {
        (Some([first, .., last]), _) => {
            let is_special = |item: &Json| item.get("SpecialToken").is_some();
            (Some(is_special(first)), Some(is_special(last)))
        }
        // A byte-level tokenizer adds what its template says, and nothing without one.
        (_, Model::ByteLevel { .. }) => {
            (Some(asked("add_bos_token").unwrap_or(false)), asked("add_eos_token"))
        }
        _ => (asked("add_bos_token"), asked("add_eos_token")),
    }
}

/// Chat templates with their names.
fn templates(files: &Files<'_>) -> Result<Vec<(String, String)>, Error> {
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
