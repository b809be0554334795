//! The tokenizer and the chat template of a checkpoint, as GGUF's `tokenizer.*` keys.
//!
//! A byte-level `tokenizer.json` becomes the model `gpt2`; pieces with byte fall-back, from
//! `tokenizer.model` or `tokenizer.json`, become `llama`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use lilims_gguf::{Value, Writer};
use serde_json::Value as Json;

use crate::config::{Config, optional_json};
use crate::family::Family;
use crate::fields::{Notes, quoted};
use crate::pre::{Normalizers, SpacePrefix};
use crate::special_tokens::{divide, eos_ids, special_ids};
use crate::tokenizer_files::{Added, Files};
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
    /// Steps that a text goes through first, as Lilims' own key has them.
    normalizers: Vec<&'static str>,
    /// Keys and ids of special tokens.
    special_ids: Vec<(&'static str, u32)>,
    /// All tokens that end a turn; the first is EOS.
    eos_ids: Vec<u32>,
    /// Tokens that drop the white space after them.
    rstrip_ids: Vec<u32>,
    /// Pieces at which texts are split as well.
    split_ids: Vec<u32>,
    adds_bos: Option<bool>,
    adds_eos: Option<bool>,
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
    /// Builds the vocabulary of `config.n_vocab` tokens.
    ///
    /// *Errors*: [`Error::MissingFile`] without a tokenizer, [`Error::Damaged`],
    /// [`Error::Unsupported`] for a kind of tokenizer that Lilims does not know.
    pub(crate) fn read(files: &Files<'_>, config: &Config) -> Result<Self, Error> {
        let pieces = input_file::find(files.folder, "tokenizer.model")?;
        let is_byte_level = files.tokenizer.as_ref().is_some_and(pre::is_byte_level);
        let Normalizers { names, space } = match &files.tokenizer {
            Some(json) => pre::normalizers(json, is_byte_level)?,
            None => Normalizers::default(),
        };
        let mut notes = files.notes.clone();
        let (mut tokens, model) = match (&files.tokenizer, pieces) {
            (Some(json), _) if is_byte_level => byte_level(files, json)?,
            (json, Some(pieces)) => {
                let found = sentencepiece::read(&pieces)?;
                let space = match json {
                    Some(_) => space,
                    None => space_of_pieces(files, config, found.adds_space),
                };
                if json.is_none() {
                    notes.add(
                        "there is no tokenizer.json, so nothing proved the tokenizer".to_owned(),
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
        let (added, left_out) = divide(files, config, &mut notes)?;
        let n_listed = tokens.iter().rposition(|token| {
            // What is left out as an added token may stand in the list as well.
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
        let split_ids: Vec<u32> = added
            .iter()
            .filter(|(id, token)| is_piece(&tokens, **id, token))
            .map(|(&id, _)| id)
            .collect();
        for (&id, token) in &added {
            if split_ids.binary_search(&id).is_ok() {
                be_piece(&mut tokens, id as usize, token);
            } else {
                add(&mut tokens, id as usize, token);
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
            rstrip_ids: added.iter().filter(|(_, t)| t.strips_right).map(|(&id, _)| id).collect(),
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
            vocabulary.notes.add(format!("the templates in {more} are left out"));
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
        // Two more tokens that end a turn have keys that other programs know, too.
        let keys = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
        for (key, id) in keys.iter().zip(self.eos_ids.iter().skip(1)) {
            writer.value(key, Value::U32(*id));
        }
        let ids = |ids: &[u32]| ids.iter().map(|&id| Value::U32(id)).collect::<Vec<_>>();
        if self.eos_ids.len() > 1 + keys.len() {
            writer.array("lilims.tokenizer.eos_token_ids", ids(&self.eos_ids));
        }
        // Also where there are none: without the list, what is named Phi-3 is read as llama.cpp does,
        // which takes them all for such tokens.
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
fn add(tokens: &mut Tokens, id: usize, added: &Added) {
    let text = &*added.text;
    let is_unknown = tokens.get(id).and_then(Option::as_ref);
    let is_unknown = is_unknown.is_some_and(|token| token.kind == kind::UNKNOWN);
    let token = if added.is_special || looks_special(text) {
        let kind = if is_unknown { kind::UNKNOWN } else { kind::CONTROL };
        Token { text: text.to_owned(), kind, score: ADDED_SCORE }
    } else {
        // Such tokens are looked for in the text as it is written, before spaces are replaced.
        Token { text: text.replace('▁', " "), kind: kind::USER_DEFINED, score: ADDED_SCORE }
    };
    put(tokens, id, token);
}

/// Whether an added token is a piece that merges make as well, and its `▁` no space: Gemma's rows of
/// them, which are looked for in the text as it is written, and come of spaces by merges alone.
fn is_piece(tokens: &Tokens, id: u32, added: &Added) -> bool {
    let piece = tokens.get(id as usize).and_then(Option::as_ref);
    let is_same = |piece: &Token| match piece.kind {
        kind::NORMAL => piece.text == added.text,
        // The way tokenizer.model says it.
        kind::USER_DEFINED => piece.text == added.text.replace('▁', " "),
        _ => false,
    };
    added.is_raw && !added.is_special && added.text.contains('▁') && piece.is_some_and(is_same)
}

fn be_piece(tokens: &mut Tokens, id: usize, added: &Added) {
    if let Some(Some(piece)) = tokens.get_mut(id) {
        *piece = Token { text: added.text.clone(), kind: kind::NORMAL, score: piece.score };
    }
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

fn byte_level(files: &Files<'_>, json: &Json) -> Result<(Tokens, Model), Error> {
    let folder = files.folder;
    if files.config.get("add_prefix_space").and_then(Json::as_bool) == Some(true) {
        let what = "`add_prefix_space` true in tokenizer_config.json, with a byte-level vocabulary";
        return Err(Error::Unsupported { what: what.to_owned() });
    }
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

/// Where a space goes in front, where `tokenizer.model` alone says it.
fn space_of_pieces(files: &Files<'_>, config: &Config, adds_space: bool) -> SpacePrefix {
    let flag = |key: &str| files.config.get(key).and_then(Json::as_bool);
    let is_gemma = matches!(config.family, Family::Gemma | Family::Gemma2 | Family::Gemma3);
    let adds = flag("add_prefix_space").unwrap_or(adds_space) && !is_gemma;
    let first_only = adds && flag("legacy") == Some(false);
    SpacePrefix { adds, first_only, unless_space: false }
}

/// Pieces with byte fall-back whose merges `tokenizer.json` lists: a piece's score is the place of its
/// first merge, so that merging by scores is merging in the order of the list.
fn pieces_of_json(folder: &Path, json: &Json) -> Result<Tokens, Error> {
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
    Ok(tokens)
}

impl Vocabulary {
    /// Whether BOS goes in front of each text and EOS behind it; unset where nothing says so.
    ///
    /// *Errors*: [`Error::Unsupported`] for a post-processor that adds something else.
    fn read_ends(&mut self, files: &Files<'_>) -> Result<(), Error> {
        let asked = |key: &str| files.config.get(key).and_then(Json::as_bool);
        let (asked_bos, asked_eos) = (asked("add_bos_token"), asked("add_eos_token"));
        let is_byte_level = matches!(self.model, Model::ByteLevel { .. });
        let template = files.tokenizer.as_ref().map(pre::template).transpose()?.flatten();
        let Some((before, after)) = template else {
            // A byte-level tokenizer adds what its template says, and nothing without one.
            let default = is_byte_level.then_some(false);
            (self.adds_bos, self.adds_eos) = (asked_bos.or(default), asked_eos);
            return Ok(());
        };
        self.check_end(before, "tokenizer.ggml.bos_token_id", "in front of")?;
        self.check_end(after, "tokenizer.ggml.eos_token_id", "behind")?;
        let (has_bos, has_eos) = (before.is_some(), after.is_some());
        // These classes of transformers rebuild the template, as their configuration asks.
        let class = files.config.get("tokenizer_class").and_then(Json::as_str).unwrap_or_default();
        let remakes = ["Llama", "CodeLlama", "Gemma"].iter().any(|name| class.starts_with(name));
        let decide = |has: bool, asked: Option<bool>| match asked {
            Some(asked) if remakes => asked,
            _ => has,
        };
        if asked_bos.is_some_and(|asked| asked != has_bos) {
            let which = if remakes { "tokenizer_config.json" } else { "tokenizer.json" };
            self.notes.add(format!(
                "tokenizer.json and `add_bos_token` contradict each other: {which} counts"
            ));
        }
        self.adds_bos = Some(decide(has_bos, asked_bos));
        self.adds_eos = Some(decide(has_eos, asked_eos));
        Ok(())
    }

    /// Checks that what is added to a text is the token that GGUF has a key for, which it becomes
    /// where there is none yet.
    fn check_end(
        &mut self,
        text: Option<&str>,
        key: &'static str,
        place: &str,
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
                let what = format!("a post-processor that puts `{}` {place} texts", quoted(text));
                Err(Error::Unsupported { what })
            }
        }
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
