//! SentencePiece-style vocabularies: pieces merge in the order of their scores.
//!
//! This is llama.cpp's algorithm for `tokenizer.ggml.model = "llama"`: spaces become `▁`, every
//! character is a symbol, and of all neighbours that make a token together those with the best
//! score merge first. Characters without a token become byte tokens.
//!
//! No merge crosses two characters that stand together in no token. So a text is cut before each `▁`
//! that follows a character which no token has before a `▁`: nearly all of them in nearly all
//! vocabularies. Each piece is merged by itself, with the same result.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use super::merge::{Merger, NO_TOKEN, pieces};
use super::vocab::{Kind, Vocab, damaged, numbers};
use crate::Error;

const SCORES: &str = "tokenizer.ggml.scores";
/// What a space is written as.
const SPACE: char = '▁';

/// Whether the space in front is for the start of a text alone: a key of Lilims' own.
const FIRST_ONLY: &str = "lilims.tokenizer.space_prefix_first_only";
/// Whether a text that starts with a space gets no other one in front: a key of Lilims' own.
const UNLESS_SPACE: &str = "lilims.tokenizer.space_prefix_unless_space";
/// Whether white space at the ends goes and repeated spaces become one. llama.cpp knows the key and
/// looks at it for other vocabularies only.
const REMOVES_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

pub(super) struct SentencePiece {
    adds_space: bool,
    is_first_only: bool,
    is_unless_space: bool,
    removes_spaces: bool,
    unknown: Option<u32>,
    tables: OnceLock<Tables>,
}

/// What the first encoding computes.
struct Tables {
    /// How urgent a merge into each token is.
    priorities: Vec<u32>,
    /// The characters that stand before a `▁` within a token, but `▁` itself.
    before_space: HashSet<char>,
}

impl SentencePiece {
    pub(super) fn from_gguf(vocab: &Vocab, unknown: Option<u32>) -> Result<Self, Error> {
        let metadata = vocab.metadata();
        let adds_space = metadata.get("tokenizer.ggml.add_space_prefix");
        let is_true = |key: &str| metadata.get(key).and_then(|v| v.as_bool()).unwrap_or(false);
        if metadata.get(SCORES).is_some() {
            numbers(metadata, SCORES, vocab.len()).map(drop)?;
        }
        Ok(Self {
            adds_space: adds_space.and_then(|value| value.as_bool()).unwrap_or(true),
            is_first_only: is_true(FIRST_ONLY),
            is_unless_space: is_true(UNLESS_SPACE),
            removes_spaces: is_true(REMOVES_SPACES),
            unknown,
            tables: OnceLock::new(),
        })
    }

    pub(super) fn is_first_only(&self) -> bool {
        self.is_first_only
    }

    /// Appends the tokens of `text`; `after_special` says that it starts the whole text or
    /// follows a special token. What `go_on` says after each word ends it.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        after_special: bool,
        ids: &mut Vec<u32>,
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let tables = self.tables.get_or_init(|| Tables::new(vocab));
        let text = if self.removes_spaces { without_extra_spaces(text) } else { text.into() };
        let text = &*text;
        let has_space = self.is_unless_space && text.starts_with([' ', SPACE]);
        let mut prefix = if self.adds_space && after_special && !has_space { "▁" } else { "" };
        let (mut merger, mut written) = (Merger::default(), String::new());
        for word in tables.words(text).flat_map(pieces) {
            go_on()?;
            written.clear();
            written.push_str(std::mem::take(&mut prefix));
            written.extend(word.chars().map(|c| if c == ' ' { '▁' } else { c }));
            self.encode_word(vocab, tables, &written, &mut merger, ids)?;
        }
        Ok(())
    }

    fn encode_word(
        &self,
        vocab: &Vocab,
        tables: &Tables,
        word: &str,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let characters = word.char_indices().map(|(at, c)| (NO_TOKEN, at..at + c.len_utf8()));
        let symbols = merger.merge(characters, |left, right| {
            let id = vocab.find(&word.as_bytes()[left.range().start..right.range().end])?;
            Some((*tables.priorities.get(id as usize)?, id))
        });
        for symbol in symbols {
            let bytes = &word.as_bytes()[symbol.range()];
            let id = if symbol.id == NO_TOKEN { vocab.find(bytes) } else { Some(symbol.id) };
            match id {
                Some(id) => ids.push(id),
                None => self.encode_bytes(vocab, bytes, ids)?,
            }
        }
        Ok(())
    }

    fn encode_bytes(&self, vocab: &Vocab, bytes: &[u8], ids: &mut Vec<u32>) -> Result<(), Error> {
        for &byte in bytes {
            let id = vocab.find_byte(byte).or_else(|| vocab.find(&[byte])).or(self.unknown);
            ids.push(id.ok_or_else(|| {
                damaged(format!("the vocabulary has no token for the byte {byte:#04x}"))
            })?);
        }
        Ok(())
    }
}

impl Tables {
    fn new(vocab: &Vocab) -> Self {
        let mut before_space = HashSet::new();
        for id in vocab.ids() {
            // Tokens that are no whole characters are part of no text.
            let Ok(text) = std::str::from_utf8(vocab.text(id)) else { continue };
            let spaces = text.match_indices(SPACE).map(|(at, _)| at);
            before_space.extend(spaces.filter_map(|at| text[..at].chars().next_back()));
        }
        before_space.remove(&SPACE);
        Self { priorities: read_priorities(vocab), before_space }
    }

    /// Cuts `text` where no token can cross: what each piece becomes depends on no other.
    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let is_space = |c: char| c == ' ' || c == SPACE;
        let mut rest = text;
        std::iter::from_fn(move || {
            let mut before = None;
            let cut = rest.char_indices().find(|&(_, c)| {
                let follows = before.replace(c).is_some_and(|before| {
                    !is_space(before) && !self.before_space.contains(&before)
                });
                is_space(c) && follows
            });
            let (word, after) = rest.split_at(cut.map_or(rest.len(), |(at, _)| at));
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    }
}

/// Spaces at the ends go, and several in a row become one, as SentencePiece's normalizer does it.
fn without_extra_spaces(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim_matches(' ');
    if !trimmed.contains("  ") {
        return trimmed.into();
    }
    let words = trimmed.split(' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").into()
}

/// Every token's priority; all are equal where the file has no scores.
fn read_priorities(vocab: &Vocab) -> Vec<u32> {
    match numbers(vocab.metadata(), SCORES, vocab.len()) {
        Ok(scores) => scores.map(priority).collect(),
        Err(_) => vec![0; vocab.len()],
    }
}

/// A score's place in the order of all scores.
fn priority(score: f32) -> u32 {
    // Adding zero makes -0.0 equal to 0.0, as comparing floats does.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The bytes of a token: `▁` is a space, `<0xNN>` a byte, user-defined tokens are as written.
pub(super) fn decode(vocab: &Vocab, id: u32, out: &mut Vec<u8>) {
    let text = vocab.text(id);
    match vocab.kind(id) {
        Kind::Normal | Kind::Piece => {
            let mut rest = text;
            while let Some(at) = memchr::memmem::find(rest, "▁".as_bytes()) {
                out.extend(&rest[..at]);
                out.push(b' ');
                rest = &rest[at + "▁".len()..];
            }
            out.extend(rest);
        }
        Kind::UserDefined => out.extend(text),
        Kind::Byte => out.extend(byte_of(text)),
        Kind::Unknown | Kind::Control | Kind::Unused => {}
    }
}

/// The byte that a token written `<0xNN>` stands for.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
