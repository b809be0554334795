//! Byte-pair encoding: neighbours merge in the order of `tokenizer.ggml.merges`.
//!
//! Byte-level vocabularies (`gpt2`) map each byte to a printable character, as GPT-2 does, so a
//! word is a string of those. `gemma4` keeps the text as it is, with `▁` for the space, and falls
//! back to byte tokens. The tables are built at the first encoding.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use lilims_gguf::Metadata;

use super::merge::{MAX_SYMBOLS, Merger, NO_TOKEN, Symbol, chunks};
use super::pre_tokenizer::{PreTokenizer, WordSplitter};
use super::vocab::{TokenKind, Vocab, string_array};
use crate::Error;

const MERGES: &str = "tokenizer.ggml.merges";

pub(super) struct Bpe {
    pre: &'static PreTokenizer,
    is_byte_level: bool,
    tables: OnceLock<Tables>,
}

struct Tables {
    splitter: WordSplitter,
    /// From two neighbouring tokens to the rank of their merge and the resulting token.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// The token of each byte, or [`NO_TOKEN`].
    bytes: Vec<u32>,
}

impl Bpe {
    /// Reads the merges; the tables are built at the first encoding.
    ///
    /// # Errors
    /// [`Error::Gguf`] without a list of merges, [`Error::Tokenizer`] if it does not hold strings.
    pub(super) fn from_gguf(
        vocab: &Vocab,
        pre: &'static PreTokenizer,
        is_byte_level: bool,
    ) -> Result<Self, Error> {
        string_array(vocab.metadata(), MERGES)?;
        Ok(Self { pre, is_byte_level, tables: OnceLock::new() })
    }

    /// Appends the tokens of `text`. `check_cancel` is called after each word; its error ends the
    /// encoding.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        ids: &mut Vec<u32>,
        check_cancel: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let tables = self.tables.get_or_init(|| self.build(vocab));
        let (mut merger, mut buffer) = (Merger::default(), String::new());
        tables.splitter.words(text, &mut |word| {
            check_cancel()?;
            if !self.is_byte_level {
                buffer.clear();
                word.split(' ').enumerate().for_each(|(idx, part)| {
                    buffer.push_str(if idx == 0 { "" } else { "▁" });
                    buffer.push_str(part);
                });
                tables.encode_raw(vocab, &buffer, &mut merger, ids);
                return Ok(());
            }
            if self.pre.ignores_merges && word.len() <= MAX_SYMBOLS {
                buffer.clear();
                buffer.extend(word.bytes().map(byte_to_char));
                if let Some(id) = vocab.find(buffer.as_bytes()) {
                    ids.push(id);
                    return Ok(());
                }
            }
            for chunk in word.as_bytes().chunks(MAX_SYMBOLS) {
                let bytes = chunk.iter().enumerate();
                let symbols =
                    bytes.map(|(at, &byte)| (tables.bytes[usize::from(byte)], at..at + 1));
                let merged = tables.merge(&mut merger, symbols);
                ids.extend(merged.map(|symbol| symbol.id).filter(is_token));
            }
            Ok(())
        })
    }

    fn build(&self, vocab: &Vocab) -> Tables {
        let mut scratch = [0; 4];
        let bytes = (0..=255).map(|byte| {
            if self.is_byte_level {
                vocab.find(byte_to_char(byte).encode_utf8(&mut scratch).as_bytes())
            } else {
                vocab.find_byte(byte)
            }
        });
        let bytes = bytes.map(|id| id.unwrap_or(NO_TOKEN)).collect();
        Tables { splitter: WordSplitter::new(self.pre), merges: read_merges(vocab), bytes }
    }
}

/// The size in bytes of the merge table of a file: an entry and a control byte per slot, of which
/// at least an eighth stays empty.
pub(super) fn merges_bytes(metadata: Metadata<'_>) -> usize {
    let n_merges = metadata.array(MERGES).map_or(0, |list| list.len());
    let n_slots = (n_merges * 8 / 7).next_power_of_two();
    if n_merges == 0 { 0 } else { n_slots * (size_of::<((u32, u32), (u32, u32))>() + 1) }
}

impl Tables {
    fn merge(
        &self,
        merger: &mut Merger,
        symbols: impl IntoIterator<Item = (u32, Range<usize>)>,
    ) -> impl Iterator<Item = Symbol> {
        merger.merge(symbols, |left, right| {
            let &(rank, id) = self.merges.get(&(left.id, right.id))?;
            Some((u32::MAX - rank, id))
        })
    }

    fn encode_raw(&self, vocab: &Vocab, word: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        // Runs of newlines have tokens, but no merges that lead to them.
        if word.starts_with('\n')
            && let Some(id) = vocab.find(word.as_bytes())
        {
            ids.push(id);
            return;
        }
        for chunk in chunks(word) {
            let characters = chunk.char_indices().map(|(at, c)| {
                let range = at..at + c.len_utf8();
                (vocab.find(&chunk.as_bytes()[range.clone()]).unwrap_or(NO_TOKEN), range)
            });
            for symbol in self.merge(merger, characters) {
                if symbol.id == NO_TOKEN {
                    let bytes = chunk[symbol.range()].bytes();
                    ids.extend(bytes.map(|byte| self.bytes[byte as usize]).filter(is_token));
                } else {
                    ids.push(symbol.id);
                }
            }
        }
    }
}

fn is_token(id: &u32) -> bool {
    *id != NO_TOKEN
}

/// Reads the merges, without those whose tokens are not in the vocabulary.
fn read_merges(vocab: &Vocab) -> HashMap<(u32, u32), (u32, u32)> {
    let Ok(list) = string_array(vocab.metadata(), MERGES) else { return HashMap::new() };
    let mut merges = HashMap::with_capacity(list.len());
    let mut merged = Vec::new();
    for (rank, line) in list.strings().enumerate() {
        // The first part may itself be a space, so the separator is a later one.
        let separator = line.iter().skip(1).position(|&byte| byte == b' ').map(|at| at + 1);
        let Some((left, right)) = separator.map(|at| (&line[..at], &line[at + 1..])) else {
            continue;
        };
        merged.clear();
        merged.extend(left);
        merged.extend(right);
        let ids = (vocab.find(left), vocab.find(right), vocab.find(&merged));
        if let (Some(left), Some(right), Some(id)) = ids {
            merges.entry((left, right)).or_insert((rank as u32, id));
        }
    }
    merges
}

/// The character for `byte` in a byte-level vocabulary.
///
/// Printable bytes map to themselves, the others, in order, to U+0100 and up.
fn byte_to_char(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
        0x00..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte) - 0x7f,
        0xad => 0x143,
    };
    char::from_u32(code).expect("codes below U+0144 are characters")
}

/// The byte for `c` in a byte-level vocabulary.
fn char_to_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// The bytes of a token of a byte-level vocabulary.
pub(super) fn decode(vocab: &Vocab, id: u32, out: &mut Vec<u8>) {
    let text = vocab.text(id);
    match vocab.kind(id) {
        TokenKind::Normal | TokenKind::SplittingNormal => match std::str::from_utf8(text) {
            Ok(text) => text.chars().for_each(|c| match char_to_byte(c) {
                Some(byte) => out.push(byte),
                None => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }),
            Err(_) => out.extend(text),
        },
        TokenKind::UserDefined => out.extend(text),
        TokenKind::Byte => out.extend(super::sentencepiece::byte_of(text)),
        TokenKind::Unknown | TokenKind::Control | TokenKind::Unused => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_mapping_round_trips() {
        for byte in 0..=255 {
            assert_eq!(char_to_byte(byte_to_char(byte)), Some(byte));
        }
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
    }
}
