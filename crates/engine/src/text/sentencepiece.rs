//! SentencePiece-style tokenization: symbols merge in the order of their scores.
//!
//! This is llama.cpp's algorithm for `tokenizer.ggml.model = "llama"`: spaces become `▁`, every
//! character is a symbol, and of all neighbours that form a token together those with the best
//! score merge first. Characters without a token become byte tokens.
//!
//! No merge crosses two characters that are adjacent in no token. So a text is split before each
//! `▁` that follows a character which no token has before a `▁`: nearly all of them in nearly all
//! vocabularies. Each part is merged separately, with the same result.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::OnceLock;

use super::merge::{Merger, NO_TOKEN, chunks};
use super::vocab::{TokenKind, Vocab, invalid, numbers};
use crate::Error;

const SCORES: &str = "tokenizer.ggml.scores";
/// The character for a space.
const SPACE: char = '▁';

/// Metadata key of Lilims: whether the prepended space is only for the start of a text.
const FIRST_ONLY: &str = "lilims.tokenizer.space_prefix_first_only";
/// Metadata key of Lilims: whether a text that starts with a space gets no prepended space.
const UNLESS_SPACE: &str = "lilims.tokenizer.space_prefix_unless_space";
/// Whether spaces at the ends are trimmed and repeated spaces collapsed. llama.cpp reads this key
/// only for other vocabularies.
const REMOVES_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

pub(super) struct SentencePiece {
    adds_space: bool,
    is_first_only: bool,
    is_unless_space: bool,
    removes_spaces: bool,
    unknown: Option<u32>,
    tables: OnceLock<Tables>,
}

/// Tables that the first encoding computes.
struct Tables {
    /// The priority of merging into each token.
    priorities: Vec<u32>,
    /// The characters that precede a `▁` within a token, except `▁` itself.
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

    /// Appends the tokens of `text`. `after_special` means that it starts the whole text or follows
    /// a special token. `check_cancel` is called after each word; its error ends the encoding.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        after_special: bool,
        ids: &mut Vec<u32>,
        check_cancel: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let tables = self.tables.get_or_init(|| Tables::new(vocab));
        let text = if self.removes_spaces { without_extra_spaces(text) } else { text.into() };
        let text = &*text;
        let has_space = self.is_unless_space && text.starts_with([' ', SPACE]);
        let mut prefix = if self.adds_space && after_special && !has_space { "▁" } else { "" };
        let (mut merger, mut buffer) = (Merger::default(), String::new());
        for word in tables.words(text).flat_map(chunks) {
            check_cancel()?;
            buffer.clear();
            buffer.push_str(std::mem::take(&mut prefix));
            buffer.extend(word.chars().map(|c| if c == ' ' { '▁' } else { c }));
            self.encode_word(vocab, tables, &buffer, &mut merger, ids)?;
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
                invalid(format!("the vocabulary has no token for the byte {byte:#04x}"))
            })?);
        }
        Ok(())
    }
}

impl Tables {
    fn new(vocab: &Vocab) -> Self {
        let mut before_space = HashSet::new();
        for id in vocab.ids() {
            // Tokens that are not valid UTF-8 are part of no text.
            let Ok(text) = std::str::from_utf8(vocab.text(id)) else { continue };
            let spaces = text.match_indices(SPACE).map(|(at, _)| at);
            before_space.extend(spaces.filter_map(|at| text[..at].chars().next_back()));
        }
        before_space.remove(&SPACE);
        Self { priorities: read_priorities(vocab), before_space }
    }

    /// Splits `text` where no token can cross: the tokens of each part depend on no other.
    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let is_space = |c: char| c == ' ' || c == SPACE;
        let mut rest = text;
        std::iter::from_fn(move || {
            let mut before = None;
            let split = rest.char_indices().find(|&(_, c)| {
                let follows = before.replace(c).is_some_and(|before| {
                    !is_space(before) && !self.before_space.contains(&before)
                });
                is_space(c) && follows
            });
            let (word, after) = rest.split_at(split.map_or(rest.len(), |(at, _)| at));
            rest = after;
            (!word.is_empty()).then_some(word)
        })
    }
}

/// Trims spaces and collapses repeated ones, like the normalizer of SentencePiece.
fn without_extra_spaces(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim_matches(' ');
    if !trimmed.contains("  ") {
        return trimmed.into();
    }
    let words = trimmed.split(' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").into()
}

/// The priority of every token; all equal if the file has no scores.
fn read_priorities(vocab: &Vocab) -> Vec<u32> {
    match numbers(vocab.metadata(), SCORES, vocab.len()) {
        Ok(scores) => scores.map(priority).collect(),
        Err(_) => vec![0; vocab.len()],
    }
}

/// Maps a score to an integer with the same order.
fn priority(score: f32) -> u32 {
    // Adding zero turns -0.0 into 0.0, which compares equal.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// Decodes a token: `▁` is a space, `<0xNN>` a byte, user-defined tokens are literal.
pub(super) fn decode(vocab: &Vocab, id: u32, out: &mut Vec<u8>) {
    let text = vocab.text(id);
    match vocab.kind(id) {
        TokenKind::Normal | TokenKind::SplittingNormal => {
            let mut rest = text;
            while let Some(at) = memchr::memmem::find(rest, "▁".as_bytes()) {
                out.extend(&rest[..at]);
                out.push(b' ');
                rest = &rest[at + "▁".len()..];
            }
            out.extend(rest);
        }
        TokenKind::UserDefined => out.extend(text),
        TokenKind::Byte => out.extend(byte_of(text)),
        TokenKind::Unknown | TokenKind::Control | TokenKind::Unused => {}
    }
}

/// The byte of a token with the text `<0xNN>`.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
