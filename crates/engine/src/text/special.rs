//! Special tokens: which end a turn, and how they split a text before it is tokenized.
//!
//! Files seldom say which tokens end a turn, so that they are known by how they are written. The
//! lists are llama.cpp's.

use std::ops::Range;
use std::sync::OnceLock;

use super::cuts::{CutTable, Cuts};
use super::vocab::{Kind, Vocab, listed_ids};
use crate::Error;
use crate::reasoning::SHOWN_TOKENS;

/// Texts of tokens that end a turn.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Texts of tokens of code models that end a turn unless the metadata names others: what fills a
/// gap, what starts a repository, what separates files.
const FILL_ENDS: &[(&str, &[&str])] = &[
    (
        "tokenizer.ggml.fim_pad_token_id",
        &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    ),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Keys of single tokens that end a turn.
const END_KEYS: &[&str] = &["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Control tokens of gpt-oss that belong to the text.
const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Tokens that structure prompts, which some files list as user-defined, and that are not written
/// like control tokens.
const STRUCTURE: &[&str] = &[
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
];

/// All tokens that end a turn, where there are more than single keys can name: Lilims' own key.
const END_LIST: &str = "lilims.tokenizer.eos_token_ids";

/// Whether a token that is no control token in the file is none, however it is written: a key of
/// Lilims' own, of files whose source says it of every token.
const EXACT_KINDS: &str = "lilims.tokenizer.has_exact_types";

/// The longest text in the lists; longer tokens need no look.
const MAX_KNOWN_LEN: usize = 32;

/// The token at a metadata key, if the key names one of the vocabulary.
pub(super) fn token_at(vocab: &Vocab, key: &str) -> Option<u32> {
    let id = vocab.metadata().get(key)?.as_u64()?;
    u32::try_from(id).ok().filter(|&id| (id as usize) < vocab.len())
}

/// Finds the tokens that end a turn, in order, and corrects the kinds of those that the file gets
/// wrong, as llama.cpp does. Qwen's `</s>`, an ordinary piece, is one for all files but our own.
pub(super) fn find_turn_ends(vocab: &mut Vocab, eos: Option<u32>) -> Vec<u32> {
    let mut ends: Vec<u32> = END_KEYS.iter().filter_map(|key| token_at(vocab, key)).collect();
    ends.extend(eos);
    ends.extend(listed_ids(vocab.metadata(), END_LIST, vocab.len()));
    let mut fills: Vec<Option<u32>> =
        FILL_ENDS.iter().map(|(key, _)| token_at(vocab, key)).collect();
    let is_exact = vocab.metadata().get(EXACT_KINDS).and_then(|value| value.as_bool());
    for id in vocab.ids() {
        if is_exact == Some(true) && vocab.kind(id) == Kind::Normal {
            continue;
        }
        let text = vocab.text(id);
        if text.len() > MAX_KNOWN_LEN || !matches!(text.first(), Some(b'<' | b'[' | b'_')) {
            continue;
        }
        let is_in = |list: &[&str]| list.iter().any(|known| known.as_bytes() == text);
        let fill = FILL_ENDS.iter().position(|(_, texts)| is_in(texts));
        if is_in(TURN_ENDS) {
            ends.push(id);
            vocab.set_kind(id, Kind::Control);
        } else if is_in(SHOWN) {
            vocab.set_kind(id, Kind::UserDefined);
        } else if let Some(fill) = fill.filter(|&fill| fills[fill].is_none()) {
            fills[fill] = Some(id);
            vocab.set_kind(id, Kind::Control);
        }
    }
    ends.extend(fills.into_iter().flatten());
    ends.sort_unstable();
    ends.dedup();
    drop_lookalikes(vocab, &mut ends);
    ends
}

/// Drops tokens that end a turn in most models, but not in the two kinds that have these others.
fn drop_lookalikes(vocab: &mut Vocab, ends: &mut Vec<u32>) {
    let find = |text: &str| ends.iter().copied().find(|&id| vocab.text(id) == text.as_bytes());
    let has = |text| find(text).is_some();
    let has_call = has("<|call|>") || has("<|calls|>");
    let end = find("<|end|>").filter(|_| has_call && (has("<|return|>") || has("<|flush|>")));
    let s = find("</s>").filter(|_| has("<|tool_response>"));
    for (id, kind) in [(end, Kind::UserDefined), (s, Kind::Normal)] {
        if let Some(id) = id {
            ends.retain(|&other| other != id);
            vocab.set_kind(id, kind);
        }
    }
}

/// Control tokens that stand around reasoning, in order: their texts tell it from the answer.
pub(super) fn find_shown(vocab: &Vocab) -> Vec<u32> {
    let is_shown = |&id: &u32| {
        let text = vocab.text(id);
        let may_be = vocab.kind(id) == Kind::Control && text.len() <= MAX_KNOWN_LEN;
        may_be && SHOWN_TOKENS.iter().any(|known| known.as_bytes() == text)
    };
    vocab.ids().filter(is_shown).collect()
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Which parts of a text are what people or models wrote: no control token is cut out of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plain<'a> {
    All,
    /// In order, not overlapping.
    Parts(&'a [Range<usize>]),
}

/// Whether the token has no place in plain text. Files mark some that structure prompts as
/// user-defined, Gemma's `<start_of_turn>` among them: those are known by how they are written.
/// llama.cpp's converter does the same. Other user-defined tokens are cut out of any text, as
/// llama.cpp does where it parses no special tokens.
fn is_control(vocab: &Vocab, id: u32) -> bool {
    let text = vocab.text(id);
    let is_between = |start: &str, end: &str| {
        text.starts_with(start.as_bytes()) && text.ends_with(end.as_bytes())
    };
    !matches!(vocab.kind(id), Kind::UserDefined | Kind::Piece)
        || [("<|", ">"), ("<", "|>"), ("<｜", "｜>")]
            .iter()
            .any(|(start, end)| is_between(start, end))
        || STRUCTURE.iter().any(|known| known.as_bytes() == text)
}

/// The tokens that split texts.
pub(super) struct Specials {
    /// Control tokens and user-defined ones.
    all: OnceLock<CutTable>,
    user_defined: OnceLock<CutTable>,
    /// Which special tokens drop the white space after them.
    strips_right: StripsRight,
}

/// Tokens that drop the white space after them.
enum StripsRight {
    /// Those that the file lists, in order: a key of Lilims' own.
    Listed(Vec<u32>),
    /// Phi-3's tokens are declared so, which other programs' files do not say.
    AsPhi3,
}

/// The key that lists them.
const RSTRIP_LIST: &str = "lilims.tokenizer.rstrip_token_ids";

impl StripsRight {
    fn from_gguf(vocab: &Vocab) -> Self {
        let name = vocab.metadata().get("general.name").and_then(|name| name.as_str());
        let name = name.unwrap_or_default().to_lowercase();
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        if is_phi3 && vocab.metadata().get(RSTRIP_LIST).is_none() {
            return Self::AsPhi3;
        }
        let mut ids = listed_ids(vocab.metadata(), RSTRIP_LIST, vocab.len());
        ids.sort_unstable();
        Self::Listed(ids)
    }

    fn includes(&self, id: u32, text: &[u8]) -> bool {
        match self {
            Self::Listed(ids) => ids.binary_search(&id).is_ok(),
            Self::AsPhi3 => !KEEPS_RIGHT.contains(&text),
        }
    }
}

/// Tokens of Phi-3 that leave the white space after them alone.
const KEEPS_RIGHT: &[&[u8]] = &[b"<unk>", b"<s>", b"<|endoftext|>"];

impl Specials {
    pub(super) fn new(vocab: &Vocab) -> Self {
        Self {
            all: OnceLock::new(),
            user_defined: OnceLock::new(),
            strips_right: StripsRight::from_gguf(vocab),
        }
    }

    /// Splits `text`, from its byte `from` on, at user-defined tokens and, unless all of it is plain, at
    /// control tokens outside of plain parts. Passes each piece on, with its end in the text, until
    /// `visit` fails.
    pub(super) fn split<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        from: usize,
        plain: Plain<'_>,
        mut visit: impl FnMut(Fragment<'t>, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (table, parts) = match plain {
            Plain::Parts(parts) => {
                let table = self.all.get_or_init(|| {
                    let ids = vocab.ids().filter(|&id| vocab.kind(id).splits_text());
                    CutTable::new(vocab, ids, |id| is_control(vocab, id))
                });
                (table, parts)
            }
            Plain::All => {
                let table = self.user_defined.get_or_init(|| {
                    let splits =
                        |id: &u32| matches!(vocab.kind(*id), Kind::UserDefined | Kind::Piece);
                    CutTable::new(vocab, vocab.ids().filter(splits), |_| false)
                });
                (table, &[][..])
            }
        };
        let drops_space = |id| self.strips_right.includes(id, vocab.text(id));
        let mut cuts = Cuts::new(table, vocab, (text, from), parts, &drops_space);
        while let Some(fragment) = cuts.next() {
            visit(fragment, cuts.done())?;
        }
        Ok(())
    }
}
