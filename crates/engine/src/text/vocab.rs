//! The vocabulary: which bytes each token has, and which token given bytes are.
//!
//! Token texts are borrowed from the model file, so that a vocabulary of 262,144 tokens costs a
//! megabyte and a scan to open. The index from text to token is built when text is first encoded;
//! decoding does without.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use lilims_gguf::{Array, File, Metadata, Value};

use crate::Error;

/// What a token stands for, as `tokenizer.ggml.token_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// A piece that merges make, at which texts are split as well where it is written out.
    Piece,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
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

    /// Whether texts are split at such a token before anything else happens to them.
    pub(super) fn splits_text(self) -> bool {
        matches!(self, Self::Piece | Self::Control | Self::UserDefined | Self::Unknown)
    }
}

/// Normal tokens that are [`Kind::Piece`]: a key of Lilims' own.
const SPLITS_TEXT: &str = "lilims.tokenizer.splits_text_token_ids";

/// Tokens and their texts.
pub(super) struct Vocab {
    file: Arc<File>,
    /// Where each token's text starts in the file; its length stands in the 8 bytes before.
    starts: Vec<u32>,
    kinds: Vec<Kind>,
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
            .map_err(|_| damaged("the vocabulary lies more than 4 GiB into the file".to_owned()))?;
        if starts.is_empty() {
            return Err(damaged("the vocabulary is empty".to_owned()));
        }
        let mut kinds = match metadata.get("tokenizer.ggml.token_type") {
            None => vec![Kind::Normal; starts.len()],
            Some(_) => numbers(metadata, "tokenizer.ggml.token_type", starts.len())?
                .map(|number| Kind::from_number(number as i64))
                .collect(),
        };
        for id in listed_ids(metadata, SPLITS_TEXT, kinds.len()) {
            kinds[id as usize] = Kind::Piece;
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

    /// The token's kind; [`Kind::Unused`] if there is no such token.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        self.kinds[id as usize] = kind;
    }

    /// The token whose text is exactly `text`.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.index.get_or_init(|| Index::new(self)).find(self, text)
    }

    /// The token `<0xNN>` for `byte`.
    pub(super) fn find_byte(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes())
    }
}

/// An open-addressing table from text to token.
///
/// Texts stay in the file; a slot holds half of the text's hash and the token. The hash is seeded
/// at random, so that no crafted vocabulary can make every token collide.
struct Index {
    hasher: RandomState,
    slots: Vec<(u32, u32)>,
}

const EMPTY: u32 = u32::MAX;

/// Slots of an index of `n_tokens`.
fn n_slots(n_tokens: usize) -> usize {
    (n_tokens * 2).next_power_of_two()
}

/// Bytes that a vocabulary of `n_tokens` takes with its index; the texts stay in the file.
pub(super) fn size_bytes(n_tokens: usize) -> usize {
    n_tokens * (size_of::<u32>() + size_of::<Kind>()) + n_slots(n_tokens) * size_of::<(u32, u32)>()
}

impl Index {
    fn new(vocab: &Vocab) -> Self {
        let slots = vec![(0, EMPTY); n_slots(vocab.len())];
        let mut index = Self { hasher: RandomState::new(), slots };
        for id in vocab.ids() {
            let text = vocab.text(id);
            if !text.is_empty() {
                // Of two tokens with one text the later one is found, as in llama.cpp.
                let (slot, hash) = index.probe(vocab, text);
                index.slots[slot] = (hash, id);
            }
        }
        index
    }

    fn find(&self, vocab: &Vocab, text: &[u8]) -> Option<u32> {
        let (slot, _) = self.probe(vocab, text);
        Some(self.slots[slot].1).filter(|&id| id != EMPTY)
    }

    /// The slot that holds `text` or could, and the half of the hash that goes with it.
    fn probe(&self, vocab: &Vocab, text: &[u8]) -> (usize, u32) {
        let hash = self.hasher.hash_one(text);
        let (check, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut slot = hash as usize & mask;
        loop {
            let (slot_check, id) = self.slots[slot];
            if id == EMPTY || (slot_check == check && vocab.text(id) == text) {
                return (slot, check);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// The array of strings at `key`.
pub(super) fn string_array<'a>(metadata: Metadata<'a>, key: &str) -> Result<Array<'a>, Error> {
    let array = metadata.array(key)?;
    match array.iter().next() {
        None | Some(Value::String(_)) => Ok(array),
        Some(_) => Err(damaged(format!("`{key}` does not hold texts"))),
    }
}

/// The tokens among the first `n_tokens` that the array of ids at `key` names.
pub(super) fn listed_ids(metadata: Metadata<'_>, key: &str, n_tokens: usize) -> Vec<u32> {
    let Ok(array) = metadata.array(key) else { return Vec::new() };
    let ids = array.iter().take(n_tokens).filter_map(|value| value.as_u64());
    let ids = ids.filter_map(|id| u32::try_from(id).ok());
    ids.filter(|&id| (id as usize) < n_tokens).collect()
}

/// The first `n` numbers of the array at `key`, which must have as many.
pub(super) fn numbers<'a>(
    metadata: Metadata<'a>,
    key: &str,
    n: usize,
) -> Result<impl Iterator<Item = f32> + use<'a>, Error> {
    let array = metadata.array(key)?;
    if array.iter().next().is_some_and(|value| value.as_f32().is_none()) {
        return Err(damaged(format!("`{key}` does not hold numbers")));
    }
    if array.len() < n {
        return Err(damaged(format!("`{key}` has {} values for {n} tokens", array.len())));
    }
    Ok(array.iter().take(n).filter_map(|value| value.as_f32()))
}

pub(super) fn damaged(what: String) -> Error {
    Error::Tokenizer { what }
}
