//! The vocabulary: maps tokens to bytes and bytes to tokens.
//!
//! Token texts are borrowed from the model file, so opening a vocabulary of 262,144 tokens costs a
//! megabyte and one scan. The index from text to token is built when text is first encoded;
//! decoding does not need it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use lilims_gguf::{Array, File, Metadata, Value};

use crate::Error;

/// The type of a token, from `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Normal,
    /// A normal token, produced by merges, that also splits texts where it occurs literally.
    SplittingNormal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl TokenKind {
    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Unused,
        }
    }

    /// Whether texts are split at such tokens before anything else.
    pub(super) fn splits_text(self) -> bool {
        matches!(self, Self::SplittingNormal | Self::Control | Self::UserDefined | Self::Unknown)
    }
}

/// Metadata key of Lilims: ids of normal tokens that are [`TokenKind::SplittingNormal`].
const SPLITS_TEXT: &str = "lilims.tokenizer.splits_text_token_ids";

/// Tokens and their texts.
pub(super) struct Vocab {
    file: Arc<File>,
    /// Offset of each token's text in the file; its length is in the 8 bytes before.
    starts: Vec<u32>,
    kinds: Vec<TokenKind>,
    index: OnceLock<Index>,
}

impl Vocab {
    /// Reads `tokenizer.ggml.tokens` and `tokenizer.ggml.token_type`.
    pub(super) fn from_gguf(file: &Arc<File>) -> Result<Self, Error> {
        let metadata = file.metadata();
        let tokens = string_array(metadata, "tokenizer.ggml.tokens")?;
        let base = file.as_bytes().as_ptr() as usize;
        let starts: Vec<u32> = tokens
            .strings()
            .map(|text| u32::try_from(text.as_ptr() as usize - base))
            .collect::<Result<_, _>>()
            .map_err(|_| invalid("the vocabulary is more than 4 GiB into the file".to_owned()))?;
        if starts.is_empty() {
            return Err(invalid("the vocabulary is empty".to_owned()));
        }
        let mut kinds = match metadata.get("tokenizer.ggml.token_type") {
            None => vec![TokenKind::Normal; starts.len()],
            Some(_) => numbers(metadata, "tokenizer.ggml.token_type", starts.len())?
                .map(|number| TokenKind::from_number(number as i64))
                .collect(),
        };
        for id in listed_ids(metadata, SPLITS_TEXT, kinds.len()) {
            kinds[id as usize] = TokenKind::SplittingNormal;
        }
        Ok(Self { file: Arc::clone(file), starts, kinds, index: OnceLock::new() })
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn metadata(&self) -> Metadata<'_> {
        self.file.metadata()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.starts.len() as u32
    }

    /// The token's text; empty if there is no such token.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        let Some(&start) = self.starts.get(id as usize) else { return &[] };
        let start = start as usize;
        let bytes = self.file.as_bytes();
        let len = bytes[start - 8..start].try_into().map_or(0, u64::from_le_bytes);
        &bytes[start..start + len as usize]
    }

    /// The token's kind; [`TokenKind::Unused`] if there is no such token.
    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    pub(super) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        self.kinds[id as usize] = kind;
    }

    /// The token with exactly this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.index.get_or_init(|| Index::new(self)).find(self, text)
    }

    /// The token `<0xNN>` for `byte`.
    pub(super) fn find_byte(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes())
    }
}

/// The tokens by their texts, which stay in the file.
///
/// The hash is seeded at random, so that no crafted vocabulary can make all tokens collide.
struct Index {
    hasher: RandomState,
    ids: HashTable<u32>,
}

/// The size in bytes of a vocabulary of `n_tokens` with its index; the texts stay in the file.
pub(super) fn size_bytes(n_tokens: usize) -> usize {
    // At most seven of eight buckets are filled, each with an id and a byte of its hash.
    let n_buckets = (n_tokens * 8 / 7).next_power_of_two();
    n_tokens * (size_of::<u32>() + size_of::<TokenKind>()) + n_buckets * (size_of::<u32>() + 1)
}

impl Index {
    fn new(vocab: &Vocab) -> Self {
        let hasher = RandomState::new();
        let mut ids = HashTable::with_capacity(vocab.len());
        for id in vocab.ids() {
            let text = vocab.text(id);
            if text.is_empty() {
                continue;
            }
            let is_same = |other: &u32| vocab.text(*other) == text;
            let hash_of = |id: &u32| hasher.hash_one(vocab.text(*id));
            match ids.entry(hasher.hash_one(text), is_same, hash_of) {
                // Of two tokens with the same text the later one is found, as in llama.cpp.
                Entry::Occupied(mut entry) => *entry.get_mut() = id,
                Entry::Vacant(entry) => drop(entry.insert(id)),
            }
        }
        Self { hasher, ids }
    }

    fn find(&self, vocab: &Vocab, text: &[u8]) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(text), |id| vocab.text(*id) == text).copied()
    }
}

/// The array of strings at `key`.
pub(super) fn string_array<'a>(metadata: Metadata<'a>, key: &str) -> Result<Array<'a>, Error> {
    let array = metadata.array(key)?;
    match array.iter().next() {
        None | Some(Value::String(_)) => Ok(array),
        Some(_) => Err(invalid(format!("`{key}` does not hold strings"))),
    }
}

/// The ids below `n_tokens` in the array at `key`.
pub(super) fn listed_ids(metadata: Metadata<'_>, key: &str, n_tokens: usize) -> Vec<u32> {
    let Ok(array) = metadata.array(key) else { return Vec::new() };
    let ids = array.iter().take(n_tokens).filter_map(|value| value.as_u64());
    let ids = ids.filter_map(|id| u32::try_from(id).ok());
    ids.filter(|&id| (id as usize) < n_tokens).collect()
}

/// The first `n` numbers of the array at `key`, which must have at least as many.
pub(super) fn numbers<'a>(
    metadata: Metadata<'a>,
    key: &str,
    n: usize,
) -> Result<impl Iterator<Item = f32> + use<'a>, Error> {
    let array = metadata.array(key)?;
    if array.iter().next().is_some_and(|value| value.as_f32().is_none()) {
        return Err(invalid(format!("`{key}` does not hold numbers")));
    }
    if array.len() < n {
        return Err(invalid(format!("`{key}` has {} values for {n} tokens", array.len())));
    }
    Ok(array.iter().take(n).filter_map(|value| value.as_f32()))
}

pub(super) fn invalid(what: String) -> Error {
    Error::Tokenizer { what }
}
