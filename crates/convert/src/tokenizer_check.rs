//! Verifies the converted tokenizer: the `tokenizers` crate reads the source's `tokenizer.json`,
//! the engine reads the new vocabulary, and both must encode some hundred texts to the same tokens.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::Tokenizer;
use lilims_gguf::{File, TensorHeader, Writer};
use serde_json::{Value as Json, json};
use tempfile::NamedTempFile;

use crate::Error;
use crate::output::{PREFIX, folder_of};
use crate::quote::quoted;
use crate::tokenizer_files::{AddedToken, TokenizerFiles};

/// The most added tokens that are tested.
const MAX_ADDED: usize = 100;
/// The most tokens of the vocabulary that are tested.
const MAX_SAMPLED: usize = 200;
/// Sampled tokens in one joined text.
const JOINED: usize = 8;
/// The most ids that an error lists.
const MAX_IDS: usize = 12;

/// Texts of many kinds: spaces, line ends, decomposed letters, scripts, emoji, digits, code,
/// control characters, right-to-left letters.
const TEXTS: &[&str] = &[
    "",
    " ",
    "  ",
    "   ",
    "     five",
    "a",
    " a",
    "a ",
    "  a  ",
    "two  spaces",
    "three   spaces and    four",
    "The capital of France is Paris.",
    "the capital OF france",
    "\n",
    "\n\n",
    "\n\n\n\n\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "a\rb",
    "a\r\nb\r\n",
    "line\nline\n\nline",
    " \n",
    "\n ",
    "\n  indented\n    more",
    " \n \n ",
    "\t",
    "\t\t",
    "\tindented\twith\ttabs",
    "a \t b",
    "trailing spaces   \nnext",
    "\u{b}\u{c}",
    "\u{a0}",
    "a\u{a0}b",
    "a\u{2003}b\u{2009}c\u{3000}d",
    "\u{2028}\u{2029}",
    "\u{200b}zero\u{200b}width\u{200d}",
    "\u{feff}mark",
    "soft\u{ad}hyphen",
    "e\u{301}",
    "cafe\u{301} and café",
    "A\u{30a}ngstro\u{308}m Ångström",
    "o\u{302}\u{301}\u{323}",
    "\u{1e9b}\u{323}",
    "한국어 \u{1112}\u{1161}\u{11ab}",
    "\u{304b}\u{3099} が",
    "\u{212b}\u{2126}\u{212a}",
    "ﬁ ﬂ ½ ² ① Ａ",
    "İstanbul ı ß ẞ ΣΑΣ σας",
    "Grüße aus Köln",
    "naïve coöperation façade",
    "Zażółć gęślą jaźń",
    "Příliš žluťoučký kůň",
    "Привет, мир! Как дела?",
    "Ελληνικά κείμενα",
    "שלום עולם",
    "مرحبا بالعالم",
    "נִקּוּד עִבְרִי",
    "سَلامٌ عَلَيكُم",
    "\u{202e}reversed\u{202c} and \u{2066}isolated\u{2069}",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Xin chào thế giới",
    "世界",
    "你好，世界！",
    "我能吞下玻璃而不伤身体。",
    "日本語のテキスト、カタカナ。",
    "ｶﾀｶﾅ ﾊﾝｶｸ",
    "𠀀𠀁 rare",
    "🎉",
    "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈",
    "🇩🇪🇫🇷",
    "❤️ ❤",
    "a🎉b 🎉 c",
    "0",
    "7",
    "12",
    "123",
    "1234",
    "12345678901234567890",
    "3.14159",
    "1,000,000",
    "2026-11-26T15:13:27Z",
    "0x1F 0b1010 1e-9",
    "٣٤٥ ४५ ５６",
    "Ⅷ ½ ⅓",
    "a1b2c3",
    "don't won't I'll they've you're he'd I'm it's",
    "DON'T I'LL WE'VE",
    "don’t",
    "'s 't 're",
    "rock'n'roll 'tis",
    "\"quoted\" 'single' «guillemets» „low“",
    "!?.,;:",
    "...",
    "!!!!!!!!!!",
    "--------------------",
    "====== ****** ######",
    "( [ { < > } ] )",
    "a+b=c a-b a*b a/b a%b a^b",
    "$100 €50 £20 ¥10",
    "50% @user #tag &amp; a&b",
    "https://example.org/path?q=1&r=2#frag",
    "someone@example.org",
    "C:\\Users\\name",
    "/usr/local/bin",
    "snake_case camelCase PascalCase kebab-case",
    "fn main() {\n    println!(\"{}\", 1 + 2);\n}\n",
    "def f(x):\n\treturn x ** 2  # square\n",
    "for (int i = 0; i < n; ++i) { a[i] = b[i]; }",
    "<html><body class=\"x\">text</body></html>",
    "{\"key\": [1, 2.5, null, true]}",
    "SELECT * FROM t WHERE a = 'b';",
    "```rust\nlet x = 1;\n```",
    "# Title\n\n- item\n- item\n\n1. one\n2. two\n",
    "$\\frac{a}{b}$ \\(x^2\\)",
    "| a | b |\n| - | - |\n",
    "\u{0}",
    "\u{1}\u{2}\u{1b}[31m",
    "\u{7f}\u{80}\u{9b}",
    "\u{fffd}",
    "\u{e000}\u{f8ff}",
    "\u{10ffff}",
    "<s>",
    "</s>",
    "<|endoftext|>",
    "<|im_start|>user\nhello<|im_end|>\n",
    "<|im_start",
    "<start_of_turn>user\nhi<end_of_turn>\n",
    "[INST] hi [/INST]",
    "<think>\nhm\n</think>",
    "<0x41> <0xE4>",
    "▁",
    "a▁b ▁c",
    "Ġ Ċ Ġa",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "abababababababababababababababababababab",
    "                                                                ",
    "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
    "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "supercalifragilisticexpialidocious",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.",
    "  leading and trailing  \n",
];

/// Compares the tokenizer in `writer`, whose file will be `out`, with that of the checkpoint in the
/// folder `source`. Does nothing for a checkpoint without `tokenizer.json`.
///
/// # Errors
///
/// [`Error::TokenizerDiffers`] for the first text that differs, [`Error::Damaged`] for a tokenizer
/// that the `tokenizers` crate cannot read, [`Error::Cancelled`].
pub(crate) fn check_tokenizer(
    source: &Path,
    writer: &Writer,
    out: &Path,
    cancel: &AtomicBool,
) -> Result<(), Error> {
    let files = TokenizerFiles::read(source)?;
    if files.tokenizer.is_none() {
        return Ok(());
    }
    let added = files.all_added_tokens()?;
    let oracle = oracle(files, &added)?;
    let written = written(writer, out)?;
    let compare = |text: &str| {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let fault = |what: String| Error::damaged(&source.join("tokenizer.json"), what);
        let expected = catch_panic(|| oracle.encode(text, false).map_err(|e| e.to_string()));
        let expected = expected.map_err(|error| fault(format!("cannot encode: {error}")))?;
        let got = written.encode(text, true).map_err(Error::Result)?;
        if got == expected.get_ids() {
            return Ok(());
        }
        Err(Error::TokenizerDiffers {
            text: quoted(text),
            expected: first_ids(expected.get_ids()),
            got: first_ids(&got),
        })
    };
    TEXTS.iter().try_for_each(|text| compare(text))?;
    let n_vocab = written.n_vocab();
    let in_vocab = added.iter().filter(|(id, _)| (**id as usize) < n_vocab);
    let in_vocab = in_vocab.map(|(_, token)| &token.text).filter(|text| !text.is_empty());
    let in_vocab: Vec<&String> = in_vocab.collect();
    let step = in_vocab.len().div_ceil(MAX_ADDED).max(1);
    for text in in_vocab.into_iter().step_by(step) {
        for text in [
            text.clone(),
            format!("a{text}b"),
            format!("a {text} b"),
            format!("{text}\n{text}\n\nc"),
            format!("  {text}  d"),
        ] {
            compare(&text)?;
        }
    }
    let step = n_vocab.div_ceil(MAX_SAMPLED).max(1);
    let sampled: Vec<String> =
        (0..n_vocab as u32).step_by(step).map(|id| written.decode(&[id])).collect();
    sampled.iter().try_for_each(|text| compare(text))?;
    sampled.chunks(JOINED).try_for_each(|texts| compare(&texts.concat()))
}

/// Builds the reference tokenizer from the source's `tokenizer.json`, with the tokens that other
/// files add, as transformers does. The parts that do not affect how a single text is split into
/// tokens are left out.
fn oracle(
    files: TokenizerFiles<'_>,
    added: &BTreeMap<u32, AddedToken>,
) -> Result<tokenizers::Tokenizer, Error> {
    let source = files.folder;
    let mut json = files.tokenizer.unwrap_or_default();
    for part in ["decoder", "post_processor", "padding", "truncation"] {
        if let Some(part) = json.get_mut(part) {
            *part = Json::Null;
        }
    }
    // Some old files match special tokens in the normalised text, where the added space in front
    // hides them. Match them in the original text, as all newer files do.
    let mut tokens = match json.get_mut("added_tokens").map(Json::take) {
        Some(Json::Array(tokens)) => tokens,
        _ => Vec::new(),
    };
    for token in tokens.iter_mut().filter(|token| token["special"] == true) {
        token["normalized"] = Json::Bool(false);
    }
    let listed: HashSet<u64> = tokens.iter().filter_map(|token| token["id"].as_u64()).collect();
    let others = added.iter().filter(|(id, _)| !listed.contains(&u64::from(**id)));
    tokens.extend(others.map(|(id, token)| {
        json!({
            "id": id, "content": token.text, "special": token.is_special,
            "rstrip": token.strips_right, "normalized": !token.is_special && !token.is_raw,
            "lstrip": false, "single_word": false,
        })
    }));
    tokens.sort_by_key(|token| token["id"].as_u64());
    json["added_tokens"] = Json::Array(tokens);
    let bytes = json.to_string();
    drop(json);
    let read =
        catch_panic(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string()));
    read.map_err(|error| {
        let what = format!("is not a tokenizer: {}", quoted(&error));
        Error::damaged(&source.join("tokenizer.json"), what)
    })
}

/// Turns a panic of the `tokenizers` crate, which some invalid files cause, into an error.
fn catch_panic<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("the tokenizers crate panicked".to_owned()))
}

/// Reads the tokenizer back from a temporary file with this header.
fn written(writer: &Writer, out: &Path) -> Result<Tokenizer, Error> {
    let folder = folder_of(out);
    let mut file = NamedTempFile::with_prefix_in(PREFIX, folder).map_err(Error::io(folder))?;
    let none: [TensorHeader; 0] = [];
    let result = writer.write_header(none.iter(), &mut file).and_then(|_| file.flush());
    result.map_err(Error::io(folder))?;
    let file = Arc::new(File::open(file.path())?);
    Tokenizer::from_gguf(&file).map_err(Error::Result)
}

/// Formats the first few ids.
fn first_ids(ids: &[u32]) -> String {
    let more = if ids.len() > MAX_IDS { ", …" } else { "" };
    let ids: Vec<_> = ids.iter().take(MAX_IDS).map(u32::to_string).collect();
    format!("[{}{more}]", ids.join(", "))
}
