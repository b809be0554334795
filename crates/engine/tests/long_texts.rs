//! Texts and vocabularies of any size take memory proportional to their size, and tokenize like the
//! naive algorithm (A7).

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

mod child;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{Error, Tokenizer};
use lilims_gguf::{File, Value, Writer};
use proptest::prelude::*;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;
/// Address space of the child: the program, its stacks, and 16 times the longest text.
const CHILD_KIB: u64 = 384 << 10;
/// That of the child with a million special tokens.
const MANY_TOKENS_CHILD_KIB: u64 = 512 << 10;
const LONG: usize = 4 << 20;

fn open(model: &str, name: &str, tokens: &[(String, i32)], merges: &[&str]) -> Tokenizer {
    let mut writer = Writer::default();
    writer.str("general.name", name).str("tokenizer.ggml.model", model);
    writer.str("tokenizer.ggml.pre", "llama-bpe");
    let text = |token: &(String, i32)| token.0.clone().into_bytes();
    let texts: Vec<Vec<u8>> = tokens.iter().map(text).collect();
    writer
        .array("tokenizer.ggml.tokens", texts.iter().map(|text| Value::String(text)))
        .array("tokenizer.ggml.token_type", tokens.iter().map(|token| Value::I32(token.1)))
        .array("tokenizer.ggml.scores", (0..tokens.len()).map(|id| Value::F32(-(id as f32))))
        .array("tokenizer.ggml.merges", merges.iter().map(|it| Value::String(it.as_bytes())));
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    Tokenizer::from_gguf(&Arc::new(File::from_bytes(bytes).unwrap())).unwrap()
}

/// All bytes as in byte-level vocabularies.
fn byte_level(others: &[(&str, i32)]) -> Vec<(String, i32)> {
    let mut hidden = 0x100;
    let bytes = (0..=255u8).map(|byte| {
        let printable = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        hidden += u32::from(!printable);
        let code = if printable { u32::from(byte) } else { hidden - 1 };
        (char::from_u32(code).unwrap().to_string(), NORMAL)
    });
    bytes.chain(others.iter().map(|(text, kind)| ((*text).to_owned(), *kind))).collect()
}

fn sentencepiece(pieces: &[&str]) -> Vec<(String, i32)> {
    let first = [("<unk>", 2), ("<s>", CONTROL), ("</s>", CONTROL)];
    let first = first.map(|(text, kind)| (text.to_owned(), kind));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), BYTE));
    let pieces = pieces.iter().map(|piece| ((*piece).to_owned(), NORMAL));
    first.into_iter().chain(bytes).chain(pieces).collect()
}

/// The algorithm of llama.cpp: each special token in turn splits what the previous ones have left.
fn split_naively(text: &str, specials: &[(u32, &str)], strips: bool) -> Vec<Result<u32, String>> {
    let mut specials = specials.to_vec();
    specials.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let mut parts = vec![Err(text.to_owned())];
    for (id, special) in specials {
        let mut next = Vec::new();
        for part in parts {
            let Err(text) = part else {
                next.push(part);
                continue;
            };
            let mut rest = &text[..];
            while let Some((left, right)) = rest.split_once(special) {
                next.push(Err(left.to_owned()));
                next.push(Ok(id));
                rest = if strips { right.trim_start_matches([' ', '\n']) } else { right };
            }
            next.push(Err(rest.to_owned()));
        }
        parts = next;
    }
    parts.retain(|part| part.as_ref().err().is_none_or(|text| !text.is_empty()));
    parts
}

const SPECIALS: [(&str, i32); 12] = [
    ("ab", USER_DEFINED),
    ("bcd", USER_DEFINED),
    ("bcda", CONTROL),
    ("aa", USER_DEFINED),
    ("aaa", CONTROL),
    ("aaaaaaa", USER_DEFINED),
    ("cd", CONTROL),
    ("c", USER_DEFINED),
    ("cd", USER_DEFINED),
    (" b", USER_DEFINED),
    ("é", USER_DEFINED),
    ("dé d", CONTROL),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a7_splits_special_tokens_longest_first(
        text in "[abcdé \n]{0,60}|[ab]{0,80}|a{0,70}",
        parse_special in any::<bool>(),
        strips in any::<bool>(),
    ) {
        let name = if strips { "Phi-3 mini" } else { "" };
        let tokenizer = open("gpt2", name, &byte_level(&SPECIALS), &[]);
        let specials: Vec<(u32, &str)> = (256..)
            .zip(SPECIALS)
            .filter(|(_, (_, kind))| parse_special || *kind == USER_DEFINED)
            .map(|(id, (text, _))| (id, text))
            .collect();
        let plain = open("gpt2", "", &byte_level(&[]), &[]);
        let expected: Vec<u32> = split_naively(&text, &specials, strips)
            .into_iter()
            .flat_map(|part| match part {
                Ok(id) => vec![id],
                Err(text) => plain.encode(&text, false).unwrap(),
            })
            .collect();
        prop_assert_eq!(tokenizer.encode(&text, parse_special).unwrap(), expected);
    }
}

#[test]
fn a7_splitting_a_text_does_not_change_its_tokens() {
    // No token contains an inner space: the text is split at each space. In the second vocabulary
    // one does.
    let pieces = ["▁", "a", "b", "ab", "▁a", "▁▁", "▁b"];
    let apart = open("llama", "", &sentencepiece(&pieces), &[]);
    let id = |text: &str| 259 + pieces.iter().position(|piece| *piece == text).unwrap() as u32;
    let ids = |texts: &[&str]| texts.iter().map(|text| id(text)).collect::<Vec<_>>();
    let found = apart.encode("ab a  b▁a", false).unwrap();
    assert_eq!(found, ids(&["▁", "ab", "▁a", "▁▁", "b", "▁a"]));

    let pieces = ["b▁a", "▁", "a", "b", "ab", "▁a", "▁▁", "▁b", "b▁"];
    let together = open("llama", "", &sentencepiece(&pieces), &[]);
    let id = |text: &str| 259 + pieces.iter().position(|piece| *piece == text).unwrap() as u32;
    let ids = |texts: &[&str]| texts.iter().map(|text| id(text)).collect::<Vec<_>>();
    // `▁a` ranks before `b▁`, and then `b▁a` before all others.
    assert_eq!(together.encode("b a", false).unwrap(), ids(&["▁", "b▁a"]));
}

/// Vocabularies for the worst-case texts below.
fn tokenizers() -> Vec<Tokenizer> {
    let merges = ["a a", "aa aa", "Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ", "ĊĊ ĊĊ"];
    let merged = ["aa", "aaaa", "ĠĠ", "ĠĠĠĠ", "ĊĊ", "ĊĊĊĊ"].map(|text| (text, NORMAL));
    let special = ["bb", "bbb", "<x>", "c"].map(|text| (text, USER_DEFINED));
    let tokens = byte_level(&[&merged[..], &special[..]].concat());
    let pieces = ["▁", "a", "▁▁", "▁▁▁▁", "aa", "aaaa", "\n", "\n\n"];
    vec![
        open("gpt2", "", &tokens, &merges),
        open("llama", "", &sentencepiece(&pieces), &[]),
        open("gemma4", "", &sentencepiece(&pieces), &["a a", "▁ ▁", "\n \n"]),
    ]
}

#[test]
fn a7_long_texts_take_proportional_memory() {
    if !child::is_child("a7_long_texts_take_proportional_memory", CHILD_KIB) {
        return;
    }
    for tokenizer in tokenizers() {
        for part in ["a", "b", " ", "\n", "c", "<x>", " a", "1", "é", "▁"] {
            let text = part.repeat(LONG / part.len());
            let ids = tokenizer.encode(&text, true).unwrap();
            // The first token may be a prepended space.
            let max_ids = LONG + 2;
            assert!(ids.len() >= LONG / 16 && ids.len() <= max_ids, "{part:?}: {}", ids.len());
        }
    }
}

#[test]
fn a7_finds_a_million_special_tokens_in_one_pass() {
    if !child::is_child("a7_finds_a_million_special_tokens_in_one_pass", MANY_TOKENS_CHILD_KIB) {
        return;
    }
    const N_SPECIALS: u32 = 1_000_000;
    let mut tokens = byte_level(&[]);
    tokens.extend((0..N_SPECIALS).map(|n| (format!("t{n}x"), USER_DEFINED)));
    let tokenizer = open("gpt2", "", &tokens, &[]);
    // Nearly every position is a prefix of some token.
    let numbers = (0..100_000u32).map(|n| n.wrapping_mul(2_654_435_761) % (2 * N_SPECIALS));
    let text: String = numbers.clone().map(|n| format!("t{n}x")).collect();
    let ids = tokenizer.encode(&text, false).unwrap();
    let found: Vec<u32> = ids.into_iter().filter(|id| *id >= 256).map(|id| id - 256).collect();
    assert_eq!(found, numbers.filter(|n| *n < N_SPECIALS).collect::<Vec<_>>());
}

#[test]
fn a7_tokenizing_can_be_cancelled() {
    let cancel = AtomicBool::new(true);
    for tokenizer in tokenizers() {
        for text in ["a", "c c c"] {
            let result = tokenizer.encode_prompt_cancellable(text, true, &cancel);
            assert!(matches!(result, Err(Error::Cancelled)));
        }
        assert!(tokenizer.encode_cancellable("a c", true, &AtomicBool::new(false)).is_ok());
    }
}
