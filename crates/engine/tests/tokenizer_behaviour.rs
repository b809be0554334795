//! The tokenizer on small artificial vocabularies: behaviour of each kind, and of damaged files.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lilims_engine::text::DecodeStream;
use lilims_engine::{Error, Tokenizer};
use lilims_gguf::{File, Value, Writer};
use proptest::prelude::*;

/// The time limit for a megabyte of any text: a slow shared machine needs a second or two, a
/// quadratic algorithm hours.
const MAX_TIME: Duration = Duration::from_secs(20);

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// The content of a vocabulary.
#[derive(Clone)]
struct Plan {
    model: &'static str,
    pre: Option<&'static str>,
    tokens: Vec<(Vec<u8>, i32, f32)>,
    merges: Option<Vec<&'static str>>,
}

impl Plan {
    fn write(&self) -> Writer {
        let mut writer = Writer::default();
        writer.str("tokenizer.ggml.model", self.model);
        if let Some(pre) = self.pre {
            writer.str("tokenizer.ggml.pre", pre);
        }
        let tokens = &self.tokens;
        writer
            .array("tokenizer.ggml.tokens", tokens.iter().map(|t| Value::String(&t.0)))
            .array("tokenizer.ggml.token_type", tokens.iter().map(|t| Value::I32(t.1)))
            .array("tokenizer.ggml.scores", tokens.iter().map(|t| Value::F32(t.2)));
        if let Some(merges) = &self.merges {
            let merges = merges.iter().map(|merge| Value::String(merge.as_bytes()));
            writer.array("tokenizer.ggml.merges", merges);
        }
        writer
    }

    fn id(&self, text: &str) -> u32 {
        self.tokens.iter().position(|token| token.0 == text.as_bytes()).expect("a token") as u32
    }

    fn ids(&self, texts: &[&str]) -> Vec<u32> {
        texts.iter().map(|text| self.id(text)).collect()
    }
}

fn open(writer: &Writer) -> Result<Tokenizer, Error> {
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    Tokenizer::from_gguf(&Arc::new(File::from_bytes(bytes).unwrap()))
}

fn normal(texts: &[&str]) -> Vec<(Vec<u8>, i32, f32)> {
    texts.iter().map(|text| (text.as_bytes().to_vec(), NORMAL, 0.0)).collect()
}

fn byte_tokens() -> impl Iterator<Item = (Vec<u8>, i32, f32)> {
    (0..=255u8).map(|byte| (format!("<0x{byte:02X}>").into_bytes(), BYTE, 0.0))
}

/// All bytes, a few merges and special tokens.
fn byte_level() -> Plan {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let hidden: Vec<u8> = (0..=255).filter(|&byte| !printable(byte)).collect();
    let character = |byte: u8| match hidden.iter().position(|&other| other == byte) {
        Some(idx) => char::from_u32(0x100 + idx as u32).unwrap(),
        None => char::from(byte),
    };
    let bytes = (0..=255).map(|byte| (character(byte).to_string().into_bytes(), NORMAL, 0.0));
    let mut tokens: Vec<_> = bytes.collect();
    tokens.extend(normal(&["he", "ll", "hell", "hello", "Ġhello", "aa", "aaaa", "ĠĠ"]));
    tokens.push((b"<|im_end|>".to_vec(), CONTROL, 0.0));
    tokens.push((b"<tool>".to_vec(), USER_DEFINED, 0.0));
    tokens.push((b"<tool>x".to_vec(), USER_DEFINED, 0.0));
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "a a", "aa aa", "Ġ Ġ"];
    Plan { model: "gpt2", pre: Some("gpt-2"), tokens, merges: Some(merges.to_vec()) }
}

fn sentencepiece() -> Plan {
    let mut tokens = vec![
        (b"<unk>".to_vec(), 2, 0.0),
        (b"<s>".to_vec(), CONTROL, 0.0),
        (b"</s>".to_vec(), CONTROL, 0.0),
    ];
    tokens.extend(byte_tokens());
    let pieces = [("▁", -9.0), ("a", -8.0), ("b", -8.5), ("ab", -3.0), ("ba", -2.0), ("▁a", -4.0)];
    tokens.extend(pieces.map(|(text, score)| (text.as_bytes().to_vec(), NORMAL, score)));
    Plan { model: "llama", pre: None, tokens, merges: None }
}

fn gemma4() -> Plan {
    let mut tokens = normal(&["<pad>", "▁", "a", "b", "▁a", "ab", "\n", "\n\n"]);
    tokens.extend(byte_tokens());
    tokens.push((b"<bos>".to_vec(), CONTROL, 0.0));
    tokens.push((b"<turn|>".to_vec(), CONTROL, 0.0));
    Plan { model: "gemma4", pre: None, tokens, merges: Some(vec!["a b", "▁ a"]) }
}

#[test]
fn bpe_merges_in_order_within_words() {
    let plan = byte_level();
    let tokenizer = open(&plan.write()).unwrap();
    let ids = tokenizer.encode("hello hello", false).unwrap();
    assert_eq!(ids, plan.ids(&["hello", "Ġhello"]));
    assert!(tokenizer.encode("", false).unwrap().is_empty());
    assert_eq!(tokenizer.encode("aaaaa", false).unwrap(), plan.ids(&["aaaa", "a"]));
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (None, false));
}

#[test]
fn special_tokens_are_split_first() {
    let plan = byte_level();
    let tokenizer = open(&plan.write()).unwrap();
    let end = plan.id("<|im_end|>");
    let ids = tokenizer.encode("a<|im_end|>", true).unwrap();
    assert_eq!(ids, [plan.id("a"), end]);
    assert!(!tokenizer.encode("a<|im_end|>", false).unwrap().contains(&end));
    // The longer of two special tokens wins; user-defined ones are always matched.
    let ids = tokenizer.encode("<tool>a<tool>x", false).unwrap();
    assert_eq!(ids, plan.ids(&["<tool>", "a", "<tool>x"]));
    assert_eq!(tokenizer.decode(&ids), "<tool>a<tool>x");
    assert_eq!(tokenizer.decode(&[end]), "");
    assert_eq!(tokenizer.token_text(end), "<|im_end|>");
    assert!(tokenizer.ends_turn(end) && !tokenizer.ends_turn(plan.id("<tool>")));
    assert!(!tokenizer.ends_turn(u32::MAX) && tokenizer.token_text(u32::MAX).is_empty());
}

#[test]
fn sentencepiece_merges_by_score() {
    let plan = sentencepiece();
    let tokenizer = open(&plan.write()).unwrap();
    let ids = tokenizer.encode("aba", false).unwrap();
    assert_eq!(ids, plan.ids(&["▁a", "ba"]));
    let ids = tokenizer.encode("é", false).unwrap();
    assert_eq!(ids, plan.ids(&["▁", "<0xC3>", "<0xA9>"]));
    assert_eq!(tokenizer.decode(&ids), " é");
    // A space is prepended to a text and after every special token.
    let ids = tokenizer.encode_prompt("<s>a</s>b", true).unwrap();
    assert_eq!(ids, plan.ids(&["<s>", "▁a", "</s>", "▁", "b"]));
    assert_eq!(tokenizer.encode_prompt("", false).unwrap(), plan.ids(&["<s>"]));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
}

#[test]
fn space_prefix_can_be_disabled() {
    let plan = sentencepiece();
    let mut writer = plan.write();
    writer.value("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    writer.value("tokenizer.ggml.add_bos_token", Value::Bool(false));
    let tokenizer = open(&writer).unwrap();
    assert_eq!(tokenizer.encode_prompt("a a", false).unwrap(), plan.ids(&["a", "▁a"]));
}

#[test]
fn gemma4_merges_plain_text() {
    let plan = gemma4();
    let mut writer = plan.write();
    writer.value("tokenizer.ggml.bos_token_id", Value::U32(plan.id("<bos>")));
    let tokenizer = open(&writer).unwrap();
    let ids = tokenizer.encode("ab a\n\né", false).unwrap();
    assert_eq!(ids, plan.ids(&["ab", "▁a", "\n\n", "<0xC3>", "<0xA9>"]));
    assert_eq!(tokenizer.decode(&ids), "ab a\n\né");
    assert_eq!(tokenizer.encode_prompt("a", false).unwrap(), plan.ids(&["<bos>", "a"]));
    assert!(tokenizer.ends_turn(plan.id("<turn|>")));
}

#[test]
fn names_unsupported_tokenizers() {
    let refusal = |plan: Plan| match open(&plan.write()) {
        Err(Error::Unsupported { what }) => what,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{:?} was accepted", plan.pre),
    };
    let what = refusal(Plan { pre: Some("klingon"), ..byte_level() });
    assert!(what.contains("klingon") && what.contains("smollm"), "{what}");
    assert!(refusal(Plan { pre: None, ..byte_level() }).contains("pre-tokenizer"));
    assert!(refusal(Plan { model: "bert", ..byte_level() }).contains("bert"));
}

#[test]
fn pre_tokenizers_keep_the_text() {
    let text = "It's 12345 días,\r\n\t  ok  ！ 한국어 日本 'LL  \u{a0}e\u{301} ";
    for pre in [
        "gpt-2",
        "smollm",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "starcoder",
        "refact",
        "command-r",
        "deepseek-llm",
        "deepseek-coder",
        "falcon",
        "default",
        "glm4",
        "dbrx",
    ] {
        let tokenizer = open(&Plan { pre: Some(pre), ..byte_level() }.write()).unwrap();
        assert_eq!(tokenizer.decode(&tokenizer.encode(text, false).unwrap()), text, "{pre}");
    }
}

#[test]
fn rejects_damaged_metadata_on_open() {
    let refused = |writer: &Writer| {
        assert!(matches!(open(writer), Err(Error::Tokenizer { .. } | Error::Gguf(_))));
    };
    refused(&Plan { merges: None, ..byte_level() }.write());
    refused(&Plan { tokens: vec![], ..byte_level() }.write());
    refused(Writer::default().str("tokenizer.ggml.model", "llama"));
    let base = |numbers: [Value<'_>; 2]| {
        let mut writer = Writer::default();
        writer
            .str("tokenizer.ggml.model", "llama")
            .array("tokenizer.ggml.tokens", [b"a", b"b", b"c"].map(|t| Value::String(t)))
            .array("tokenizer.ggml.scores", numbers);
        writer
    };
    refused(&base([Value::F32(0.0); 2]));
    refused(&base([Value::String(b"0"); 2]));
    let mut writer = Writer::default();
    writer.str("tokenizer.ggml.model", "llama");
    refused(writer.array("tokenizer.ggml.tokens", [Value::I32(1)]));
}

#[test]
fn accepts_odd_but_valid_metadata() {
    let mut plan = byte_level();
    plan.tokens.push((vec![0xff, 0xfe], CONTROL, 0.0));
    plan.tokens.push((vec![0xc3], USER_DEFINED, 0.0));
    plan.tokens.push((vec![], USER_DEFINED, 0.0));
    plan.tokens.push((b"a".to_vec(), 77, f32::NAN));
    plan.merges = Some(vec!["", " ", "nonsense", "no such", "h e", "h e", "a  b"]);
    let mut writer = plan.write();
    writer.value("tokenizer.ggml.bos_token_id", Value::U32(u32::MAX));
    writer.value("tokenizer.ggml.eos_token_id", Value::I32(-1));
    let tokenizer = open(&writer).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, None));
    assert_eq!(tokenizer.decode(&tokenizer.encode("héhe", true).unwrap()), "héhe");
    let vocabulary_without_bytes = Plan { tokens: normal(&["a", "b"]), ..sentencepiece() }.write();
    let tokenizer = open(&vocabulary_without_bytes).unwrap();
    assert!(tokenizer.encode("é", false).is_ok(), "the unknown token stands in");
}

#[test]
fn encodes_any_megabyte_in_time() {
    for plan in [byte_level(), sentencepiece(), gemma4()] {
        let tokenizer = open(&plan.write()).unwrap();
        for part in ["a", " ", "\n", "ab", "\u{301}", "🦙", "<tool>", "1", ".", " \n"] {
            let text = part.repeat((1 << 20) / part.len());
            let start = Instant::now();
            let ids = tokenizer.encode(&text, true).unwrap();
            assert!(start.elapsed() < MAX_TIME, "{} {part:?}", plan.model);
            let decoded = tokenizer.decode(&ids);
            assert!(decoded == text || decoded[1..] == text, "{} {part:?}", plan.model);
        }
    }
}

/// The BPE merges of the `tokenizers` crate, an independent implementation.
#[test]
fn merges_agree_with_the_tokenizers_crate() {
    use tokenizers::Model;
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/tokenizers/ggml-vocab-gpt-2.gguf");
    assert!(path.is_file(), "{} is missing", path.display());
    let file = Arc::new(File::open(&path).unwrap());
    let texts = |key| {
        let strings = file.metadata().array(key).unwrap().strings();
        strings.map(|text| String::from_utf8(text.to_vec()).unwrap())
    };
    let vocab = texts("tokenizer.ggml.tokens").zip(0u32..).collect::<Vec<_>>();
    let merges = texts("tokenizer.ggml.merges").map(|merge| {
        let (left, right) = merge.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    });
    let other = tokenizers::models::bpe::BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<ahash::AHashMap<_, _>>(), merges.collect())
        .build()
        .unwrap();
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    proptest!(|(word in "[a-z]{1,40}|[A-Za-z]{1,12}|[0-9]{1,20}|[!-/]{1,20}")| {
        let expected: Vec<u32> = other.tokenize(&word).unwrap().iter().map(|t| t.id).collect();
        prop_assume!(!word.contains('\''));
        prop_assert_eq!(tokenizer.encode(&word, false).unwrap(), expected);
    });
}

proptest! {
    #[test]
    fn byte_level_text_round_trips(text in any::<String>(), parse_special in any::<bool>()) {
        let tokenizer = open(&byte_level().write()).unwrap();
        let ids = tokenizer.encode(&text, parse_special).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids), text);
    }

    #[test]
    fn plain_text_round_trips(text in "[ab é\n🦙]{0,40}") {
        for plan in [sentencepiece(), gemma4()] {
            let tokenizer = open(&plan.write()).unwrap();
            let decoded = tokenizer.decode(&tokenizer.encode(&text, false).unwrap());
            prop_assert_eq!(decoded.strip_prefix(if plan.model == "llama" { " " } else { "" })
                .unwrap_or_default(), &text);
        }
    }

    #[test]
    fn streaming_matches_decoding(ids in proptest::collection::vec(0u32..300, 0..60)) {
        for plan in [byte_level(), sentencepiece()] {
            let tokenizer = open(&plan.write()).unwrap();
            let mut stream = DecodeStream::new(&tokenizer);
            let mut text = String::new();
            for &id in &ids {
                text.push_str(&stream.push(id));
            }
            text.push_str(&stream.finish());
            prop_assert_eq!(text, tokenizer.decode(&ids));
        }
    }
}

#[test]
fn streams_hold_back_incomplete_characters() {
    let tokenizer = open(&byte_level().write()).unwrap();
    let ids = tokenizer.encode("🦙!", false).unwrap();
    let mut stream = DecodeStream::new(&tokenizer);
    let texts: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(texts, ["", "", "", "🦙", "!"]);
    let mut stream = DecodeStream::new(&tokenizer);
    assert_eq!(stream.push(ids[0]), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}
