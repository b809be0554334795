//! SentencePiece-style vocabularies: pieces merge in the order of their scores.
//!
//! This is llama.cpp's algorithm for `tokenizer.ggml.model = "llama"`: spaces become `▁`, every
//! character is a symbol, and of all neighbours that make a token together those with the best
//! score merge first. Characters without a token become byte tokens.

use std::sync::OnceLock;

use super::merge::{NO_TOKEN, merge};
use super::vocab::{Kind, Vocab, damaged, numbers};
use crate::Error;

const SCORES: &str = "tokenizer.ggml.scores";

pub(super) struct SentencePiece {
    adds_space: bool,
    unknown: Option<u32>,
    /// How urgent a merge into each token is, computed from the scores at the first encoding.
    priorities: OnceLock<Vec<u32>>,
}

impl SentencePiece {
    pub(super) fn from_gguf(vocab: &Vocab, unknown: Option<u32>) -> Result<Self, Error> {
        let metadata = vocab.metadata();
        let adds_space = metadata.get("tokenizer.ggml.add_space_prefix");
        if metadata.get(SCORES).is_some() {
            numbers(metadata, SCORES, vocab.len()).map(drop)?;
        }
        Ok(Self {
            adds_space: adds_space.and_then(|value| value.as_bool()).unwrap_or(true),
            unknown,
            priorities: OnceLock::new(),
        })
    }

    /// Appends the tokens of `text`; `after_special` says that it starts the whole text or
    /// follows a special token.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        after_special: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let prefix = if self.adds_space && after_special { "▁" } else { "" };
        let text = format!("{prefix}{}", text.replace(' ', "▁"));
        let priorities = self.priorities.get_or_init(|| read_priorities(vocab));
        let characters = text.char_indices().map(|(at, c)| (NO_TOKEN, at..at + c.len_utf8()));
        let symbols = merge(characters, |left, right| {
            let id = vocab.find(&text.as_bytes()[left.range().start..right.range().end])?;
            Some((*priorities.get(id as usize)?, id))
        });
        for symbol in symbols {
            let bytes = &text.as_bytes()[symbol.range()];
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
        Kind::Normal => {
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
